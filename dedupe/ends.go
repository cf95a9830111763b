package dedupe

import (
	"bytes"
	"context"
	"slices"

	"github.com/cespare/xxhash/v2"
)

// Ends is a checksum of the ends of a file: of its first 32 KiB, and of a large file's
// last 32 KiB, too. Files with other ends differ; that these have the same proves
// nothing. It is never zero.
type Ends uint64

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
)

// Large tells of a file of more than 2 MiB. Both its ends are read, because files that
// share one often differ in the other.
func (f File) Large() bool { return f.Size > mediumMax }

// EndsLength returns how many bytes the ends of a file are.
func (f File) EndsLength() int64 {
	switch {
	case f.Size <= smallMax:
		return f.Size
	case f.Large():
		return 2 * endSize
	}
	return endSize
}

// candidate is a file of which the ends were read.
type candidate struct {
	member
	room    [2 * endSize]byte
	ends    []byte // in room
	waiting bool   // for another with these ends, while it is open
}

// HashEnds implements Hasher. It reads on in a file as soon as there is another with
// its ends; until then it waits, open.
//
// Where most have one, those that are left over are likely to have theirs among the
// others of their size: it reads on in them, too, which spares opening them again.
func (h *LocalHasher) HashEnds(ctx context.Context, files []File, others Others) []Hashed {
	answers := make([]Hashed, len(files))
	var differing []*candidate
	alone := 0
	for i, f := range files {
		c := h.candidate(ctx, f, &answers[i])
		if c == nil {
			continue
		}
		if first := slices.IndexFunc(differing, func(d *candidate) bool { return bytes.Equal(d.ends, c.ends) }); first >= 0 {
			c.answer.Ends = differing[first].answer.Ends
			if differing[first].waiting {
				h.readOn(ctx, differing[first])
				alone--
			}
			h.readOn(ctx, c)
			h.candidates.Put(c)
			continue
		}
		differing = append(differing, c)
		if c.answer.Ends = endsOf(c.ends); slices.Contains(others.Ends, c.answer.Ends) {
			h.readOn(ctx, c)
		} else {
			alone++
		}
	}
	for _, c := range differing {
		switch {
		case c.waiting && others.Exist && 2*alone < len(files):
			h.readOn(ctx, c)
		case c.waiting:
			c.close()
		}
		h.candidates.Put(c)
	}
	return answers
}

// endsOf returns the checksum of ends.
func endsOf(b []byte) Ends { return Ends(max(xxhash.Sum64(b), 1)) }

// candidate opens a file and reads its ends; it returns nil if that failed.
func (h *LocalHasher) candidate(ctx context.Context, f File, answer *Hashed) *candidate {
	o, err := h.open(f)
	if answer.Err = err; err != nil {
		return nil
	}
	answer.Work.Opens = 1
	onlyEnds(o.fd)
	c, _ := h.candidates.Get().(*candidate)
	if c == nil {
		c = new(candidate)
	}
	c.member, c.waiting = member{o, answer}, true
	c.ends = c.room[:f.EndsLength()]
	if err = h.fill(ctx, &c.member, c.ends[:endSize], 0); err == nil && f.Large() {
		err = h.fill(ctx, &c.member, c.ends[endSize:], f.Size-endSize)
	}
	if changed := o.stayed("open"); changed != nil {
		err = changed
	}
	if answer.Err = err; err != nil {
		o.close()
		h.candidates.Put(c)
		return nil
	}
	return c
}

// readOn reads what follows the ends of a file, unless it is large, and closes it.
func (h *LocalHasher) readOn(ctx context.Context, c *candidate) {
	if !c.Large() {
		moreThanEnds(c.fd)
		c.answer.Digest, c.answer.Err = h.digest(ctx, c.opened, c.ends, "read", &c.answer.Work)
	}
	c.close()
	c.waiting = false
}
