package index

import "iter"

const (
	// headSize and entrySize are the least that a block has beside the names of its
	// file system and its directory, and an entry with the digest of a whole file.
	headSize  = 40
	entrySize = 56

	// usualSize is an entry's whose mtime and ctime differ.
	usualSize = 64
)

// resize takes note of how many bytes the block has now.
func (p piece) resize(bytes int) {
	switch {
	case p.level == 0:
		p.first = int32(bytes)
	case p.parts == nil:
		p.parts = map[int]int32{p.part: int32(bytes)}
	default:
		p.parts[p.part] = int32(bytes)
	}
}

// Blocks calls yield with the bytes of each block that scans like this one ask the
// store for, and with how many of the files that may have to be read it holds. Call
// it after Flush. What is not in the store yet, because it was written too lately,
// is counted as if it were.
func (s *Scan) Blocks() iter.Seq2[int64, int64] {
	return func(yield func(bytes, files int64) bool) {
		for _, d := range s.all {
			if d.fileSystem != "" && !d.blocks(yield) {
				return
			}
		}
	}
}

// blocks yields the blocks of a directory. Its parts are taken to hold the same
// number of files each: inodes are spread evenly over them.
func (d *directory) blocks(yield func(bytes, files int64) bool) bool {
	files := int64(d.candidates)
	if d.level == 0 {
		return yield(d.expected(d.first, files), files)
	}
	asked := min(int64(1)<<d.level, files)
	each := (files + asked - 1) / asked
	if !yield(d.expected(d.first, 0), 0) {
		return false
	}
	for _, size := range d.parts {
		if size == 0 {
			continue
		}
		asked--
		if !yield(d.expected(size, each), each) {
			return false
		}
	}
	for ; asked > 0; asked-- {
		if !yield(d.expected(0, each), each) {
			return false
		}
	}
	return true
}

// expected is the size of a block when all its files are known.
func (d *directory) expected(size int32, files int64) int64 {
	head := headSize + int64(len(d.fileSystem)+len(d.path))
	if size == 0 {
		return head + usualSize*files
	}
	return max(int64(size), head+entrySize*files)
}
