package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"efsdedupe/cmd/internal/cli"
	"efsdedupe/fixtures/testkit"
)

// endless makes four files of which no one will see the end, in the directory "in" of the
// one that it returns: hashing them takes minutes, storing them nothing.
func endless(t *testing.T) string {
	t.Helper()
	const size = 100 << 30
	dir := t.TempDir()
	for _, name := range []string{"a", "b", "c", "d"} {
		path := filepath.Join(dir, "in", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		// A byte, because some file systems read a file that is all hole in no time.
		f.WriteString("x")
		if err := f.Truncate(size); err != nil {
			t.Skipf("this file system holds no file of %d bytes: set TMPDIR to one that does: %v", size, err)
		}
	}
	return dir
}

// started is a scan of an endless tree that is known to be on its way.
type started struct {
	*exec.Cmd
	output         string
	stdout, stderr bytes.Buffer
	workers        []int
}

// startScan waits until the scan has opened its output, which comes after the
// signal handlers, and until workers processes run.
func startScan(t *testing.T, workers int, args ...string) *started {
	dir := endless(t)
	s := &started{output: filepath.Join(dir, "report.json")}
	args = append([]string{"scan", "--format", "json", "--output", s.output}, append(args, filepath.Join(dir, "in"))...)
	s.Cmd = exec.Command(binary, args...)
	s.Stdout, s.Stderr = &s.stdout, &s.stderr
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Process.Kill() })
	testkit.Eventually(t, "the scan to be on its way", func() bool {
		s.workers = busyChildren(s.Process.Pid)
		return hasOpen(s.Process.Pid, dir) && len(s.workers) == workers
	})
	return s
}

// hasOpen reports whether a process has something open below a directory.
func hasOpen(pid int, dir string) bool {
	fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	return slices.ContainsFunc(fds, func(fd string) bool {
		path, err := os.Readlink(fd)
		return err == nil && strings.HasPrefix(path, dir+"/")
	})
}

// busyChildren lists the child processes that have used so much CPU time, 50 ms,
// that they are past the head of a file. It finds none elsewhere than on Linux.
func busyChildren(parent int) (pids []int) {
	for _, pid := range testkit.Children(parent) {
		// After the name: state, parent, ... , user and system time in ticks of 10 ms.
		fields := testkit.ProcStat(pid)
		if len(fields) < 13 || fields[0] == "Z" {
			continue
		}
		user, _ := strconv.Atoi(fields[11])
		system, _ := strconv.Atoi(fields[12])
		if user+system >= 5 {
			pids = append(pids, pid)
		}
	}
	return pids
}

func (s *started) exitCode(t *testing.T) int {
	t.Helper()
	err := s.Wait()
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) {
		t.Fatal(err)
	}
	return s.ProcessState.ExitCode()
}

// TestInterrupted checks what ^C leaves: exit code 130, a report that says it is
// partial, and no process.
func TestInterrupted(t *testing.T) {
	testkit.NeedProc(t)
	// Where this test ignores SIGHUP, as under nohup, the scan would, too.
	hangUps := make(chan os.Signal, 1)
	signal.Notify(hangUps, syscall.SIGHUP)
	t.Cleanup(func() { signal.Stop(hangUps) })
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP} {
		for mode, workers := range map[string]int{"goroutines": 0, "processes": 4} {
			t.Run(mode+" "+sig.String(), func(t *testing.T) {
				t.Parallel()
				s := startScan(t, workers, "--mode", mode)
				s.Process.Signal(sig)
				if code := s.exitCode(t); code != int(cli.ExitInterrupted) {
					t.Errorf("exit code %d, want %d\n%s", code, int(cli.ExitInterrupted), &s.stderr)
				}
				var report struct {
					Complete *bool
					Reason   string
					Groups   []any
				}
				b, err := os.ReadFile(s.output)
				if err != nil {
					t.Fatal(err)
				}
				if err := json.Unmarshal(b, &report); err != nil {
					t.Fatalf("%v\n%s", err, b)
				}
				if report.Complete == nil || *report.Complete || report.Reason != "interrupted" || len(report.Groups) != 0 {
					t.Errorf("a partial report must say so: %s", b)
				}
				text, err := exec.Command(binary, "report", s.output).Output()
				if err != nil || !strings.Contains(string(text), "Not complete: the scan was interrupted before it had read every file.") ||
					!strings.Contains(string(text), "based on a partial scan") {
					t.Errorf("the text of a partial report must say so, too: %v\n%s", err, text)
				}
				for _, pid := range s.workers {
					if testkit.Alive(pid) {
						t.Errorf("worker %d is left behind", pid)
					}
				}
			})
		}
	}
}

