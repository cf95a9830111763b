package dedupe

import (
	"cmp"
	"context"
	"iter"
	"slices"
	"sync"
	"time"
)

// Signed is a copy and the result of reading it, or the problem that prevented reading
// it.
type Signed struct {
	File
	Copy    *Copy  // set by Read, unless there is a problem
	Ends    Ends   // zero if the file is small or the ends were not wanted
	Digest  Digest // zero if unknown
	Work    Work
	Problem *Problem // why reading failed; wraps the context's error if the context ended first
	names   int      // of Copy, counted while it is in the processor's cache
}

// fail records why reading failed. A nil err clears the problem.
func (s *Signed) fail(err error) {
	if s.Problem = nil; err != nil {
		s.Problem = asProblem(s.Path, err)
	}
}

// Read reads the ends of the copies, or the whole files, largest first. It yields each
// copy once it is signed, and stores what it learned in the copy, so the next stage need
// not read it again. It skips the ends of small files, and everything already known.
//
// If a copy cannot be read under one name, Read tries the next. It yields each failed
// name with its problem. When ctx ends, Read does not yield copies it had not started.
//
// Read holds all copies while it runs, and signs copies of one size together where that
// saves work. So pass as many copies of one size at once as you can. However you split
// them, Join yields the same groups.
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

