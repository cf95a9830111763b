package main

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"efsdedupe/cmd/internal/cli"
	"efsdedupe/fixtures/lambda/box"
	"efsdedupe/fixtures/testkit"
)

// needBoxes skips a test where there can be no boxes and mounts.
func needBoxes(t *testing.T) {
	t.Helper()
	if err := box.Available(); err != nil {
		t.Skip(err)
	}
	needFUSE(t)
}

// measuring is an experiment that goes on for longer than any test.
type measuring struct {
	*exec.Cmd
	tmp    string // where it keeps what it must not leave behind
	stderr bytes.Buffer
}

// startRun returns when tasks run in boxes, in a mode that has more than two processes.
func startRun(t *testing.T, mode string) *measuring {
	t.Helper()
	b := &measuring{tmp: t.TempDir()}
	args := []string{"run", "--memory", "512", "--runs", "1000", "--modes", mode}
	if mode != "processes" {
		args = append(args, "--helpers", "5")
	}
	b.Cmd = exec.Command(experiment, args...)
	b.Cmd.Env = append(os.Environ(), "TMPDIR="+b.tmp)
	b.Cmd.Stderr = &b.stderr
	b.Cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := b.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Process.Kill() })
	testkit.Eventually(t, "tasks in a box", func() bool { return len(b.boxed()) > 2 })
	return b
}

// group is the name of the cgroup of an experiment: that of its directory.
func (b *measuring) group() string {
	dirs, _ := filepath.Glob(filepath.Join(b.tmp, "dedupe-experiment-*"))
	if len(dirs) != 1 {
		return ""
	}
	return filepath.Base(dirs[0])
}

// cgroups are the directories of an experiment's cgroups, in all hierarchies.
func cgroups(group string) (dirs []string) {
	filepath.WalkDir("/sys/fs/cgroup", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && strings.Contains(path, "/"+group) {
			dirs = append(dirs, path)
		}
		return nil
	})
	return dirs
}

// boxed are the processes in the boxes of an experiment.
func (b *measuring) boxed() (pids []int) {
	group := b.group()
	if group == "" {
		return nil
	}
	for _, dir := range cgroups(group) {
		procs, _ := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		for line := range strings.Lines(string(procs)) {
			pid, _ := strconv.Atoi(strings.TrimSpace(line))
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return slices.Compact(pids)
}

// children returns the children of the experiment's own process.
func (b *measuring) children() []int { return testkit.Children(b.Process.Pid) }

// pidOf is the process of a path /proc/PID/FILE.
func pidOf(path string) int {
	pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
	return pid
}

// clean waits until nothing is left of an experiment: no process, no cgroup, no
// mount in any process's namespace, and no file.
func (b *measuring) clean(t *testing.T, group string, pids []int) {
	t.Helper()
	testkit.Eventually(t, "the processes to end", func() bool { return !slices.ContainsFunc(pids, testkit.Alive) })
	testkit.Eventually(t, "the cgroups to go", func() bool { return len(cgroups(group)) == 0 })
	testkit.Eventually(t, "the mounts to go", func() bool {
		tables, _ := filepath.Glob("/proc/[0-9]*/mountinfo")
		return !slices.ContainsFunc(tables, func(table string) bool {
			mounts, _ := os.ReadFile(table)
			return bytes.Contains(mounts, []byte(group))
		})
	})
	testkit.Eventually(t, "the files to go", func() bool {
		left, err := os.ReadDir(b.tmp)
		return err == nil && len(left) == 0
	})
}

// TestRunKilled kills one part of an experiment after the other. Nothing may be left.
func TestRunKilled(t *testing.T) {
	needBoxes(t)
	victims := map[string]func(b *measuring){
		"the program":               func(b *measuring) { b.Process.Kill() },
		"the experiment's process":  func(b *measuring) { testkit.Kill(b.children()) },
		"with SIGTERM":              func(b *measuring) { b.Process.Signal(syscall.SIGTERM) },
		"with SIGINT":               func(b *measuring) { b.Process.Signal(os.Interrupt) },
		"the group of the terminal": func(b *measuring) { syscall.Kill(-b.Process.Pid, syscall.SIGKILL) },
	}
	for name, strike := range victims {
		for _, mode := range []string{"processes", "helpers"} {
			t.Run(mode+" "+name, func(t *testing.T) {
				t.Parallel()
				b := startRun(t, mode)
				group, pids := b.group(), append(b.boxed(), b.children()...)
				strike(b)
				err := b.Wait()
				b.clean(t, group, pids)
				if code := b.ProcessState.ExitCode(); strings.HasPrefix(name, "with") && code != int(cli.ExitInterrupted) {
					t.Errorf("exit code %d, %v: %s", code, err, &b.stderr)
				}
			})
		}
	}
}

// TestRunKilledAtOnce kills all processes at once. The next experiment must remove what
// they leave.
func TestRunKilledAtOnce(t *testing.T) {
	needBoxes(t)
	b := startRun(t, "helpers")
	group, pids := b.group(), append(b.children(), b.boxed()...)
	b.Process.Signal(syscall.SIGSTOP)
	testkit.Kill(append(pids, b.Process.Pid))
	b.Wait()
	next := exec.Command(experiment, "run", "--tasks", "2", "--runs", "1", "--memory", "512", "--workload", "fib")
	next.Env = b.Env
	if out, err := next.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	b.clean(t, group, pids)
}

// TestRunSurvives kills the processes in boxes, be it all or one of a main function and its
// helpers. That call fails, and the experiment goes on.
func TestRunSurvives(t *testing.T) {
	needBoxes(t)
	all := func(pids []int) []int { return pids }
	for name, victims := range map[string]func([]int) []int{
		"processes": all,
		"helpers":   all,
		"helpers 0": func(pids []int) []int { return pids[:1] }, // the main function began first
		"helpers 1": func(pids []int) []int { return pids[1:2] },
		"helpers 2": func(pids []int) []int { return pids[2:3] },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mode, _, _ := strings.Cut(name, " ")
			b := startRun(t, mode)
			group, killed := b.group(), b.boxed()
			victim := victims(killed)
			testkit.Kill(victim)
			testkit.Eventually(t, "tasks in other boxes", func() bool {
				now := b.boxed()
				return len(now) > 2 && !slices.ContainsFunc(now, func(pid int) bool { return slices.Contains(killed, pid) })
			})
			pids := slices.Concat(killed, b.boxed(), b.children())
			b.Process.Signal(os.Interrupt)
			b.Wait()
			b.clean(t, group, pids)
		})
	}
}

// TestRunTwoAtOnce checks that two experiments have boxes of their own: each
// ends well while the other is killed.
func TestRunTwoAtOnce(t *testing.T) {
	needBoxes(t)
	endless := startRun(t, "processes")
	group, pids := endless.group(), append(endless.boxed(), endless.children()...)
	var out bytes.Buffer
	other := exec.Command(experiment, "run", "--tasks", "4", "--runs", "3", "--memory", "512", "--format", "json")
	other.Stdout, other.Stderr = &out, os.Stderr
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	endless.Process.Kill()
	endless.Wait()
	if err := other.Wait(); err != nil || !bytes.Contains(out.Bytes(), []byte("dedupe.bench/v1")) {
		t.Errorf("%v: %.300s", err, &out)
	}
	endless.clean(t, group, pids)
}
