package dedupe

import (
	"cmp"
	"context"
	"iter"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// run drives the hasher, whichever it is, with one goroutine a worker.
func (s *stage) run(ctx context.Context) {
	var group errgroup.Group
	claimed := make(chan struct{}) // closed when no copy is left
	allClaimed := sync.OnceFunc(func() { close(claimed) })
	work := func() error {
		defer allClaimed()
		var b Batch
		for ctx.Err() == nil {
			room := b.room
			if b = s.claim(b.Copies[:0]); len(b.Copies) == 0 {
				break
			}
			b.room = room
			s.hash(ctx, &b)
		}
		return nil
	}
	for more := range rampUp(min(s.eng.Workers, s.waiting), s.eng.Mode, claimed) {
		s.mu.Lock()
		s.workers += more
		s.mu.Unlock()
		for range more {
			group.Go(work)
		}
	}
	group.Wait() // every error is a problem
}

// claim appends to copies, which is empty, the next copy, or some of one class that are
// read together. It appends none if none is left.
func (s *stage) claim(copies []*Copy) Batch {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := Batch{Copies: copies, Want: s.depth}
	if s.abandoned || s.next == len(s.copies) {
		return b
	}
	if s.next >= s.classEnd {
		s.enter(s.next)
	}
	large := s.copies[s.next].Large()
	if !large && s.depth == StageEnds {
		for i := s.next; i < s.classEnd; i += s.batches {
			b.Copies = append(b.Copies, s.copies[i])
		}
		if s.next++; s.next == s.batchesEnd {
			s.next = s.classEnd
		}
	} else {
		n := 1
		if large && s.depth == StageWhole { // and all workers have their share
			n = max(1, min(s.classEnd-s.next, s.limit, s.waiting/s.workers))
		}
		b.Copies = append(b.Copies, s.copies[s.next:s.next+n]...)
		s.next += n
	}
	b.Peers = s.peers
	b.More = len(b.Copies) == 1 || len(s.peers) > 0 || s.batches > 1
	s.waiting -= len(b.Copies)
	return b
}

// enter comes to a class, of which first is the first copy, and divides it into
// batches: one if it is small enough, otherwise of about half as many files as may be
// open, for workers to end at the same time. Their number is not for the workers to
// decide, because it decides what is opened again.
//
// A batch has copies from all over the class: where a directory was copied, the copies
// have their inodes in the order of the originals.
func (s *stage) enter(first int) {
	s.classEnd = first + 1
	for s.classEnd < len(s.copies) && s.copies[s.classEnd].Size == s.copies[first].Size && s.compareClasses(s.copies[s.classEnd], s.copies[first]) == 0 {
		s.classEnd++
	}
	n, most := s.classEnd-first, s.limit
	if n > most {
		most = (most + 1) / 2
	}
	s.batches = (n + most - 1) / most
	s.batchesEnd = first + s.batches
	s.peers = s.knownEnds(s.copies[first].Size)
}

// maxPeers bounds how many known ends a hasher compares each file with.
const maxPeers = 256

// knownEnds returns the ends that are known of files of a size: each once, and not more
// than maxPeers.
func (s *stage) knownEnds(size int64) (ends []Ends) {
	i, _ := slices.BinarySearchFunc(s.known, size, func(c *Copy, size int64) int { return cmp.Compare(size, c.Size) })
	for ; i < len(s.known) && s.known[i].Size == size && len(ends) < maxPeers; i++ {
		ends = append(ends, s.known[i].Known.Ends)
	}
	slices.Sort(ends)
	return slices.Compact(ends)
}

// rampUp yields how many workers to start, and then how many more, up to most: in
// this process as many as there are processors, and twice as many as long as
// these don't keep them busy, as on a network mount. What comes from the page
// cache is read fastest by few. It ends when all is claimed.
func rampUp(most int, mode Mode, claimed <-chan struct{}) iter.Seq[int] {
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
			case <-claimed:
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
