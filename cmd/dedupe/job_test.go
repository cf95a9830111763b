package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"efsdedupe/fixtures"
)

// TestJobKilled kills a job after each number of results, and runs it again. It must go on
// where it stopped, and find the groups that a scan finds.
func TestJobKilled(t *testing.T) {
	t.Chdir(t.TempDir())
	if _, err := fixtures.Make(t.Context(), "tree", fixtures.Spec{Files: 1000, Layout: fixtures.Tree, Seed: 5}); err != nil {
		t.Fatal(err)
	}
	groups := func(args ...string) string {
		out, err := exec.Command(binary, append(args, "--format", "json", "tree")...).Output()
		var doc struct{ Groups json.RawMessage }
		if err != nil || json.Unmarshal(out, &doc) != nil {
			t.Fatal(args, err)
		}
		return string(doc.Groups)
	}
	want := groups("scan")
	for results := range 7 {
		job := exec.Command(binary, "job", "run", "--store", "store", "--format", "json", "tree")
		ended := make(chan error)
		if err := job.Start(); err != nil {
			t.Fatal(err)
		}
		go func() { ended <- job.Wait() }()
		killed := killAfter(job, results, ended)
		if diff := cmp.Diff(want, groups("job", "run", "--store", "store")); diff != "" {
			t.Errorf("killed after %d results: %v (-scan +job):\n%s", results, killed, diff)
		}
	}
}

// killAfter kills a job as soon as so many results are in its store, and reports whether it
// had not ended before.
func killAfter(job *exec.Cmd, results int, ended <-chan error) bool {
	for {
		select {
		case <-ended:
			return false
		default:
		}
		if found, _ := filepath.Glob("store/job-*/*-result"); len(found) >= results {
			job.Process.Kill()
			return <-ended != nil
		}
	}
}

// TestJobResumes stops a job in the middle with a limit on its cost. The next run must not
// repeat the units that were done.
func TestJobResumes(t *testing.T) {
	t.Chdir(t.TempDir())
	if _, err := fixtures.Make(t.Context(), "tree", fixtures.Spec{Files: 100, Layout: fixtures.Tree, Seed: 5}); err != nil {
		t.Fatal(err)
	}
	units := 0
	for limit := 1; ; limit++ {
		cmd := exec.Command(binary, "job", "run", "--store", "store", "--summary", "--max-cost", fmt.Sprintf("%.4f", float64(limit)/1000), "tree")
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		err := cmd.Run()
		before, now := 0, 0
		if _, line, ok := strings.Cut(stderr.String(), "had stopped: "); ok {
			line = strings.Replace(line, "unit ", "units ", 1)
			if _, err := fmt.Sscanf(line, "%d units before, %d now", &before, &now); err != nil {
				t.Fatal(err, stderr.String())
			}
		}
		if before != units {
			t.Errorf("%d units were done, and %d count as done: %s", units, before, &stderr)
		}
		units += now
		if err == nil {
			break
		}
		if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || exit.ExitCode() != 4 || limit > 50 {
			t.Fatal(err, stderr.String())
		}
	}
	if left, _ := os.ReadDir("store"); units < 4 || len(left) > 0 {
		t.Errorf("%d units in all, and the store has %v", units, left)
	}
}
