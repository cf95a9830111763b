package dedupe

import (
	"cmp"
	"context"
	"iter"
	"slices"
	"strings"
	"sync"
)

// Signed is a copy with what reading it gave, or the problem that kept it from being
// read.
type Signed struct {
	*Copy
	Ends    Ends   // zero if the file is small, or if they were not wanted
	Digest  Digest // zero if it is not known
	Work    Work
	Problem *Problem // it failed, or wraps the error of the context that ended before
}

// fail records why reading failed; nil if it did not.
func (s *Signed) fail(err error) {
	if s.Problem = nil; err != nil {
		s.Problem = asProblem(s.Path, err)
	}
}

// Read reads the ends of copies, or all of them, largest first, and yields each once it
// is signed. It notes in the copy what it learned, so that the next stage need not read
// it again. Copies that are known are not read, and small files have no ends.
//
// A copy that cannot be read under one name is read under another; each name that
// fails is yielded with its problem. When ctx ends, copies that nobody has begun to
// read are not yielded.
//
// Read holds all copies while it runs, and signs those of one size together where that
// spares work. So give it as many copies of a size at once as you can; but any split
// of them joins to the same groups.
func Read(ctx context.Context, copies iter.Seq[*Copy], depth Stage, eng Engine) iter.Seq[Signed] {
	return func(yield func(Signed) bool) {
		if eng.Hasher == nil {
			h, stop := eng.start(eng.Workers)
			defer stop()
			eng.Hasher = h
		}
		s := newStage(copies, depth, eng)
		for _, c := range s.answered {
			if !yield(s.answer(c)) {
				return
			}
		}
		s.answered = nil
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer s.abandon()
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			eng.Abandoned.await(ctx, s.calls, func() { s.run(ctx) })
		}()
		var ready []Signed
		for more := true; more; {
			select {
			case <-ended:
				more = false
			case <-s.some:
			}
			ready = s.collect(ready)
			for i := range ready {
				if !yield(ready[i]) {
					return
				}
			}
		}
	}
}

// calls is how many system calls the stage may be in.
func (s *stage) calls() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.workers
}

// stage is one Read on its way.
type stage struct {
	copies   []*Copy // to be read; largest first, those of one class together
	answered []*Copy // not to be read
	known    []*Copy // with known ends, largest first; only if ends are wanted
	depth    Stage
	eng      Engine
	limit    int // how many files of a size are read together, at most

	mu      sync.Mutex
	next    int // the first copy that was not claimed
	waiting int // copies that were not claimed
	workers int // that were started

	// Of the class that next is in, or was in: the first copy of another, how many
	// batches it is read in, the copy after those that these begin with, and the ends
	// that are known of others of this size.
	classEnd, batches, batchesEnd int
	peers                         []Ends

	ready     []Signed
	some      chan struct{} // holds one if there is much in ready
	taken     sync.Cond     // ready was collected, or abandoned
	abandoned bool          // nobody waits for what is found now
}

func newStage(copies iter.Seq[*Copy], depth Stage, eng Engine) *stage {
	s := &stage{depth: depth, eng: eng, limit: eng.batchLimit(), some: make(chan struct{}, 1)}
	s.taken.L = &s.mu
	todo := Event{Stage: depth}
	for c := range copies {
		known := c.known()
		switch {
		case depth == StageEnds && c.Size <= smallMax, depth == StageWhole && known.Digest != (Digest{}):
			s.answered = append(s.answered, c)
		case depth == StageEnds && known.Ends != 0:
			s.answered, s.known = append(s.answered, c), append(s.known, c)
		default:
			s.copies = append(s.copies, c)
		}
		if s.counts(c) {
			todo.Files++
			todo.Bytes += s.most(c.File)
		}
	}
	sortCopies(s.copies, s.order)
	slices.SortStableFunc(s.known, func(a, b *Copy) int { return cmp.Compare(b.Size, a.Size) })
	s.waiting = len(s.copies)
	eng.observe(todo)
	return s
}

// sortCopies sorts copies, the largest first. Most often they come by size, and only
// those of some sizes have to be sorted.
func sortCopies(copies []*Copy, order func(a, b *Copy) int) {
	bySize := func(a, b *Copy) int { return cmp.Compare(b.Size, a.Size) }
	if !slices.IsSortedFunc(copies, bySize) {
		slices.SortFunc(copies, order)
		return
	}
	for len(copies) > 0 {
		n := 1
		for n < len(copies) && copies[n].Size == copies[0].Size {
			n++
		}
		if !slices.IsSortedFunc(copies[:n], order) {
			slices.SortFunc(copies[:n], order)
		}
		copies = copies[n:]
	}
}

// counts reports whether a copy is part of what the stage has to do: it is to be read,
// or what knowing it spares is not counted yet.
func (s *stage) counts(c *Copy) bool {
	if s.depth == StageEnds {
		return c.Size > smallMax
	}
	known := c.known()
	return known.Digest == (Digest{}) || !known.Counted
}

