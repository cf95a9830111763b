package report

import (
	"bufio"
	"cmp"
	"io"
	"slices"

	"efsdedupe/dedupe"
)

// A page stays below these sizes: the first for a report of up to smallTree files, the
// second for one of largeTree files or more.
const (
	smallPage, smallTree = 300_000, 100_000
	largePage, largeTree = 2_000_000, 1_000_000

	// pageRest is what a page takes besides its lists: style, scripts and sections that do
	// not grow, with some of the longest names.
	pageRest = 100_000
)

// listRoom returns how many bytes the lists of a page may take.
func listRoom(files int64) int {
	files = min(max(files, smallTree), largeTree)
	return smallPage - pageRest + int((files-smallTree)*(largePage-smallPage)/(largeTree-smallTree))
}

const (
	pageFiles    = 12      // files that a page lists of a group
	pageKept     = 1 << 20 // bytes of groups to remember; the largest page lists no more
	pageProblems = 500
	pageSkipped  = 200
)

// htmlWriter writes a report as a page for browsers. It remembers the largest groups and
// folders until the end.
type htmlWriter struct {
	w    *bufio.Writer
	o    Options
	seen *seen
}

func newHTMLWriter(w io.Writer, o Options) *htmlWriter {
	return &htmlWriter{w: bufio.NewWriterSize(w, 64<<10), o: o, seen: newSeen(newFolderTree(), 0)}
}

func (h *htmlWriter) begin(*document) error           { return nil }
func (h *htmlWriter) group(g group) error             { return h.seen.group(g) }
func (h *htmlWriter) file(f file) error               { return h.seen.file(f) }
func (h *htmlWriter) twin(t twin) error               { return h.seen.twin(t) }
func (h *htmlWriter) unique(f file) error             { return h.seen.unique(f) }
func (h *htmlWriter) problem(p *dedupe.Problem) error { return h.seen.problem(p) }
func (h *htmlWriter) skip(s dedupe.Skipped) error     { return h.seen.skip(s) }

func (h *htmlWriter) endGroup(g group) error {
	h.seen.endGroup(g, g.reclaimable, &h.seen.groups)
	return nil
}

func (h *htmlWriter) end(d *document) error {
	if err := d.readBill(); err != nil {
		return err
	}
	p := htmlPage{w: h.w}
	p.report(newFindings(d, h.seen, h.o))
	return h.w.Flush()
}

// seen is what a page remembers of the stream of a report.
type seen struct {
	totals   *totals
	tree     *folderTree
	report   int // 0 or 1: which report of the tree it is
	this     shownGroup
	groups   topGroups
	all      int64 // groups
	files    int64 // in groups
	twins    twinSets
	alone    int64 // files without a duplicate, if the scan asked for them
	problems []*dedupe.Problem
	skipped  []dedupe.Skipped
	unshown  struct{ problems, skipped int64 }
}

func newSeen(tree *folderTree, report int) *seen {
	return &seen{totals: newTotals(), tree: tree, report: report}
}

func (s *seen) group(g group) error {
	s.all++
	s.totals.group(g)
	s.this = shownGroup{group: g}
	return nil
}

func (s *seen) file(f file) error {
	s.files++
	bytes, extra := s.totals.count(f)
	if extra {
		s.tree.add(f.path, s.report, bytes)
	}
	s.this.files++
	if len(s.this.shown) < pageFiles && (len(s.this.shown) < 2 || s.this.cost < pageKept/100) {
		s.this.shown = append(s.this.shown, shownFile{f.path, f.mtime, f.hardLink, f.kept || !extra && !f.hardLink})
		s.this.cost += fileCost + len(f.path)
	}
	return nil
}

// endGroup ends a group, and adds it to others.
func (s *seen) endGroup(g group, rank int64, to *topGroups) {
	s.totals.endGroup(g)
	s.this.group, s.this.rank = g, rank
	s.this.copies = cmp.Or(g.copies, s.totals.copies)
	s.this.files += g.before + g.leftOut
	s.this.cost += groupCost
	to.add(s.this)
	s.this = shownGroup{}
}

func (s *seen) twin(t twin) error {
	s.twins.add(t)
	return nil
}

func (s *seen) unique(f file) error {
	if !f.hardLink {
		s.alone++
	}
	return nil
}

func (s *seen) problem(p *dedupe.Problem) error {
	if len(s.problems) < pageProblems {
		s.problems = append(s.problems, p)
	} else {
		s.unshown.problems++
	}
	return nil
}

func (s *seen) skip(skipped dedupe.Skipped) error {
	if len(s.skipped) < pageSkipped {
		s.skipped = append(s.skipped, skipped)
	} else {
		s.unshown.skipped++
	}
	return nil
}

// shownGroup is a group with the files of it that a page lists.
type shownGroup struct {
	group
	rank  int64 // the highest come first
	shown []shownFile
	files int64
	cost  int  // bytes on the page, at least
	gone  bool // the later of two reports does not have it
}

type shownFile struct {
	path     string
	mtime    moment
	hardLink bool
	kept     bool
}

const groupCost, fileCost = 100, 40 // bytes on the page besides paths, at least

// topGroups are the groups of the highest rank that a page may list.
type topGroups struct {
	groups []shownGroup
	cost   int
}

func (t *topGroups) add(g shownGroup) {
	t.groups = append(t.groups, g)
	if t.cost += g.cost; t.cost > 2*pageKept {
		t.sorted()
	}
}

// sorted returns the groups, the highest rank first. Groups of one rank keep their order.
func (t *topGroups) sorted() []shownGroup {
	slices.SortStableFunc(t.groups, func(a, b shownGroup) int { return cmp.Compare(b.rank, a.rank) })
	t.cost = 0
	for i, g := range t.groups {
		if t.cost+g.cost > pageKept && i > 0 {
			clear(t.groups[i:]) // for the garbage collector
			t.groups = t.groups[:i]
			break
		}
		t.cost += g.cost
	}
	return t.groups
}

// twinSets are the first sets of identical folders, which are the largest.
type twinSets struct {
	sets []twinSet
	all  int64
	last int64 // number of the last set
	cost int
}

// twinSet is a set of identical folders.
type twinSet struct {
	twin
	shown []twin
	paths int64
}

func (t *twinSets) add(in twin) {
	if t.all == 0 || in.set != t.last {
		t.all, t.last = t.all+1, in.set
		if t.cost < pageKept/4 {
			t.sets = append(t.sets, twinSet{twin: in})
		}
	}
	if int64(len(t.sets)) < t.all {
		return
	}
	set := &t.sets[len(t.sets)-1]
	if set.paths++; len(set.shown) < pageFiles {
		set.shown = append(set.shown, in)
		t.cost += fileCost + len(in.path)
	}
}
