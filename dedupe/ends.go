package dedupe

import (
	"bytes"
	"context"
	"slices"
	"sync"

	"github.com/cespare/xxhash/v2"
)

// Ends holds the checksums of a file's first and last 32 KiB. The checksum of the last is
// zero if it was not read. Files with different ends differ; equal ends prove nothing.
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

// Key is the part of the ends that depends only on the file, so it can be a shuffle key.
// Equal files of one size have the same key, no matter who read them or together with
// what. Files with the same key may still differ by Like.
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
	// endSize is how many bytes to read at each end: the least that EFS meters for a
	// READ.
	endSize = 32 << 10

	// smallMax is the largest size of a small file. Its ends are the whole file: EFS
	// would meter the rest as much as the ends.
	smallMax = 64 << 10

	// mediumMax is the largest size of a file that stays open until its ends are
	// compared. Opening a larger file again costs next to nothing by comparison.
	mediumMax = 2 << 20

	// lastFrom is the smallest size at which to read the last bytes before the middle.
	// From this size on, that meters no byte twice.
	lastFrom = 3 * endSize
)

// Large reports whether a file is larger than 2 MiB. Both ends of a large file are always
// read, because files that share one end often differ in the other.
func (f File) Large() bool { return large(f.Size) }

func large(size int64) bool { return size > mediumMax }

// EndsLength returns the least number of bytes that reading a file's ends takes.
func (f File) EndsLength() int64 {
	switch {
	case f.Size <= smallMax:
		return f.Size
	case f.Large():
		return 2 * endSize
	}
	return endSize
}

// candidate is a file whose first bytes, or both ends, were read.
type candidate struct {
	member
	room    [2 * endSize]byte
	ends    int  // bytes of room that were read
	waiting bool // open, waiting for another file with the same ends
}

func (c *candidate) first() []byte { return c.room[:endSize] }
func (c *candidate) last() []byte  { return c.room[endSize:c.ends] }

// hashEnds keeps each file open until it meets another with the same ends, then reads the
// rest of both. If the first bytes match, it compares the last bytes before the middle.
//
// If most files of the batch have a match, the others probably match files outside the
// batch. It reads those to the end, too, which saves opening them again.
func (h *LocalHasher) hashEnds(ctx context.Context, b Batch, signed []Signed) {
	var seen []*candidate // with distinct ends
	next := h.inTurn(ctx, signed, b.NFS)
	for range signed {
		c := next()
		like := h.meet(ctx, c, seen)
		switch {
		case !c.waiting: // it can't be read
			h.candidates.Put(c)
		case like != nil:
			h.readOn(ctx, like)
			if c.ends == like.ends {
				c.answer.Ends = like.answer.Ends // the same bytes
			}
			h.readOn(ctx, c)
			if h.waits(c) && c.answer.Digest != like.answer.Digest {
				h.trials.failed(c.Size)
			}
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

// inTurn returns a function that returns the candidates of files one by one. Free workers
// read all of them at once. Without any, it opens a file while the server of the one before
// answers.
func (h *LocalHasher) inTurn(ctx context.Context, signed []Signed, nfs bool) (next func() *candidate) {
	if h.workers == 0 {
		opened := h.openEnds(&signed[0], nfs)
		return func() *candidate {
			m := opened
			if signed = signed[1:]; len(signed) > 0 {
				opened = h.openEnds(&signed[0], nfs)
			}
			return h.candidate(ctx, m)
		}
	}
	var all []chan *candidate
	for i := range signed {
		read := make(chan *candidate, 1)
		h.spawn(func() { read <- h.candidate(ctx, h.openEnds(&signed[i], nfs)) })
		all = append(all, read)
	}
	return func() *candidate {
		first := <-all[0]
		all = all[1:]
		return first
	}
}

// openEnds opens a file to read its ends. If that fails, the answer has the problem.
func (h *LocalHasher) openEnds(answer *Signed, nfs bool) member {
	o, err := h.open(answer.File, nfs, &answer.Work)
	if answer.fail(err); err == nil {
		onlyEnds(o.fd)
		o.expect(0)
		if o.Large() {
			o.expect(o.Size - endSize)
		}
	}
	return member{o, answer}
}

// candidate reads the first bytes of a file, or both ends if it is large. If the file did
// not open or cannot be read, the candidate is not waiting.
func (h *LocalHasher) candidate(ctx context.Context, m member) *candidate {
	c, _ := h.candidates.Get().(*candidate)
	if c == nil {
		c = new(candidate)
	}
	c.member, c.ends, c.waiting = m, 0, m.answer.Problem == nil
	if c.waiting && h.readEnd(ctx, c, 0, "open") && c.Large() {
		h.readEnd(ctx, c, c.Size-endSize, "read")
	}
	return c
}

// readEnd reads the end at pos and reports success. On failure it closes the file.
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

// last reads the last bytes of waiting files of one size, if they are long enough for that
// to pay off.
func (h *LocalHasher) last(ctx context.Context, some ...*candidate) {
	some = slices.DeleteFunc(some, func(c *candidate) bool { return !c.waiting || c.ends != endSize || c.Size < lastFrom })
	for _, c := range some {
		c.expect(c.Size - endSize)
	}
	var reading sync.WaitGroup
	for _, c := range some {
		reading.Add(1)
		h.spawn(func() {
			defer reading.Done()
			h.readEnd(ctx, c, c.Size-endSize, "read")
		})
	}
	reading.Wait()
}

// waits reports whether c may be on another machine, which each READ has to wait for.
func (h *LocalHasher) waits(c *candidate) bool { return c.nfs || h.workers > 0 }

// meet returns the candidate in seen that has the same ends as c, or probably has them if
// another machine would have to be asked.
func (h *LocalHasher) meet(ctx context.Context, c *candidate, seen []*candidate) *candidate {
	for _, d := range seen {
		if c.answer.Problem != nil || d.answer.Problem != nil || !bytes.Equal(c.first(), d.first()) {
			continue
		}
		var first *trial
		if h.waits(c) && !c.Large() && c.Size >= lastFrom {
			var matched bool
			if first, matched = h.trials.matched(ctx, c.Size); matched {
				return d
			}
		}
		h.last(ctx, c, d)
		equal := c.answer.Problem == nil && d.answer.Problem == nil && bytes.Equal(c.last(), d.last())
		if first != nil {
			h.trials.end(first, equal)
		}
		if equal {
			return d
		}
	}
	return nil
}

// known reports whether one of peers may have the same ends as c.
func (h *LocalHasher) known(ctx context.Context, c *candidate, peers []Ends) bool {
	if len(peers) == 0 || !slices.ContainsFunc(peers, endsOf(c.first(), c.last()).Like) {
		return false
	}
	h.last(ctx, c)
	return slices.ContainsFunc(peers, endsOf(c.first(), c.last()).Like)
}

// readOn reads the rest of a waiting file, unless it is large, then closes it.
func (h *LocalHasher) readOn(ctx context.Context, c *candidate) {
	if c.waiting && !c.Large() {
		if !c.nfs {
			moreThanEnds(c.fd)
		}
		digest, err := h.digest(ctx, c.opened, c.first(), c.last(), "read", &c.answer.Work)
		c.answer.Digest = digest
		c.answer.fail(err)
	}
	c.leave()
}

// leave closes a waiting file and records its ends.
func (c *candidate) leave() {
	if !c.waiting {
		return
	}
	c.waiting = false
	if c.answer.Ends == 0 {
		c.answer.Ends = endsOf(c.first(), c.last())
	}
	c.done(c.answer)
}
