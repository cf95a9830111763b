package mount

import (
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// TestCloseAtOnce closes files with a gap between them. That an exit then does not wait
// for an NFS server is tested with one, in fixtures/nfs.
func TestCloseAtOnce(t *testing.T) {
	var fds []int
	for range 5 {
		fd, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		fds = append(fds, fd)
	}
	kept := fds[2]
	defer unix.Close(kept)
	fds = append(fds[:2], fds[3:]...)
	if !closeAtOnce(fds) {
		t.Skip("close_range needs Linux 5.9: run it there")
	}
	for _, fd := range fds {
		if isOpen(fd) {
			t.Errorf("%d is open", fd)
		}
	}
	if _, err := unix.FcntlInt(uintptr(kept), unix.F_GETFD, 0); errors.Is(err, unix.EBADF) {
		t.Errorf("%d was closed", kept)
	}
}
