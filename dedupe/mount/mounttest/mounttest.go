// Package mounttest finds directories for tests that need a file system on which the
// index works. In a container, temporary files are often on an overlay, where it does not.
package mounttest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"efsdedupe/dedupe/mount"
)

// TrustedDir returns an empty directory on a file system that the index trusts and that
// has room for so many bytes. It skips the test if it neither finds nor can make one.
func TrustedDir(t testing.TB, room int64) string {
	t.Helper()
	dir := t.TempDir()
	if check(dir, room) == nil {
		return dir
	}
	dir, remove, err := MakeTrusted(room)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(remove)
	return dir
}

// MakeTrusted makes such a directory, and returns how to remove it: in TMPDIR, in
// /dev/shm, or on a tmpfs of its own, which only root can mount.
func MakeTrusted(room int64) (dir string, remove func(), err error) {
	why := "no file system that the index trusts, name one with TMPDIR"
	for _, parent := range []string{os.TempDir(), "/dev/shm"} {
		if dir, err = os.MkdirTemp(parent, "trusted-"); err != nil {
			why += fmt.Sprintf("; %v", err)
			continue
		}
		if err = check(dir, room); err == nil {
			return dir, func() { os.RemoveAll(dir) }, nil
		}
		os.Remove(dir)
		why += fmt.Sprintf("; %s: %v", parent, err)
	}
	if dir, err = os.MkdirTemp("", "trusted-"); err != nil {
		return "", nil, err
	}
	remove = func() {
		exec.Command("umount", "-l", dir).Run()
		os.Remove(dir)
	}
	if err = exec.Command("mount", "-t", "tmpfs", "tmpfs", dir).Run(); err == nil {
		err = check(dir, room)
	}
	if err != nil {
		remove()
		return "", nil, fmt.Errorf("%s; can't mount a tmpfs: %w", why, err)
	}
	return dir, remove, nil
}

// check returns why a directory will not do.
func check(dir string, room int64) error {
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return err
	}
	m, err := mount.Of(real)
	if err != nil {
		return err
	}
	if _, err := m.Identity(); err != nil {
		return err
	}
	var st unix.Statfs_t
	if err := unix.Statfs(real, &st); err != nil {
		return err
	}
	if free := int64(st.Bavail) * int64(st.Bsize); free < room {
		return fmt.Errorf("%d bytes are free, and the test needs %d", free, room)
	}
	return nil
}
