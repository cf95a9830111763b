package cli

import "syscall"

// atStart is what fcntl(fd, F_GETFD) returned for standard input, output and error when the
// process began. The Go runtime opens /dev/null in place of those that are closed before any
// Go code runs, and from then on nobody can tell. So start_dedupe asks first: programs are
// linked with it as their entry point (-ldflags '-E start_dedupe', on Linux). It then goes on
// to the runtime's own. In a program linked without it, these stay 0.
var atStart [3]int64

// wasClosed reports whether a descriptor was closed when the process began.
func wasClosed(fd int) bool {
	return fd >= 0 && fd < len(atStart) && atStart[fd] == -int64(syscall.EBADF)
}
