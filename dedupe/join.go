package dedupe

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"iter"
	"slices"
	"strings"
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

// sortSigned turns signed copies into a stream for Join. It leaves out most copies that
// are alone in their class, because sorting fewer is faster.
func sortSigned(signed iter.Seq[Signed], by Stage) iter.Seq[*Copy] {
	return func(yield func(*Copy) bool) {
		var copies []*Copy
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
		slices.SortFunc(copies, by.Compare)
		slices.Values(copies)(yield)
	}
}

// key is the same for copies that are alike.
func (s Stage) key(c *Copy) uint64 {
	known := c.known()
	if s == StageEnds {
		return uint64(c.Size)<<32 ^ uint64(known.Ends.first()) ^ uint64(c.Size)>>32
	}
	return binary.LittleEndian.Uint64(known.Digest[:])
}

// Compare orders copies for Join after a stage: largest first, classes together, then by
// inode and name. Among copies with the same first bytes, those whose last bytes are
// unknown come first.
func (s Stage) Compare(a, b *Copy) int {
	if a.Size != b.Size {
		return cmp.Compare(b.Size, a.Size)
	}
	x, y := a.known(), b.known()
	c := 0
	if s == StageEnds {
		c = cmp.Compare(x.Ends, y.Ends)
	} else {
		c = bytes.Compare(x.Digest[:], y.Digest[:])
	}
	return cmp.Or(c, compareNames(a, b))
}

// alike reports whether two copies may be equal. In the order of Compare, a must not come
// after b.
func (s Stage) alike(a, b *Copy) bool {
	x, y := a.known(), b.known()
	switch {
	case a.Size != b.Size:
		return false
	case s == StageEnds:
		return x.Ends.Like(y.Ends)
	}
	return x.Digest == y.Digest
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
			case c.inode() == last.inode() && by.alike(last, c):
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

// merge returns a copy with the names of both.
func (c *Copy) merge(d *Copy) *Copy {
	paths := slices.Concat(c.OtherPaths, []string{d.Path}, d.OtherPaths)
	slices.Sort(paths)
	paths = slices.Compact(paths)
	merged := *c
	merged.OtherPaths = slices.DeleteFunc(paths, func(p string) bool { return p == c.Path })
	return &merged
}

// groupOf turns a class that is proven equal into a group.
func groupOf(class []*Copy) Group {
	g := Group{Size: class[0].Size, Digest: class[0].known().Digest}
	files := 0
	for _, c := range class {
		g.Add(c)
		files += 1 + len(c.OtherPaths)
	}
	g.Files = make([]File, 0, files)
	for _, c := range class {
		for path := range c.paths() {
			f := c.File
			f.Path = path
			g.Files = append(g.Files, f)
		}
	}
	slices.SortFunc(g.Files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	return g
}

// Add counts a copy with all its names, but does not add these to Files. A copy with names
// outside the group frees nothing, so it is the one to keep. If there is none, keep the one
// that occupies the least.
func (g *Group) Add(c *Copy) {
	g.inodes++
	if int64(c.Links) <= int64(1+len(c.OtherPaths)) {
		if g.free == 0 || c.Allocated < g.least {
			g.least = c.Allocated
		}
		g.free++
		g.allocated += c.Allocated
	}
	free := g.free
	if g.ReclaimableAllocated = g.allocated; free == g.inodes { // one must stay
		free--
		g.ReclaimableAllocated -= g.least
	}
	g.Reclaimable = int64(free) * g.Size
}
