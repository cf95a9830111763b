// Package index remembers the digests of files between scans, so that a scan
// reads nothing but what changed since the one before.
//
// [Scan.Recall] notes what is known in the copies that a walk found, and
// [Scan.Remember] takes what reading the others gave. An entry answers
// for one inode of one file system, as long as size, mtime and ctime are, to the
// nanosecond, what they were. The number of a device is no part of that: it
// differs from machine to machine and from one mount to the next.
//
//	index.go   what is asked and remembered during a scan
//	block.go   entries in bytes: the blocks that a store keeps
//	locate.go  which file system a directory is on, and where in it
//	shown_*.go what an EFS-like mount shows
//	log.go     the store in one local file
//	size.go    how large the blocks are, which is what a store charges for
//	maintain.go    what an index has, what of it is wrong, what can go
//
// # Every defect is a miss
//
// A block carries its format's version and a checksum over its key and content.
// What is truncated, corrupt, of another version or can't be read in time is not
// there, and its files are read. Nothing here fails a scan.
//
// # Trust
//
// An entry proves something only where an inode keeps its number and a clock alone
// sets its ctime. The index is used on file system types that keep these promises,
// and on no other; see package mount and README.md. A file whose ctime was not set
// by a clock, or whose device is not that of its directory, is read all the same; see
// directory.vouchesFor.
//
// # Racy times
//
// A file that is written twice within one tick of its file system's clock has the
// same ctime after both. So, as in git's index, a file that was read while its ctime
// was not yet older than a tick is not remembered; see settled.
package index

import (
	"cmp"
	"context"
	"iter"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"efsdedupe/dedupe"
)

// Store keeps blocks of bytes under keys. It may lose any, at any time, and may
// return what was never stored: blocks are checked by their reader.
//
// Its methods may be called from many goroutines.
type Store interface {
	// Get returns those of the blocks that are there, and what reading them is
	// charged. With an error it returns what it has by then.
	Get(ctx context.Context, keys []Key) (map[Key][]byte, Units, error)

	// Update replaces blocks by what change makes of them: old is nil where there
	// is none, and a block that becomes nil is removed. It is called from many
	// goroutines. Of two updates of one block at the same time, one may be lost.
	Update(ctx context.Context, keys []Key, change func(key Key, old []byte) []byte) (Units, error)

	// All calls yield with every block, in no order, until yield returns false.
	All(ctx context.Context, yield func(key Key, block []byte) bool) error

	// Files returns the files of this machine that the store is in. No scan should find
	// them.
	Files() []os.FileInfo

	// Close ends the use of the store.
	Close() error
}

// Units is what a store charges, in the capacity units of DynamoDB. A store that
// charges nothing has none.
type Units struct {
	Read, Write float64
}

func (u *Units) add(v Units) {
	u.Read += v.Read
	u.Write += v.Write
}

// Index is digests in a store. One serves any number of scans, also at once.
type Index struct {
	Store Store

	// FileSystem, if it is set, identifies the file system that is scanned, of several the
	// first, in place of what its mount says: for EFS behind a tunnel on the loopback
	// address, as in Lambda functions and with the mount helper's TLS.
	FileSystem string

	// Now is the clock that times of files are compared with.
	Now func() time.Time

	// KeepBytes is how many bytes of blocks to keep in memory for further scans.
	KeepBytes int

	mu     sync.Mutex
	kept   map[Key][]byte
	size   int
	failed error     // the store's latest
	rests  time.Time // until when it is left alone for that
}

// New returns the index in a store. Its file systems are identified by their
// mounts.
func New(store Store) *Index { return &Index{Store: store, Now: time.Now} }

// Scan is one scan's use of an index: Recall and Remember are made for
// dedupe.Engine, see Attach.
type Scan struct {
	index *Index
	where *locator
	today day

	// recalled tells that where is set and no longer changes: a scan that ends while a
	// mount hangs leaves Recall behind.
	recalled atomic.Bool

	dirs   map[string]*directory // by their path as in a File
	all    []*directory          // those that have a place, each once
	places map[place]int         // where they are in all

	last    *directory // that directory returned
	lastDir string

	scratch sync.Pool // *scratch

	mu      sync.Mutex
	fresh   int          // entries that are not yet in the store
	dirty   []*directory // which have them
	due     time.Time    // of the next flush
	units   Units
	err     error         // the store's first; it is left alone from then on
	writing chan struct{} // holds one while there is a flush
}

