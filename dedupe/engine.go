package dedupe

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"efsdedupe/dedupe/limits"
	"efsdedupe/dedupe/mount"
	"efsdedupe/dedupe/pool"
)

// Mode says where files are read and hashed. Both modes give the same groups.
type Mode string

const (
	Goroutines Mode = "goroutines" // in this process
	Processes  Mode = "processes"  // in a pool of worker processes
)

const (
	// DefaultWorkers suits a network mount: at one millisecond per round trip, 64
	// requests in flight read about 500 MiB/s of 1 MiB files, or 10,000 small files per
	// second, which is what one client of Amazon EFS can take.
	DefaultWorkers = 64

	// MaxWorkers is below the 1,024 file descriptors, processes and threads that an AWS
	// Lambda function has.
	MaxWorkers = 1000
)

// Engine says how to scan: this machine's resources, limits and hooks. It never leaves
// the process. What to scan is a Selection.
type Engine struct {
	Mode    Mode
	Workers int // most files and directories in flight, 1 to MaxWorkers

	// HashAll hashes the whole of every file that shares its size. It neither looks at
	// ends first nor compares files instead, so both modes do the same work.
	HashAll bool

	// Hasher reads files. If nil, Read starts one for Mode, and stops it.
	Hasher Hasher

	// Within, if set, is an open directory. Roots and the paths in the report are
	// relative to it. The scan opens and looks at nothing outside it: no path leads out,
	// and no symbolic link is followed, not even if it is a root.
	Within *os.File

	// Abandoned bounds the calls still hanging from earlier scans. A process that scans
	// more than once shares one among all scans. Nil means no bound.
	Abandoned *Abandoned

	// MaxFiles is the most files a walk may find; more are an error. 0 means no limit.
	MaxFiles int64

	// Budget is the most directory entries that a walk takes before it stops and returns
	// the frontiers left. 0 means no limit. A walk with a budget splits a directory that
	// has more entries, so what it finds always fits in memory.
	Budget int64

	// Memory is how many bytes this process and its workers may use; 0 means no limit. It
	// bounds the number of workers. A scan that needs more fails with ErrTooManyFiles.
	Memory int64

	// Worker returns the command of a worker process: a program that calls RunWorker. If
	// nil, it is this program. Only the mode Processes uses it.
	Worker func() *exec.Cmd

	// Ignore lists the caller's own files, such as the report it will write and the
	// index. The walk leaves them out.
	Ignore []os.FileInfo

	// Recall, if set, is called once, after the walk and before the first read. It fills
	// in what an index knows about the inventory's copies.
	Recall func(context.Context, *Inventory)

	// Remember, if set, is called with every signed batch, and with the time by Now at
	// which reading it began. It is called from many goroutines.
	Remember func(ctx context.Context, begun time.Time, signed []Signed)

	// Now is the clock for Remember. Nil means time.Now.
	Now func() time.Time

	// Alone, if set, is called after the last read. It reports whether no other scan ran
	// in this process meanwhile. The kernel counts CPU time per process, so two scans at
	// once cannot be told apart.
	Alone func() bool

	// Stored, if set, is called for every file found, before any is read, with its size
	// and the bytes allocated to it. n is 1, and -1 to take back a further name of an
	// inode.
	Stored func(size, allocated, n int64)

	// Folder, if set, is called for every directory that a walk listed, from one goroutine
	// at a time, with whether everything in it belongs to the inventory, or is a directory
	// that was listed, a problem or skipped.
	Folder func(path string, whole bool)

	// Observe, if set, is called with every step, from one goroutine at a time.
	Observe func(Event)

	// Read, if set, is called with the number of bytes after each read, from many
	// goroutines. In the mode Processes it is called once per file, when the file is
	// done.
	Read func(bytes int64)

	// NFS says that some files are, or may be, on NFS; see Batch. Scan finds out itself.
	NFS bool

	copies int          // the most that Read gets, if known
	remote bool         // some files may be on another machine; set by Scan
	mounts *mount.Table // read by Scan, or by a walk alone
}

// overlap lets a number of calls wait for another machine at once, until stop is called.
// It does nothing if all files are on this one.
func (e *Engine) overlap(calls int) (stop func()) {
	if calls == 0 || !e.isRemote() {
		return func() {}
	}
	return limits.MoreThreads(min(calls, mostWaiting))
}

func (e *Engine) isRemote() bool { return e.NFS || e.remote }

// mostWaiting is how many calls can wait at once without delaying others. That is enough
// for throughput, and leaves the garbage collector a few threads only.
const mostWaiting = 16

// Stage is a part of a scan.
type Stage string

