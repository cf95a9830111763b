package dedupe

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"os"
	"os/exec"
	"slices"
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

// Options say what to scan and how.
type Options struct {
	Roots         []string // directories or files; at least one
	Filter        Filter
	OneFileSystem bool // stay on the file system of each root
	Mode          Mode
	Workers       int // files and directories in flight at most, 1 to MaxWorkers

	// HashAll has the whole of every file hashed that shares its size: no ends are
	// looked at first, and no file is compared instead. So both modes do the same.
	HashAll bool

	// Within, if it is set, is an open directory. Roots are relative to it, as are
	// the paths of the report, and nothing outside it is opened or looked at: no
	// path leads out, and no symbolic link is followed, not even a root.
	Within *os.File

	// MaxFiles is how many files a walk may find; 0 for any number.
	MaxFiles int64

	// Worker is the command of a worker process, one that calls RunWorker; nil is this
	// program itself. Only the mode Processes needs it.
	Worker func() *exec.Cmd

	// Ignore is a file of the caller's own that the walk must not find, such as
	// the one that the report is about to be written to; nil if there is none.
	Ignore os.FileInfo

	// Wrap, if it is set, is called once, when the walk is done: with the files that
	// may be read, and the Hasher that would read them. The Hasher that it returns is
	// used instead. This is how an index of digests comes in.
	Wrap func(ctx context.Context, candidates iter.Seq[File], h Hasher) Hasher

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

func (o *Options) observe(e Event) {
	if o.Observe != nil {
		o.Observe(e)
	}
}

func (o *Options) ignores(st *unix.Stat_t) bool {
	if o.Ignore == nil {
		return false
	}
	own, ok := o.Ignore.Sys().(*syscall.Stat_t)
	return ok && own.Ino == st.Ino && uint64(own.Dev) == uint64(st.Dev)
}

// Validate returns what is wrong with the options, in words for the one who
// gave them.
func (o *Options) Validate() error {
	if len(o.Roots) == 0 {
		return errors.New("nothing to scan: name a directory or a file")
	}
	if o.Workers < 1 || o.Workers > MaxWorkers {
		return fmt.Errorf("%d workers: choose 1 to %d", o.Workers, MaxWorkers)
	}
	switch o.Mode {
	case Goroutines, Processes:
	default:
		return fmt.Errorf("unknown mode %q: choose %s or %s", o.Mode, Goroutines, Processes)
	}
	if each, all := o.descriptors(); o.Workers*each > all {
		return fmt.Errorf("%d workers need %d file descriptors and the limit is %d: use at most %d workers, or raise it with ulimit -n",
			o.Workers, o.Workers*each+reservedDescriptors, all+reservedDescriptors, max(all/each, 0))
	}
	return o.Filter.validate()
}

// reservedDescriptors covers stdio, the output file and the runtime, with room to
// spare.
const reservedDescriptors = 32

// descriptors returns how many file descriptors a worker takes in this process at
// least, and how many there are for all of them.
func (o *Options) descriptors() (each, all int) {
	each = 1 // its open file or directory
	if o.Within != nil {
		each = 3 // and the directory that holds it, and the one before
	}
	if o.Mode == Processes {
		each = max(each, pool.Descriptors)
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return each, math.MaxInt
	}
	return each, int(min(limit.Cur, 1<<20)) - reservedDescriptors
}

// together is how many files of a size a worker may have open at once. It is the same
// in both modes, because it decides which are opened again.
func (o *Options) batchLimit() int {
	const enough = 8 // of what is equal, an eighth is hashed at most, the rest compared
	if o.HashAll {
		return 1
	}
	local := *o
	local.Mode = Goroutines
	each, all := local.descriptors()
	return min(max(all/max(o.Workers, 1)-each+1, 1), enough)
}

// Scan finds the groups of identical files below the roots. When ctx is
// cancelled it returns, soon, what it knows by then; Complete is false unless all was
// read already.
//
// Its error is about the options or a root; everything else that goes wrong is
// a problem in the report.
func Scan(ctx context.Context, opts Options) (Report, error) {
	if err := opts.Validate(); err != nil {
		return Report{}, err
	}
	start, cpu := time.Now(), cpuTime()
	r, err := Walk(ctx, opts)
	if err != nil {
		return Report{}, err
	}
	var h Hasher = &LocalHasher{Read: opts.Read, Within: opts.Within, HashAll: opts.HashAll}
	var workers *pool.Pool
	if opts.Mode == Processes {
		workers = pool.New(min(opts.Workers, candidates(r)), opts.workerCommand)
		h = &PoolHasher{Pool: workers, Read: opts.Read}
	}
	if opts.Wrap != nil {
		h = opts.Wrap(ctx, r.Files(), h)
	}
	if !opts.HashAll {
		r = Refine(ctx, r, h, StageEnds, opts)
	}
	r = Refine(ctx, r, h, StageWhole, opts)
	r.Stats.Elapsed = time.Since(start)

	r.Stats.PeakMemory = pool.PeakMemory(os.Getpid(), workers == nil)
	if workers != nil {
		used := workers.Close()
		r.Stats.CPU = used.CPU
		r.Stats.PeakMemory += used.PeakMemory
		r.Stats.WorkerProcesses = used.Started
	}
	r.Stats.CPU += cpuTime() - cpu
	if opts.Alone != nil && !opts.Alone() {
		r.Stats.CPU, r.Stats.CPUUnknown = 0, true
	}
	r.Mode, r.Workers = opts.Mode, opts.Workers
	r.Roots = slices.Clone(opts.Roots)
	r.sort()
	return r, nil
}

// candidates counts the inodes that may have to be read: more workers than that
// would have nothing to do.
func candidates(r Report) int {
	n := 0
	for _, g := range r.Groups {
		n += int(g.Copies())
	}
	return n
}

// cpuTime is the user and system time of this process.
func cpuTime() time.Duration {
	var used unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &used); err != nil {
		return 0
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
