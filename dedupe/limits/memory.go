// Package limits reports how much memory, and how many threads and processes, this process
// may use, and how much memory and processor time it used.
//
//	memory*.go       the memory limit, and how the Go runtime keeps to it
//	processors_*.go  how many processors cgroups allow
//	tasks_*.go       how many more threads and processes may start
//	cgroup_linux.go  where cgroups, v1 and v2, keep their limits
//	kernel_linux.go  reads what the kernel shows as files
//	peak_*.go        the peak memory of a process
//	cpu.go           the processor time of this one
//	await.go         calls that may hang, which are left behind
//	temporary.go     files for what is too large for memory
//	unwritten*.go    files that are written wait for the disk before they fill the limit
package limits

import (
	"math"
	"runtime/debug"
	"strconv"
	"sync"
)

// RespectMemory returns how many bytes this process and its children may use, or 0 if there is
// no limit. It is the least of GOMEMLIMIT, the memory of the Lambda function in
// AWS_LAMBDA_FUNCTION_MEMORY_SIZE (MiB), and the limits of the process's cgroups.
//
// It makes the garbage collector keep the Go heap below the limit, unless GOMEMLIMIT is
// set. It leaves an eighth, and no less than 12 MiB, for what the collector does not manage:
// the program itself, threads, the kernel, and what is being written.
func RespectMemory(getenv func(string) string) int64 {
	limit, _ := Memory(getenv)
	if limit > 0 && getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(limit - max(limit/8, min(limit/4, 12<<20)))
	}
	return limit
}

// Lend makes the garbage collector keep the Go heap lower by some bytes, which child
// processes use, until giveBack is called. It does nothing if there is no limit.
func Lend(bytes int64) (giveBack func()) {
	lower := func(by int64) {
		lending.Lock()
		defer lending.Unlock()
		if limit := debug.SetMemoryLimit(-1); limit < math.MaxInt64 {
			debug.SetMemoryLimit(max(limit-by, 0))
		}
	}
	lower(bytes)
	return func() { lower(-bytes) }
}

// lending guards the limit, which the runtime can only replace.
var lending sync.Mutex

// Memory returns the limit that RespectMemory keeps to, and where it is set: the name of a
// variable, or a file of a cgroup.
func Memory(getenv func(string) string) (bytes int64, from string) {
	bytes = math.MaxInt64
	if mb, err := strconv.ParseInt(getenv("AWS_LAMBDA_FUNCTION_MEMORY_SIZE"), 10, 32); err == nil && mb > 0 {
		bytes, from = mb<<20, "AWS_LAMBDA_FUNCTION_MEMORY_SIZE"
	}
	if limit, file := cgroupMemory("/"); limit > 0 && limit < bytes {
		bytes, from = limit, file
	}
	if limit := debug.SetMemoryLimit(-1); getenv("GOMEMLIMIT") != "" && limit < bytes {
		bytes, from = limit, "GOMEMLIMIT"
	}
	if bytes == math.MaxInt64 {
		return 0, ""
	}
	return bytes, from
}
