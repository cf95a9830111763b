package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"efsdedupe/cmd/experiment/internal/results"
	"efsdedupe/fixtures/aws"
	"efsdedupe/fixtures/testkit"
)

func needStateMachines(t *testing.T) {
	t.Helper()
	if _, err := aws.EmulatorInstalled(); err != nil {
		t.Skip(err)
	}
	needBoxes(t)
}

// A state machine's helpers return what one call does, and no function waits for them.
func TestStateMachine(t *testing.T) {
	needStateMachines(t)
	cmd := exec.Command(experiment, "run", "--tasks", "7", "--runs", "1", "--memory", "512", "--workload", "scan,fib,fetch",
		"--modes", "helpers-stepfunctions", "--helpers", "3", "--format", "json")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, &stderr)
	}
	e, err := results.Read(bytes.NewReader(out))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range e.Series {
		if s.Helpers == 0 {
			continue // the mode product
		}
		if s.Mode != "helpers-stepfunctions-3" || s.Transitions != 7 || len(s.Calls) != 3 {
			t.Errorf("%s %s: %d transitions, %d calls", s.Workload, s.Mode, s.Transitions, len(s.Calls))
		}
		for _, c := range s.Calls {
			if c.Outcome != results.OK || len(c.Helpers) != 3 || c.Wait <= 0 || c.Duration <= c.Wait || c.Cold != (c.Helpers[0].Init > 0) {
				t.Errorf("%s: %+v", s.Workload, c)
			}
		}
	}
	var doc struct {
		Rows []struct {
			Helpers int
			Bill    struct{ Transitions, Requests float64 }
		}
	}
	if err := json.Unmarshal(out, &doc); err != nil {
		t.Fatal(err)
	}
	// 50 million calls of 7 transitions at 0.000025 dollars, and of 4 requests at 0.0000002.
	if b := doc.Rows[0].Bill; b.Transitions != 8750 || b.Requests != 8790 {
		t.Errorf("the bill has %v", b)
	}
}

// emulators are the processes that keep temporary files where the experiment does.
func (b *measuring) emulators() (pids []int) {
	environs, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, path := range environs {
		environ, _ := os.ReadFile(path)
		if bytes.Contains(environ, []byte("\x00TMPDIR="+b.tmp+"/dedupe-experiment-")) {
			pids = append(pids, pidOf(path))
		}
	}
	return pids
}

// TestStateMachineKilled kills parts of an experiment that has an emulator. Nothing may be
// left of that either.
func TestStateMachineKilled(t *testing.T) {
	needStateMachines(t)
	for name, strike := range map[string]func(b *measuring){
		"the program":              func(b *measuring) { b.Process.Kill() },
		"the experiment's process": func(b *measuring) { testkit.Kill(b.children()) },
		"with SIGTERM":             func(b *measuring) { b.Process.Signal(syscall.SIGTERM) },
		"the emulator":             func(b *measuring) { testkit.Kill(b.emulators()) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := startRun(t, "helpers-stepfunctions")
			group, pids := b.group(), slices.Concat(b.boxed(), b.children(), b.emulators())
			if len(b.emulators()) == 0 {
				t.Fatal("no emulator runs")
			}
			strike(b)
			if err := b.Wait(); err == nil {
				t.Error("it ended well")
			}
			b.clean(t, group, pids)
		})
	}
}

// TestStateMachineSurvives kills a helper, or all. The execution fails, and the experiment
// goes on.
func TestStateMachineSurvives(t *testing.T) {
	needStateMachines(t)
	for name, victims := range map[string]func([]int) []int{
		"all": func(pids []int) []int { return pids },
		"one": func(pids []int) []int { return pids[:1] },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := startRun(t, "helpers-stepfunctions")
			group, killed := b.group(), b.boxed()
			testkit.Kill(victims(killed))
			testkit.Eventually(t, "tasks in other boxes", func() bool {
				now := b.boxed()
				return len(now) > 2 && !slices.ContainsFunc(now, func(pid int) bool { return slices.Contains(killed, pid) })
			})
			pids := slices.Concat(killed, b.boxed(), b.children(), b.emulators())
			b.Process.Signal(os.Interrupt)
			b.Wait()
			b.clean(t, group, pids)
		})
	}
}
