package index

import "iter"

const (
	// headSize and entrySize are the least that a block has beside the names of its
	// file system and its directory, and an entry with the digest of a whole file.
	headSize  = 40
	entrySize = 54
)

// size is where the bytes of one of the directory's blocks are.
func (d *directory) size(level, part int) *int32 {
	if level == 0 {
		return &d.first
	}
	if len(d.parts) != 1<<level {
		d.parts = make([]int32, 1<<level)
	}
	return &d.parts[part]
}

// Blocks calls yield with the bytes of each block that scans like this one ask the
// store for, and with how many of the files that may have to be read it holds. Call
// it after Flush. What is not in the store yet, because it was written too lately,
// is counted with the least that it will take.
func (s *Scan) Blocks() iter.Seq2[int64, int64] {
	return func(yield func(bytes, files int64) bool) {
		for _, d := range s.dirs {
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
		return yield(d.least(d.first, files), files)
	}
	asked := min(int64(1)<<d.level, files)
	each := (files + asked - 1) / asked
	if !yield(d.least(d.first, 0), 0) {
		return false
	}
	for _, size := range d.parts {
		if size == 0 {
			continue
		}
		asked--
		if !yield(d.least(size, each), each) {
			return false
		}
	}
	for ; asked > 0; asked-- {
		if !yield(d.least(0, each), each) {
			return false
		}
	}
	return true
}

// least is a size, or the least of a block with so many files if that is more.
func (d *directory) least(size int32, files int64) int64 {
	names := int64(len(d.fileSystem) + len(d.path))
	return max(int64(size), headSize+names+entrySize*files)
}