const (
	StageWalk  Stage = "walk"
	StageEnds  Stage = "ends" // of files that are not small; also the rest of files with equal ends, unless they are large
	StageWhole Stage = "whole"
)

// Event is a step of a scan. In StageWalk it counts files found. In the other stages the
// first event says how much there is to read; each later one is the work of reading one
// file.
type Event struct {
	Stage Stage
	Files int64 // found, or to read
	Bytes int64 // to read
	Work  Work
}

func (e *Engine) observe(event Event) {
	if e.Observe != nil {
		e.Observe(event)
	}
}

func (e *Engine) now() time.Time {
	if e.Now != nil {
		return e.Now()
	}
	return time.Now()
}

func (e *Engine) ignores(st *status) bool {
	for _, f := range e.Ignore {
		if own, ok := f.Sys().(*syscall.Stat_t); ok && own.Ino == st.inode && e.mounts.Device(uint64(own.Dev)) == e.mounts.Device(st.device) {
			return true
		}
	}
	return false
}

// Validate returns an error if a setting is out of range, worded for the user.
func (e *Engine) Validate() error {
	if e.Workers < 1 || e.Workers > MaxWorkers {
		return fmt.Errorf("%d workers: choose 1 to %d", e.Workers, MaxWorkers)
	}
	switch e.Mode {
	case Goroutines, Processes:
	default:
		return fmt.Errorf("unknown mode %q: choose %s or %s", e.Mode, Goroutines, Processes)
	}
	if e.MaxFiles < 0 || e.Budget < 0 || e.Memory < 0 {
		return errors.New("a limit can't be negative: 0 means no limit")
	}
	if each, all := e.descriptors(); e.Workers*each > all {
		fewer := ""
		if all >= each {
			fewer = fmt.Sprintf("use at most %d workers, or ", all/each)
		}
		return fmt.Errorf("a scan with that many workers needs %d file descriptors and the limit is %d: %sraise it with ulimit -n",
			e.Workers*each+reservedDescriptors, all+reservedDescriptors, fewer)
	}
	return nil
}

// FittingWorkers returns DefaultWorkers, or fewer if the limit on file descriptors
// requires it.
func (e *Engine) FittingWorkers() int {
	each, all := e.descriptors()
	return max(min(DefaultWorkers, all/each), 1)
}

// RunnableWorkers returns how many of the workers can run under the limits on memory, and on
// the processes and threads of this user and this container. It returns at least one.
func (e *Engine) RunnableWorkers() int { return min(e.crowdedWorkers(), e.affordable()) }

// reservedTasks covers the threads the runtime starts besides those of workers.
const reservedTasks = 8

// crowdedWorkers returns how many of the workers can run under the limits on processes
// and threads of this user or container. It returns at least one.
func (e *Engine) crowdedWorkers() int {
	each := 1
	if e.Mode == Processes {
		each = pool.Tasks
	}
	return min(e.Workers, max((limits.TasksLeft()-reservedTasks)/each, 1))
}

// reservedDescriptors covers stdio, the output file and the runtime, with room to spare.
const reservedDescriptors = 32

// descriptors returns the fewest file descriptors a worker takes in this process, and how
// many there are for all workers.
func (e *Engine) descriptors() (each, all int) {
	each = 1 // its open file or directory
	if e.Within != nil {
		each = 3 // plus its directory and the parent of that
	}
	if e.Mode == Processes {
		each = max(each, pool.Descriptors)
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return each, math.MaxInt
	}
	return each, int(min(limit.Cur, 1<<20)) - reservedDescriptors
}

// mostTogether is the most files of one size to read together. At this number, at most an
// eighth of equal content is hashed; the rest is compared.
const mostTogether = 8

// batchLimit is how many files of one size a worker may have open at once. It is the same
// in both modes, because it decides which files are opened twice.
func (e *Engine) batchLimit() int {
	if e.HashAll {
		return 1
	}
	local := *e
	local.Mode = Goroutines
	each, all := local.descriptors()
	return min(max(all/max(e.Workers, 1)-each+1, 1), mostTogether)
}

// start returns a hasher for the engine's mode, with no more workers than files. Calling
// stop ends it and returns what its processes used.
func (e *Engine) start(files int) (h Hasher, stop func() pool.Usage) {
	if e.Mode != Processes {
		return e.Local(), func() pool.Usage { return pool.Usage{} }
	}
	size := min(e.Workers, files)
	workers := pool.New(size, e.workerCommand)
	giveBack := func() {}
	if e.Memory > 0 {
		giveBack = limits.Lend(int64(size) * processMemory)
	}
	return &poolHasher{pool: workers, read: e.Read}, func() pool.Usage {
		defer giveBack()
		return workers.Close()
	}
}
