package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"

	"efsdedupe/dedupe/bench/box"
	"efsdedupe/fixtures/dynalite"
)

var update = flag.Bool("update", false, "rewrite the scripts' expected output")

// binary is the program as users get it, which all tests here run.
var binary string

func TestMain(m *testing.M) {
	// To find out whether there can be boxes, one is made, of this program.
	if isShim, err := box.RunShim(os.Args[1:]); isShim {
		os.Exit(std{err: os.Stderr}.exit(err))
	}
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "dedupe-test-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		binary = filepath.Join(dir, "dedupe")
		for name, of := range map[string]string{"dedupe": ".", "bootstrap": "../lambda"} {
			build := exec.Command("go", "build", "-buildvcs=false", "-o", filepath.Join(dir, name), of)
			build.Env = append(os.Environ(), "CGO_ENABLED=0")
			if out, err := build.CombinedOutput(); err != nil {
				fmt.Fprintf(os.Stderr, "%v\n%s", err, out)
				return 1
			}
		}
		return m.Run()
	}())
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:           "testdata/script",
		UpdateScripts: *update,
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", filepath.Dir(binary)+string(os.PathListSeparator)+env.Getenv("PATH"))
			return nil
		},
		Condition: func(name string) (bool, error) {
			switch name {
			case "root":
				return os.Geteuid() == 0, nil
			case "boxes":
				return box.Available() == nil, nil
			case "dynamodb":
				_, err := dynalite.Installed()
				return err == nil, nil
			}
			return false, fmt.Errorf("unknown condition %q", name)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":      exits,
			"restricted": restricted,
			"json":       jsonValue,
			"samereport": sameReport,
			"samegroups": sameGroups,
			"knows":      knows,
			"truncate":   truncate,
			"content":    content,
			"hardlink":   hardLink,
			"special":    special,
			"touch":      touch,
			"table":      table,
		},
	})
}

// table NAME starts a server that is compatible with DynamoDB and has a table, and
// sets the environment to lead to it. It ends with the script.
func table(ts *testscript.TestScript, neg bool, args []string) {
	endpoint, stop, err := dynalite.Start(args[0])
	ts.Check(err)
	ts.Defer(stop)
	ts.Setenv("AWS_ENDPOINT_URL", endpoint)
	ts.Setenv("AWS_REGION", "us-east-1")
	ts.Setenv("AWS_ACCESS_KEY_ID", "id")
	ts.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
}

// exits CODE PROGRAM ARG... runs a program and checks its exit code. On 2, the
// code of bad input, it checks that standard error is one line and that there is
// no output.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits code program [arg...]")
	}
	check(ts, args[0], ts.Exec(args[1], args[2:]...))
}

func check(ts *testscript.TestScript, want string, err error) {
	got := 0
	var failed *exec.ExitError
	switch {
	case errors.As(err, &failed):
		got = failed.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	stdout, stderr := ts.ReadFile("stdout"), ts.ReadFile("stderr")
	if want != strconv.Itoa(got) {
		ts.Fatalf("exit code %d, want %s\n%s%s", got, want, stdout, stderr)
	}
	if got == exitNoAnswer && (strings.Count(stderr, "\n") != 1 || stdout != "") {
		ts.Fatalf("bad input must give one line on standard error and nothing else, not\n%s%s", stdout, stderr)
	}
	if strings.Contains(stderr, "panic") || strings.Contains(stderr, "goroutine ") {
		ts.Fatalf("it panicked:\n%s", stderr)
	}
}

// restricted CODE PROGRAM ARG... is exits, without root's right to read what
// permissions forbid.
func restricted(ts *testscript.TestScript, neg bool, args []string) {
	cmd := exec.Command(binary, args[2:]...)
	cmd.Dir = ts.Getenv("WORK")
	stdout, err := os.Create(ts.MkAbs("restricted.out"))
	ts.Check(err)
	defer stdout.Close()
	var stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = stdout, &stderr
	err = withoutOverride(cmd.Run)
	got := 0
	if failed := (*exec.ExitError)(nil); errors.As(err, &failed) {
		got = failed.ExitCode()
	} else {
		ts.Check(err)
	}
	if args[0] != strconv.Itoa(got) {
		ts.Fatalf("exit code %d, want %s\n%s", got, args[0], &stderr)
	}
	ts.Check(os.WriteFile(ts.MkAbs("restricted.err"), stderr.Bytes(), 0o666))
}

// json FILE PATH WANT compares the value at a dotted path, such as
// groups.0.size, with a JSON value; len as the last part is an array's length.
func jsonValue(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: json file path want")
	}
	var doc any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &doc))
	for part := range strings.SplitSeq(args[1], ".") {
		switch v := doc.(type) {
		case map[string]any:
			doc = v[part]
		case []any:
			if part == "len" {
				doc = float64(len(v))
				continue
			}
			i, err := strconv.Atoi(part)
			if err != nil || i >= len(v) {
				ts.Fatalf("%s: no element %s among %d", args[1], part, len(v))
			}
			doc = v[i]
		default:
			ts.Fatalf("%s: %s of %v", args[1], part, v)
		}
	}
	var want any
	ts.Check(json.Unmarshal([]byte(args[2]), &want))
	if cmp.Equal(doc, want) == neg {
		ts.Fatalf("%s is %v, want %v (negated: %v)", args[1], doc, want, neg)
	}
}

