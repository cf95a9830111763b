// Package index remembers the digests of files between scans, so that a scan reads only
// what has changed since the one before.
//
// [Scan.Recall] fills in what is known of the copies that a walk found. [Scan.Remember]
// stores what reading the others revealed. An entry answers for one inode of one file
// system, as long as its size, mtime and ctime stay the same to the nanosecond. Device
// numbers play no part: they differ between machines and between mounts.
//
//	index.go     recalling during a scan
//	remember.go  remembering what a scan reads
//	block.go     entries in bytes: the blocks that a store keeps
//	locate.go    which file system a directory is on, and where in it
//	shown_*.go   which directory an EFS-like mount shows
//	log.go       the store in one local file
//	size.go      the sizes of blocks, which a store charges for
//	maintain.go  statistics, verifying and pruning
//
// # Every defect is a miss
//
// A block carries the version of its format and a checksum over its key and content. A
// block that is truncated, corrupt, of another version or too slow to arrive counts as
// missing, and the scan reads its files. Nothing here fails a scan.
//
// # Trust
//
// An entry proves something only if inodes keep their numbers and only a clock sets
// ctime. The index is used on file system types that keep these promises and on no
// others; see package mount and README.md. A scan always reads a file whose ctime no
// clock set, or whose device differs from its directory's; see directory.vouchesFor.
//
// # Racy times
//
// A file written twice within one tick of its file system's clock has the same ctime
// after both writes. So, as in git's index, a file is not remembered if its ctime was
// less than a tick old when it was read; see settled.
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

// Store keeps blocks of bytes under keys. It may lose any block at any time, and may
// return bytes that were never stored: the reader checks them.
//
// Its methods must be safe for concurrent use.
type Store interface {
	// Get returns the blocks that exist, and what reading them cost. With an error it
	// returns the blocks it has so far.
	Get(ctx context.Context, keys []Key) (map[Key][]byte, Units, error)

	// Update replaces each block by the result of change. old is nil if there is no
	// block; a nil result removes the block. It calls change from many goroutines. Of two
	// concurrent updates of one block, one may be lost.
	Update(ctx context.Context, keys []Key, change func(key Key, old []byte) []byte) (Units, error)

	// All calls yield with every block, in any order, until yield returns false.
	All(ctx context.Context, yield func(key Key, block []byte) bool) error

	// Files returns the local files that hold the store, so that no scan finds them.
	Files() []os.FileInfo

	// Close releases the store.
	Close() error
}

// Units is what a store charges, in DynamoDB's capacity units. It is zero for a store
// that charges nothing.
type Units struct {
	Read, Write float64
}

// Add adds the units of other requests.
func (u *Units) Add(v Units) {
	u.Read += v.Read
	u.Write += v.Write
}

// Index keeps digests in a store. One index serves any number of scans, even at once.
type Index struct {
	Store Store

	// FileSystem, if set, identifies the scanned file system instead of its mount; if
	// there are several, the first. It is for EFS behind a tunnel on the loopback
	// address, as in Lambda functions and with the mount helper's TLS.
	FileSystem string

	// Now is the clock to compare file times with.
	Now func() time.Time

	// KeepBytes is how many bytes of blocks to keep in memory for later scans.
	KeepBytes int

	mu     sync.Mutex
	kept   map[Key][]byte
	size   int
	failed error     // the store's latest error
	rests  time.Time // scans do not use the failed store before this time
}

// New returns the index in a store. Mounts identify its file systems.
func New(store Store) *Index { return &Index{Store: store, Now: time.Now} }

// Scan is one scan's use of an index. Attach connects Recall and Remember to a
// dedupe.Engine.
type Scan struct {
	index *Index
	where *locator
	today day

	// recalled means that where is set and no longer changes. A scan that ends while a
	// mount hangs leaves Recall running.
	recalled atomic.Bool

	dirs   map[string]*directory // by their path as in a File
	all    []*directory          // those that have a place, each once
	places map[place]int         // their indexes in all

	last    *directory // result of the latest call of directory
	lastDir string

	scratch sync.Pool // *scratch

	mu      sync.Mutex
	fresh   int          // number of entries not yet in the store
	dirty   []*directory // the directories that have such entries
	due     time.Time    // when to flush next
	units   Units
	err     error         // the store's first; the scan stops using the store then
	writing chan struct{} // holds one value during a flush
}

// directory is what is known of the files in a directory. Its maps, by part, hold only
// parts with candidates, however many parts its first block claims.
type directory struct {
	location
	candidates int             // number of files that may be looked up
	level      int             // of the blocks to write
	stale      bool            // its first block must be written again, or it expires
	moves      bool            // known entries must be written to blocks of the new level
	knownLevel int             // of known
	known      map[int][]entry // by part, each sorted by inode
	fresh      map[int]encoded // entries not yet in the store; nil if there are none
	wanted     bool            // to be looked up

	first int32         // bytes of its first block when last read or written; 0 if there was none
	parts map[int]int32 // the same for its parts, if it is split
}

