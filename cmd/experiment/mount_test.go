package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"efsdedupe/cmd/internal/cli"
	"efsdedupe/fixtures/efs"
	"efsdedupe/fixtures/testkit"
)

// needFUSE skips a test where the program can't mount anything.
func needFUSE(t *testing.T) {
	t.Helper()
	if f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0); err != nil {
		t.Skip("the EFS mount needs Linux and /dev/fuse: ", err)
	} else {
		f.Close()
	}
	if os.Geteuid() != 0 {
		t.Skip("only root can mount without fusermount3: run it as root")
	}
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("this root can't mount file systems: run it in a virtual machine or a privileged container: %s", strings.Join(strings.Fields(string(out)), " "))
	}
	if err := exec.Command("umount", dir).Run(); err != nil {
		t.Fatal(err)
	}
}

// mounting is the program that shows a directory at dst.
type mounting struct {
	*exec.Cmd
	dst, counters string
}

// startMount returns when the mount is there; it ends with the test.
func startMount(t *testing.T, src, dst string, flags ...string) *mounting {
	t.Helper()
	m := &mounting{dst: dst, counters: filepath.Join(t.TempDir(), "counters.json")}
	m.Cmd = exec.Command(experiment, append([]string{"mount", src, dst, "--counters", m.counters}, flags...)...)
	out, err := m.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	m.Stderr = &stderr
	if err := m.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		m.Process.Signal(syscall.SIGTERM)
		m.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != src+" is mounted at "+dst+"\n" {
		t.Fatalf("%q, %v, %s", line, err, &stderr)
	}
	return m
}

// stop ends the program and returns what it counted.
func (m *mounting) stop(t *testing.T, signal syscall.Signal) (c efs.Counters) {
	t.Helper()
	m.Process.Signal(signal)
	if err := m.Wait(); err != nil {
		t.Errorf("it did not end well: %v", err)
	}
	if mounts(t, m.dst) {
		t.Errorf("it is still mounted")
	}
	return m.read(t)
}

func (m *mounting) read(t *testing.T) (c efs.Counters) {
	t.Helper()
	b, err := os.ReadFile(m.counters)
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func mounts(t *testing.T, dst string) bool {
	t.Helper()
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Contains(string(b), " "+dst+" ")
}

// TestMountedScan scans the standard set from an EFS mount: what the scan says it
// opened and read is what the mount counts, in both modes.
func TestMountedScan(t *testing.T) {
	needFUSE(t)
	src := filepath.Join(t.TempDir(), "efs")
	if out, err := exec.Command(dedupe, "fixtures", src).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, mode := range []string{"goroutines", "processes"} {
		t.Run(mode, func(t *testing.T) {
			// A page that the kernel drops before it is used is read again; where a
			// host takes memory from this machine, that happens now and then.
			var wrong string
			for range 10 {
				if wrong = mountedScan(t, src, mode); wrong == "" {
					return
				}
				t.Log(wrong)
			}
			t.Fatal("not once in ten times: ", wrong)
		})
	}
}

// mountedScan returns what the scan and the mount do not agree about.
func mountedScan(t *testing.T, src, mode string) string {
	m := startMount(t, src, filepath.Join(t.TempDir(), "mnt"))
	out, err := exec.Command(dedupe, "scan", "--mode", mode, "--workers", "100", "--format", "json", m.dst).Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var report struct {
		Complete bool
		Stats    struct {
			Opens  int64 `json:"opens"`
			Bytes  int64 `json:"bytes_read"`
			Groups int64 `json:"duplicate_groups"`
		}
	}
	if err := json.Unmarshal(out, &report); err != nil {
		t.Fatal(err)
	}
	if !report.Complete || report.Stats.Groups != 2 || report.Stats.Opens != 100 || report.Stats.Bytes != 100<<20 {
		t.Errorf("%+v", report)
	}
	c := m.stop(t, syscall.SIGTERM)
	return cmp.Diff(efs.Counters{
		Opens: report.Stats.Opens, Closes: report.Stats.Opens, Accesses: c.Accesses, Readdirs: 1,
		BytesRead: report.Stats.Bytes, MeteredReadBytes: report.Stats.Bytes,
		Reads: c.Reads, Getattrs: c.Getattrs, MeteredMetadataBytes: c.MeteredMetadataBytes,
	}, c)
}

// TestMountEnds ends a mount in every way that a program ends, and starts the
// next at the same place.
func TestMountEnds(t *testing.T) {
	needFUSE(t)
	src, dst := t.TempDir(), filepath.Join(t.TempDir(), "mnt")
	if err := os.WriteFile(filepath.Join(src, "file"), []byte("content"), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		m := startMount(t, src, dst, "--cold")
		file, err := os.Open(filepath.Join(dst, "file")) // the mount is busy
		if err != nil {
			t.Fatal(err)
		}
		if c := m.stop(t, signal); c.Opens != 1 || c.Lookups != 1 {
			t.Errorf("%v: %+v", signal, c)
		}
		file.Close()
	}

	killed := startMount(t, src, dst)
	file, err := os.Open(filepath.Join(dst, "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	killed.Process.Kill()
	killed.Wait()
	if _, err := os.ReadDir(dst); !errors.Is(err, syscall.ENOTCONN) {
		t.Errorf("a killed mount leaves a stale one: %v", err)
	}
	m := startMount(t, src, dst)
	if b, err := os.ReadFile(filepath.Join(dst, "file")); err != nil || string(b) != "content" {
		t.Errorf("%q, %v", b, err)
	}
	if c := m.read(t); c.Opens != 0 {
		t.Errorf("nobody has asked for the counters yet: %+v", c)
	}
	m.Process.Signal(syscall.SIGUSR1)
	testkit.Eventually(t, "the counters", func() bool { return m.read(t).Opens == 1 })

	if err := syscall.Unmount(dst, 0); err != nil { // by another
		t.Fatal(err)
	}
	ended := time.AfterFunc(30*time.Second, func() { m.Process.Kill() })
	defer ended.Stop()
	if err := m.Wait(); err != nil {
		t.Errorf("it did not end well: %v", err)
	}
	if mounts(t, dst) {
		t.Error("there is a mount left")
	}
}

// TestMountBadInput checks that bad input gives one line and no mount.
func TestMountBadInput(t *testing.T) {
	needFUSE(t)
	full, empty := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "file"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{full}, "DST is missing: use 'experiment mount [flags] SRC DST'"},
		{[]string{empty, full}, "is not empty; name an empty directory to mount at"},
		{[]string{full + "/missing", empty}, "name the directory to show"},
		{[]string{full, empty, "--throughput", "fast"}, "not a rate: write bytes a second such as 500MiB/s"},
		{[]string{full, empty, "--throughput", "1KiB/s"}, "choose at least 1MiB/s"},
		{[]string{full, empty, "--read-latency", "-1s"}, "choose 0 to 1m"},
		{[]string{full, empty, "--counters", full + "/missing/counters"}, "choose another --counters"},
	} {
		cmd := exec.Command(experiment, append([]string{"mount"}, test.args...)...)
		out, err := cmd.CombinedOutput()
		if err == nil || cmd.ProcessState.ExitCode() != int(cli.ExitNoAnswer) || bytes.Count(out, []byte("\n")) != 1 || !strings.Contains(string(out), test.want) {
			t.Errorf("%q: %v: %s", test.args, err, out)
		}
		if mounts(t, empty) || mounts(t, full) {
			t.Errorf("%q: it is mounted", test.args)
		}
	}
}
