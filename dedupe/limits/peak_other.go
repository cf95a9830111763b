//go:build !linux

package limits

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// PeakMemory returns the peak memory of a process in bytes, or 0 if unknown. This
// system reports it for the calling process only.
func PeakMemory(pid int, _ bool) int64 {
	var used unix.Rusage
	if pid != os.Getpid() || unix.Getrusage(unix.RUSAGE_SELF, &used) != nil {
		return 0
	}
	if runtime.GOOS == "darwin" {
		return used.Maxrss // macOS reports bytes, every other system kilobytes
	}
	return used.Maxrss << 10
}
