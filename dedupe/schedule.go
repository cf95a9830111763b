package dedupe

import (
	"context"
	"iter"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// run drives the hasher, whichever it is, with one goroutine a worker.
func (s *stage) run(ctx context.Context) {
	var group errgroup.Group
	taken := make(chan struct{}) // closed when no job is left
	allTaken := sync.OnceFunc(func() { close(taken) })
	work := func() error {
		defer allTaken()
		var claims []claim
		for ctx.Err() == nil {
			if claims = s.take(claims[:0]); len(claims) == 0 {
				break
			}
			s.hash(ctx, claims)
		}
		return nil
	}
	for more := range rampUp(min(s.opts.Workers, s.waiting), s.opts.Mode, taken) {
		s.mu.Lock()
		s.workers += more
		s.mu.Unlock()
		for range more {
			group.Go(work)
		}
	}
	group.Wait() // every error is a problem
}

// claim is a job taken by a worker, with its index.
type claim struct {
	job
	at int
}

// take appends to claims, which is empty, the next job, or some of one group that are
// done together. It appends none if none is left.
func (s *stage) take(claims []claim) []claim {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.next < len(s.jobs) && s.jobs[s.next].done() {
		s.next++
	}
	if s.abandoned || s.next == len(s.jobs) {
		return claims
	}
	if s.next >= s.groupEnd {
		s.enter(s.next)
	}
	large := s.groups[s.jobs[s.next].group].Files[0].Large()
	switch {
	case large && s.by == StageWhole: // and all workers have their share
		end := s.next + max(1, min(s.groupEnd-s.next, s.batchLimit, s.waiting/s.workers))
		for ; s.next < end; s.next++ {
			claims = append(claims, claim{s.jobs[s.next], s.next})
		}
	case !large && s.by == StageEnds:
		for i := s.next; i < s.groupEnd; i += s.batches {
			claims = append(claims, claim{s.jobs[i], i})
		}
		if s.next++; s.next == s.batchesEnd {
			s.next = s.groupEnd
		}
	default:
		claims = append(claims, claim{s.jobs[s.next], s.next})
		s.next++
	}
	s.waiting -= len(claims)
	return claims
}

// enter comes to a group, of which first is the first job, and divides it into
// batches: one if it is small enough, otherwise of about half as many files as may be
// open, for workers to end at the same time. Their number is not for the workers to
// decide, because it decides what is opened again.
//
// A batch has jobs from all over the group: where a directory was copied, copies have
// their inodes in the order of what they are copies of.
func (s *stage) enter(first int) {
	s.groupEnd = first + 1
	for s.groupEnd < len(s.jobs) && s.jobs[s.groupEnd].group == s.jobs[first].group {
		s.groupEnd++
	}
	n, most := s.groupEnd-first, s.batchLimit
	if n > most {
		most = (most + 1) / 2
	}
	s.batches = (n + most - 1) / most
	s.batchesEnd = first + s.batches
}

// rampUp yields how many workers to start, and then how many more, up to most: in
// this process as many as there are processors, and twice as many as long as
// these don't keep them busy, as on a network mount. What comes from the page
// cache is read fastest by few. It ends when all is taken.
func rampUp(most int, mode Mode, taken <-chan struct{}) iter.Seq[int] {
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
