package cli

import "syscall"

// stdoutAtStart is what fcntl(1, F_GETFD) returned when the process began. The Go runtime
// opens /dev/null in place of a closed standard output before any Go code runs, and from
// then on nobody can tell. So start_dedupe asks first: programs are linked with it as
// their entry point (-ldflags '-E start_dedupe', on Linux). It then goes on to the
// runtime's own. In a program linked without it, this stays 0.
var stdoutAtStart int64

func stdoutWasClosed() bool { return stdoutAtStart == -int64(syscall.EBADF) }