// TestInterruptedInput checks that ^C ends commands that wait for their input, here a FIFO
// that nobody writes to. A file on a mount that does not answer is the same to them.
func TestInterruptedInput(t *testing.T) {
	dir := t.TempDir()
	for _, args := range []string{
		"report FIFO", "cost --report FIFO", "cost --usage FIFO", "cost --prices FIFO", "cost advise FIFO",
		"cost import-prices FIFO", "scan --prices FIFO " + dir, "serve --prices FIFO --root " + dir,
	} {
		t.Run(args[:strings.Index(args, " FIFO")], func(t *testing.T) {
			t.Parallel()
			fifo := filepath.Join(t.TempDir(), "fifo")
			if err := syscall.Mkfifo(fifo, 0o666); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(binary, strings.Fields(strings.ReplaceAll(args, "FIFO", fifo))...)
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer cmd.Process.Kill()
			testkit.Eventually(t, "the command to open the FIFO", func() bool {
				f, err := os.OpenFile(fifo, os.O_WRONLY|syscall.O_NONBLOCK, 0)
				if err == nil {
					t.Cleanup(func() { f.Close() })
				}
				return err == nil
			})
			cmd.Process.Signal(os.Interrupt)
			ended := make(chan error, 1)
			go func() { ended <- cmd.Wait() }()
			select {
			case <-ended:
			case <-time.After(time.Minute):
				t.Fatal("it still waits")
			}
			if code := cmd.ProcessState.ExitCode(); code != int(cli.ExitInterrupted) {
				t.Errorf("exit code %d: %s", code, &stderr)
			}
		})
	}
}

// TestNoHangUp checks that a scan under nohup ignores SIGHUP, and other signals not.
func TestNoHangUp(t *testing.T) {
	testkit.NeedProc(t)
	signal.Ignore(syscall.SIGHUP) // which children inherit
	s := startScan(t, 0)
	signal.Reset(syscall.SIGHUP)
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "SigIgn:")
	ignored, err := strconv.ParseUint(strings.Fields(rest)[0], 16, 64)
	if err != nil || ignored&1 == 0 {
		t.Errorf("SIGHUP is not ignored: %#x, %v", ignored, err)
	}
	s.Process.Signal(syscall.SIGTERM)
	if code := s.exitCode(t); code != int(cli.ExitInterrupted) {
		t.Errorf("exit code %d", code)
	}
}

// TestInterruptedKeepsWholeReport checks that a partial report replaces no whole
// one.
func TestInterruptedKeepsWholeReport(t *testing.T) {
	testkit.NeedProc(t)
	s := startScan(t, 0)
	if err := os.WriteFile(s.output, []byte("whole"), 0o666); err != nil {
		t.Fatal(err)
	}
	s.Process.Signal(os.Interrupt)
	s.exitCode(t)
	if b, err := os.ReadFile(s.output); err != nil || string(b) != "whole" {
		t.Errorf("the report is now %q, %v", b, err)
	}
	if b, err := os.ReadFile(s.output + ".partial"); err != nil || !json.Valid(b) {
		t.Errorf("the partial report is %q, %v", b, err)
	}
	if !strings.Contains(s.stderr.String(), "the partial report is") {
		t.Errorf("it does not say where the partial report is: %s", &s.stderr)
	}
}

// TestKilledParent checks that SIGKILL, which no program can act on, leaves no
// worker either, though they are busy.
func TestKilledParent(t *testing.T) {
	testkit.NeedProc(t)
	s := startScan(t, 4, "--mode", "processes")
	s.Process.Kill()
	s.Wait()
	testkit.Eventually(t, "the workers to end", func() bool {
		for _, pid := range s.workers {
			if testkit.Alive(pid) {
				return false
			}
		}
		return true
	})
}

