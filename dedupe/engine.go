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

	"efsdedupe/dedupe/pool"
)

// Mode says where files are read and hashed. Both modes give the same groups.
type Mode string

const (
	Goroutines Mode = "goroutines" // in this process
	Processes  Mode = "processes"  // in a pool of worker processes
)

const (
	// DefaultWorkers suits a network mount: at a millisecond a round trip, 64
	// in flight read some 500 MiB/s of 1 MiB files and 10,000 small files a
	// second, which is what one client of Amazon EFS can take.
	DefaultWorkers = 64

	// MaxWorkers is below the 1,024 file descriptors, processes and threads that
	// an AWS Lambda function has.
	MaxWorkers = 1000
)

// Engine says how to scan: the resources of this machine, its limits, and who is told
// what. It never leaves the process; what to scan is a Selection.
type Engine struct {
	Mode    Mode
	Workers int // files and directories in flight at most, 1 to MaxWorkers

	// HashAll hashes the whole of every file that shares its size: no ends are looked
	// at first, and no file is compared instead. So both modes do the same.
	HashAll bool

	// Hasher reads files. If it is nil, Read starts one for Mode, and ends it.
	Hasher Hasher

	// Within, if it is set, is an open directory. Roots are relative to it, as are
	// the paths of the report, and nothing outside it is opened or looked at: no
	// path leads out, and no symbolic link is followed, not even a root.
	Within *os.File

	// Abandoned bounds the calls that hang after their scans ended. Whoever scans more
	// than once in a process sets it, the same for all scans; nil is no bound.
	Abandoned *Abandoned

	// MaxFiles is how many files a walk may find; 0 for any number. More are an error.
	MaxFiles int64

	// Budget is how many files and directories a walk finds, about, before it stops
	// and returns what is left; 0 for any number.
	Budget int64

	// Memory is how many bytes this process and its workers may use; 0 for any number. It
	// bounds the number of workers. A scan that would need more fails with
	// ErrTooManyFiles.
	Memory int64

	// Worker is the command of a worker process, one that calls RunWorker; nil is this
	// program itself. Only the mode Processes needs it.
	Worker func() *exec.Cmd

	// Ignore is the caller's own files, which the walk must not find: the one that the
	// report is about to be written to, an index and the like.
	Ignore []os.FileInfo

	// Recall, if it is set, is called once, between the walk and the first reading. It
	// notes in the inventory's copies what an index knows of them.
	Recall func(context.Context, *Inventory)

	// Remember, if it is set, is told of every batch of files that was signed, and when
	// reading it began by Now. It is called from many goroutines.
	Remember func(ctx context.Context, begun time.Time, signed []Signed)

	// Now is the clock for Remember; nil is time.Now.
	Now func() time.Time

	// Alone, if it is set, is asked when all is read whether nothing else, such as another
	// scan, has run in this process since the scan began. The kernel counts the CPU time of
	// a process as a whole: what of it was the scan's is not known otherwise.
	Alone func() bool

	// Observe, if it is set, is told of every step, by one goroutine at a time.
	Observe func(Event)

	// Read, if it is set, is told of bytes as they are read, from many goroutines:
	// with the mode Processes, of each file when it is done.
	Read func(bytes int64)
}

// Stage is a part of a scan.
type Stage string

const (
	StageWalk  Stage = "walk"
	StageEnds  Stage = "ends" // of files that are not small; all of those with equal ends, unless they are large
	StageWhole Stage = "whole"
)

// Event is a step of a scan: in StageWalk files that were found; in the others
// first how much there is to be read, then what was done to read one file.
type Event struct {
	Stage Stage
	Files int64 // found, or to be read
	Bytes int64 // to be read
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

func (e *Engine) ignores(st *unix.Stat_t) bool {
	for _, f := range e.Ignore {
		if own, ok := f.Sys().(*syscall.Stat_t); ok && own.Ino == st.Ino && uint64(own.Dev) == uint64(st.Dev) {
			return true
		}
	}
	return false
}

// Validate returns what is wrong with the engine, in words for its user.
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
		return errors.New("a limit can't be negative: 0 is no limit")
	}
	if each, all := e.descriptors(); e.Workers*each > all {
		return fmt.Errorf("%d workers need %d file descriptors and the limit is %d: use at most %d workers, or raise it with ulimit -n",
			e.Workers, e.Workers*each+reservedDescriptors, all+reservedDescriptors, max(all/each, 0))
	}
	return nil
}

// FittingWorkers returns DefaultWorkers, or as many as the limit of file descriptors
// allows.
func (e *Engine) FittingWorkers() int {
	each, all := e.descriptors()
	return max(min(DefaultWorkers, all/each), 1)
}

// reservedTasks covers the threads that the runtime starts besides those of workers.
const reservedTasks = 8

// crowdedWorkers returns how many of the workers can run where the system lets this user
// or container have few more processes and threads: one at least.
func (e *Engine) crowdedWorkers() int {
	each := 1
	if e.Mode == Processes {
		each = pool.Tasks
	}
	return min(e.Workers, max((pool.TasksLeft()-reservedTasks)/each, 1))
}

// reservedDescriptors covers stdio, the output file and the runtime, with room to
// spare.
const reservedDescriptors = 32

// descriptors returns how many file descriptors a worker takes in this process at
// least, and how many there are for all of them.
func (e *Engine) descriptors() (each, all int) {
	each = 1 // its open file or directory
	if e.Within != nil {
		each = 3 // and the directory that holds it, and the one before
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

// mostTogether bounds how many files of a size are read together: of what is equal, an
// eighth is hashed at most, the rest compared.
const mostTogether = 8

// batchLimit is how many files of a size a worker may have open at once. It is the same
// in both modes, because it decides which are opened again.
func (e *Engine) batchLimit() int {
	if e.HashAll {
		return 1
	}
	local := *e
	local.Mode = Goroutines
	each, all := local.descriptors()
	return min(max(all/max(e.Workers, 1)-each+1, 1), mostTogether)
}

// start returns a hasher for the engine's mode, which has no use for more workers than
// files, and what ends it and tells what its processes used.
func (e *Engine) start(files int) (h Hasher, stop func() pool.Usage) {
	if e.Mode != Processes {
		return &LocalHasher{Read: e.Read, Within: e.Within, HashAll: e.HashAll, cache: contentCache{most: e.cacheBlocks()}}, func() pool.Usage { return pool.Usage{} }
	}
	workers := pool.New(min(e.Workers, files), e.workerCommand)
	return &poolHasher{pool: workers, read: e.Read}, workers.Close
}
