package choose

import (
	"bytes"
	"cmp"
	"slices"

	"efsdedupe/dedupe"
)

// Report leaves only the groups in a report that the rules select, with what they make
// reclaimable.
func (c *Chooser) Report(r *dedupe.Report) {
	if !c.Change() {
		return
	}
	groups := r.Groups[:0]
	s := &r.Stats
	s.DuplicateFiles, s.ReclaimableBytes = 0, 0
	for _, g := range r.Groups {
		chosen := c.Group(g.Size, filesOf(&g))
		if chosen.Drop {
			continue
		}
		if c.Kept() {
			g.Reclaimable, g.ReclaimableAllocated = chosen.Reclaimable, chosen.ReclaimableAllocated
		}
		groups = append(groups, g)
		s.DuplicateFiles += chosen.Copies - 1
		s.ReclaimableBytes += g.Reclaimable
	}
	clear(r.Groups[len(groups):])
	r.Groups, s.DuplicateGroups = groups, int64(len(groups))
	slices.SortFunc(r.Groups, func(a, b dedupe.Group) int {
		return cmp.Or(cmp.Compare(b.Reclaimable, a.Reclaimable), bytes.Compare(a.Digest[:], b.Digest[:]))
	})
}

// filesOf yields the files of a group.
func filesOf(g *dedupe.Group) func(func(File) bool) {
	return func(yield func(File) bool) {
		for f, hardLink := range g.Files() {
			if !yield(File{f, hardLink}) {
				return
			}
		}
	}
}
