package job

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"

	"efsdedupe/dedupe"
)

// buckets is how many parts a shuffle can have at most. Each result has a section for each
// bucket, so that any number of units can share the buckets of the next stage.
const buckets = 256

// A shuffle says which copies have to meet, and in which order they get there. There is one
// by size, one by ends, one by digest and one by directory.
type shuffle struct {
	by    dedupe.Stage // StageWalk means by directory
	first int          // section of bucket 0 in a result

	bySize bool // whatever is known of the ends
}

// The sections of a result: copies by digest, by size or ends, and by directory, and lines.
var (
	byDigest    = shuffle{by: dedupe.StageWhole}
	byEnds      = shuffle{by: dedupe.StageEnds, first: buckets}
	bySize      = shuffle{by: dedupe.StageEnds, first: buckets, bySize: true} // no ends were read yet
	byDirectory = shuffle{by: dedupe.StageWalk, first: 2 * buckets}
)

const (
	problemSection = 3*buckets + iota
	skippedSection
	sectionCount
)

// bucket returns the bucket of a copy. Copies that may be equal have the same.
func (s shuffle) bucket(c *entry) int {
	switch s.by {
	case dedupe.StageWhole:
		return int(c.Known.Digest[0])
	case dedupe.StageWalk:
		return int(xxhash.Sum64String(directoryOf(c.Path)) % buckets)
	}
	var key [16]byte
	binary.LittleEndian.PutUint64(key[:], uint64(c.Size))
	if c.Known != nil && !s.bySize {
		binary.LittleEndian.PutUint64(key[8:], c.Known.Ends.Key(c.Size))
	}
	return int(xxhash.Sum64(key[:]) % buckets)
}

// placed is a copy and its bucket, with what decides most comparisons: its size, and the
// first of what dedupe.Stage.Compare compares then.
type placed struct {
	*entry
	bucket int
	flags  byte
	size   int64
	key    uint64

	begun int64 // in the shuffle by directory: see pass.look
}

func (s shuffle) place(c *entry) placed {
	p := placed{entry: c, bucket: s.bucket(c), size: c.Size, key: c.Inode}
	switch {
	case s.by == dedupe.StageWalk:
		p.size, p.key = 0, 0
	case s.by == dedupe.StageWhole:
		p.key = binary.BigEndian.Uint64(c.Known.Digest[:])
	case c.Known != nil && !s.bySize:
		p.key = uint64(c.Known.Ends)
	}
	return p
}

func (s shuffle) compare(a, b placed) int {
	switch {
	case a.bucket != b.bucket:
		return cmp.Compare(a.bucket, b.bucket)
	case a.size != b.size:
		return cmp.Compare(b.size, a.size)
	case a.key != b.key:
		return cmp.Compare(a.key, b.key)
	case s.by == dedupe.StageWalk: // first the files that were opened
		return cmp.Or(strings.Compare(directoryOf(a.Path), directoryOf(b.Path)), cmp.Compare(b.flags&wasOpened, a.flags&wasOpened),
			strings.Compare(a.Path, b.Path))
	}
	if s.by == dedupe.StageWhole {
		if c := bytes.Compare(a.Known.Digest[:], b.Known.Digest[:]); c != 0 {
			return c
		}
	}
	return a.compare(b.entry)
}

// compare orders entries that may be equal as dedupe.Stage.Compare does: by inode, then by
// name.
func (e *entry) compare(f *entry) int {
	return cmp.Or(cmp.Compare(e.Inode, f.Inode), cmp.Compare(e.Device, f.Device), e.ModTime.Compare(f.ModTime),
		e.ChangeTime.Compare(f.ChangeTime), strings.Compare(e.Path, f.Path))
}

// directoryOf returns the directory that a path is in.
func directoryOf(path string) string { return path[:strings.LastIndexByte(path, '/')+1] }

// write writes a section for each bucket, after empty ones for other shuffles.
func (s shuffle) write(out *sections, copies []placed) {
	slices.SortFunc(copies, s.compare)
	for len(out.starts) < s.first {
		out.begin()
	}
	for b := range buckets {
		out.begin()
		var w writer
		for len(copies) > 0 && copies[0].bucket == b {
			out.block = w.appendCopy(out.block, copies[0].entry, copies[0].flags)
			if s.by == dedupe.StageWalk {
				out.block = binary.AppendUvarint(out.block, uint64(copies[0].begun))
			}
			if out.ended() {
				w = writer{}
			}
			copies = copies[1:]
		}
	}
}

// writeLines writes a section of lines, sorted.
func writeLines(out *sections, lines []line) {
	slices.SortFunc(lines, line.compare)
	out.begin()
	for _, l := range lines {
		out.block = l.append(out.block)
		out.ended()
	}
}

func (l line) compare(m line) int {
	return cmp.Or(cmp.Compare(l.path, m.path), cmp.Compare(l.what, m.what), cmp.Compare(l.why, m.why))
}