// directory is what is known of the files in a directory. Its maps are by part: they
// have those that hold candidates, however many parts its first block speaks of.
type directory struct {
	location
	candidates int             // files that may be asked for
	level      int             // of the blocks that are written
	stale      bool            // its first block has to be written again, or it expires
	moves      bool            // what is known has to be written to the blocks of that level
	knownLevel int             // of known
	known      map[int][]entry // those of a part by inode
	fresh      map[int]encoded // entries that are not yet in the store; nil if there are none
	wanted     bool            // to be looked up

	first int32         // bytes of its first block, as it was last read or written; 0 if it was not there
	parts map[int]int32 // bytes of those of its parts, if it is split
}

// recall is a getter of blocks that are kept in memory, which may be old.
func (x *Index) recall(_ context.Context, keys []Key) map[Key][]byte {
	x.mu.Lock()
	defer x.mu.Unlock()
	blocks := make(map[Key][]byte)
	for _, key := range keys {
		if b, ok := x.kept[key]; ok {
			blocks[key] = b
		}
	}
	return blocks
}

// update is Store.Update, and keeps what it wrote.
func (x *Index) update(ctx context.Context, keys []Key, change func(key Key, old []byte) []byte) (Units, error) {
	return x.Store.Update(ctx, keys, func(key Key, old []byte) []byte {
		b := change(key, old)
		x.keep(key, b)
		return b
	})
}

// keep keeps a block in memory. When there is no room for it, all others go: what
// is still asked for comes back with the next scan.
func (x *Index) keep(key Key, b []byte) {
	if x.KeepBytes == 0 {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.kept == nil || x.size+len(b) > x.KeepBytes {
		x.kept, x.size = make(map[Key][]byte), 0
	}
	x.size += len(b) - len(x.kept[key])
	x.kept[key] = b
}

// Attach begins the use of the index by a scan, and has the engine of that scan recall
// and remember. Call Flush when the scan has ended.
func (x *Index) Attach(sel dedupe.Selection, eng *dedupe.Engine) *Scan {
	s := x.begin()
	within := eng.Within
	eng.Recall = func(ctx context.Context, found *dedupe.Inventory) {
		s.locate(sel.Roots, within)
		s.recall(ctx, found.Copies())
		s.recalled.Store(true)
	}
	eng.Remember, eng.Now = s.Remember, x.Now
	eng.Ignore = append(eng.Ignore, x.Store.Files()...)
	return s
}

// scan is begin for whoever calls Recall.
func (x *Index) scan(roots []string, within *os.File) *Scan {
	s := x.begin()
	s.locate(roots, within)
	s.recalled.Store(true)
	return s
}

// locate looks at the roots. It may hang where a mount does.
func (s *Scan) locate(roots []string, within *os.File) {
	s.where = newLocator(roots, within, s.index.FileSystem)
}

func (x *Index) begin() *Scan {
	now := x.Now()
	return &Scan{
		index:   x,
		today:   dayOf(now),
		dirs:    make(map[string]*directory),
		places:  make(map[place]int),
		err:     x.failure(now),
		writing: make(chan struct{}, 1),
	}
}

// Describe has the report of this scan tell whether the index was used, and if it was
// not used for all of it, why. Call it after Flush, with what Flush returned.
func (s *Scan) Describe(r *dedupe.Report, why string) {
	r.Index = &dedupe.IndexUse{Used: s.recalled.Load() && s.where.located && (!s.failed() || r.Stats.FilesKnown > 0), Why: why}
}

// fail takes note of an error of the store.
func (x *Index) fail(err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.failed, x.rests = err, x.Now().Add(rest)
}

// failure is the error for which the store is left alone; nil if it is not.
func (x *Index) failure(now time.Time) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if now.Before(x.rests) {
		return x.failed
	}
	return nil
}

// Recall notes in the copies of an inventory what is known of them. It looks all up at
// once: these are few reads of the store, and none of what is kept in memory and known
// there.
func (s *Scan) Recall(ctx context.Context, found *dedupe.Inventory) {
	s.recall(ctx, found.Copies())
}

func (s *Scan) recall(ctx context.Context, copies iter.Seq[*dedupe.Copy]) {
	candidates := names(copies)
	for f := range candidates {
		s.directory(f).candidates++
	}
	if s.index.KeepBytes > 0 {
		s.look(ctx, candidates, s.index.recall)
		for f := range candidates {
			if d := s.directory(f); d.find(f) == nil {
				d.wanted = true
			}
		}
	}
	if !s.failed() {
		s.look(ctx, candidates, s.fetch)
	}
	for _, d := range s.all {
		if level := levelFor(d.candidates); level > d.level {
			d.level, d.stale, d.moves = level, true, true
		}
	}
	s.due = s.index.Now().Add(flushEvery)
	for c := range copies {
		if d := s.directory(c.File); d.vouchesFor(c.File) {
			if k := s.remembered(ctx, d, c.File); k != (knowledge{}) {
				c.Known = &dedupe.Known{Ends: k.ends, Digest: k.digest}
			}
		}
	}
}

