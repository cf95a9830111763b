package job

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"efsdedupe/dedupe"
	"efsdedupe/fixtures/testkit"
)

// driverRole makes the test binary a process that runs a job. Its value is a driven.
const driverRole = "JOB_TEST_DRIVER"

type driven struct {
	Store       []byte
	Spec        Spec
	Concurrency int
}

func TestMain(m *testing.M) {
	isWorker, err := RunWorker(mortal{os.Stdin, os.Getenv(mortalRole)}, os.Stdout, openIndex)
	how := os.Getenv(driverRole)
	os.Unsetenv(driverRole)
	switch {
	case isWorker:
	case strings.HasPrefix(how, mergeRole):
		results, _ := strconv.Atoi(strings.TrimPrefix(how, mergeRole))
		err = mergeMany(results)
	case how != "":
		err = drive(how)
	default:
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// mortalRole makes worker processes of the test binary die of requests that contain its value.
const mortalRole = "JOB_TEST_MORTAL"

type mortal struct {
	io.Reader
	of string
}

func (m mortal) Read(b []byte) (int, error) {
	n, err := m.Reader.Read(b)
	if m.of != "" && bytes.Contains(b[:n], []byte(m.of)) {
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
	}
	return n, err
}

// TestMortal has every worker process die that gets a certain unit. Its files are problems,
// and all others are found. If all units are deadly, the job fails.
func TestMortal(t *testing.T) {
	t.Chdir(t.TempDir())
	for i := range 20 {
		testkit.Write(t, []byte("all alike"), fmt.Sprintf("a/f%d", i))
	}
	for _, name := range []string{"a/large1", "a/large2"} { // only these are read a second time
		testkit.Write(t, make([]byte, 3<<20), name)
	}
	for deadly, wantGroups := range map[string]int64{`"stage":"whole"`: 1, `"stage":"read"`: -1, "": 2} {
		j, _ := begin(t, dedupe.Selection{Roots: []string{"a"}})
		local := Local{Command: func() *exec.Cmd {
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), mortalRole+"="+deadly, "GORACE=atexit_sleep_ms=0")
			return cmd
		}}
		err := local.Run(t.Context(), j, Options{Concurrency: 2})
		if wantGroups < 0 { // there are four
			if err == nil || !strings.Contains(err.Error(), "worker processes keep dying") {
				t.Errorf("workers that die of %s: %v", deadly, err)
			}
			continue
		}
		testkit.Must(t, err)
		r, parts, failed := j.Answer()
		var why []string
		for p := range parts.Problems {
			why = append(why, p.Error())
		}
		testkit.Must(t, *failed)
		if r.Stats.DuplicateGroups != wantGroups || r.Complete != (deadly == "") || r.Complete != (len(why) == 0) ||
			wantGroups == 1 && (len(why) != 2 || !strings.HasPrefix(why[0], "read a/large1: the process that worked on it died: two worker processes failed")) {
			t.Errorf("workers that die of %s: %d groups, complete %v, problems %q", deadly, r.Stats.DuplicateGroups, r.Complete, why)
		}
	}
	j, _ := begin(t, dedupe.Selection{Roots: []string{"a"}})
	err := Local{Command: func() *exec.Cmd { return exec.Command("false") }}.Run(t.Context(), j, Options{Concurrency: 2})
	if err == nil {
		t.Error("a job without workers ended")
	}
}

// drive runs a job in worker processes, and writes a line when a unit starts, and one when
// it is done.
func drive(how string) error {
	var d driven
	if err := json.Unmarshal([]byte(how), &d); err != nil {
		return err
	}
	j, err := Open(string(d.Store), d.Spec)
	if err != nil {
		return err
	}
	do, stop, err := Local{}.start(j, d.Concurrency, unitMemory)
	if err != nil {
		return err
	}
	defer stop()
	return j.run(context.Background(), Options{Concurrency: d.Concurrency}, func(ctx context.Context, u unit) error {
		fmt.Printf("start %s %s\n", u.name(), u.Stage)
		err := do(ctx, u)
		fmt.Printf("done %s\n", u.name())
		return err
	})
}

