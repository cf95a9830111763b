package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"efsdedupe/cmd/internal/clitest"
	"efsdedupe/dedupe/mount/mounttest"
	"efsdedupe/fixtures/aws"
	"efsdedupe/fixtures/testkit"
)

// binary is the program as users get it, which all tests here run.
var binary string

func TestMain(m *testing.M) {
	os.Exit(clitest.Run(m, map[string]string{"dedupe": "."}, func(dir string) { binary = filepath.Join(dir, "dedupe") }))
}

func TestScripts(t *testing.T) {
	clitest.Scripts(t, filepath.Dir(binary), testscript.Params{
		Condition: func(name string) (bool, error) {
			switch name {
			case "trusted":
				_, remove, err := mounttest.MakeTrusted(roomForSet)
				if err != nil {
					t.Log(err)
					return false, nil
				}
				remove()
				return true, nil
			case "root":
				return os.Geteuid() == 0, nil
			case "dynamodb":
				_, err := aws.DynamoDBInstalled()
				return err == nil, nil
			}
			return false, fmt.Errorf("unknown condition %q", name)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"onterminal": onTerminal,
			"restricted": restricted,
			"samereport": sameReport,
			"samefound":  sameFound,
			"samegroups": sameGroups,
			"knows":      knows,
			"truncate":   truncate,
			"hardlink":   hardLink,
			"special":    special,
			"touch":      touch,
			"table":      table,
			"trusted":    trusted,
			"sortkeys":   sortKeys,
		},
	})
}

// onTerminal PROGRAM ARG... runs a program on a terminal, and writes what the terminal gets
// to terminal.txt.
//
// The kernel drops what a terminal has not read yet when the first process of its session
// ends. So that is a shell, which ends once all was read.
func onTerminal(ts *testscript.TestScript, neg bool, args []string) {
	const ended = "the program has ended"
	cmd := exec.Command("sh", append([]string{"-c", `"$@"; echo ` + ended + `; read line`, "sh"}, args...)...)
	cmd.Dir = ts.Getenv("WORK")
	cmd.Env = []string{"PATH=" + ts.Getenv("PATH"), "HOME=" + ts.Getenv("HOME"), "TERM=" + ts.Getenv("TERM")}
	terminal, err := pty.Start(cmd)
	ts.Check(err)
	defer terminal.Close()
	var got []byte
	for part := make([]byte, 4<<10); !bytes.Contains(got, []byte(ended)); {
		n, err := terminal.Read(part)
		if err != nil {
			ts.Fatalf("%v after %q", err, got)
		}
		got = append(got, part[:n]...)
	}
	_, err = terminal.WriteString("\n")
	ts.Check(err)
	ts.Check(cmd.Wait())
	ts.Check(os.WriteFile(ts.MkAbs("terminal.txt"), got, 0o666))
}

// roomForSet is what a script with the standard set needs, and some room to spare.
const roomForSet = 256 << 20

// trusted changes to a directory on a file system that the index trusts, for the rest of
// the script.
func trusted(ts *testscript.TestScript, neg bool, args []string) {
	dir, remove, err := mounttest.MakeTrusted(roomForSet)
	ts.Check(err)
	ts.Defer(remove)
	ts.Check(ts.Chdir(dir))
}

// table NAME starts a server that is compatible with DynamoDB and has a table, and
// sets the environment to lead to it. It ends with the script.
func table(ts *testscript.TestScript, neg bool, args []string) {
	endpoint, stop, err := aws.StartDynamoDB(args[0])
	ts.Check(err)
	ts.Defer(stop)
	for name, value := range aws.EnvironmentOf(endpoint) {
		ts.Setenv(name, value)
	}
}

// restricted CODE PROGRAM ARG... is exits, without root's right to read what
// permissions forbid.
func restricted(ts *testscript.TestScript, neg bool, args []string) {
	cmd := exec.Command(binary, args[2:]...)
	cmd.Dir = ts.Getenv("WORK")
	cmd.Env = append(os.Environ(), "XDG_CACHE_HOME="+ts.Getenv("XDG_CACHE_HOME"))
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

// samereport A B compares two JSON reports, but for the mode and what is
// measured. What files occupy changes when the system writes them back.
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
	for _, other := range []string{"mode", "workers", "stats", "projection", "started", "finished"} {
		delete(doc, other)
	}
	rest, err := json.Marshal(doc)
	ts.Check(err)
	return fmt.Sprint(occupies.ReplaceAllString(string(rest), `"$1":0`), stats)
}

// samefound A B compares two JSON reports, except for what is measured and how much was read.
func sameFound(ts *testscript.TestScript, neg bool, args []string) {
	var found [2]string
	for i, file := range args {
		var err error
		found[i], err = foundIn([]byte(ts.ReadFile(file)))
		ts.Check(err)
	}
	if (found[0] == found[1]) == neg {
		ts.Fatalf("%s\n%s", found[0], found[1])
	}
}

// foundIn returns what a JSON report says that was found.
func foundIn(report []byte) (string, error) {
	var doc map[string]json.RawMessage
	if err := json.Unmarshal(report, &doc); err != nil {
		return "", err
	}
	var stats map[string]any
	if err := json.Unmarshal(doc["stats"], &stats); err != nil {
		return "", err
	}
	for _, measured := range []string{"elapsed_ms", "cpu_ms", "peak_memory_bytes", "worker_processes", "nfs", "opens", "bytes_read",
		"files_hashed", "files_compared", "files_known", "opens_spared", "bytes_spared"} {
		delete(stats, measured)
	}
	for _, other := range []string{"stats", "projection", "started", "finished"} {
		delete(doc, other)
	}
	rest, err := json.Marshal(doc)
	return fmt.Sprint(occupies.ReplaceAllString(string(rest), `"$1":0`), stats), err
}

var occupies = regexp.MustCompile(`"(allocated|reclaimable_allocated_bytes)":[0-9]+`)

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
	testkit.Eventually(ts, args[0]+" known files", func() bool {
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

// hardlink OLD NEW
func hardLink(ts *testscript.TestScript, neg bool, args []string) {
	ts.Check(os.Link(ts.MkAbs(args[0]), ts.MkAbs(args[1])))
}

// special FIFO SOCKET makes what must never be opened: opening a FIFO for
// reading waits for a writer, opening a socket fails.
func special(ts *testscript.TestScript, neg bool, args []string) {
	ts.Check(syscall.Mkfifo(ts.MkAbs(args[0]), 0o666))
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	ts.Check(err)
	defer unix.Close(fd)
	// The path of a socket must be short; that of the work directory may not be.
	link := filepath.Join(os.TempDir(), fmt.Sprint("s", rand.Uint32()))
	ts.Check(os.Symlink(filepath.Dir(ts.MkAbs(args[1])), link))
	defer os.Remove(link)
	ts.Check(unix.Bind(fd, &unix.SockaddrUnix{Name: filepath.Join(link, filepath.Base(args[1]))}))
}

// touch FILE... sets the modification time to the start of 2026.
func touch(ts *testscript.TestScript, neg bool, args []string) {
	for _, file := range args {
		at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		ts.Check(os.Chtimes(ts.MkAbs(file), at, at))
	}
}

// sortkeys FROM TO sorts the keys of all objects of a JSON file.
func sortKeys(ts *testscript.TestScript, neg bool, args []string) {
	d := json.NewDecoder(strings.NewReader(ts.ReadFile(args[0])))
	d.UseNumber()
	var doc any
	ts.Check(d.Decode(&doc))
	sorted, err := json.Marshal(doc)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), sorted, 0o666))
}