// samereport A B compares two JSON reports, but for the mode and what is
// measured.
func sameReport(ts *testscript.TestScript, neg bool, args []string) {
	if cmp.Equal(comparable(ts, args[0]), comparable(ts, args[1])) == neg {
		ts.Fatalf("%s\n%s", ts.ReadFile(args[0]), ts.ReadFile(args[1]))
	}
}

func comparable(ts *testscript.TestScript, file string) string {
	var doc map[string]json.RawMessage
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(file)), &doc))
	var stats map[string]any
	ts.Check(json.Unmarshal(doc["stats"], &stats))
	for _, measured := range []string{"elapsed_ms", "cpu_ms", "peak_memory_bytes", "worker_processes"} {
		delete(stats, measured)
	}
	// Which of equal files is hashed and which compared is a matter of chance.
	hashed, _ := stats["files_hashed"].(float64)
	compared, _ := stats["files_compared"].(float64)
	stats["files_hashed"] = hashed + compared
	delete(stats, "files_compared")
	for _, other := range []string{"mode", "workers", "stats", "projection"} {
		delete(doc, other)
	}
	rest, err := json.Marshal(doc)
	ts.Check(err)
	return fmt.Sprint(string(rest), stats)
}

// samegroups A B compares the groups of two JSON reports.
func sameGroups(ts *testscript.TestScript, neg bool, args []string) {
	var groups [2]string
	for i := range groups {
		var doc struct{ Groups json.RawMessage }
		ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[i])), &doc))
		groups[i] = string(doc.Groups)
	}
	if (groups[0] == groups[1]) == neg {
		ts.Fatalf("%s\n%s", groups[0], groups[1])
	}
}

// knows N ARG... scans until so many files are known from the index. What is read
// right after it was written is not remembered: a few scans may be needed.
func knows(ts *testscript.TestScript, neg bool, args []string) {
	var doc struct {
		Stats struct {
			Known int `json:"files_known"`
		}
	}
	eventually(ts, args[0]+" known files", func() bool {
		ts.Check(ts.Exec("dedupe", append([]string{"scan", "--format", "json"}, args[1:]...)...))
		ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &doc))
		return strconv.Itoa(doc.Stats.Known) == args[0]
	})
}

// truncate FILE SIZE
func truncate(ts *testscript.TestScript, neg bool, args []string) {
	size, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	ts.Check(os.Truncate(ts.MkAbs(args[0]), size))
}

// content SIZE SEED FILE... writes the same bytes to files; other seeds give
// other bytes.
func content(ts *testscript.TestScript, neg bool, args []string) {
	size, err := strconv.Atoi(args[0])
	ts.Check(err)
	seed, err := strconv.ParseUint(args[1], 10, 64)
	ts.Check(err)
	random := rand.New(rand.NewPCG(seed, 0))
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(random.Uint32())
	}
	for _, file := range args[2:] {
		ts.Check(os.MkdirAll(filepath.Dir(ts.MkAbs(file)), 0o777))
		ts.Check(os.WriteFile(ts.MkAbs(file), b, 0o666))
	}
}

// hardlink OLD NEW
func hardLink(ts *testscript.TestScript, neg bool, args []string) {
	ts.Check(os.Link(ts.MkAbs(args[0]), ts.MkAbs(args[1])))
}

// special FIFO SOCKET makes what must never be opened: opening a FIFO for
// reading waits for a writer, opening a socket fails.
func special(ts *testscript.TestScript, neg bool, args []string) {
	ts.Check(syscall.Mkfifo(ts.MkAbs(args[0]), 0o666))
	// The path of a socket is short; that of the work directory may not be.
	dir, err := os.MkdirTemp("", "s")
	ts.Check(err)
	defer os.RemoveAll(dir)
	socket := filepath.Join(dir, "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	ts.Check(err)
	l.SetUnlinkOnClose(false)
	defer l.Close()
	ts.Check(os.Rename(socket, ts.MkAbs(args[1])))
}

// touch FILE... sets the modification time to the start of 2026.
func touch(ts *testscript.TestScript, neg bool, args []string) {
	for _, file := range args {
		at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		ts.Check(os.Chtimes(ts.MkAbs(file), at, at))
	}
}