// calls returns the largest number of system calls the stage can be in at once. On another
// machine's file system, free workers help the others.
func (s *stage) calls() int {
	if s.eng.isRemote() {
		return min(s.eng.Workers, len(s.copies))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.workers
}

// stage is one call of Read in progress.
type stage struct {
	copies   []*Copy // to read; largest first, each class together
	answered []*Copy // need no reading
	known    []*Copy // have known ends, largest first; only if ends are wanted
	depth    Stage
	eng      Engine
	limit    int // most files of one size to read together

	mu      sync.Mutex
	next    int // index of the first unclaimed copy
	waiting int // number of unclaimed copies
	workers int // workers started so far

	// The current class: the index after its last copy, its number of batches, the index
	// after the last copy that starts a batch, and the known ends of other files of this
	// size.
	classEnd, batches, batchesEnd int
	peers                         []Ends

	unused    []known // memory for the next results
	ready     []Signed
	some      chan struct{} // holds one value when ready is long enough to collect
	taken     sync.Cond     // signals that ready was collected, or the stage abandoned
	abandoned bool          // the caller stopped; drop further results
}

func newStage(copies iter.Seq[*Copy], depth Stage, eng Engine) *stage {
	s := &stage{copies: make([]*Copy, 0, eng.copies), depth: depth, eng: eng, limit: eng.batchLimit(), some: make(chan struct{}, 1)}
	s.taken.L = &s.mu
	todo := Event{Stage: depth}
	for c := range copies {
		switch {
		case depth == StageEnds && c.size <= smallMax, depth == StageWhole && c.hasDigest():
			s.answered = append(s.answered, c)
		case depth == StageEnds && c.ends() != 0:
			s.answered, s.known = append(s.answered, c), append(s.known, c)
		default:
			s.copies = append(s.copies, c)
		}
		if s.counts(c) {
			todo.Files++
			todo.Bytes += s.most(c.size)
		}
	}
	sortCopies(s.copies, s.order)
	slices.SortStableFunc(s.known, func(a, b *Copy) int { return cmp.Compare(b.size, a.size) })
	s.waiting = len(s.copies)
	eng.observe(todo)
	return s
}

// sortCopies sorts copies, largest first. They usually arrive ordered by size, so it
// sorts only within the sizes that need it.
func sortCopies(copies []*Copy, order func(a, b *Copy) int) {
	bySize := func(a, b *Copy) int { return cmp.Compare(b.size, a.size) }
	if !slices.IsSortedFunc(copies, bySize) {
		slices.SortFunc(copies, order)
		return
	}
	for len(copies) > 0 {
		n := 1
		for n < len(copies) && copies[n].size == copies[0].size {
			n++
		}
		if !slices.IsSortedFunc(copies[:n], order) {
			slices.SortFunc(copies[:n], order)
		}
		copies = copies[n:]
	}
}

// counts reports whether a copy adds to the stage's work: it has to be read, or the
// reading it saves is not counted yet.
func (s *stage) counts(c *Copy) bool {
	if s.depth == StageEnds {
		return c.size > smallMax
	}
	return !c.hasDigest() || !c.counted
}

// answer signs a copy without reading it, and counts the reading that saves.
func (s *stage) answer(c *Copy) Signed {
	ends, digest := c.Known()
	signed := Signed{File: c.File(), Copy: c, Ends: ends, names: c.names()}
	whole := s.depth == StageWhole || digest != (Digest{}) && !large(c.size)
	switch {
	case !s.counts(c):
		if s.depth == StageWhole {
			signed.Digest = digest
		}
		return signed
	case whole:
		signed.Digest, signed.Work, c.counted = digest, spared(c.size, 1), true
	default:
		signed.Work = spared(signed.EndsLength(), 0)
	}
	s.eng.observe(Event{Stage: s.depth, Work: signed.Work})
	return signed
}

// spared returns the work that a known copy saves. A file counts when its digest is
// known.
func spared(bytes, files int64) Work {
	return Work{OpensSpared: 1, BytesSpared: bytes, FilesKnown: files}
}

// order is the reading order: largest first, so that no worker is left reading one large
// file at the end.
func (s *stage) order(a, b *Copy) int {
	if a.size != b.size {
		return cmp.Compare(b.size, a.size)
	}
	if c := s.compareClasses(a, b); c != 0 {
		return c
	}
	return compareNames(a, b)
}

// compareClasses orders copies of one size. It returns 0 if they may be equal.
func (s *stage) compareClasses(a, b *Copy) int {
	if s.depth == StageEnds || !large(a.size) {
		return 0
	}
	return cmp.Compare(a.ends(), b.ends())
}

// most returns the most bytes this stage may read of a file. In StageEnds it reads all of
// a file whose ends match another's, unless the file is large.
func (s *stage) most(size int64) int64 {
	if s.depth == StageEnds && large(size) {
		return File{Size: size}.EndsLength()
	}
	return size
}

// hash signs what was claimed and settles each copy.
func (s *stage) hash(ctx context.Context, c *claimed) {
	files := c.Files[:0]
	c.paths.reserve(c.copies)
	for _, copy := range c.copies {
		files = append(files, copy.file(c.paths.of(copy)))
	}
	n := len(files)
	if c.Apart && s.eng.Mode != Processes { // a message to a worker takes longer than reading a small file
		n = 1
	}
	signed, told, since := slices.Grow(c.room[:0], len(files)), 0, time.Now()
	for i := 0; i < len(files) && ctx.Err() == nil; i += n {
		c.Files, c.room = files[i:i+n], signed[i:i:i+n]
		signed = signed[:i+n]
		if got := s.sign(ctx, c.Batch); &got[0] != &signed[i] {
			copy(signed[i:], got)
		}
		if time.Since(since) >= tellAfter {
			s.finish(c.copies[told:i+n], signed[told:])
			told, since = i+n, time.Now()
		}
	}
	s.finish(c.copies[told:len(signed)], signed[told:])
	c.Files, c.room = files, signed
	for i := range signed {
		if signed[i].Problem != nil {
			s.settle(ctx, c.copies[i], &signed[i])
		}
	}
}

// sign signs a batch and passes the result to Remember.
func (s *stage) sign(ctx context.Context, b Batch) []Signed {
	if s.eng.Remember == nil {
		return s.eng.Hasher.Hash(ctx, b)
	}
	begun := s.eng.now()
	signed := s.eng.Hasher.Hash(ctx, b)
	s.eng.Remember(ctx, begun, signed)
	return signed
}

// tellAfter is how long a worker may keep results, to hand over several at once. Handing
// over each on its own takes 2% of the time of reading small files.
const tellAfter = time.Millisecond

// finish records the results for copies whose first name could be read.
func (s *stage) finish(copies []*Copy, signed []Signed) {
	if !s.lock() {
		return
	}
	defer s.mu.Unlock()
	for i := range signed {
		if signed[i].Problem == nil {
			s.record(copies[i], &signed[i])
			s.eng.observe(Event{Stage: s.depth, Work: signed[i].Work})
		}
	}
	s.tell()
}

// settle tries the other names of a copy whose first name could not be read, until it can
// read one. The copy loses the names that failed.
func (s *stage) settle(ctx context.Context, c *Copy, signed *Signed) {
	name := c
	var failed []Signed
	var work Work
	for signed.Problem != nil {
		failed = append(failed, *signed)
		work.Add(signed.Work)
		if ctx.Err() != nil {
			for i := range failed {
				failed[i].fail(ctx.Err()) // the end of ctx may be the real cause
			}
			break
		}
		if name.next == nil {
			break
		}
		name = name.next
		signed = &s.sign(ctx, Batch{Files: []File{c.file(name.path())}, Want: s.depth, More: true, NFS: s.eng.NFS})[0]
	}
	if !s.lock() {
		return
	}
	defer s.mu.Unlock()
	s.ready = append(s.ready, failed...)
	if signed.Problem == nil {
		c.in, c.name, c.length, c.next = name.in, name.name, name.length, name.next
		s.record(c, signed)
		work.Add(signed.Work)
	}
	s.eng.observe(Event{Stage: s.depth, Work: work})
	s.tell()
}

// lock locks the stage once there is room for results. It returns false, with the stage
// unlocked, if nobody wants any.
func (s *stage) lock() bool {
	s.mu.Lock()
	for len(s.ready) >= mostReady && !s.abandoned {
		s.taken.Wait()
	}
	if s.abandoned {
		s.mu.Unlock()
		return false
	}
	return true
}

// record makes a copy's result ready.
func (s *stage) record(c *Copy, signed *Signed) {
	s.learn(c, signed.Ends, signed.Digest)
	signed.Copy, signed.names = c, c.names()
	s.ready = append(s.ready, *signed)
}

// tell has the results collected if there are enough.
func (s *stage) tell() {
	if len(s.ready) >= enoughReady {
		select {
		case s.some <- struct{}{}:
		default:
		}
	}
}

// learn stores in the copy what reading it revealed, if anything.
func (s *stage) learn(c *Copy, ends Ends, digest Digest) {
	if ends == 0 && digest == (Digest{}) {
		return
	}
	if len(s.unused) == 0 {
		s.unused = make([]known, knownAtOnce)
	}
	now := &s.unused[0]
	s.unused = s.unused[1:]
	now.ends, now.digest = c.Known()
	now.ends = cmp.Or(ends, now.ends)
	if digest != (Digest{}) {
		now.digest, c.counted = digest, true
	}
	c.known = now
}

// knownAtOnce is for how many copies to allocate memory at once.
const knownAtOnce = 256

// Read hands over results once it has enoughReady; workers wait once there are mostReady.
const (
	enoughReady = 256
	mostReady   = 1024
)

// collect returns the results that are ready and reuses room for the next ones.
func (s *stage) collect(room []Signed) []Signed {
	s.mu.Lock()
	defer s.mu.Unlock()
	ready := s.ready
	s.ready = room[:0]
	s.taken.Broadcast()
	return ready
}

// abandon stops workers that are still running from adding results.
func (s *stage) abandon() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.abandoned = true
	s.taken.Broadcast()
}
