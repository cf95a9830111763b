package job

import (
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/cespare/xxhash/v2"

	"efsdedupe/dedupe"
)

// buckets is how many parts a shuffle can have at most. Each result has a section for each
// bucket, so that any number of units can share the buckets of the next stage.
const buckets = 256

// A shuffle says which copies have to meet, and in which order they get there. There is one
// by size, one by ends and one by digest.
type shuffle struct {
	by    dedupe.Stage
	first int // section of bucket 0 in a result
}

// The sections of a result: copies by digest, copies by size or ends, and lines.
var (
	byDigest = shuffle{dedupe.StageWhole, 0}
	byEnds   = shuffle{dedupe.StageEnds, buckets}
	bySize   = byEnds // no ends are known yet
)

const (
	problemSection = 2*buckets + iota
	skippedSection
	sectionCount
)

// bucket returns the bucket of a copy. Copies that may be equal have the same.
func (s shuffle) bucket(c *dedupe.Copy) int {
	if s.by == dedupe.StageWhole {
		return int(c.Known.Digest[0])
	}
	var key [16]byte
	binary.LittleEndian.PutUint64(key[:], uint64(c.Size))
	if c.Known != nil {
		binary.LittleEndian.PutUint64(key[8:], c.Known.Ends.Key(c.Size))
	}
	return int(xxhash.Sum64(key[:]) % buckets)
}

// placed is a copy and its bucket, with what decides most comparisons: its size, and the
// first of what Stage.Compare compares then.
type placed struct {
	*dedupe.Copy
	bucket int
	size   int64
	key    uint64
}

func (s shuffle) place(c *dedupe.Copy) placed {
	p := placed{c, s.bucket(c), c.Size, c.Inode}
	switch {
	case s.by == dedupe.StageWhole:
		p.key = binary.BigEndian.Uint64(c.Known.Digest[:])
	case c.Known != nil:
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
	}
	return s.by.Compare(a.Copy, b.Copy)
}

// write writes a section for each bucket.
func (s shuffle) write(out *sections, copies []placed) {
	slices.SortFunc(copies, s.compare)
	for b := range buckets {
		out.begin()
		var w writer
		for len(copies) > 0 && copies[0].bucket == b {
			out.block = w.appendCopy(out.block, copies[0].Copy, 0)
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
