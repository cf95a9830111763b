package dedupe

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"iter"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// endSize is how much of a file the first refinement reads at each end, its
	// prefix and its suffix: files that share one often differ in the other. It is
	// the least that EFS meters of a READ.
	endSize = 32 << 10

	// endsPay is how many times as long as its ends a file must be before they are
	// read alone. That costs another open, a round trip for each end, and where it
	// decides nothing they are read again: at most 1/16 of the bytes for nothing.
	endsPay = 16
)

// Refine splits every group by the digest of its files' ends, their first and
// their last n bytes, or of their whole content if n is Whole. It reads each
// inode once, and drops what has no equal. It leaves groups alone whose files are
// so small that to read their ends would not pay.
//
// A file that can't be read as it was found is in no group but a problem of the
// report. When ctx is cancelled the groups are those of the files read until
// then, and the report is not complete.
func Refine(ctx context.Context, r Report, h Hasher, n int64, opts Options) Report {
	// The largest first: no worker is left alone with one at the end.
	slices.SortFunc(r.Groups, func(a, b Group) int { return cmp.Compare(b.Size, a.Size) })
	pay := len(r.Groups)
	if n != Whole {
		pay, _ = slices.BinarySearchFunc(r.Groups, endsPay*2*n, func(g Group, size int64) int { return cmp.Compare(size, g.Size) })
	}
	s := newStage(r.Groups[:pay], h, n, opts)
	await(ctx, func() { s.run(ctx) })
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left = true
	r.Stats.Work.add(s.work)
	r.Problems = append(r.Problems, s.problems...)
	r.Groups = append(s.split(), r.Groups[pay:]...)
	r.Complete = r.Complete && ctx.Err() == nil && len(r.Problems) == 0
	return r
}

// stage is a refinement on its way.
type stage struct {
	groups []Group
	hasher Hasher
	n      int64
	opts   Options
	name   Stage
	inStep int // how many files are hashed in step, at most

	mu       sync.Mutex
	jobs     []job // in the order of groups
	links    [][]uint32
	taken    int // jobs
	workers  int // that were started
	work     Work
	problems []*Problem
	left     bool // nobody waits for what is found now
}

// job is one inode to be hashed, under any of its names. There may be a million.
type job struct {
	group  uint32
	file   uint32 // of the group, the first name
	links  uint32 // where all names are in the stage's links, plus one; 0 if file is the only one
	done   bool   // and digest is known
	digest Digest
}

func newStage(groups []Group, h Hasher, n int64, opts Options) *stage {
	s := &stage{groups: groups, hasher: h, n: n, opts: opts, name: StageWhole, inStep: opts.inStep()}
	if n != Whole {
		s.name = StageEnds
	}
	todo := Event{Stage: s.name}
	for _, g := range groups {
		copies := g.Copies()
		todo.Files += copies
		todo.Bytes += copies * g.Files[0].Part(n)
	}
	s.jobs = make([]job, 0, todo.Files)
	for i := range groups {
		s.add(uint32(i))
	}
	opts.observe(todo)
	return s
}

// add makes a job of each inode of a group.
func (s *stage) add(group uint32) {
	files := s.groups[group].Files
	for i := range files {
		if i > 0 && files[i].inode() == files[i-1].inode() {
			s.link(&s.jobs[len(s.jobs)-1], uint32(i))
			continue
		}
		s.jobs = append(s.jobs, job{group: group, file: uint32(i)})
	}
}

func (s *stage) link(j *job, file uint32) {
	if j.links == 0 {
		s.links = append(s.links, []uint32{j.file})
		j.links = uint32(len(s.links))
	}
	s.links[j.links-1] = append(s.links[j.links-1], file)
}

// names returns the names of a job's inode, as indexes of the group's files.
func (s *stage) names(j job) []uint32 {
	if j.links > 0 {
		return s.links[j.links-1]
	}
	return []uint32{j.file}
}

// run drives the hasher, whichever it is, with one goroutine a worker.
func (s *stage) run(ctx context.Context) {
	var group errgroup.Group
	taken := make(chan struct{}) // closed when no job is left
	allTaken := sync.OnceFunc(func() { close(taken) })
	work := func() error {
		defer allTaken()
		var jobs []job
		for ctx.Err() == nil {
			var first int
			if first, jobs = s.take(jobs[:0]); len(jobs) == 0 {
				break
			}
			s.hash(ctx, first, jobs)
		}
		return nil
	}
	for more := range crew(min(s.opts.Workers, len(s.jobs)), s.opts.Mode, taken) {
		s.mu.Lock()
		s.workers += more
		s.mu.Unlock()
		for range more {
			group.Go(work)
		}
	}
	group.Wait() // every error is a problem
}

// take adds to jobs, which is empty, the next one, or some that can be done in step,
// and returns the index of the first. It adds none if there are none left.
func (s *stage) take(jobs []job) (int, []job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	first := s.taken
	if s.left || first == len(s.jobs) {
		return first, jobs
	}
	group := s.jobs[first].group
	most := 1
	if size := s.groups[group].Size; s.n == Whole && size > recentMax {
		most = max(1, min(s.inStep, (len(s.jobs)-first)/s.workers)) // all workers have their share
	}
	for ; s.taken < len(s.jobs) && s.jobs[s.taken].group == group && len(jobs) < most; s.taken++ {
		jobs = append(jobs, s.jobs[s.taken])
	}
	return first, jobs
}

