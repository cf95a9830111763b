package limits

import (
	"runtime"
	"sync"
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

// MoreThreads lets the Go runtime run n more threads at once, until giveBack is called.
// While a thread waits for a file system it takes the place of one that could run, for up
// to 10 ms if the runtime had little to do before.
func MoreThreads(n int) (giveBack func()) {
	more := func(n int) {
		threads.Lock()
		defer threads.Unlock()
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + n)
	}
	more(n)
	return func() { more(-n) }
}

// threads guards the number of threads, which the runtime can only replace.
var threads sync.Mutex
