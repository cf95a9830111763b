package dedupe

import (
	"cmp"
	"context"
	"iter"
	"runtime"
	"slices"
	"sync"
	"time"

	"efsdedupe/dedupe/limits"

	"golang.org/x/sync/errgroup"
)

// run starts the workers, one goroutine each, and waits until they have hashed all
// copies.
func (s *stage) run(ctx context.Context) {
	var group errgroup.Group
	none := make(chan struct{}) // closed when no copy is left
	allClaimed := sync.OnceFunc(func() { close(none) })
	work := func() error {
		defer allClaimed()
		var c claimed
		for ctx.Err() == nil && s.claim(&c) {
			s.hash(ctx, &c)
		}
		return nil
	}
	most := min(s.eng.Workers, s.waiting)
	workers := rampUp(most, s.eng.Mode, none) // before there are more threads than processors
	defer s.eng.overlap(most)()
	for more := range workers {
		s.mu.Lock()
		s.workers += more
		s.mu.Unlock()
		for range more {
			group.Go(work)
		}
	}
	group.Wait() // errors are in the problems
}

// claimed is what a worker reads next, with memory that it uses again and again.
type claimed struct {
	Batch
	copies []*Copy
	paths  paths
}

// smallAtOnce is the most small files to claim at once. The processor waits for memory
// when it puts a path together, and for several at once it waits no longer than for one.
const smallAtOnce = 16

// claim makes c the next copies of one class to read together, or several small ones to
// read one by one. It returns false if no copy is left. The caller sets the files.
func (s *stage) claim(c *claimed) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.Want, c.NFS, c.copies = s.depth, s.eng.NFS, c.copies[:0]
	if s.abandoned || s.next == len(s.copies) {
		return false
	}
	if c.Apart = s.depth == StageWhole && s.copies[s.next].size <= smallMax; c.Apart {
		n := max(1, min(s.waiting/(4*s.workers), smallAtOnce))
		c.copies, c.More = append(c.copies, s.copies[s.next:s.next+n]...), true
		s.next, s.waiting = s.next+n, s.waiting-n
		return true
	}
	if s.next >= s.classEnd {
		s.enter(s.next)
	}
	large := large(s.copies[s.next].size)
	if !large && s.depth == StageEnds {
		for i := s.next; i < s.classEnd; i += s.batches {
			c.copies = append(c.copies, s.copies[i])
		}
		if s.next++; s.next == s.batchesEnd {
			s.next = s.classEnd
		}
	} else {
		n := 1
		if large && s.depth == StageWhole { // leave enough for the other workers
			n = max(1, min(s.classEnd-s.next, s.limit, s.waiting/s.workers))
		}
		c.copies = append(c.copies, s.copies[s.next:s.next+n]...)
		s.next += n
	}
	c.Peers = s.peers
	c.More = len(c.copies) == 1 || len(s.peers) > 0 || s.batches > 1
	s.waiting -= len(c.copies)
	return true
}

// enter starts the class at index first and divides it into batches: one if the class is
// small enough. Otherwise each batch has about half as many files as may be open, so that
// workers finish together. The number of batches must not depend on the workers, because
// it decides which files are opened twice.
//
// A batch takes copies from all over the class: in a copied directory, the inodes come in
// the same order as in the original.
func (s *stage) enter(first int) {
	s.classEnd = first + 1
	for s.classEnd < len(s.copies) && s.copies[s.classEnd].size == s.copies[first].size && s.compareClasses(s.copies[s.classEnd], s.copies[first]) == 0 {
		s.classEnd++
	}
	n, most := s.classEnd-first, s.limit
	if n > most {
		most = (most + 1) / 2
	}
	s.batches = (n + most - 1) / most
	s.batchesEnd = first + s.batches
	s.peers = s.knownEnds(s.copies[first].size)
}

// maxPeers is the most known ends a hasher compares each file with.
const maxPeers = 256

// knownEnds returns the distinct known ends of files of a size, at most maxPeers.
func (s *stage) knownEnds(size int64) (ends []Ends) {
	i, _ := slices.BinarySearchFunc(s.known, size, func(c *Copy, size int64) int { return cmp.Compare(size, c.size) })
	for ; i < len(s.known) && s.known[i].size == size && len(ends) < maxPeers; i++ {
		ends = append(ends, s.known[i].ends())
	}
	slices.Sort(ends)
	return slices.Compact(ends)
}

// rampUp yields how many workers to start, then how many to add, up to most. In this
// process it starts one per processor, because few workers read the page cache fastest.
// It doubles them while the processors are not busy, as on a network mount. It ends when
// every copy is claimed.
func rampUp(most int, mode Mode, claimed <-chan struct{}) iter.Seq[int] {
	processors := runtime.GOMAXPROCS(0)
	return func(yield func(int) bool) {
		started := most
		if mode != Processes {
			started = min(most, processors)
		}
		if !yield(started) {
			return
		}
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for cpu, at := limits.CPUTime(), time.Now(); started < most; {
			select {
			case <-claimed:
				return
			case <-tick.C:
			}
			used, passed := limits.CPUTime()-cpu, time.Since(at)
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