// crew yields how many workers to start, and then how many more, up to most: in
// this process as many as there are processors, and twice as many as long as
// these don't keep them busy, as on a network mount. What comes from the page
// cache is read fastest by few. It ends when all is taken.
func crew(most int, mode Mode, taken <-chan struct{}) iter.Seq[int] {
	return func(yield func(int) bool) {
		processors := runtime.GOMAXPROCS(0)
		started := most
		if mode != Processes {
			started = min(most, processors)
		}
		if !yield(started) {
			return
		}
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for cpu, at := cpuTime(), time.Now(); started < most; {
			select {
			case <-taken:
				return
			case <-tick.C:
			}
			used, passed := cpuTime()-cpu, time.Since(at)
			cpu, at = cpu+used, at.Add(passed)
			if used > passed*time.Duration(processors)*3/4 {
				continue
			}
			more := min(started, most-started)
			if started += more; !yield(more) {
				return
			}
		}
	}
}

// hash has jobs done, the first of which has the index first.
func (s *stage) hash(ctx context.Context, first int, jobs []job) {
	if len(jobs) == 1 {
		s.settle(ctx, first, jobs[0], s.one(ctx, jobs[0], s.names(jobs[0])))
		return
	}
	files := make([]File, len(jobs))
	for i, j := range jobs {
		files[i] = s.file(j, s.names(j))
	}
	for i, a := range s.hasher.HashInStep(ctx, files) {
		s.settle(ctx, first+i, jobs[i], a)
	}
}

// file is the inode of a job under the first of names.
func (s *stage) file(j job, names []uint32) File { return s.groups[j.group].Files[names[0]] }

func (s *stage) one(ctx context.Context, j job, names []uint32) (a Hashed) {
	a.Digest, a.Work, a.Err = s.hasher.Hash(ctx, s.file(j, names), s.n)
	return a
}

// settle takes what became of a job under its first name, and tries its others
// until one can be read.
func (s *stage) settle(ctx context.Context, i int, j job, a Hashed) {
	names := s.names(j)
	var work Work
	var problems []*Problem
	for {
		work.add(a.Work)
		if a.Err == nil {
			j.digest, j.done = a.Digest, true
			break
		}
		if ctx.Err() != nil {
			problems = nil
			break
		}
		var p *Problem
		if !errors.As(a.Err, &p) {
			p = &Problem{Op: "hash", Path: s.file(j, names).Path, Err: a.Err}
		}
		problems = append(problems, p)
		if names = names[1:]; len(names) == 0 {
			break
		}
		a = s.one(ctx, j, names)
	}
	s.finish(i, j, names, work, problems)
}

// finish takes what became of a job. Names are those that could be read, or
// weren't needed.
func (s *stage) finish(i int, j job, names []uint32, work Work, problems []*Problem) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.left {
		return
	}
	if j.links > 0 {
		s.links[j.links-1] = names
	}
	s.jobs[i] = j
	s.work.add(work)
	s.problems = append(s.problems, problems...)
	s.opts.observe(Event{Stage: s.name, Work: work})
}

// split makes a group of each digest that two inodes of a group share.
func (s *stage) split() (finer []Group) {
	digests := newSieve(len(s.jobs))
	for i := range s.jobs {
		digests.add(s.jobs[i].key())
	}
	jobs := slices.DeleteFunc(s.jobs, func(j job) bool { return !j.done || !digests.twice(j.key()) })
	slices.SortFunc(jobs, func(a, b job) int {
		if a.group != b.group {
			return cmp.Compare(a.group, b.group)
		}
		return cmp.Or(bytes.Compare(a.digest[:], b.digest[:]), cmp.Compare(a.file, b.file))
	})
	for len(jobs) > 0 {
		n := 1
		for n < len(jobs) && jobs[n].group == jobs[0].group && jobs[n].digest == jobs[0].digest {
			n++
		}
		if n > 1 {
			finer = append(finer, s.group(jobs[:n]))
		}
		jobs = jobs[n:]
	}
	return finer
}

// key is the same for what has one group and one digest.
func (j *job) key() uint64 { return uint64(j.group) ^ binary.LittleEndian.Uint64(j.digest[:]) }

// group makes a group of jobs that have one digest.
func (s *stage) group(jobs []job) Group {
	files := s.groups[jobs[0].group].Files
	g := Group{Size: files[0].Size, Digest: jobs[0].digest, Files: make([]File, 0, len(jobs)), inodes: len(jobs)}
	for _, j := range jobs {
		for _, i := range s.names(j) {
			g.Files = append(g.Files, files[i])
		}
	}
	return g
}

// hungAfter is how long a cancelled stage waits for its goroutines. One that is
// in a system call on a mount that hangs can't be interrupted, and is left.
const hungAfter = 250 * time.Millisecond

// await runs run beside the caller until it ends, or until ctx is cancelled and it
// hangs.
func await(ctx context.Context, run func()) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		run()
	}()
	select {
	case <-ended:
		return
	case <-ctx.Done():
	}
	select {
	case <-ended:
	case <-time.After(hungAfter):
	}
}
