package mount

import (
	"errors"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
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
	all := Read()
	if len(all.nfsPoints()) == 0 {
		return
	}
	runtime.LockOSThread() // see othersRun
	defer runtime.UnlockOSThread()
	for deadline := time.Now().Add(time.Second); ; {
		// A thread that runs may be about to return from open(2). One that waits for a
		// server that is gone opens nothing.
		for othersRun() && time.Now().Before(deadline) {
			time.Sleep(time.Millisecond)
		}
		fds := all.openOnNFS()
		if len(fds) == 0 || !closeAtOnce(fds) {
			return
		}
	}
}

// othersRun reports whether a thread of this process runs, besides the caller's.
func othersRun() bool {
	const dir = "/proc/self/task/"
	self := strconv.Itoa(unix.Gettid())
	threads, _ := os.ReadDir(dir)
	return slices.ContainsFunc(threads, func(e os.DirEntry) bool {
		stat, _ := os.ReadFile(dir + e.Name() + "/stat") // TID (name) state …
		_, state, _ := strings.Cut(string(stat), ") ")
		return e.Name() != self && strings.HasPrefix(state, "R")
	})
}

// closeAtOnce begins to close descriptors and returns once all are free. It returns false
// if the kernel cannot.
func closeAtOnce(fds []int) bool {
	failed := make(chan error, len(fds))
	for rest := fds; len(rest) > 0; {
		n := 1
		for n < len(rest) && rest[n] == rest[0]+n {
			n++
		}
		first, last := uint(rest[0]), uint(rest[n-1])
		go func() { // it frees them all, then waits for the server
			if err := unix.CloseRange(first, last, 0); err != nil {
				failed <- err
			}
		}()
		rest = rest[n:]
	}
	for slices.ContainsFunc(fds, isOpen) {
		select {
		case <-failed:
			return false
		case <-time.After(time.Millisecond):
		}
	}
	return true
}

func isOpen(fd int) bool {
	_, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	return !errors.Is(err, unix.EBADF)
}

// openOnNFS returns the descriptors of files on NFS, sorted, except those of stdio. It asks
// no server.
func (all *Table) openOnNFS() (fds []int) {
	const dir, stderr = "/proc/self/fd/", 2
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil || fd <= stderr {
			continue
		}
		path, err := os.Readlink(dir + e.Name())
		if err != nil || !strings.HasPrefix(path, "/") {
			continue
		}
		if m, _, err := all.Of(path); err == nil && m.IsNFS() {
			fds = append(fds, fd)
		}
	}
	slices.Sort(fds)
	return fds
}
