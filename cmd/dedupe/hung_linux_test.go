package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"efsdedupe/cmd/internal/cli"
	"efsdedupe/fixtures/efs"
)

// hungMount mounts a directory where "hung" never answers, and returns its path and a
// channel that tells of each look at it.
func hungMount(t *testing.T) (dir string, asked chan struct{}) {
	src := t.TempDir()
	if err := os.Mkdir(filepath.Join(src, "hung"), 0o777); err != nil {
		t.Fatal(err)
	}
	asked = make(chan struct{}, 100)
	_, dst := efs.MountForTest(t, src, efs.Options{Fault: func(ctx context.Context, c *efs.Call) syscall.Errno {
		if c.Path != "hung" {
			return 0
		}
		asked <- struct{}{}
		<-ctx.Done() // who asked is killed
		return syscall.EINTR
	}})
	return filepath.Join(dst, "hung"), asked
}

// TestHungCommands interrupts commands that wait for a mount which does not answer, wherever
// it is.
func TestHungCommands(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.MkdirAll("dir/hung", 0o777); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"dir/a", "dir/b"} {
		if err := os.WriteFile(name, []byte("same"), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	output(t, "scan", "-q", "--index", "index", "--format", "json", "-o", "report", "dir")
	output(t, "scan", "-q", "--index", "pruned", "dir")
	for _, args := range []string{
		"scan HUNG",
		"scan --output HUNG/report dir",
		"scan --index HUNG/index dir",
		"scan --files-from HUNG/list",
		"scan --protect HUNG/x dir",
		"report HUNG/report",
		"report --output HUNG/x report",
		"report --protect HUNG/x report",
		"cost --usage HUNG/x",
		"job run --store HUNG/jobs dir",
		"job run --store jobs HUNG",
		"job plan HUNG",
		"index stats HUNG/index",
		"index prune pruned HUNG",
		"index verify index HUNG",
		"doctor HUNG",
		"fixtures HUNG/x",
		"serve --root HUNG --listen 127.0.0.1:0",
		"serve --root dir --jobs HUNG/jobs --listen 127.0.0.1:0",
		"serve --root dir --index HUNG/index --listen 127.0.0.1:0",
	} {
		t.Run(args, func(t *testing.T) {
			t.Parallel()
			hung, asked := hungMount(t)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, binary, strings.Fields(strings.ReplaceAll(args, "HUNG", hung))...)
			var stderr strings.Builder
			cmd.Stderr = &stderr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			select {
			case <-asked:
			case <-ctx.Done():
			}
			cmd.Process.Signal(os.Interrupt)
			cmd.Wait()
			if code := cmd.ProcessState.ExitCode(); code != int(cli.ExitInterrupted) {
				t.Errorf("exit code %d, want %d\n%s", code, cli.ExitInterrupted, &stderr)
			}
		})
	}
}
