//go:build !linux

package memory

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Peak returns the peak memory of a process in bytes, or 0 if unknown. This
// system reports it for the calling process only.
func Peak(pid int, _ bool) int64 {
	var used unix.Rusage
	if pid != os.Getpid() || unix.Getrusage(unix.RUSAGE_SELF, &used) != nil {
		return 0
	}
	if runtime.GOOS == "darwin" {
		return used.Maxrss // macOS reports bytes, every other system kilobytes
	}
	return used.Maxrss << 10
}
