package cli

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// isClosed reports whether standard output was closed when the program began. By now Go
// has opened /dev/null in its place, for reading, too, as shells do not. Some programs do,
// to discard what a program prints. Those that discard its errors as well can't be told
// from a program without any output, so they pass.
func isClosed(stdout *os.File) bool {
	return stdout != nil && stdout.Name() == os.Stdout.Name() && isNull(syscall.Stdout, unix.O_RDWR) && !isNull(syscall.Stderr, -1)
}

// isNull reports whether a descriptor is /dev/null, opened with an access mode, or any if
// it is -1.
func isNull(fd, access int) bool {
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFCHR || st.Rdev != unix.Mkdev(1, 3) {
		return false
	}
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	return err == nil && (access < 0 || flags&unix.O_ACCMODE == access)
}