// recall is a getter of the blocks kept in memory, which may be outdated.
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

// update is Store.Update that also keeps what it wrote.
func (x *Index) update(ctx context.Context, keys []Key, change func(key Key, old []byte) []byte) (Units, error) {
	return x.Store.Update(ctx, keys, func(key Key, old []byte) []byte {
		b := change(key, old)
		x.keep(key, b)
		return b
	})
}

// keep keeps a block in memory. If there is no room, it first drops all others: the next
// scan brings back what is still needed.
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

// Attach starts a scan's use of the index: it sets the engine's Recall and Remember. Call
// Flush when the scan has ended.
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

// Lookup fills in what is known of copies that a part of a scan found. The result can Remember
// what reading files in the same directories revealed.
func (x *Index) Lookup(ctx context.Context, roots []string, within *os.File, copies iter.Seq[*dedupe.Copy]) *Scan {
	s := x.scan(roots, within)
	s.recall(ctx, copies)
	return s
}

// scan is begin for callers that call Recall themselves.
func (x *Index) scan(roots []string, within *os.File) *Scan {
	s := x.begin()
	s.locate(roots, within)
	s.recalled.Store(true)
	return s
}

// locate looks at the roots. It hangs if a mount does.
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

// Describe sets the report's Index: whether the index was used and, if not for
// everything, why. Call it after Flush, with the reason Flush returned.
func (s *Scan) Describe(r *dedupe.Report, why string) {
	r.Index = &dedupe.IndexUse{Used: s.recalled.Load() && s.where.located && (!s.failed() || r.Stats.FilesKnown > 0), Why: why}
}

// fail records an error of the store.
func (x *Index) fail(err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.failed, x.rests = err, x.Now().Add(rest)
}

// failure returns the error for which scans avoid the store, or nil.
func (x *Index) failure(now time.Time) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if now.Before(x.rests) {
		return x.failed
	}
	return nil
}

// Recall fills in what is known of the copies of an inventory. It looks everything up at
// once, in a few reads of the store, and reads nothing that memory already answers.
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
		f := c.File()
		if d := s.directory(f); d.vouchesFor(f) {
			if k := s.remembered(ctx, d, f); k != (knowledge{}) {
				c.Learn(k.ends, k.digest)
			}
		}
	}
}

// names yields a file for each name of each copy.
func names(copies iter.Seq[*dedupe.Copy]) iter.Seq[dedupe.File] {
	return func(yield func(dedupe.File) bool) {
		for c := range copies {
			for f := range c.Files() {
				if !yield(f) {
					return
				}
			}
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

// directory returns the directory of a file. It is usually the same as for the file
// before.
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

// getter returns the blocks that it has.
type getter func(ctx context.Context, keys []Key) map[Key][]byte

// fetch gets blocks from the store and keeps them.
func (s *Scan) fetch(ctx context.Context, keys []Key) map[Key][]byte {
	if s.failed() {
		return nil
	}
	waiting, cancel := context.WithTimeout(ctx, patienceOf(ctx))
	defer cancel()
	blocks, units, err := s.index.Store.Get(waiting, keys)
	if ctx.Err() != nil {
		err = nil // the scan has ended, so the store is not to blame
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

// look reads the blocks of the wanted directories: the first block of each, then, for
// directories that are split, the parts with candidates.
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

// piece is the part of a directory that a block holds.
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
		case d.level == 0: // the first block says the level
			d.directory.level, d.knownLevel = b.level, b.level
		case b.level != d.level:
			continue
		}
		d.resize(len(data))
		d.known[d.part] = b.entries
		d.stale = d.stale || s.today-b.written >= refreshAfter
	}
}

// knows returns the directory of a file, or nil if the index cannot answer for the file.
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
		// Not a kernel but the tool that filled the image set this ctime. The tool may
		// use the same ctime for all files of all builds.
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

const (
	// patience is how long a scan waits for the store. Anything later is a miss.
	patience = 10 * time.Second

	// rest is how long further scans avoid a store that failed. Otherwise each would wait
	// for it again.
	rest = time.Minute
)

// patienceOf returns patience, but at most a quarter of the scan's remaining time. In the
// other three quarters the scan can read the files itself.
func patienceOf(ctx context.Context) time.Duration {
	if deadline, ok := ctx.Deadline(); ok {
		return min(patience, time.Until(deadline)/4)
	}
	return patience
}

// Units returns what the store has charged for this scan so far.
func (s *Scan) Units() Units {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.units
}

// charge records what an operation of the store cost, and its error.
func (s *Scan) charge(u Units, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.units.Add(u)
	s.err = cmp.Or(s.err, err)
}

func (s *Scan) failed() bool { return s.failure() != nil }

func (s *Scan) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// dirOf returns the directory of a path, with the slash at its end.
func dirOf(path string) string {
	return path[:strings.LastIndexByte(path, '/')+1]
}
