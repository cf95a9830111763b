package job

import (
	"bytes"
	"cmp"
	"iter"
	"slices"
	"strings"

	"efsdedupe/dedupe"
	"efsdedupe/dedupe/report"
)

const (
	// mostInline is how many bytes of paths a group has at most in its own record. The files
	// of a larger one are in objects of their own.
	mostInline = 64 << 10

	// mostGroups is how many bytes of groups are sorted at once.
	mostGroups = 32 << 20
)

// group makes groups of copies with the same digest, which proves them equal.
func (w *worker) group(u unit) (*result, error) {
	r := new(result)
	var failed error
	entries := unchanged(w.merged(&u, byDigest, &failed), &r.In)
	g := &grouper{w: w, u: &u, r: r}
	for class := range classes(dedupe.StageWhole, entries) {
		if err := g.add(class); err != nil {
			return nil, err
		}
	}
	if failed != nil {
		return nil, failed
	}
	r.Dropped = r.In - r.Out
	return r, g.flush()
}

// grouper collects groups, and stores them in runs, each in the order of the report.
type grouper struct {
	w      *worker
	u      *unit
	r      *result
	groups []sorted
	bytes  int
}

// sorted is the record of a group, with what sorts it.
type sorted struct {
	reclaimable int64
	digest      dedupe.Digest
	record      []byte
}

func (g *grouper) add(class iter.Seq[*entry]) error {
	var group group
	f := files{w: g.w, u: g.u}
	var failed error
	counted := func(yield func(*dedupe.Copy) bool) {
		for c := range class {
			if group.Copies == 0 {
				group.Size, group.Digest = c.Size, c.Known.Digest
			}
			group.Copies++
			if failed = f.add(c); failed != nil || !yield(c.copy()) {
				return
			}
		}
	}
	group.Reclaimable, group.ReclaimableAllocated = dedupe.Reclaimable(counted)
	if failed != nil {
		return failed
	}
	if err := f.end(&group); err != nil {
		return err
	}
	record := group.append(nil)
	g.groups = append(g.groups, sorted{group.Reclaimable, group.Digest, record})
	g.r.Out += group.files
	g.r.Found.Groups++
	g.r.Found.Duplicates += group.Copies - 1
	g.r.Found.Reclaimable += group.Reclaimable
	report.Reclaim(&g.r.Found.Freed, group.Size, group.Reclaimable, group.ReclaimableAllocated)
	if g.bytes += len(record) + 64; g.bytes > mostGroups {
		return g.flush()
	}
	return nil
}

// flush stores the groups as a run.
func (g *grouper) flush() error {
	if len(g.groups) == 0 {
		return nil
	}
	slices.SortFunc(g.groups, func(a, b sorted) int {
		return cmp.Or(cmp.Compare(b.reclaimable, a.reclaimable), bytes.Compare(a.digest[:], b.digest[:]))
	})
	s := new(sections)
	s.begin()
	for _, group := range g.groups {
		s.block = append(s.block, group.record...)
		s.ended()
	}
	name, err := g.w.putPart(g.u, "run", s)
	g.r.Runs = append(g.r.Runs, name)
	g.groups, g.bytes = nil, 0
	return err
}

func compareGroups(a, b *group) int {
	return cmp.Or(cmp.Compare(b.Reclaimable, a.Reclaimable), bytes.Compare(a.Digest[:], b.Digest[:]))
}

// files collects the files of a group, and stores them in parts if they are many. Each part
// is sorted by path.
type files struct {
	w     *worker
	u     *unit
	all   []groupFile
	count int64
	bytes int
	parts []string
}

// groupFile is a file of a group.
type groupFile struct {
	*entry   // one name
	hardLink bool
}

func compareFiles(a, b groupFile) int { return strings.Compare(a.Path, b.Path) }

// add adds the names of a copy. The first by path is not a hard link to another.
func (f *files) add(c *entry) error {
	first := c.Path
	if len(c.OtherPaths) > 0 {
		first = min(first, slices.Min(c.OtherPaths))
	}
	for _, path := range append([]string{c.Path}, c.OtherPaths...) {
		file := c.File
		file.Path = path
		f.all = append(f.all, groupFile{&entry{File: file}, path != first})
		f.count++
		f.bytes += len(path) + 256 // in memory
	}
	if f.bytes > mostGroups {
		return f.flush()
	}
	return nil
}

// flush stores the files as a part.
func (f *files) flush() error {
	slices.SortFunc(f.all, compareFiles)
	s := new(sections)
	s.begin()
	var w writer
	for _, file := range f.all {
		s.block = w.appendCopy(s.block, file.entry, flagIf(isHardLink, file.hardLink))
		if s.ended() {
			w = writer{}
		}
	}
	name, err := f.w.putPart(f.u, "files", s)
	f.parts = append(f.parts, name)
	f.all, f.bytes = nil, 0
	return err
}

// end gives the files to a group.
func (f *files) end(g *group) error {
	g.files = f.count
	length := 0
	for _, file := range f.all {
		length += len(file.Path) + 64
	}
	if len(f.parts) > 0 || length > mostInline {
		if len(f.all) > 0 {
			if err := f.flush(); err != nil {
				return err
			}
		}
		g.objects = f.parts
		return nil
	}
	slices.SortFunc(f.all, compareFiles)
	for _, file := range f.all {
		g.inline, g.links = append(g.inline, file.entry), append(g.links, file.hardLink)
	}
	return nil
}
