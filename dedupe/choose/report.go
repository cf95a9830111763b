package choose

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"strings"

	"efsdedupe/dedupe"
)

// checkEach is after how many files Report looks whether its context ended.
const checkEach = 1000

// Report leaves only the groups in a report that the rules select, with what they make
// reclaimable. With Isolate, a file whose copies are all below one root counts as unique. If
// ctx ends meanwhile, it returns the cause, and the report is of no use.
func (c *Chooser) Report(ctx context.Context, r *dedupe.Report) error {
	if !c.Change() {
		return nil
	}
	files := 0
	groups := r.Groups[:0]
	s := &r.Stats
	s.DuplicateFiles, s.ReclaimableBytes = 0, 0
	for _, g := range r.Groups {
		chosen := c.Group()
		for f, hardLink := range g.Files() {
			if files++; files%checkEach == 0 && ctx.Err() != nil {
				return context.Cause(ctx)
			}
			chosen.Add(&File{f, hardLink})
		}
		chosen.End(g.Size)
		if chosen.Drop {
			if c.Unique && c.Isolate && chosen.local {
				r.Unique = append(r.Unique, g.Copies...)
			}
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
	if c.Unique && c.Isolate {
		slices.SortFunc(r.Unique, func(a, b *dedupe.Copy) int { return strings.Compare(a.File().Path, b.File().Path) })
	}
	slices.SortFunc(r.Groups, func(a, b dedupe.Group) int {
		return cmp.Or(cmp.Compare(b.Reclaimable, a.Reclaimable), bytes.Compare(a.Digest[:], b.Digest[:]))
	})
	return nil
}
