//go:build !linux

package pool

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// PeakMemory returns the most memory that a process has held, in bytes, or 0 if
// the kernel does not tell: here it tells of this process alone.
func PeakMemory(pid int, _ bool) int64 {
	var used unix.Rusage
	if pid != os.Getpid() || unix.Getrusage(unix.RUSAGE_SELF, &used) != nil {
		return 0
	}
	if runtime.GOOS == "darwin" {
		return used.Maxrss // the only one that counts in bytes
	}
	return used.Maxrss << 10
}
