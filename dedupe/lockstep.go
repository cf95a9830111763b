package dedupe

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/zeebo/blake3"
)

// hashInLockstep reads files of one size side by side, block by block. Files that are
// equal so far share one BLAKE3 state; the others are compared with the first. So it
// hashes each distinct content once, whatever the size of the files, and holds one block
// in memory for each distinct content at the current position.
func (h *LocalHasher) hashInLockstep(ctx context.Context, signed []Signed, nfs bool) {
	all := h.openAll(signed, nfs)
	defer closeAll(all)
	h.readInLockstep(ctx, all, signed[0].Size)
}

// member is one of several open files, and its result.
type member struct {
	opened
	answer *Signed
}

func closeAll(members []*member) {
	for _, m := range members {
		m.done(m.answer)
	}
}

// branch is files that are equal so far, and the hash state of their common content.
type branch struct {
	members []*member
	blake3  *blake3.Hasher
	pos     int64 // they are equal up to here
	holes   int64 // bytes of holes before pos
}

// maxHoles is the most bytes of holes to hash in one file: at most a minute of one
// processor. There is no shortcut: BLAKE3 numbers the chunks it hashes, so no two chunks
// of zeros have the same value.
const maxHoles = 128 << 30

// openAll opens the files and returns those that opened and have not changed.
func (h *LocalHasher) openAll(signed []Signed, nfs bool) (all []*member) {
	for i := range signed {
		s := &signed[i]
		o, err := h.open(s.File, nfs, &s.Work)
		if err == nil {
			if err = o.stayed("open"); err != nil {
				o.close()
			}
		}
		if s.fail(err); err == nil {
			all = append(all, &member{o, s})
		}
	}
	return all
}

// readInLockstep reads the files block by block. It does not read holes that they share.
func (h *LocalHasher) readInLockstep(ctx context.Context, all []*member, size int64) {
	todo := []branch{{members: all, blake3: blake3.New()}}
	for len(todo) > 0 {
		last := len(todo) - 1
		b := todo[last]
		todo = todo[:last]
		if b.pos == size {
			h.finish(b)
			continue
		}
		if n := b.hole(size); n > 0 {
			if h.skip(ctx, &b, n) {
				todo = append(todo, b)
			}
			continue
		}
		todo = append(todo, h.advance(ctx, b, min(bufferSize, size-b.pos))...)
	}
}

// hole returns the length of the hole that all files share at the branch's position.
func (b *branch) hole(size int64) int64 {
	n := size - b.pos
	for _, m := range b.members {
		if n = min(n, m.hole(b.pos)); n == 0 {
			break
		}
	}
	return n
}

// skip hashes a hole of n bytes and reports success.
func (h *LocalHasher) skip(ctx context.Context, b *branch, n int64) bool {
	if b.holes += n; b.holes > maxHoles {
		b.fail(fmt.Errorf("it has more than %d GiB of holes, which take too long to hash: exclude it with a maximum size", maxHoles>>30))
		return false
	}
	zeros := h.block()
	defer h.blocks.Put(zeros)
	clear(zeros[:min(n, bufferSize)])
	for n > 0 {
		if err := ctx.Err(); err != nil {
			b.fail(err)
			return false
		}
		k := min(n, bufferSize)
		b.blake3.Write(zeros[:k])
		b.pos, n = b.pos+k, n-k
	}
	return true
}

// fail records err as the problem of every file in the branch.
func (b *branch) fail(err error) {
	for _, m := range b.members {
		m.answer.fail(problem("read", m.Path, err))
	}
}

// advance reads the next n bytes of a branch's files and splits them into branches that
// are still equal.
func (h *LocalHasher) advance(ctx context.Context, b branch, n int64) []branch {
	var next []branch
	var blocks []*block // blocks[i] is what next[i] has at pos
	for _, m := range b.members {
		read := h.block()
		if m.hole(b.pos) == 0 {
			m.prefetch(b.pos, m.dataTo)
		}
		if m.answer.fail(h.fill(ctx, m, read[:n], b.pos)); m.answer.Problem != nil {
			h.blocks.Put(read)
			continue
		}
		i := slices.IndexFunc(blocks, func(other *block) bool { return bytes.Equal(other[:n], read[:n]) })
		if i < 0 {
			next = append(next, branch{[]*member{m}, b.blake3, b.pos + n, b.holes})
			blocks = append(blocks, read)
			continue
		}
		next[i].members = append(next[i].members, m)
		h.blocks.Put(read)
	}
	for i := range next {
		if i < len(next)-1 {
			next[i].blake3 = b.blake3.Clone()
		}
		next[i].blake3.Write(blocks[i][:n])
		h.blocks.Put(blocks[i])
	}
	return next
}

type block [bufferSize]byte

func (h *LocalHasher) block() *block {
	if b, _ := h.blocks.Get().(*block); b != nil {
		return b
	}
	return new(block)
}

// fill reads len(b) bytes at pos, with zeros for holes.
func (h *LocalHasher) fill(ctx context.Context, m *member, b []byte, pos int64) error {
	for len(b) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		if n := min(m.hole(pos), int64(len(b))); n > 0 {
			clear(b[:n])
			b, pos = b[n:], pos+n
			continue
		}
		k, err := read(m.fd, b[:min(int64(len(b)), m.dataTo-pos)], pos)
		if err == nil && k == 0 {
			err = m.ended(pos)
		}
		if err != nil {
			return problem("read", m.Path, err)
		}
		m.answer.Work.BytesRead += int64(k)
		h.told(k)
		b, pos = b[k:], pos+int64(k)
	}
	return nil
}

// finish gives the files of a branch their digest. The first counts as hashed, the others
// as compared.
func (h *LocalHasher) finish(b branch) {
	var d Digest
	b.blake3.Sum(d[:0])
	hashed := false
	for _, m := range b.members {
		if m.answer.fail(m.stayed("read")); m.answer.Problem != nil {
			continue
		}
		m.answer.Digest = d
		if hashed {
			m.answer.Work.FilesCompared = 1
		} else {
			m.answer.Work.FilesHashed = 1
		}
		hashed = true
	}
}