// answer signs a copy that need not be read, and counts what that spares.
func (s *stage) answer(c *Copy) Signed {
	known := c.known()
	signed := Signed{Copy: c, Ends: known.Ends}
	whole := s.depth == StageWhole || known.Digest != (Digest{}) && !c.Large()
	switch {
	case !s.counts(c):
		if s.depth == StageWhole {
			signed.Digest = known.Digest
		}
		return signed
	case whole:
		signed.Digest, signed.Work, c.Known.Counted = known.Digest, spared(c.Size, 1), true
	default:
		signed.Work = spared(c.EndsLength(), 0)
	}
	s.eng.observe(Event{Stage: s.depth, Work: signed.Work})
	return signed
}

// spared is the work that a known copy spares. Files count when their digest is known.
func spared(bytes, files int64) Work {
	return Work{OpensSpared: 1, BytesSpared: bytes, FilesKnown: files}
}

// order is that in which copies are read: the largest first, so that no worker is left
// alone with one at the end.
func (s *stage) order(a, b *Copy) int {
	if a.Size != b.Size {
		return cmp.Compare(b.Size, a.Size)
	}
	if c := s.compareClasses(a, b); c != 0 {
		return c
	}
	return compareNames(a, b)
}

// compareNames orders copies by their inodes, and those of one inode by their names.
func compareNames(a, b *Copy) int {
	if c := compareInodes(&a.File, &b.File); c != 0 {
		return c
	}
	return strings.Compare(a.Path, b.Path)
}

// compareClasses orders copies of one size; it returns 0 for those that may be equal.
func (s *stage) compareClasses(a, b *Copy) int {
	if s.depth == StageEnds || !a.Large() {
		return 0
	}
	return cmp.Compare(a.known().Ends, b.known().Ends)
}

// most is how much of a file may be read: all of those with equal ends, unless they
// are large.
func (s *stage) most(f File) int64 {
	if s.depth == StageEnds && f.Large() {
		return f.EndsLength()
	}
	return f.Size
}

// hash has a batch signed.
func (s *stage) hash(ctx context.Context, b *Batch) {
	signed := s.sign(ctx, *b)
	for i := range signed {
		s.settle(ctx, b.Copies[i], signed[i])
	}
	b.room = signed
}

// sign has a batch signed, and remembered.
func (s *stage) sign(ctx context.Context, b Batch) []Signed {
	if s.eng.Remember == nil {
		return s.eng.Hasher.Hash(ctx, b)
	}
	begun := s.eng.now()
	signed := s.eng.Hasher.Hash(ctx, b)
	s.eng.Remember(ctx, begun, signed)
	return signed
}

// settle takes what became of a copy under its first name, and tries its others until
// one can be read.
func (s *stage) settle(ctx context.Context, c *Copy, signed Signed) {
	rest := Copy{File: c.File, OtherPaths: c.OtherPaths}
	var failed []Signed
	for signed.Problem != nil {
		signed.Copy = &Copy{File: rest.File}
		failed = append(failed, signed)
		if ctx.Err() != nil {
			for i := range failed {
				failed[i].fail(ctx.Err()) // perhaps it failed for no other reason
			}
			break
		}
		if len(rest.OtherPaths) == 0 {
			break
		}
		rest.Path, rest.OtherPaths = rest.OtherPaths[0], rest.OtherPaths[1:]
		signed = s.sign(ctx, Batch{Copies: []*Copy{{File: rest.File}}, Want: s.depth, More: true})[0]
	}
	s.finish(c, rest, signed, failed)
}

// finish takes what became of a copy at last, the names of it that could be read or were
// not needed, and the attempts that failed.
func (s *stage) finish(c *Copy, rest Copy, signed Signed, failed []Signed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.ready) >= mostReady && !s.abandoned {
		s.taken.Wait()
	}
	if s.abandoned {
		return
	}
	var work Work
	for _, f := range failed {
		work.add(f.Work)
	}
	s.ready = append(s.ready, failed...)
	if signed.Problem == nil {
		c.Path, c.OtherPaths = rest.Path, rest.OtherPaths
		c.learn(signed.Ends, signed.Digest)
		signed.Copy = c
		work.add(signed.Work)
		s.ready = append(s.ready, signed)
	}
	s.eng.observe(Event{Stage: s.depth, Work: work})
	if len(s.ready) >= enoughReady {
		select {
		case s.some <- struct{}{}:
		default:
		}
	}
}

// learn notes what reading a copy told, if anything.
func (c *Copy) learn(ends Ends, digest Digest) {
	if ends == 0 && digest == (Digest{}) {
		return
	}
	known := c.known()
	known.Ends = cmp.Or(ends, known.Ends)
	if digest != (Digest{}) {
		known.Digest, known.Counted = digest, true
	}
	c.Known = &known
}

// Read hands over what is ready once it is enough, and workers wait once it is most.
const (
	enoughReady = 256
	mostReady   = 1024
)

// collect returns what is ready, once, and takes room for what follows.
func (s *stage) collect(room []Signed) []Signed {
	s.mu.Lock()
	defer s.mu.Unlock()
	ready := s.ready
	s.ready = room[:0]
	s.taken.Broadcast()
	return ready
}

// abandon keeps those that still run from changing anything.
func (s *stage) abandon() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.abandoned = true
	s.taken.Broadcast()
}