// TestKilledWorkers checks that a scan whose busy workers are killed, all of
// them, goes on with others; and that a second time names the files.
func TestKilledWorkers(t *testing.T) {
	testkit.NeedProc(t)
	s := startScan(t, 4, "--mode", "processes")
	first := s.workers
	testkit.Kill(first)
	testkit.Eventually(t, "other workers", func() bool {
		s.workers = busyChildren(s.Process.Pid)
		return len(s.workers) == 4 && !slices.ContainsFunc(s.workers, func(pid int) bool { return slices.Contains(first, pid) })
	})
	testkit.Kill(s.workers)
	if code := s.exitCode(t); code != int(cli.ExitIncomplete) {
		t.Errorf("exit code %d, want %d\n%s", code, int(cli.ExitIncomplete), &s.stderr)
	}
	b, err := os.ReadFile(s.output)
	if err != nil || strings.Count(string(b), "two worker processes failed at it, the second: signal: killed") != 4 {
		t.Errorf("it must name the four files: %s, %v", b, err)
	}
}

// TestLambdaLimits runs 100 workers with what a Lambda function has: 1,024 file
// descriptors, and 1,024 processes and threads.
func TestLambdaLimits(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "efs")
	output(t, "fixtures", dir, "--files", "300", "--size", "256KiB")
	group := newCgroup(t, "pids", "pids.max", "pids.max", 1024)
	for _, mode := range []string{"goroutines", "processes"} {
		t.Run(mode, func(t *testing.T) {
			script := `echo $$ > "$1" && ulimit -n 1024 && shift && exec "$@"`
			out, err := exec.Command("sh", "-c", script, "sh", filepath.Join(group, "cgroup.procs"),
				binary, "scan", "--mode", mode, "--workers", "100", "--hash-all", "--format", "json", dir).Output()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			var report struct {
				Stats struct {
					Groups    int `json:"duplicate_groups"`
					Processes int `json:"worker_processes"`
				}
			}
			if err := json.Unmarshal(out, &report); err != nil {
				t.Fatal(err)
			}
			if want := map[string]int{"goroutines": 0, "processes": 100}[mode]; report.Stats.Groups != 2 || report.Stats.Processes != want {
				t.Errorf("got %+v, want 2 groups and %d processes", report.Stats, want)
			}
		})
	}

	t.Run("too few descriptors", func(t *testing.T) {
		cmd := exec.Command("sh", "-c", `ulimit -n 128 && exec "$@"`, "sh", binary, "scan", "--mode", "processes", "--workers", "100", dir)
		out, _ := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() != int(cli.ExitNoAnswer) || !strings.Contains(string(out), "use at most 32 workers, or raise it with ulimit -n") {
			t.Errorf("exit code %d: %s", cmd.ProcessState.ExitCode(), out)
		}
	})
}

// newCgroup makes a cgroup with a limit. Versions 1 and 2 of cgroups call it v1 and v2.
func newCgroup(t *testing.T, controller, v1, v2 string, limit int64) (dir string) {
	t.Helper()
	root, file := "/sys/fs/cgroup", v2
	if _, err := os.Stat(filepath.Join(root, controller)); err == nil {
		root, file = filepath.Join(root, controller), v1
	}
	dir, err := os.MkdirTemp(root, "dedupe-test-")
	if err != nil {
		t.Skipf("can't make a cgroup: %v; run it as root on a machine with cgroups", err)
	}
	t.Cleanup(func() { // the kernel may still be busy with it
		testkit.Eventually(t, "the cgroup to be empty", func() bool { return os.Remove(dir) == nil })
	})
	if err := os.WriteFile(filepath.Join(dir, file), []byte(strconv.FormatInt(limit, 10)), 0); err != nil {
		t.Skipf("can't limit a cgroup: %v; enable the %s controller", err, controller)
	}
	return dir
}

// TestBrokenPipe checks that a reader who has seen enough ends the scan quietly.
func TestBrokenPipe(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "efs")
	output(t, "fixtures", dir, "--files", "3000", "--size", "1KiB")
	out, err := exec.Command("sh", "-c", `"$1" scan --mode processes --format fdupes "$2" | head -1`, "sh", binary, dir).CombinedOutput()
	if err != nil || bytes.Count(out, []byte("\n")) != 1 {
		t.Errorf("%v\n%s", err, out)
	}
}
