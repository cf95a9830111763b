package dedupe

import (
	"bytes"
	"context"
	"slices"

	"github.com/zeebo/blake3"
	"golang.org/x/sys/unix"
)

// HashInStep implements Hasher. It goes through the files block by block: as long
// as some are equal, one BLAKE3 state serves for all of them, and the others are
// compared with the first. So what is hashed is what differs, whatever the size of
// the files; in memory there is a block of those that differ at the same place.
func (h *LocalHasher) HashInStep(ctx context.Context, files []File) []Hashed {
	if h.HashAll {
		return oneByOne(ctx, h, files)
	}
	answers := make([]Hashed, len(files))
	s := inStep{hasher: h, at: place{h.Within}}
	all := s.open(files, answers)
	defer func() {
		for _, m := range all {
			unix.Close(m.fd)
		}
	}()
	s.read(ctx, all, files[0].Size)
	return answers
}

// oneByOne is HashInStep without what it spares.
func oneByOne(ctx context.Context, h Hasher, files []File) []Hashed {
	answers := make([]Hashed, len(files))
	for i, f := range files {
		answers[i].Digest, answers[i].Work, answers[i].Err = h.Hash(ctx, f, Whole)
	}
	return answers
}

// inStep is files of one size that are read in step.
type inStep struct {
	hasher *LocalHasher
	at     place
}

// member is a file that is open, and what becomes of it.
type member struct {
	File
	fd     int
	answer *Hashed
}

// branch is files that are equal so far, and the state of hashing what they have.
type branch struct {
	members []*member
	blake3  *blake3.Hasher
}

// open returns the files that can be opened, and are as they were found.
func (s *inStep) open(files []File, answers []Hashed) (all []*member) {
	for i, f := range files {
		fd, err := f.open(s.at)
		if err == nil {
			answers[i].Work.Opens = 1
			if err = f.stayed(s.at, fd, "open"); err != nil {
				unix.Close(fd)
			}
		}
		if answers[i].Err = err; err == nil {
			all = append(all, &member{f, fd, &answers[i]})
		}
	}
	return all
}

// read reads all of the files, block by block.
func (s *inStep) read(ctx context.Context, all []*member, size int64) {
	branches := []branch{{all, blake3.New()}}
	for pos := int64(0); pos < size; pos += bufferSize {
		var next []branch
		for _, b := range branches {
			next = append(next, s.advance(ctx, b, pos, min(bufferSize, size-pos))...)
		}
		branches = next
	}
	for _, b := range branches {
		s.finish(b)
	}
}

// advance reads the n bytes at pos of files that are equal before them, and returns
// the branches in which they are equal after them.
func (s *inStep) advance(ctx context.Context, b branch, pos, n int64) []branch {
	var next []branch
	var blocks []*block // of each of next, what it has at pos
	for _, m := range b.members {
		read := s.block()
		if m.answer.Err = s.fill(ctx, m, read[:n], pos); m.answer.Err != nil {
			s.hasher.blocks.Put(read)
			continue
		}
		i := slices.IndexFunc(blocks, func(other *block) bool { return bytes.Equal(other[:n], read[:n]) })
		if i < 0 {
			next, blocks = append(next, branch{[]*member{m}, b.blake3}), append(blocks, read)
			continue
		}
		next[i].members = append(next[i].members, m)
		s.hasher.blocks.Put(read)
	}
	for i := range next {
		if i < len(next)-1 {
			next[i].blake3 = b.blake3.Clone()
		}
		next[i].blake3.Write(blocks[i][:n])
		s.hasher.blocks.Put(blocks[i])
	}
	return next
}

func (s *inStep) block() *block {
	if b, _ := s.hasher.blocks.Get().(*block); b != nil {
		return b
	}
	return new(block)
}

// fill reads what a file has at pos.
func (s *inStep) fill(ctx context.Context, m *member, b []byte, pos int64) error {
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
		s.hasher.told(k)
		b, pos = b[k:], pos+int64(k)
	}
	return nil
}

// finish gives files that are equal their digest. The first counts as hashed.
func (s *inStep) finish(b branch) {
	var d Digest
	b.blake3.Sum(d[:0])
	hashed := false
	for _, m := range b.members {
		if m.answer.Err = m.stayed(s.at, m.fd, "read"); m.answer.Err != nil {
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
