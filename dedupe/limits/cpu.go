package limits

import (
	"time"

	"golang.org/x/sys/unix"
)

// CPUTime returns the user and system time of this process so far, or 0 if unknown.
func CPUTime() time.Duration {
	var used unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &used); err != nil {
		return 0
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
