package mount

import (
	"errors"
	"os"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// LetGo closes all files on NFS that this process has open, without waiting for servers.
// Call it just before the process exits, if calls that nobody waits for may hang.
//
// Linux before 6.15 waits for the server to confirm each file that a process still has
// open when it exits, and nothing can end that wait. But a process that is already in
// close(2) when it exits does not wait. Linux before 5.9 cannot close files at once, and
// LetGo does nothing there.
func LetGo() {
	fds, err := openOnNFS()
	if err != nil {
		return
	}
	for len(fds) > 0 {
		n := 1
		for n < len(fds) && fds[n] == fds[0]+n {
			n++
		}
		closeAtOnce(fds[0], fds[n-1])
		fds = fds[n:]
	}
}

// closeAtOnce begins to close descriptors and returns once they are free.
func closeAtOnce(first, last int) {
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		unix.CloseRange(uint(first), uint(last), 0) // which frees all before it waits for one
	}()
	for isOpen(last) {
		select {
		case <-closed:
			return
		case <-time.After(time.Millisecond):
		}
	}
}

func isOpen(fd int) bool {
	_, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	return !errors.Is(err, unix.EBADF)
}

// openOnNFS returns the descriptors of files on NFS, sorted. It asks no server.
func openOnNFS() (fds []int, err error) {
	all := Read()
	if len(all.nfsPoints()) == 0 {
		return nil, nil
	}
	const dir = "/proc/self/fd/"
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		fd, bad := strconv.Atoi(e.Name())
		path, gone := os.Readlink(dir + e.Name())
		if bad != nil || gone != nil || path == "" || path[0] != '/' {
			continue
		}
		if m, _, err := all.Of(path); err == nil && m.isNFS() && fd > 2 {
			fds = append(fds, fd)
		}
	}
	slices.Sort(fds)
	return fds, err
}
