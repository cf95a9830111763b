package dedupe

import (
	"bytes"
	"context"
	"slices"

	"github.com/cespare/xxhash/v2"
)

// Ends is checksums of the ends of a file: of its first 32 KiB, and of its last, which
// are zero if they were not read. Files whose ends differ differ; that they have the
// same proves nothing.
type Ends uint64

func endsOf(first, last []byte) Ends { return Ends(checksum(first))<<32 | Ends(checksum(last)) }

func checksum(b []byte) uint32 {
	if len(b) == 0 {
		return 0
	}
	return max(uint32(xxhash.Sum64(b)), 1)
}

func (e Ends) first() uint32 { return uint32(e >> 32) }
func (e Ends) last() uint32  { return uint32(e) }

// Key is the part of the ends of a file that depends on nothing but the file, so it can
// be a shuffle key: equal files of one size have one key, whoever read them, and
// together with which others. Files with one key may still differ by Like.
func (e Ends) Key(size int64) uint64 {
	if size > mediumMax {
		return uint64(e)
	}
	return uint64(e.first())
}

// Like reports whether files of one size with these ends may be equal.
func (e Ends) Like(other Ends) bool {
	return e.first() == other.first() && (e.last() == other.last() || e.last() == 0 || other.last() == 0)
}

const (
	// endSize is how much is read of a file at an end: the least that EFS meters of
	// a READ.
	endSize = 32 << 10

	// smallMax is how long a small file is, at most. All of it is its ends: what
	// follows them would be metered as much as they are.
	smallMax = 64 << 10

	// mediumMax is how long a file is, at most, that is still open when its ends have
	// been compared. To open a large one again is next to nothing.
	mediumMax = 2 << 20

	// lastFrom is how long a file is, at least, whose last bytes are looked at before
	// what is between them and its first ones: then nothing is metered twice.
	lastFrom = 3 * endSize
)

// Large tells of a file of more than 2 MiB. Both its ends are read in any case, because
// files that share one often differ in the other.
func (f File) Large() bool { return f.Size > mediumMax }

// EndsLength returns how many bytes are read of the ends of a file, at least.
func (f File) EndsLength() int64 {
	switch {
	case f.Size <= smallMax:
		return f.Size
	case f.Large():
		return 2 * endSize
	}
	return endSize
}

// candidate is a file of which the first bytes were read, or both ends.
type candidate struct {
	member
	room    [2 * endSize]byte
	ends    int  // bytes of room that were read
	waiting bool // for another with these ends, while it is open
}

func (c *candidate) first() []byte { return c.room[:endSize] }
func (c *candidate) last() []byte  { return c.room[endSize:c.ends] }

// hashEnds reads on in a file as soon as there is another with its ends; until then
// the file waits, open. Of those with the same first bytes it compares the last ones,
// too, before what is between.
//
// Where most have one, those that are left over are likely to have theirs among the
// others of their size: it reads on in them, too, which spares opening them again.
func (h *LocalHasher) hashEnds(ctx context.Context, b Batch, signed []Signed) {
	var seen []*candidate // with ends that differ
	for i := range signed {
		c := h.candidate(ctx, &signed[i])
		like := h.meet(ctx, c, seen)
		switch {
		case !c.waiting: // it can't be read
			h.candidates.Put(c)
		case like != nil:
			h.readOn(ctx, like)
			c.answer.Ends = like.answer.Ends
			h.readOn(ctx, c)
			h.candidates.Put(c)
		default:
			if seen = append(seen, c); h.known(ctx, c, b.Peers) {
				h.readOn(ctx, c)
			}
		}
	}
	alone := 0
	for _, c := range seen {
		if c.waiting {
			alone++
		}
	}
	for _, c := range seen {
		if b.More && 2*alone < len(signed) {
			h.readOn(ctx, c)
		}
		c.leave()
		h.candidates.Put(c)
	}
}

// candidate opens a file and reads its ends, or the first. If that fails, it does not
// wait.
func (h *LocalHasher) candidate(ctx context.Context, answer *Signed) *candidate {
	f := answer.File
	c, _ := h.candidates.Get().(*candidate)
	if c == nil {
		c = new(candidate)
	}
	c.ends, c.waiting = 0, false
	o, err := h.open(f, &answer.Work)
	c.member = member{o, answer}
	if answer.fail(err); err != nil {
		return c
	}
	c.waiting = true
	onlyEnds(o.fd)
	if h.readEnd(ctx, c, 0, "open") && f.Large() {
		h.readEnd(ctx, c, f.Size-endSize, "read")
	}
	return c
}

// readEnd reads the end at pos, and reports whether it could. If not, the file waits
// no more.
func (h *LocalHasher) readEnd(ctx context.Context, c *candidate, pos int64, op string) bool {
	err := h.fill(ctx, &c.member, c.room[c.ends:c.ends+endSize], pos)
	if changed := c.stayed(op); changed != nil {
		err = changed
	}
	if c.answer.fail(err); err != nil {
		c.close()
		c.waiting = false
		return false
	}
	c.ends += endSize
	return true
}

// last reads the last bytes of a file, if it waits and they are worth it.
func (h *LocalHasher) last(ctx context.Context, c *candidate) {
	if c.waiting && c.ends == endSize && c.Size >= lastFrom {
		h.readEnd(ctx, c, c.Size-endSize, "read")
	}
}

// meet returns the one of seen that has the ends of c.
func (h *LocalHasher) meet(ctx context.Context, c *candidate, seen []*candidate) *candidate {
	for _, d := range seen {
		if c.answer.Problem != nil || d.answer.Problem != nil || !bytes.Equal(c.first(), d.first()) {
			continue
		}
		h.last(ctx, c)
		h.last(ctx, d)
		if c.answer.Problem == nil && d.answer.Problem == nil && bytes.Equal(c.last(), d.last()) {
			return d
		}
	}
	return nil
}

// known reports whether one of peers may have the ends of c.
func (h *LocalHasher) known(ctx context.Context, c *candidate, peers []Ends) bool {
	if len(peers) == 0 || !slices.ContainsFunc(peers, endsOf(c.first(), c.last()).Like) {
		return false
	}
	h.last(ctx, c)
	return slices.ContainsFunc(peers, endsOf(c.first(), c.last()).Like)
}

// readOn reads what of a waiting file is not its ends, unless it is large.
func (h *LocalHasher) readOn(ctx context.Context, c *candidate) {
	if c.waiting && !c.Large() {
		moreThanEnds(c.fd)
		digest, err := h.digest(ctx, c.opened, c.first(), c.last(), "read", &c.answer.Work)
		c.answer.Digest = digest
		c.answer.fail(err)
	}
	c.leave()
}

// leave closes a file that waits, and says what its ends are.
func (c *candidate) leave() {
	if !c.waiting {
		return
	}
	c.close()
	c.waiting = false
	if c.answer.Ends == 0 {
		c.answer.Ends = endsOf(c.first(), c.last())
	}
}
