// Package memory reports how much memory this process may use, and how much it used.
//
//	memory.go        the limit, and how the Go runtime keeps to it
//	cgroup_linux.go  limits of cgroups, v1 and v2
//	cgroup_other.go  systems without cgroups
//	peak_*.go        the peak memory of a process
package memory

import (
	"math"
	"runtime/debug"
	"strconv"
)

// Respect returns how many bytes this process and its children may use, or 0 if there is
// no limit. It is the least of GOMEMLIMIT, the memory of the Lambda function in
// AWS_LAMBDA_FUNCTION_MEMORY_SIZE (MiB), and the limits of the process's cgroups.
//
// It makes the garbage collector keep the Go heap below the limit, unless GOMEMLIMIT is
// set. It leaves an eighth for what the collector does not manage: the program itself,
// threads and the kernel.
func Respect(getenv func(string) string) int64 {
	limit := limitOf(getenv)
	if limit > 0 && getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(limit - limit/8)
	}
	return limit
}

func limitOf(getenv func(string) string) int64 {
	least := int64(math.MaxInt64)
	if mb, err := strconv.ParseInt(getenv("AWS_LAMBDA_FUNCTION_MEMORY_SIZE"), 10, 32); err == nil && mb > 0 {
		least = mb << 20
	}
	if limit := cgroupLimit("/"); limit > 0 {
		least = min(least, limit)
	}
	if getenv("GOMEMLIMIT") != "" {
		least = min(least, debug.SetMemoryLimit(-1))
	}
	if least == math.MaxInt64 {
		return 0
	}
	return least
}
