package dedupe

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"iter"
	"math"
	"slices"
)

// Join merges streams of signed copies and yields the classes that may still be equal:
// those of one size with the same ends or, after StageWhole, with the same digest, which
// proves them equal. Each class has at least two copies. The largest files come first.
// Range over a class once, before asking for the next.
//
// Each stream must be in the order of by.Compare. How the copies are divided among the
// streams makes no difference: if the names of one inode are in several, they become one
// copy again. Join holds one copy of each stream at a time, so neither a class nor all
// copies of one size need to fit in memory.
func Join(by Stage, streams ...iter.Seq[*Copy]) iter.Seq[iter.Seq[*Copy]] {
	return func(yield func(iter.Seq[*Copy]) bool) {
		next, stop := iter.Pull(mergeNames(merge(by, streams), by))
		defer stop()
		first, ok := next()
		for ok {
			c, more := next()
			if !more || !by.alike(first, c) {
				first, ok = c, more
				continue
			}
			class := func(yield func(*Copy) bool) {
				for wanted := yield(first); wanted && more && by.alike(first, c); c, more = next() {
					wanted = yield(c)
				}
			}
			if !yield(class) {
				return
			}
			for more && by.alike(first, c) { // the caller did not take the whole class
				c, more = next()
			}
			first, ok = c, more
		}
	}
}

// sortSigned returns the copies that were signed, at most n, in the order of Compare. It
// leaves out most that are alone in their class, because sorting fewer is faster. After
// StageWhole, it also returns how many classes Join will make of them.
func sortSigned(signed iter.Seq[Signed], by Stage, n int) (copies []*Copy, classes int) {
	copies = make([]*Copy, 0, n)
	for s := range signed {
		if s.Problem == nil {
			copies = append(copies, s.Copy)
		}
	}
	keys := newMaybeDuplicated(len(copies))
	for _, c := range copies {
		keys.add(by.key(c))
	}
	copies = slices.DeleteFunc(copies, func(c *Copy) bool { return !keys.twice(by.key(c)) })
	sorted := make([]ordered, len(copies))
	for i, c := range copies {
		sorted[i] = ordered{c.size, by.order(c), c}
	}
	slices.SortFunc(sorted, func(a, b ordered) int {
		switch {
		case a.size != b.size:
			return cmp.Compare(b.size, a.size)
		case a.key != b.key:
			return cmp.Compare(a.key, b.key)
		}
		return by.Compare(a.Copy, b.Copy)
	})
	alone := true // so far
	for i, c := range sorted {
		copies[i] = c.Copy
		same := i > 0 && c.size == sorted[i-1].size && c.key == sorted[i-1].key
		if same && alone {
			classes++
		}
		alone = !same
	}
	return copies, classes
}

// ordered is a copy, with the keys by which Compare orders most of them.
type ordered struct {
	size int64
	key  uint64
	*Copy
}

// order returns a number that orders copies of one size as Compare does, unless it is the
// same for both.
func (s Stage) order(c *Copy) uint64 {
	switch {
	case c.known == nil:
		return 0
	case s == StageEnds:
		return uint64(c.known.ends)
	}
	return binary.BigEndian.Uint64(c.known.digest[:])
}

// key is the same for copies that are alike.
func (s Stage) key(c *Copy) uint64 {
	if s == StageEnds {
		return uint64(c.size)<<32 ^ uint64(c.ends().first()) ^ uint64(c.size)>>32
	}
	return s.order(c)
}

// Compare orders copies for Join after a stage: largest first, classes together, then by
// inode and name. Among copies with the same first bytes, those whose last bytes are
// unknown come first.
func (s Stage) Compare(a, b *Copy) int {
	if a.size != b.size {
		return cmp.Compare(b.size, a.size)
	}
	c := cmp.Compare(s.order(a), s.order(b))
	if c == 0 && s != StageEnds && a.known != nil && b.known != nil {
		c = bytes.Compare(a.known.digest[:], b.known.digest[:])
	}
	if c != 0 {
		return c
	}
	return compareNames(a, b)
}

// alike reports whether two copies may be equal. In the order of Compare, a must not come
// after b.
func (s Stage) alike(a, b *Copy) bool {
	switch {
	case a.size != b.size:
		return false
	case s == StageEnds:
		return a.ends().Like(b.ends())
	case a.known == nil || b.known == nil:
		return a.hasDigest() == b.hasDigest()
	}
	return a.known.digest == b.known.digest
}

// merge merges sorted streams into one.
func merge(by Stage, streams []iter.Seq[*Copy]) iter.Seq[*Copy] {
	switch n := len(streams); n {
	case 0:
		return func(func(*Copy) bool) {}
	case 1:
		return streams[0]
	default:
		a, b := merge(by, streams[:n/2]), merge(by, streams[n/2:])
		return func(yield func(*Copy) bool) {
			next, stop := iter.Pull(b)
			defer stop()
			d, more := next()
			for c := range a {
				for ; more && by.Compare(d, c) < 0; d, more = next() {
					if !yield(d) {
						return
					}
				}
				if !yield(c) {
					return
				}
			}
			for ; more; d, more = next() {
				if !yield(d) {
					return
				}
			}
		}
	}
}

// mergeNames merges adjacent copies that are alike and are names of one inode.
func mergeNames(copies iter.Seq[*Copy], by Stage) iter.Seq[*Copy] {
	return func(yield func(*Copy) bool) {
		var last *Copy
		for c := range copies {
			switch {
			case last == nil:
				last = c
			case c.number == last.number && c.inode() == last.inode() && by.alike(last, c):
				last = last.merge(c)
			case !yield(last):
				return
			default:
				last = c
			}
		}
		if last != nil {
			yield(last)
		}
	}
}

// groupOf turns a class that is proven equal into a group. It keeps the slice.
func groupOf(class []*Copy) Group {
	_, digest := class[0].Known()
	g := Group{Size: class[0].size, Digest: digest, Copies: class}
	slices.SortFunc(g.Copies, comparePaths)
	g.Reclaimable, g.ReclaimableAllocated = Reclaimable(slices.Values(class))
	return g
}

// Reclaimable returns the most that deleting all copies but one can free: in file size,
// and on the file system. A copy with names outside the class frees nothing, so it is the
// one to keep. If there is none, keep the one that occupies the least.
func Reclaimable(class iter.Seq[*Copy]) (bytes, allocated int64) {
	all, free, size := 0, 0, int64(0)
	most := int64(math.MaxInt64)
	for c := range class {
		all, size = all+1, c.size
		if int64(c.links) <= int64(c.names()) {
			free++
			allocated += c.allocated
			most = min(most, c.allocated)
		}
	}
	if free == all { // one must stay
		free--
		allocated -= most
	}
	return int64(free) * size, allocated
}
