package dedupe

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
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
	var groups []Group
	var jobs []*job
	var todo Event
	for i, g := range r.Groups {
		if n != Whole && g.Size <= endsPay*2*n {
			groups = append(groups, g)
			continue
		}
		for _, links := range byInode(g.Files) {
			jobs = append(jobs, &job{group: i, links: links})
			todo.Files++
			todo.Bytes += links[0].part(n)
		}
	}
	todo.Stage = StageWhole
	if n != Whole {
		todo.Stage = StageEnds
	}
	opts.observe(todo)

	run := func(emit func(result)) { hashAll(ctx, jobs, h, n, opts, emit) }
	gather(ctx, run, func(done result) {
		done.job.result = &done
		r.Stats.Work.add(done.work)
		r.Problems = append(r.Problems, done.problems...)
		opts.observe(Event{Stage: todo.Stage, Work: done.work})
	})
	r.Groups = append(groups, split(r.Groups, jobs)...)
	r.Complete = r.Complete && ctx.Err() == nil && len(r.Problems) == 0
	return r
}

// job is one inode to be hashed, under any of its names.
type job struct {
	group  int // in the report to be refined
	links  []File
	result *result // nil until it is done
}

// result is what became of a job. Links are those of its names that could be
// read, or weren't needed.
type result struct {
	job      *job
	digest   Digest
	links    []File
	work     Work
	problems []*Problem
}

// hashAll drives the hasher, whichever it is, with one goroutine a worker.
func hashAll(ctx context.Context, jobs []*job, h Hasher, n int64, opts Options, emit func(result)) {
	var next atomic.Int64
	var group errgroup.Group
	taken := make(chan struct{}) // closed when no job is left to be taken
	close := sync.OnceFunc(func() { close(taken) })
	work := func() error {
		defer close()
		for i := next.Add(1); i <= int64(len(jobs)) && ctx.Err() == nil; i = next.Add(1) {
			emit(jobs[i-1].hash(ctx, h, n))
		}
		return nil
	}
	for more := range crew(min(opts.Workers, len(jobs)), opts.Mode, taken) {
		for range more {
			group.Go(work)
		}
	}
	group.Wait() // every error is in a result
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

// hash tries the names of an inode until one can be read.
func (j *job) hash(ctx context.Context, h Hasher, n int64) result {
	done := result{job: j, links: j.links}
	for ; len(done.links) > 0; done.links = done.links[1:] {
		digest, work, err := h.Hash(ctx, done.links[0], n)
		done.work.add(work)
		if err == nil {
			done.digest = digest
			return done
		}
		if ctx.Err() != nil {
			return result{job: j, work: done.work}
		}
		var p *Problem
		if !errors.As(err, &p) {
			p = &Problem{Op: "hash", Path: done.links[0].Path, Err: err}
		}
		done.problems = append(done.problems, p)
	}
	return done
}

// split makes a group of each digest that two inodes of a group share.
func split(groups []Group, jobs []*job) []Group {
	type key struct {
		group  int
		digest Digest
	}
	byDigest := make(map[key][]*result)
	for _, j := range jobs {
		if done := j.result; done != nil && len(done.links) > 0 {
			k := key{j.group, done.digest}
			byDigest[k] = append(byDigest[k], done)
		}
	}
	var finer []Group
	for k, same := range byDigest {
		if len(same) < 2 {
			continue
		}
		g := Group{Size: groups[k.group].Size, Digest: k.digest}
		for _, done := range same {
			g.Files = append(g.Files, done.links...)
		}
		slices.SortFunc(g.Files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
		finer = append(finer, g)
	}
	return finer
}

// hungAfter is how long a cancelled stage waits for its goroutines. One that is
// in a system call on a mount that hangs can't be interrupted, and is left.
const hungAfter = 250 * time.Millisecond

// gather runs run beside the caller and hands what it emits to take, one at a
// time, until it has ended, or until ctx is cancelled and it hangs.
func gather[T any](ctx context.Context, run func(emit func(T)), take func(T)) {
	emitted := make(chan T, 64)
	left := make(chan struct{})
	defer close(left)
	go func() {
		defer close(emitted)
		run(func(v T) {
			select {
			case emitted <- v:
			case <-left:
			}
		})
	}()
	cancelled := ctx.Done()
	var hung <-chan time.Time
	for {
		select {
		case v, ok := <-emitted:
			if !ok {
				return
			}
			take(v)
		case <-cancelled:
			cancelled, hung = nil, time.After(hungAfter)
		case <-hung:
			return
		}
	}
}
