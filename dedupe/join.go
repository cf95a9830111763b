package dedupe

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"iter"
	"math"
	"slices"
	"strings"
)

// Join yields the classes of copies that may still be equal: those of one size with the
// same ends, or, after StageWhole, with the same digest, which are proven equal. Each
// class has at least two copies, in the order of their inodes; the largest files come
// first. What was signed may come from any number of Reads, in any order: names of one
// inode that came apart become one copy again.
//
// Join yields nothing before it has seen all that was signed. It keeps a pointer of
// each.
func Join(signed iter.Seq[Signed], by Stage) iter.Seq[[]*Copy] {
	return func(yield func([]*Copy) bool) {
		copies := mayHaveEqual(signed, by)
		slices.SortFunc(copies, func(a, b *Copy) int {
			if a.Size != b.Size {
				return cmp.Compare(b.Size, a.Size)
			}
			if c := compareSigns(a, b, by); c != 0 {
				return c
			}
			return compareNames(a, b)
		})
		for len(copies) > 0 {
			n := 1
			for n < len(copies) && alike(copies[0], copies[n], by) {
				n++
			}
			if class := mergeNames(copies[:n]); len(class) > 1 && !yield(class) {
				return
			}
			copies = copies[n:]
		}
	}
}

// mayHaveEqual returns the copies that could be read, but for most of those without an
// equal: sorting fewer is faster.
func mayHaveEqual(signed iter.Seq[Signed], by Stage) (copies []*Copy) {
	for s := range signed {
		if s.Problem == nil {
			copies = append(copies, s.Copy)
		}
	}
	keys := newMaybeDuplicated(len(copies))
	for _, c := range copies {
		keys.add(signKey(c, by))
	}
	return slices.DeleteFunc(copies, func(c *Copy) bool { return !keys.twice(signKey(c, by)) })
}

// signKey is the same for copies that are alike.
func signKey(c *Copy, by Stage) uint64 {
	if by == StageEnds {
		return uint64(c.Size)<<32 ^ uint64(c.Ends.first()) ^ uint64(c.Size)>>32
	}
	return binary.LittleEndian.Uint64(c.Digest[:])
}

// compareSigns orders copies of one size so that those that are alike follow each
// other. Of the same first bytes, one whose last are not known comes first.
func compareSigns(a, b *Copy, by Stage) int {
	if by == StageEnds {
		return cmp.Compare(a.Ends, b.Ends)
	}
	return bytes.Compare(a.Digest[:], b.Digest[:])
}

// alike reports whether two copies may be equal. The first comes before the other by
// compareSigns.
func alike(a, b *Copy, by Stage) bool {
	switch {
	case a.Size != b.Size:
		return false
	case by == StageEnds:
		return a.Ends.Like(b.Ends)
	}
	return a.Digest == b.Digest
}

// mergeNames returns the copies in the order of their inodes, those of one inode as one
// copy with all names.
func mergeNames(copies []*Copy) (class []*Copy) {
	if !slices.IsSortedFunc(copies, compareNames) { // their ends differ in what is known
		slices.SortFunc(copies, compareNames)
	}
	class = make([]*Copy, 0, len(copies))
	for _, c := range copies {
		last := len(class) - 1
		if last < 0 || class[last].inode() != c.inode() {
			class = append(class, c)
			continue
		}
		class[last] = class[last].merge(c)
	}
	return class
}

// merge returns a copy with the names of both, and what is known of either.
func (c *Copy) merge(d *Copy) *Copy {
	merged := *c
	paths := slices.Concat(c.OtherPaths, []string{d.Path}, d.OtherPaths)
	slices.Sort(paths)
	paths = slices.Compact(paths)
	merged.OtherPaths = slices.DeleteFunc(paths, func(p string) bool { return p == c.Path })
	if d.Ends > merged.Ends { // its last bytes are known, too
		merged.Ends = d.Ends
	}
	if merged.Digest == (Digest{}) {
		merged.Digest, merged.Counted = d.Digest, d.Counted
	}
	return &merged
}

// groupOf returns the group of a class that is proven equal.
func groupOf(class []*Copy) Group {
	g := Group{Size: class[0].Size, Digest: class[0].Digest, inodes: len(class)}
	files := 0
	for _, c := range class {
		files += 1 + len(c.OtherPaths)
	}
	g.Files = make([]File, 0, files)
	for _, c := range class {
		g.Files = append(g.Files, c.File)
		for _, path := range c.OtherPaths {
			f := c.File
			f.Path = path
			g.Files = append(g.Files, f)
		}
	}
	slices.SortFunc(g.Files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	g.Reclaimable, g.ReclaimableAllocated = reclaimable(class)
	return g
}

// reclaimable is the most that deleting all names of all copies but one can free: as the
// size of files, and as what they take on the file system. A copy with names outside the
// class frees nothing, so it is the one to keep; without any, it is the one that takes
// the least.
func reclaimable(class []*Copy) (bytes, allocated int64) {
	free := 0
	most := int64(math.MaxInt64)
	for _, c := range class {
		if int64(c.Links) <= int64(1+len(c.OtherPaths)) {
			free++
			allocated += c.Allocated
			most = min(most, c.Allocated)
		}
	}
	if free == len(class) { // one must stay
		free--
		allocated -= most
	}
	return int64(free) * class[0].Size, allocated
}
