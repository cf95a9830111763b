package index

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"efsdedupe/dedupe"
)

// Remember stores what reading the files revealed. Reading began at begun.
func (s *Scan) Remember(ctx context.Context, begun time.Time, signed []dedupe.Signed) {
	for i := range signed {
		if a := &signed[i]; a.Problem == nil {
			s.learn(ctx, s.knows(a.File), a.File, knowledge{a.Ends, a.Digest}, begun)
		}
	}
}

// learn remembers what reading a file in d revealed. Reading began at begun.
func (s *Scan) learn(ctx context.Context, d *directory, f dedupe.File, k knowledge, begun time.Time) {
	if d != nil && settled(f, begun, d.remote) {
		s.remember(ctx, d, &entry{inode: f.Inode, state: stateOf(f), seen: s.today, knowledge: k}, begun)
	}
}

const (
	// fineTick is longer than a tick of any kernel's clock. coarseTick is longer than a
	// tick of file systems and servers that keep whole seconds; a ctime without a
	// fraction of a second may come from one of those.
	fineTick   = 100 * time.Millisecond
	coarseTick = 2 * time.Second

	// clockSkew is how far this machine's clock may be ahead of the clock that stamps the
	// files of a network file system.
	clockSkew = time.Minute
)

// settled reports whether any write after reading began must have changed the ctime: that
// is, whether the ctime was older than a tick. The mtime does not help, because any
// program can set it, even to the future.
func settled(f dedupe.File, begun time.Time, remote bool) bool {
	tick := fineTick
	if f.ChangeTime.IsWholeSecond() {
		tick = coarseTick
	}
	if remote {
		tick += clockSkew
	}
	return f.ChangeTime.Time().Add(tick).Before(begun)
}

const (
	// flushEntries and flushEvery bound how much work a killed scan loses, and how much
	// waits in memory.
	flushEntries = 1 << 18
	flushEvery   = 5 * time.Second

	// flushShare limits flushes to a tenth of the time, because each rewrites blocks that
	// earlier ones wrote.
	flushShare = 10
)

// remember queues an entry for the next flush, and starts the flush when it is due. It
// blocks when entries come faster than they are written.
func (s *Scan) remember(ctx context.Context, d *directory, e *entry, now time.Time) {
	var room [maxEntry]byte
	b := e.append(room[:0])
	s.mu.Lock()
	if s.err != nil {
		s.mu.Unlock()
		return
	}
	if d.fresh == nil {
		d.fresh = make(map[int]encoded)
		s.dirty = append(s.dirty, d)
	}
	i := part(e.inode, d.level)
	if d.fresh[i] == nil {
		d.fresh[i] = make(encoded, 0, usualSize*(1+d.candidates>>d.level))
	}
	d.fresh[i] = append(d.fresh[i], b...)
	s.fresh++
	full := s.fresh >= flushEntries
	due := full || now.After(s.due)
	s.mu.Unlock()
	if !due {
		return
	}
	select {
	case s.writing <- struct{}{}:
	default:
		if !full {
			return
		}
		s.writing <- struct{}{}
	}
	go func() {
		defer func() { <-s.writing }()
		s.flush(context.WithoutCancel(ctx))
	}()
}

// Flush writes everything that is not yet in the store. Call it when the scan has ended.
// It returns the store's first error: then the scan may have read files that the store
// knows, or the store may lack what the scan read. It returns a *PlaceError if the index
// could not be used for some directory.
func (s *Scan) Flush(ctx context.Context) error {
	select {
	case s.writing <- struct{}{}:
		defer func() { <-s.writing }()
		s.flush(ctx)
	case <-ctx.Done():
		s.charge(Units{}, ctx.Err())
	}
	return s.Err()
}

// Err returns the error that Flush would return now.
func (s *Scan) Err() error {
	if !s.recalled.Load() {
		return s.failure()
	}
	return cmp.Or(s.failure(), s.where.err)
}

// flush writes the queued entries. Only one flush runs at a time.
func (s *Scan) flush(ctx context.Context) {
	changes := s.take()
	if len(changes) == 0 || s.failed() {
		return
	}
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	start := s.index.Now()
	units, err := s.index.update(waiting, slices.Collect(maps.Keys(changes)), func(key Key, old []byte) []byte {
		return s.change(changes[key], key, old)
	})
	s.charge(units, err)
	if err != nil && ctx.Err() == nil {
		s.index.fail(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	end := s.index.Now()
	s.due = end.Add(max(flushEvery, flushShare*end.Sub(start)))
}

// change is what to do to a block: merge these entries into it.
type change struct {
	block
	of    piece
	fresh encoded
}

// scratch is room for the entries of one change.
type scratch struct {
	old, unsorted, fresh, merged []entry
	order                        []int32 // indexes into unsorted, in the order of fresh
}

// sort sets fresh to the entries sorted by inode. Among entries of one inode the latest
// comes last. Entries are large, so it sorts indexes.
func (r *scratch) sort(entries encoded) {
	r.unsorted = entries.appendTo(r.unsorted[:0])
	r.order = r.order[:0]
	for i := range r.unsorted {
		r.order = append(r.order, int32(i))
	}
	slices.SortFunc(r.order, func(a, b int32) int {
		return cmp.Or(cmp.Compare(r.unsorted[a].inode, r.unsorted[b].inode), cmp.Compare(a, b))
	})
	r.fresh = r.fresh[:0]
	for _, i := range r.order {
		r.fresh = append(r.fresh, r.unsorted[i])
	}
}

func (s *Scan) change(c change, key Key, old []byte) []byte {
	room, _ := s.scratch.Get().(*scratch)
	if room == nil {
		room = new(scratch)
	}
	defer s.scratch.Put(room)
	b, _ := parseBlockInto(key, old, room.old)
	room.sort(c.fresh)
	c.entries = room.fresh
	merged := b.merge(c.block, s.today, room.merged)
	room.old, room.merged = b.entries, merged.entries
	out := merged.append(key)
	s.mu.Lock()
	c.of.resize(len(out))
	s.mu.Unlock()
	return out
}

// take returns the changes to write, by key, and clears the queue.
func (s *Scan) take() map[Key]change {
	s.mu.Lock()
	defer s.mu.Unlock()
	changes := make(map[Key]change)
	for _, d := range s.dirty {
		if d.moves {
			d.move()
		}
		b := block{place: d.place, level: d.level}
		if d.level > 0 && d.stale {
			changes[d.key(0, 0)] = change{b, piece{d, 0, 0}, nil}
		}
		for i, fresh := range d.fresh {
			if len(fresh) > 0 {
				changes[d.key(d.level, i)] = change{b, piece{d, d.level, i}, fresh}
			}
		}
		d.fresh, d.stale, d.moves = nil, false, false
	}
	s.dirty, s.fresh = nil, 0
	return changes
}

// move queues the known entries again, before the fresh ones, which may be newer.
func (d *directory) move() {
	moved := make(map[int]encoded)
	for _, known := range d.known {
		for i := range known {
			p := part(known[i].inode, d.level)
			moved[p] = known[i].append(moved[p])
		}
	}
	for i, entries := range moved {
		d.fresh[i] = append(entries, d.fresh[i]...)
	}
}
