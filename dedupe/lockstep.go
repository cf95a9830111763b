package dedupe

import (
	"bytes"
	"context"
	"slices"

	"github.com/zeebo/blake3"
)

// hashInLockstep goes through files of one size block by block: as long as some are
// equal, one BLAKE3 state serves for all of them, and the others are compared with the
// first. So what is hashed is what differs, whatever the size of the files; memory holds
// a block of those that differ at the same place.
func (h *LocalHasher) hashInLockstep(ctx context.Context, signed []Signed) {
	all := h.openAll(signed)
	defer closeAll(all)
	h.readInLockstep(ctx, all, signed[0].Size)
}

// member is one of several files that are open, and what becomes of it.
type member struct {
	opened
	answer *Signed
}

func closeAll(members []*member) {
	for _, m := range members {
		m.close()
	}
}

// branch is files that are equal so far, and the state of hashing what they have.
type branch struct {
	members []*member
	blake3  *blake3.Hasher
}

// openAll returns the files that can be opened, and are as they were found.
func (h *LocalHasher) openAll(signed []Signed) (all []*member) {
	for i := range signed {
		s := &signed[i]
		o, err := h.open(s.File, &s.Work)
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

// readInLockstep reads all of the files, block by block.
func (h *LocalHasher) readInLockstep(ctx context.Context, all []*member, size int64) {
	branches := []branch{{all, blake3.New()}}
	for pos := int64(0); pos < size; pos += bufferSize {
		var next []branch
		for _, b := range branches {
			next = append(next, h.advance(ctx, b, pos, min(bufferSize, size-pos))...)
		}
		branches = next
	}
	for _, b := range branches {
		h.finish(b)
	}
}

// advance reads the n bytes at pos of files that are equal before them, and returns
// the branches in which they are equal after them.
func (h *LocalHasher) advance(ctx context.Context, b branch, pos, n int64) []branch {
	var next []branch
	var blocks []*block // of each of next, what it has at pos
	for _, m := range b.members {
		read := h.block()
		if m.answer.fail(h.fill(ctx, m, read[:n], pos)); m.answer.Problem != nil {
			h.blocks.Put(read)
			continue
		}
		i := slices.IndexFunc(blocks, func(other *block) bool { return bytes.Equal(other[:n], read[:n]) })
		if i < 0 {
			next, blocks = append(next, branch{[]*member{m}, b.blake3}), append(blocks, read)
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

func (h *LocalHasher) block() *block {
	if b, _ := h.blocks.Get().(*block); b != nil {
		return b
	}
	return new(block)
}

// fill reads what a file has at pos.
func (h *LocalHasher) fill(ctx context.Context, m *member, b []byte, pos int64) error {
	for len(b) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		k, err := read(m.fd, b, pos)
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

// finish gives files that are equal their digest. The first counts as hashed.
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
