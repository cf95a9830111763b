package index

import "iter"

const (
	// headSize is the fewest bytes of a block besides its file system and its path;
	// entrySize is the fewest bytes of an entry with a digest.
	headSize  = 40
	entrySize = 56

	// usualSize is the size of an entry whose mtime and ctime differ.
	usualSize = 64
)

// resize records the present size of the block in bytes.
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

// Blocks calls yield for each block that a scan like this one asks the store for, with
// its bytes and the number of candidate files in it. Call it after Flush. It counts files
// not yet in the store, because they changed too recently, as if they were.
func (s *Scan) Blocks() iter.Seq2[int64, int64] {
	return func(yield func(bytes, files int64) bool) {
		for _, d := range s.all {
			if d.fileSystem != "" && !d.blocks(yield) {
				return
			}
		}
	}
}

// blocks yields the blocks of a directory. It assumes that all parts hold the same number
// of files, because inodes spread evenly over them.
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

// expected returns the size of a block once all its files are known.
func (d *directory) expected(size int32, files int64) int64 {
	head := headSize + int64(len(d.fileSystem)+len(d.path))
	if size == 0 {
		return head + usualSize*files
	}
	return max(int64(size), head+entrySize*files)
}
