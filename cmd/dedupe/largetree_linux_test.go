//go:build large

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// TestLargeTree scans more and more files in a cgroup. Every scan finds all groups, or
// says that the memory is too small, but the kernel kills none.
func TestLargeTree(t *testing.T) {
	const each, most = 10_000, 10
	dir := t.TempDir()
	for i := range each * most {
		path := filepath.Join(dir, strconv.Itoa(i/each), strconv.Itoa(i/1000), fmt.Sprint("file-with-some-name-", i))
		if i%1000 == 0 {
			if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(path, fmt.Appendf(nil, "%08d", i/2), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	outcomes := make(map[bool]int) // by whether there was a report
	for _, mode := range []string{"goroutines", "processes"} {
		for n := 1; n <= most; n *= 3 {
			args := []string{"scan", "-q", "--format", "json", "--mode", mode}
			for i := range n {
				args = append(args, filepath.Join(dir, strconv.Itoa(i)))
			}
			var out, errs bytes.Buffer
			cmd := exec.Command(binary, args...)
			cmd.Stdout, cmd.Stderr = &out, &errs
			err := limited(t, 32<<20, cmd)
			var report struct{ Groups []struct{} }
			switch {
			case err == nil:
				if err := json.Unmarshal(out.Bytes(), &report); err != nil || len(report.Groups) != n*each/2 {
					t.Errorf("%s: %d groups among %d files, error %v", mode, len(report.Groups), n*each, err)
				}
			case cmd.ProcessState.ExitCode() != 2 || !strings.Contains(errs.String(), "too many files for the memory"):
				t.Errorf("%s: %d files: %v: %s", mode, n*each, err, &errs)
			}
			outcomes[err == nil]++
		}
	}
	if outcomes[true] == 0 || outcomes[false] == 0 {
		t.Errorf("%d scans ended and %d failed: both cases should occur", outcomes[true], outcomes[false])
	}
	var out, errs bytes.Buffer
	cmd := exec.Command(binary, "job", "run", "-q", "--store", t.TempDir(), "--format", "json", dir)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := limited(t, 64<<20, cmd)
	var report struct{ Groups []struct{} }
	if err := errors.Join(err, json.Unmarshal(out.Bytes(), &report)); err != nil || len(report.Groups) != most*each/2 {
		t.Errorf("a job: %d groups, %v: %s", len(report.Groups), err, &errs)
	}
}

// limited runs a command in a cgroup with a limit of memory, in bytes.
func limited(t *testing.T, bytes int64, cmd *exec.Cmd) error {
	t.Helper()
	group := newCgroup(t, "memory", "memory.limit_in_bytes", "memory.max", bytes)
	// A shell joins the group and becomes the command.
	cmd.Args = append([]string{"sh", "-c", `echo $$ >"$0" && exec "$@"`, filepath.Join(group, "cgroup.procs"), cmd.Path}, cmd.Args[1:]...)
	cmd.Path = "/bin/sh"
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd.Run()
}
