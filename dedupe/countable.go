package dedupe

import (
	"fmt"
	"math"
	"math/bits"
	"slices"
)

// countable returns the bytes of all files, each inode once, and the largest file size
// for which that sum fits in 63 bits. Larger files are not in the sum. Files must be
// those that share a size, sorted. Only they can be names of an inode with
// another name: a hard link, or a directory found twice, as under a bind mount.
func (t *table) countable(files []sized) (bytes, largest int64) {
	var high, low uint64
	for c := range t.all() {
		low, high = addTo(low, high, uint64(c.size))
	}
	for i := range files {
		if i > 0 && isSame(files[i], files[i-1]) {
			var borrow uint64
			low, borrow = bits.Sub64(low, uint64(files[i].size), 0)
			high -= borrow
		}
	}
	if high == 0 && low <= math.MaxInt64 {
		return int64(low), math.MaxInt64
	}
	return t.countFromBelow(files)
}

func addTo(low, high, n uint64) (uint64, uint64) {
	low, carry := bits.Add64(low, n, 0)
	return low, high + carry
}

// countFromBelow does the same when the sum overflows: it counts the smaller files first.
// It counts all files of one size or none, because they may be equal.
func (t *table) countFromBelow(files []sized) (bytes, largest int64) {
	inodes := make(map[int64]uint64) // by size
	for c := range t.all() {
		inodes[c.size]++
	}
	for i := range files {
		if i > 0 && isSame(files[i], files[i-1]) {
			inodes[files[i].size]--
		}
	}
	sizes := make([]int64, 0, len(inodes))
	for size := range inodes {
		sizes = append(sizes, size)
	}
	slices.Sort(sizes)
	for _, size := range sizes {
		high, low := bits.Mul64(uint64(size), inodes[size])
		if high > 0 || low > uint64(math.MaxInt64-bytes) {
			break
		}
		bytes, largest = bytes+int64(low), size
	}
	return bytes, largest
}

// weigh calls stored, if set, for every file that countable counted: see Engine.Stored.
func (t *table) weigh(files []sized, largest int64, stored func(size, allocated, n int64)) {
	if stored == nil {
		return
	}
	tell := func(c *Copy, n int64) {
		if c.size <= largest {
			stored(c.size, c.allocated, n)
		}
	}
	for c := range t.all() {
		tell(c, 1)
	}
	for i := range files {
		if i > 0 && isSame(files[i], files[i-1]) {
			tell(files[i].Copy, -1)
		}
	}
}

// uncountable returns the problems of files larger than the largest that can be counted.
func (t *table) uncountable(largest int64) (problems []*Problem) {
	if largest == math.MaxInt64 {
		return nil
	}
	for c := range t.all() {
		if c.size > largest {
			problems = append(problems, &Problem{Op: "stat", Path: c.path(), Err: fmt.Errorf(
				"its %d bytes bring the sum of all files above 2^63-1, the most that a report can hold; exclude it with a maximum size", c.size)})
		}
	}
	return problems
}
