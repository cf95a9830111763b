package index

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"math"
	"math/bits"
	"slices"
	"time"

	"github.com/zeebo/blake3"

	"efsdedupe/dedupe"
)

// version is the format's. Raise it when the bytes of a block change, and when a
// dedupe.Hasher comes to sign files with other ends of a file.
const version = 3

// Key is the name of a block: a digest of where its directory is, and of the part
// of the directory. It does not tell which; the block does.
type Key [16]byte

// block is some of the entries of one directory, or all of them. The entries of a
// directory with many files are in 2^level blocks, by inode; its first block then
// has none, but tells the level.
type block struct {
	place
	level   int
	written day
	entries []entry // by inode
}

// place is a directory: of which file system, and where in it, from its top.
type place struct {
	fileSystem string // empty: not known, nothing is remembered
	path       string
}

// day counts days since 1970.
type day int64

func dayOf(t time.Time) day { return day(t.Unix() / (24 * 60 * 60)) }

func (d day) time() time.Time { return time.Unix(int64(d)*24*60*60, 0).UTC() }

const (
	// Entries and blocks expire that no scan has asked for in so many days.
	expireAfter day = 90

	// refreshAfter is after how many days one that is used is written again, so
	// that it does not expire: seldom, because writing costs.
	refreshAfter day = 7

	// partEntries is how many entries a part has when a directory is split. 128 of
	// the common kind are some 7 KiB: one read unit of DynamoDB.
	partEntries = 128

	// maxEntries bounds a block that inodes come to and go from: some 100 KiB.
	maxEntries = 1024

	maxLevel = 24

	// maxDay is the last day that a block may have.
	maxDay = math.MaxInt32
)

// levelFor is into how many parts, as a power of two, so many files are split.
func levelFor(files int) int {
	return min(bits.Len(uint(max(files-1, 0)/partEntries)), maxLevel)
}

// part is that of an inode. The numbers of some file systems differ in their last
// bits only, of others everywhere: so they are mixed, by Fibonacci hashing.
func part(inode uint64, level int) int {
	return int(inode * 0x9E3779B97F4A7C15 >> 1 >> (63 - level))
}

// key is that of a part of the directory.
func (p place) key(level, part int) Key {
	b := binary.AppendUvarint(nil, uint64(len(p.fileSystem)))
	b = append(b, p.fileSystem...)
	b = binary.AppendUvarint(b, uint64(level))
	b = binary.AppendUvarint(b, uint64(part))
	sum := blake3.Sum256(append(b, p.path...))
	return Key(sum[:])
}

// state is what changes with the content of an inode.
type state struct {
	size                int64
	modTime, changeTime dedupe.Timestamp
}

func stateOf(f dedupe.File) state { return state{f.Size, f.ModTime, f.ChangeTime} }

// entry is what is known of an inode in one state.
type entry struct {
	inode uint64
	state
	seen day // when a scan asked for it, to the week
	knowledge
}

// knowledge is what was found out of a file by reading it; zero is not known.
type knowledge struct {
	ends   dedupe.Ends
	digest dedupe.Digest
}

func (k *knowledge) whole() bool { return k.digest != dedupe.Digest{} }

func byInode(a, b entry) int { return cmp.Compare(a.inode, b.inode) }

// find returns what is known of a file as it is.
func (d *directory) find(f dedupe.File) *entry {
	entries := d.known[part(f.Inode, d.knownLevel)]
	i, found := slices.BinarySearchFunc(entries, f.Inode, func(e entry, inode uint64) int {
		return cmp.Compare(e.inode, inode)
	})
	if !found || entries[i].state != stateOf(f) {
		return nil
	}
	return &entries[i]
}

// merge returns the block with the entries and the level of a change, which are by
// inode, too. What is of one inode becomes one, as far as it is of the same state;
// what has not been asked for in long is not kept. Its entries are in room, if there
// is enough.
func (b block) merge(change block, today day, room []entry) block {
	old := b.entries
	if change.level != b.level {
		old = nil
	}
	kept := slices.Grow(room[:0], len(old)+len(change.entries))
	add := func(e entry) {
		last := len(kept) - 1
		switch {
		case today-e.seen >= expireAfter:
		case last >= 0 && kept[last].inode == e.inode:
			kept[last] = e.over(kept[last])
		default:
			kept = append(kept, e)
		}
	}
	for _, e := range change.entries {
		for len(old) > 0 && old[0].inode <= e.inode {
			add(old[0])
			old = old[1:]
		}
		add(e)
	}
	for _, e := range old {
		add(e)
	}
	if len(kept) > maxEntries {
		// Of entries used on one day, those of the latest changes stay: the others are
		// likely of files that are gone.
		slices.SortFunc(kept, func(a, b entry) int {
			return cmp.Or(cmp.Compare(b.seen, a.seen), b.changeTime.Compare(a.changeTime))
		})
		kept = kept[:maxEntries]
		slices.SortFunc(kept, byInode)
	}
	return block{place: change.place, level: change.level, written: today, entries: kept}
}

// over returns an entry with what an older one adds to it.
func (e entry) over(old entry) entry {
	if old.state != e.state {
		return e
	}
	if e.ends == 0 {
		e.ends = old.ends
	}
	if !e.whole() {
		e.digest = old.digest
	}
	return e
}

// sumSize is that of the checksum: a BLAKE3 digest of what follows it, cut.
const sumSize = 16

