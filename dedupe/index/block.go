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

// version is the version of the format. Raise it when the bytes of a block change, or
// when dedupe.Hasher starts to sign other parts of a file.
const version = 3

// Key names a block. It is a digest of the directory's place and of the part, so it does
// not reveal either; the block does.
type Key [16]byte

// block is some or all entries of one directory. A directory with many files has its
// entries in 2^level blocks, by inode. Its first block then has no entries and only says
// the level.
type block struct {
	place
	level   int
	written day
	entries []entry // by inode
}

// place is a directory: its file system, and its path from the top of that.
type place struct {
	fileSystem string // empty: unknown, so nothing is remembered
	path       string
}

// day counts days since 1970.
type day int64

func dayOf(t time.Time) day { return day(t.Unix() / (24 * 60 * 60)) }

func (d day) time() time.Time { return time.Unix(int64(d)*24*60*60, 0).UTC() }

const (
	// expireAfter is how many days without use entries and blocks last.
	expireAfter day = 90

	// refreshAfter is how many days pass before an entry in use is written again, so that
	// it does not expire. Writing costs, so that is seldom.
	refreshAfter day = 7

	// partEntries is how many entries a part has when a directory is split. 128 common
	// entries are about 7 KiB: one read unit of DynamoDB.
	partEntries = 128

	// maxEntries bounds a block as inodes come and go: about 100 KiB.
	maxEntries = 1024

	maxLevel = 24

	// maxDay is the last day that a block may have.
	maxDay = math.MaxInt32
)

// levelFor returns the number of parts for a number of files, as a power of two.
func levelFor(files int) int {
	return min(bits.Len(uint(max(files-1, 0)/partEntries)), maxLevel)
}

// part returns the part of an inode. On some file systems inode numbers differ only in
// their last bits, so Fibonacci hashing mixes them.
func part(inode uint64, level int) int {
	return int(inode * 0x9E3779B97F4A7C15 >> 1 >> (63 - level))
}

// key returns the key of a part of the directory.
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
	seen day // the day a scan last asked for it; updated weekly
	knowledge
}

// knowledge is what reading a file revealed; zero means unknown.
type knowledge struct {
	ends   dedupe.Ends
	digest dedupe.Digest
}

func (k *knowledge) whole() bool { return k.digest != dedupe.Digest{} }

func byInode(a, b entry) int { return cmp.Compare(a.inode, b.inode) }

// find returns what is known of a file in its present state.
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

// merge returns the block with the entries and the level of a change, whose entries are
// also sorted by inode. Two entries of one inode become one; if their states differ, the
// newer replaces the older. Expired entries are dropped. The result uses room if it is
// large enough.
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
		// Of entries last used on one day, keep those with the latest changes: the others
		// probably belong to deleted files.
		slices.SortFunc(kept, func(a, b entry) int {
			return cmp.Or(cmp.Compare(b.seen, a.seen), b.changeTime.Compare(a.changeTime))
		})
		kept = kept[:maxEntries]
		slices.SortFunc(kept, byInode)
	}
	return block{place: change.place, level: change.level, written: today, entries: kept}
}

// over returns the entry, completed by an older one in the same state.
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

// sumSize is the length of the checksum: a truncated BLAKE3 digest of the bytes after it.
const sumSize = 16

// append returns the block in bytes, or nil if it is empty.
//
// A block begins with the version and the checksum. Then come its key, day, level, file
// system, path and number of entries. Numbers are varints, except inodes and nanoseconds,
// which are large everywhere. An mtime is stored as how far the ctime is ahead of it, in
// seconds and in nanoseconds.
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

// seal fills in the version and the checksum, for which data has room at the front.
func seal(data []byte) []byte {
	sum := blake3.Sum256(data[1+sumSize:])
	data[0] = version
	copy(data[1:1+sumSize], sum[:])
	return data
}

// minEntry and maxEntry bound the bytes of an entry: an inode, nanoseconds, six varints,
// ends and a digest. The shortest has neither ends nor digest.
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

// parseBlock decodes a block. ok is false if data is no valid block, or has another key.
func parseBlock(key Key, data []byte) (b block, ok bool) { return parseBlockInto(key, data, nil) }

// parseBlockInto is parseBlock that reuses room for the entries.
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

// encoded is consecutive entries in bytes that need no checking.
type encoded []byte

// appendTo appends the entries in order.
func (b encoded) appendTo(all []entry) []entry {
	for r := (reader{b, true}); len(r.left) > 0; {
		all = append(all, r.entry())
	}
	return all
}

// reader takes values off bytes. ok becomes false when there are too few.
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

// atMost reads a uvarint. If it is above the limit, ok becomes false and the result is 0.
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
