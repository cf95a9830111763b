package job

import (
	"encoding/binary"

	"efsdedupe/dedupe"
	"efsdedupe/dedupe/report"
)

// Records are compact: numbers take as few bytes as they need, and a path leaves out what it
// shares with the one before it in the block. Each kind has a function that appends one and
// one that takes one off.

// What the first byte of a copy says.
const (
	hasEnds = 1 << iota
	hasDigest
	sameDevice // as the copy before it in the block
	sameTimes  // mtime and ctime are equal
	moreNames  // it has other paths
	isHardLink // to a file before it in its group
	wasOpened  // to be read
	isChanged  // since it was read: it is in no group
)

// writer appends records to a block, and knows the one before.
type writer struct {
	path   string
	device uint64
}

func appendBytes[T string | []byte](b []byte, s T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func (w *writer) appendPath(b []byte, path string) []byte {
	n := 0
	for n < min(len(path), len(w.path)) && path[n] == w.path[n] {
		n++
	}
	w.path = path
	return appendBytes(binary.AppendUvarint(b, uint64(n)), path[n:])
}

// leastRecord is the fewest bytes that a copy takes of which something is known.
const leastRecord = 16

// appendCopy appends a copy. Its device number is the same on every machine; see devices.
func (w *writer) appendCopy(b []byte, c *entry, flags byte) []byte {
	var known known
	if c.Known != nil {
		known = *c.Known
	}
	flags |= flagIf(hasEnds, known.Ends != 0) | flagIf(hasDigest, known.Digest != dedupe.Digest{}) |
		flagIf(sameDevice, w.device == c.Device) | flagIf(sameTimes, c.ModTime == c.ChangeTime) |
		flagIf(moreNames, len(c.OtherPaths) > 0)
	b = append(b, flags)
	if flags&sameDevice == 0 {
		b = binary.LittleEndian.AppendUint64(b, c.Device)
		w.device = c.Device
	}
	b = binary.AppendUvarint(b, uint64(c.Size))
	b = binary.AppendUvarint(b, c.Inode)
	b = binary.AppendUvarint(b, uint64(c.Links))
	b = binary.AppendUvarint(b, uint64(c.Allocated))
	b = binary.AppendVarint(b, c.ModTime.Sec)
	b = binary.AppendUvarint(b, uint64(c.ModTime.Nsec))
	if flags&sameTimes == 0 {
		b = binary.AppendVarint(b, c.ChangeTime.Sec-c.ModTime.Sec)
		b = binary.AppendUvarint(b, uint64(c.ChangeTime.Nsec))
	}
	if flags&hasEnds != 0 {
		b = binary.LittleEndian.AppendUint64(b, uint64(known.Ends))
	}
	if flags&hasDigest != 0 {
		b = append(b, known.Digest[:]...)
	}
	b = w.appendPath(b, c.Path)
	if flags&moreNames != 0 {
		b = binary.AppendUvarint(b, uint64(len(c.OtherPaths)))
		for _, path := range c.OtherPaths {
			b = w.appendPath(b, path)
		}
	}
	return b
}

func flagIf(flag byte, is bool) byte {
	if is {
		return flag
	}
	return 0
}

// taker takes records off a block. If a record makes no sense, although its checksum is
// right, bad is set and everything else is zero.
type taker struct {
	rest   []byte
	path   []byte
	device uint64
	bad    bool
}

func (t *taker) fail() {
	t.rest, t.bad = nil, true
}

func (t *taker) uint() uint64 { return takeVarint(t, binary.Uvarint) }

func (t *taker) int() int64 { return takeVarint(t, binary.Varint) }

func takeVarint[N uint64 | int64](t *taker, decode func([]byte) (N, int)) N {
	v, n := decode(t.rest)
	if n <= 0 {
		t.fail()
		return 0
	}
	t.rest = t.rest[n:]
	return v
}

// count takes a number of things of which each takes at least a byte.
func (t *taker) count() int {
	n := t.uint()
	if n > uint64(len(t.rest)) {
		t.fail()
		return 0
	}
	return int(n)
}

// bytes takes n bytes, which are part of the block.
func (t *taker) bytes(n int) []byte {
	if n > len(t.rest) {
		t.fail()
		return make([]byte, n)
	}
	b := t.rest[:n]
	t.rest = t.rest[n:]
	return b
}

func (t *taker) fixed() uint64 { return binary.LittleEndian.Uint64(t.bytes(8)) }

func (t *taker) takePath() string {
	shared := t.uint()
	if shared > uint64(len(t.path)) {
		t.fail()
		return ""
	}
	t.path = append(t.path[:shared], t.bytes(t.count())...)
	return string(t.path)
}

func (t *taker) string() string { return string(t.bytes(t.count())) }

// takeCopy takes a copy and its flags.
func (t *taker) takeCopy() (*entry, byte) {
	flags := t.bytes(1)[0]
	if flags&sameDevice == 0 {
		t.device = t.fixed()
	}
	c := &entry{File: dedupe.File{Device: t.device}}
	c.Size, c.Inode = int64(t.uint()), t.uint()
	c.Links, c.Allocated = uint32(t.uint()), int64(t.uint())
	c.ModTime = dedupe.Timestamp{Sec: t.int(), Nsec: int32(t.uint())}
	c.ChangeTime = c.ModTime
	if flags&sameTimes == 0 {
		c.ChangeTime = dedupe.Timestamp{Sec: c.ModTime.Sec + t.int(), Nsec: int32(t.uint())}
	}
	if flags&(hasEnds|hasDigest) != 0 {
		c.Known = new(known)
	}
	if flags&hasEnds != 0 {
		c.Known.Ends = dedupe.Ends(t.fixed())
	}
	if flags&hasDigest != 0 {
		c.Known.Digest = dedupe.Digest(t.bytes(len(c.Known.Digest)))
	}
	c.Path = t.takePath()
	if flags&moreNames != 0 {
		c.OtherPaths = make([]string, t.count())
		for i := range c.OtherPaths {
			c.OtherPaths[i] = t.takePath()
		}
	}
	return c, flags
}

// names counts the names of a copy.
func names(c *entry) int64 { return int64(1 + len(c.OtherPaths)) }

func (w *writer) appendFrontier(b []byte, f dedupe.Frontier) []byte {
	b = w.appendPath(w.appendPath(b, f.Root), f.Dir)
	return binary.AppendUvarint(binary.AppendUvarint(b, uint64(f.Part)), uint64(f.Of))
}

func (t *taker) takeFrontier() dedupe.Frontier {
	return dedupe.Frontier{Root: t.takePath(), Dir: t.takePath(), Part: int(t.uint()), Of: int(t.uint())}
}

// line is a problem or a skipped entry: what happened to a path, and why.
type line struct {
	path, what, why string
}

func (l line) append(b []byte) []byte {
	return appendBytes(appendBytes(appendBytes(b, l.path), l.what), l.why)
}

func (t *taker) takeLine() line { return line{t.string(), t.string(), t.string()} }

// group is a group of identical files, and where its files are: in the record, or in
// objects of their own if they are many.
type group struct {
	report.Group // without Files
	files        int64
	objects      []string // hold the files, each sorted by path
	inline       []*entry // the files, sorted by path, if there are no objects
	links        []bool   // which of these are hard links to an earlier one
}

func (g *group) append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(g.Size))
	b = append(b, g.Digest[:]...)
	for _, n := range []int64{g.Reclaimable, g.ReclaimableAllocated, g.Copies, g.files, int64(len(g.objects))} {
		b = binary.AppendUvarint(b, uint64(n))
	}
	for _, name := range g.objects {
		b = appendBytes(b, name)
	}
	var w writer
	for i, f := range g.inline {
		b = w.appendCopy(b, f, flagIf(isHardLink, g.links[i]))
	}
	return b
}

func (t *taker) takeGroup() *group {
	g := new(group)
	g.Size = int64(t.uint())
	g.Digest = dedupe.Digest(t.bytes(len(g.Digest)))
	g.Reclaimable, g.ReclaimableAllocated, g.Copies, g.files = int64(t.uint()), int64(t.uint()), int64(t.uint()), int64(t.uint())
	g.objects = make([]string, t.count())
	for i := range g.objects {
		g.objects[i] = t.string()
	}
	if len(g.objects) > 0 {
		return g
	}
	files := taker{rest: t.rest}
	for range g.files {
		if files.bad || len(files.rest) == 0 {
			t.fail()
			return g
		}
		f, flags := files.takeCopy()
		g.inline, g.links = append(g.inline, f), append(g.links, flags&isHardLink != 0)
	}
	t.rest = files.rest
	return g
}
