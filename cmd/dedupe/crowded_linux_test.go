package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// TestCrowded scans as a user who may have 20 threads: with fewer workers, but all files,
// and without the dump of a crash.
func TestCrowded(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can become another user: run it as root")
	}
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("bash is missing: install it: ", err)
	}
	defer syscall.Umask(syscall.Umask(0o022))        // another user reads the files
	dir, err := os.MkdirTemp("/tmp", "dedupe-test-") // that of the test is for root alone
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "dedupe"), program, 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range 300 {
		if err := os.WriteFile(filepath.Join(dir, strconv.Itoa(i)), make([]byte, 200<<10), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	nobody := uint32(20_000 + os.Getpid()%40_000) // as whom nothing else runs on this machine
	store := dir + "-store"
	if err := os.Mkdir(store, 0o777); err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(store)
	if err := os.Chmod(store, 0o777); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"scan --workers 100 --mode goroutines", "scan --workers 100 --mode processes", "job run --workers 19 --max-concurrency 20 --store " + store} {
		cmd := exec.Command(bash, "-c", "ulimit -u 20 && exec ./dedupe "+command+" -q --exclude dedupe --format json .")
		cmd.Dir = dir
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		out, err := cmd.Output()
		var r struct {
			Workers int
			Groups  []struct{ Files []any }
		}
		if failed := json.Unmarshal(out, &r); err != nil || failed != nil || r.Workers > 19 || len(r.Groups) != 1 || len(r.Groups[0].Files) != 300 {
			stderr := []byte(nil)
			if exit, ok := err.(*exec.ExitError); ok {
				stderr = exit.Stderr
			}
			t.Errorf("%s: %v, %d workers, %d groups\n%s", command, err, r.Workers, len(r.Groups), stderr)
		}
	}
}

// TestNoDevices scans where there is no /dev/null.
func TestNoDevices(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can mount")
	}
	unshare, err := exec.LookPath("unshare")
	if err != nil {
		t.Skip("no unshare, which hides /dev: ", err)
	}
	t.Chdir(t.TempDir())
	for _, name := range []string{"a", "b"} {
		if err := os.WriteFile(name, []byte("same"), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range []string{"scan --mode processes a b", "job run --store store a b"} {
		cmd := exec.Command(unshare, "-m", "sh", "-c", "mount -t tmpfs none /dev && exec "+binary+" "+args+" 2>&1")
		cmd.Stdin = strings.NewReader("")
		if out, err := cmd.Output(); err != nil || !strings.Contains(string(out), "1 duplicate group") {
			t.Errorf("%s: %v: %s", args, err, out)
		}
	}
}