// append returns the block in bytes; nil if there is nothing in it.
//
// A block begins with the version and the checksum. Then come its key, its day, its
// level, its file system, its path and the number of its entries; numbers are
// varints, but for inodes and nanoseconds, which are large everywhere. An mtime is
// how far the ctime is ahead of it, in seconds and in nanoseconds.
func (b block) append(key Key) []byte {
	if len(b.entries) == 0 && b.level == 0 {
		return nil
	}
	out := make([]byte, 1+sumSize, 256+64*len(b.entries))
	out = append(out, key[:]...)
	out = binary.AppendUvarint(out, uint64(b.written))
	out = binary.AppendUvarint(out, uint64(b.level))
	for _, s := range []string{b.fileSystem, b.path} {
		out = binary.AppendUvarint(out, uint64(len(s)))
		out = append(out, s...)
	}
	out = binary.AppendUvarint(out, uint64(len(b.entries)))
	for i := range b.entries {
		out = b.entries[i].append(out)
	}
	return seal(out)
}

// seal puts version and checksum into the room before what they are for.
func seal(data []byte) []byte {
	sum := blake3.Sum256(data[1+sumSize:])
	data[0] = version
	copy(data[1:1+sumSize], sum[:])
	return data
}

// minEntry and maxEntry bound how many bytes an entry takes: an inode, nanoseconds, six
// varints, ends and a digest; the shortest has neither ends nor digest.
const (
	minEntry = 8 + 4 + 6
	maxEntry = 8 + 4 + 6*binary.MaxVarintLen64 + 8 + len(dedupe.Digest{})
)

const (
	entryHasEnds = 1 << iota
	entryHasDigest
)

func (e *entry) append(out []byte) []byte {
	flags := uint64(0)
	if e.ends != 0 {
		flags |= entryHasEnds
	}
	if e.whole() {
		flags |= entryHasDigest
	}
	out = binary.LittleEndian.AppendUint64(out, e.inode)
	out = binary.AppendVarint(out, e.changeTime.Sec)
	out = binary.LittleEndian.AppendUint32(out, uint32(e.changeTime.Nsec))
	out = binary.AppendVarint(out, e.changeTime.Sec-e.modTime.Sec)
	out = binary.AppendVarint(out, int64(e.changeTime.Nsec-e.modTime.Nsec))
	out = binary.AppendUvarint(out, uint64(e.size))
	out = binary.AppendUvarint(out, uint64(e.seen))
	out = binary.AppendUvarint(out, flags)
	if e.ends != 0 {
		out = binary.LittleEndian.AppendUint64(out, uint64(e.ends))
	}
	if e.whole() {
		out = append(out, e.digest[:]...)
	}
	return out
}

// parseBlock reads a block back. ok is false for bytes that are none, or that of
// another key.
func parseBlock(key Key, data []byte) (b block, ok bool) { return parseBlockInto(key, data, nil) }

// parseBlockInto is parseBlock with the room of earlier entries for these.
func parseBlockInto(key Key, data []byte, room []entry) (b block, ok bool) {
	if len(data) < 1+sumSize || data[0] != version {
		return block{}, false
	}
	sum := blake3.Sum256(data[1+sumSize:])
	r := reader{data[1+sumSize:], true}
	if !bytes.Equal(data[1:1+sumSize], sum[:sumSize]) || !bytes.Equal(r.bytes(uint64(len(key))), key[:]) {
		return block{}, false
	}
	b.written = day(r.atMost(maxDay))
	b.level = int(r.atMost(maxLevel))
	b.fileSystem = string(r.bytes(r.uvarint()))
	b.path = string(r.bytes(r.uvarint()))
	n := r.atMost(uint64(len(r.left) / minEntry))
	if !r.ok {
		return block{}, false
	}
	b.entries = slices.Grow(room[:0], int(n))[:n]
	for i := range b.entries {
		b.entries[i] = r.entry()
	}
	if !r.ok || len(r.left) > 0 {
		return block{}, false
	}
	return b, true
}

func (r *reader) entry() (e entry) {
	e.inode = r.uint64()
	e.changeTime = dedupe.Timestamp{Sec: r.varint(), Nsec: int32(r.uint32())}
	e.modTime.Sec = e.changeTime.Sec - r.varint()
	e.modTime.Nsec = e.changeTime.Nsec - int32(r.varint())
	e.size = int64(r.atMost(math.MaxInt64))
	e.seen = day(r.atMost(maxDay))
	flags := r.uvarint()
	if flags&entryHasEnds != 0 {
		e.ends = dedupe.Ends(r.uint64())
	}
	if flags&entryHasDigest != 0 {
		copy(e.digest[:], r.bytes(uint64(len(e.digest))))
	}
	return e
}

// encoded is entries, one after another, in bytes that are known to be right.
type encoded []byte

// appendTo appends the entries, in their order.
func (b encoded) appendTo(all []entry) []entry {
	for r := (reader{b, true}); len(r.left) > 0; {
		all = append(all, r.entry())
	}
	return all
}

// reader takes values off bytes; ok becomes false when they are too short.
type reader struct {
	left []byte
	ok   bool
}

func (r *reader) bytes(n uint64) []byte {
	if !r.ok || n > uint64(len(r.left)) {
		r.ok = false
		return nil
	}
	b := r.left[:n]
	r.left = r.left[n:]
	return b
}

func (r *reader) uint64() uint64 {
	if b := r.bytes(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

func (r *reader) uint32() uint32 {
	if b := r.bytes(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.left)
	if r.bytes(uint64(max(n, 0))); n <= 0 {
		r.ok = false
	}
	return v
}

// atMost is uvarint for a number that is wrong above a limit: then it is 0.
func (r *reader) atMost(limit uint64) uint64 {
	v := r.uvarint()
	if v > limit {
		r.ok = false
	}
	if !r.ok {
		return 0
	}
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.left)
	if r.bytes(uint64(max(n, 0))); n <= 0 {
		r.ok = false
	}
	return v
}
