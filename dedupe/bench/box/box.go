// Package box runs programs in a box of the size of an AWS Lambda environment:
// with its share of CPU, its memory, its descriptors, processes and cores, no
// shared memory, and a file system that can be written in /tmp alone. It is made
// of cgroups, v1 or v2, and of a mount namespace, so it needs root and Linux 5.12.
// It holds back programs that are honest; it is no place for others.
//
//	lambda.go         what Lambda gives an environment of a size
//	box_linux.go      a box: Available, New, Command, Usage, Close, Sweep
//	watch_linux.go    the memory that a box holds at once
//	cgroup_linux.go   its cgroups, v1 and v2
//	shim_linux.go     the way into it: RunShim
//	mounts_linux.go   what it sees: the shim's mounts, IsolateMounts
//	machine_linux.go  what fits this machine: CheckMemory, Fit
//
// What a box does not have: a network, processes and users of its own, a limit on
// what is written to /tmp, and a /proc and /sys that show its size, not the
// machine's. The cgroups do not show in it, as a function does not see those of
// AWS: runtimes that size themselves by a quota do so in neither.
package box

import "time"

// Options are a box's size, and what it shows of the directory /tmp.
type Options struct {
	MemoryMB int64 // in MiB, as Lambda counts

	// Tmp is the directory that is /tmp in the box. Directories in which to show
	// the Visible ones are made in it.
	Tmp string

	// Visible are the directories below /tmp that are there in the box, too, at the
	// same path, and can only be read. One that is a mount of another file system
	// goes from the box when it is unmounted outside, if IsolateMounts was called.
	// All that is not below /tmp is there anyway, and as well.
	Visible []string
}

// Usage is what all processes of a box used since it was made, those that have
// ended among them.
type Usage struct {
	CPU       time.Duration // user and system
	Throttled time.Duration // spent waiting for more of the quota, summed over cores
	OOMKills  int64         // processes that the kernel killed for want of memory
}

// ExitStatus is the exit status of a command for which no box could be made; its
// standard error says why. Docker and env use the same for their own failures.
const ExitStatus = 125