// names yields the file of each name of each copy.
func names(copies iter.Seq[*dedupe.Copy]) iter.Seq[dedupe.File] {
	return func(yield func(dedupe.File) bool) {
		for c := range copies {
			if !yield(c.File) {
				return
			}
			for _, path := range c.OtherPaths {
				f := c.File
				f.Path = path
				if !yield(f) {
					return
				}
			}
		}
	}
}

// Remember takes what was found out of files whose reading began then.
func (s *Scan) Remember(ctx context.Context, begun time.Time, signed []dedupe.Signed) {
	for i := range signed {
		if a := &signed[i]; a.Problem == nil {
			s.learn(ctx, s.knows(a.File), a.File, knowledge{a.Ends, a.Digest}, begun)
		}
	}
}

// at returns the directory at a location: the same one for every path that leads there,
// as through a bind mount.
func (s *Scan) at(where location) *directory {
	if where.fileSystem == "" {
		return new(directory)
	}
	if i, known := s.places[where.place]; known && s.all[i].device == where.device {
		return s.all[i]
	}
	d := &directory{location: where, wanted: true}
	s.places[where.place] = len(s.all)
	s.all = append(s.all, d)
	return d
}

// directory returns the directory of a file. Most often it is that of the file before.
func (s *Scan) directory(f dedupe.File) *directory {
	dir := dirOf(f.Path)
	if s.last != nil && s.lastDir == dir {
		return s.last
	}
	d := s.dirs[dir]
	if d == nil {
		d = s.at(s.where.ofFile(dir, f))
		s.dirs[dir] = d
	}
	s.last, s.lastDir = d, dir
	return d
}

// getter returns those of the blocks that it has.
type getter func(ctx context.Context, keys []Key) map[Key][]byte

// fetch is the getter of the store's blocks. It keeps them.
func (s *Scan) fetch(ctx context.Context, keys []Key) map[Key][]byte {
	if s.failed() {
		return nil
	}
	waiting, cancel := context.WithTimeout(ctx, patienceOf(ctx))
	defer cancel()
	blocks, units, err := s.index.Store.Get(waiting, keys)
	if ctx.Err() != nil {
		err = nil // nobody waits any more
	}
	s.charge(units, err)
	if err != nil {
		s.index.fail(err)
	}
	for key, b := range blocks {
		s.index.keep(key, b)
	}
	return blocks
}

// look reads the blocks of the directories that are wanted: the first of each,
// then, of those that are split, the parts that hold candidates.
func (s *Scan) look(ctx context.Context, candidates iter.Seq[dedupe.File], get getter) {
	blocks := make(map[Key]piece)
	for _, d := range s.all {
		if d.wanted && d.fileSystem != "" {
			d.known, d.level, d.knownLevel = make(map[int][]entry), 0, 0
			blocks[d.key(0, 0)] = piece{d, 0, 0}
		}
	}
	s.read(ctx, blocks, get)

	clear(blocks)
	split := false
	for _, d := range s.all {
		d.wanted = d.wanted && d.level > 0
		split = split || d.wanted
	}
	if !split {
		return
	}
	for f := range candidates {
		if d := s.directory(f); d.wanted {
			i := part(f.Inode, d.level)
			blocks[d.key(d.level, i)] = piece{d, d.level, i}
		}
	}
	s.read(ctx, blocks, get)
	for _, d := range s.all {
		d.wanted = false
	}
}

// piece is what a block is of a directory.
type piece struct {
	*directory
	level, part int
}

// read puts the entries of blocks into their directories.
func (s *Scan) read(ctx context.Context, of map[Key]piece, get getter) {
	if len(of) == 0 {
		return
	}
	for key, data := range get(ctx, slices.Collect(maps.Keys(of))) {
		d, asked := of[key]
		b, ok := parseBlock(key, data)
		if !asked || !ok || b.place != d.place {
			continue
		}
		switch {
		case d.level == 0: // the first block tells the level
			d.directory.level, d.knownLevel = b.level, b.level
		case b.level != d.level:
			continue
		}
		d.resize(len(data))
		d.known[d.part] = b.entries
		d.stale = d.stale || s.today-b.written >= refreshAfter
	}
}

