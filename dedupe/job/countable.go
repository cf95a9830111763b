package job

import (
	"fmt"
	"maps"
	"math"
	"math/bits"
	"slices"

	"efsdedupe/dedupe"
)

// sortCountable returns the round that sorts sizes again, without the largest files, if the
// files add up to more than 2^63-1 bytes, the most that a report can hold. It replaces the
// round that found this out. Files left out are listed as problems, as in a scan. It keeps the
// smaller sizes, and either all files of a size or none.
func (j *Job) sortCountable() (*round, error) {
	last := j.rounds[len(j.rounds)-1]
	// First by ranges of sizes, so that the sizes of only one of them are in memory.
	ranges, err := j.sums(last.units, sizeRange, func(int64) bool { return true })
	if err != nil {
		return nil, err
	}
	var below total
	first := firstBeyond(ranges, &below)
	sizes, err := j.sums(last.units, func(size int64) int64 { return size }, func(size int64) bool { return sizeRange(size) == first })
	if err != nil {
		return nil, err
	}
	beyond := firstBeyond(sizes, &below)
	j.rounds = j.rounds[:len(j.rounds)-1]
	r, err := j.mergers(sizing, bySize, func(r *result) int64 { return r.Out }, walking)
	if err != nil {
		return nil, err
	}
	for i := range r.units {
		r.units[i].Beyond = beyond
	}
	return r, nil
}

// sizeRange returns the range of a size. Larger sizes have the same or a larger one. There are
// 1024 for each power of two.
func sizeRange(size int64) int64 {
	const digits = 11
	shift := max(bits.Len64(uint64(size))-digits, 0)
	return int64(shift)<<(digits-1) + size>>shift
}

// sums adds up the sizes of inodes by a key, if they are wanted.
func (j *Job) sums(units []unit, key func(size int64) int64, wanted func(size int64) bool) (map[int64]total, error) {
	w := worker{store: j.store}
	all := make(map[int64]total)
	var failed error
	for i := range units {
		var last *entry
		for p := range w.merged(&units[i], bySize, &failed) {
			if wanted(p.Size) && (last == nil || last.Size != p.Size || !sameInode(&last.File, &p.File)) {
				sum := all[key(p.Size)]
				sum.add(total{0, uint64(p.Size)})
				all[key(p.Size)] = sum
			}
			last = p.entry
		}
		if failed != nil {
			return nil, failed
		}
	}
	return all, nil
}

// firstBeyond adds the sums to those below, in the order of their keys, and returns the first
// key with which they are too much.
func firstBeyond(sums map[int64]total, below *total) int64 {
	for _, key := range slices.Sorted(maps.Keys(sums)) {
		with := *below
		with.add(sums[key])
		if with.tooMuch() {
			return key
		}
		*below = with
	}
	return math.MaxInt64
}

func uncountable(c *entry) *dedupe.Problem {
	return &dedupe.Problem{Op: "stat", Path: c.Path, Err: fmt.Errorf(
		"its %d bytes bring the sum of all files above 2^63-1, the most that a report can hold; exclude it with a maximum size", c.Size)}
}