// TestKilled kills the process that runs a job, and with it the workers, at 20 random
// moments, and runs it again. The report must be that of a scan, and no unit that was done
// may run again.
func TestKilled(t *testing.T) {
	t.Chdir(t.TempDir())
	sel := fill(t, 1)
	sel.Roots = append(sel.Roots, "out")
	want := scanned(t, sel, nil, false, false)
	d := driven{[]byte(t.TempDir()), Spec{Selection: sel, Workers: 4, Limits: Limits{Entries: 12, Copies: 5, Bytes: 4 << 20, Merged: 50}}, 2}
	rnd := rand.New(rand.NewPCG(1, 2))
	done, again := make(map[string]bool), 0
	kills := 0
	for ended := false; !ended; {
		lines := -1 // until it ends
		if kills < 20 {
			lines = 1 + rnd.IntN(12)
		}
		started := make(map[string]bool)
		ended = d.run(t, lines, func(line string) {
			word, name, _ := strings.Cut(line, " ")
			name, _, _ = strings.Cut(name, " ")
			if word == "done" {
				done[name] = true
				return
			}
			if done[name] {
				t.Errorf("after %d kills, a unit that was done runs again: %s", kills, line)
			}
			if started[name] {
				again++
			}
			started[name] = true
		})
		kills++
	}
	if kills < 10 || again > 0 {
		t.Errorf("%d kills, and %d units started twice by one process", kills, again)
	}
	j, err := Open(string(d.Store), d.Spec)
	testkit.Must(t, err)
	defer j.Close()
	testkit.Must(t, j.run(t.Context(), Options{}, func(context.Context, unit) error { return errors.New("all units were done") }))
	if diff := cmp.Diff(want, answered(t, j)); diff != "" {
		t.Errorf("after %d kills (-scan +job):\n%s", kills, diff)
	}
}

// run runs the job until it ends, or until it has written some lines, when it is killed. It
// reports whether it ended.
func (d *driven) run(t *testing.T, lines int, see func(line string)) (ended bool) {
	t.Helper()
	how, err := json.Marshal(d)
	testkit.Must(t, err)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), driverRole+"="+string(how), "GORACE=atexit_sleep_ms=0")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	testkit.Must(t, err)
	testkit.Must(t, cmd.Start())
	in := bufio.NewReader(out)
	for n := 0; ; n++ {
		if n == lines {
			testkit.Must(t, cmd.Process.Kill())
		}
		line, err := in.ReadString('\n')
		if err == io.EOF {
			break
		}
		testkit.Must(t, err)
		see(strings.TrimSuffix(line, "\n"))
	}
	err = cmd.Wait()
	if exit := (*exec.ExitError)(nil); err != nil && (!errors.As(err, &exit) || exit.Exited()) {
		t.Fatalf("%v: %s", err, &stderr)
	}
	return err == nil
}

// mergeRole, with a number of results, makes the test binary a process that merges them.
const mergeRole = "merge "

// TestMemory merges 750,000 records of one size, and of one digest, in a process as
// small as a unit. Together they would not fit.
func TestMemory(t *testing.T) { testMemory(t, 30) }

// testMemory merges results of 25,000 records each.
func testMemory(t *testing.T, results int) {
	cmd := exec.Command(os.Args[0])
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), driverRole+"="+mergeRole+strconv.Itoa(results), fmt.Sprint("GOMEMLIMIT=", unitMemory*5/8), "GOGC=400", "GOMAXPROCS=1", "GORACE=atexit_sleep_ms=0")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var peak int64
	if _, err := fmt.Sscan(string(out), &peak); err != nil || peak == 0 || peak > unitMemory {
		t.Errorf("took %q bytes, want at most %d", out, unitMemory)
	}
}