// knows returns the directory of a file, or nil if nothing is remembered of it.
func (s *Scan) knows(f dedupe.File) *directory {
	if d := s.dirs[dirOf(f.Path)]; d != nil && d.vouchesFor(f) {
		return d
	}
	return nil
}

// vouchesFor reports whether an entry can prove that a file is unchanged.
func (d *directory) vouchesFor(f dedupe.File) bool {
	switch {
	case d.fileSystem == "":
		return false
	case f.Device != d.device: // a file mounted over another
		return false
	case f.ChangeTime.IsWholeSecond() && !d.wholeSeconds:
		// No kernel set it, but the tool that filled the image; it may give all files of
		// all builds one ctime.
		return false
	}
	return true
}

// remembered returns what is known of a file in d.
func (s *Scan) remembered(ctx context.Context, d *directory, f dedupe.File) knowledge {
	e := d.find(f)
	if e == nil {
		return knowledge{}
	}
	if s.today-e.seen >= refreshAfter {
		again := *e
		again.seen = s.today
		s.remember(ctx, d, &again, s.index.Now())
	}
	return e.knowledge
}

// learn remembers what was found out of a file in d that was read from begun on.
func (s *Scan) learn(ctx context.Context, d *directory, f dedupe.File, k knowledge, begun time.Time) {
	if d != nil && settled(f, begun, d.remote) {
		s.remember(ctx, d, &entry{inode: f.Inode, state: stateOf(f), seen: s.today, knowledge: k}, begun)
	}
}

const (
	// fineTick is more than a tick of any kernel's clock; coarseTick is more than that
	// of file systems and servers which keep whole seconds. A ctime without a fraction
	// of a second is taken to be from one of them.
	fineTick   = 100 * time.Millisecond
	coarseTick = 2 * time.Second

	// clockSkew is how far the clock here may be ahead of the clock that stamps the
	// files of a network file system.
	clockSkew = time.Minute
)

// settled reports whether a file whose reading began then cannot have been written to
// since without a new ctime: whether its ctime was older than a tick. Its mtime says
// nothing more: any program can set it, also to the future.
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
	// flushEntries and flushEvery bound what a scan that is killed has read for
	// nothing, and how much waits in memory.
	flushEntries = 1 << 18
	flushEvery   = 5 * time.Second

	// flushShare keeps flushes to a tenth of the time: each rewrites blocks that
	// earlier ones wrote.
	flushShare = 10

	// patience is how long a scan waits for the store. What has not come by then is
	// a miss.
	patience = 10 * time.Second

	// rest is how long a store that failed is left alone by further scans: each would
	// wait for it again.
	rest = time.Minute
)

// patienceOf is patience, but no more than a quarter of what a scan has left: in the
// rest it can read what is not known.
func patienceOf(ctx context.Context) time.Duration {
	if deadline, ok := ctx.Deadline(); ok {
		return min(patience, time.Until(deadline)/4)
	}
	return patience
}

// remember puts an entry among those that the next flush writes, and begins that
// flush when it is due. It waits where entries come faster than they are written.
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

// Flush writes what is not yet in the store. Call it when the scan has ended; its
// error is the first that the store had, if it had any: then files were read that
// it may know, or what was read may not be in it. It is a *PlaceError if there are
// directories that the index keeps out of.
func (s *Scan) Flush(ctx context.Context) error {
	select {
	case s.writing <- struct{}{}:
		defer func() { <-s.writing }()
		s.flush(ctx)
	case <-ctx.Done():
		s.charge(Units{}, ctx.Err())
	}
	if !s.recalled.Load() {
		return s.failure()
	}
	return cmp.Or(s.failure(), s.where.err)
}

// flush is one of a time.
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

// change is what is to be made of a block: what the block has, and these entries.
type change struct {
	block
	of    piece
	fresh encoded
}

// scratch is room for the entries of one change.
type scratch struct {
	old, unsorted, fresh, merged []entry
	order                        []int32 // of unsorted in fresh
}

// sort has fresh be the entries by inode; of one inode, the latest comes last. Entries
// are large: what is sorted is where they are.
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

// take returns what is to be written, a change for each key, and begins anew.
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

// move has what is known written again, before what is fresh, which may be newer.
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

// Units is what the store has charged for this scan so far.
func (s *Scan) Units() Units {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.units
}

// charge takes note of what an operation of the store was charged, and of its
// error.
func (s *Scan) charge(u Units, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.units.add(u)
	s.err = cmp.Or(s.err, err)
}

func (s *Scan) failed() bool { return s.failure() != nil }

func (s *Scan) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// dirOf is the directory of a path, as a part of it.
func dirOf(path string) string {
	return path[:strings.LastIndexByte(path, '/')+1]
}
