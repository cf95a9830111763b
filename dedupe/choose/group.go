package choose

import (
	"cmp"
	"math"
	"path/filepath"
	"strings"

	"efsdedupe/dedupe"
)

// Chooser applies rules to groups.
type Chooser struct {
	Rules
	roots    map[string]Root // by clean path
	spell    Spell
	priority []spellings
	protect  []spellings
	globs    matcher // exclude what is protected
	absolute matcher // the globs that begin at /
	copiesOf spellings
}

// New returns a chooser for a scan of roots. What Protect names is a path if there is
// something at it, and else a glob, as in a Filter.
func New(r Rules, roots []Root, spell Spell) (*Chooser, error) {
	if err := r.Validate(); err != nil {
		return nil, err
	}
	c := &Chooser{Rules: r, roots: make(map[string]Root, len(roots)), spell: spell}
	for _, root := range roots {
		c.roots[filepath.Clean(root.Path)] = root
	}
	for _, dir := range r.Priority {
		p, _ := spell.spellings(dir)
		c.priority = append(c.priority, p)
	}
	if r.CopiesOf != "" {
		c.copiesOf, _ = spell.spellings(r.CopiesOf)
	}
	var globs []string
	for _, path := range r.Protect {
		p, exists := spell.spellings(path)
		if exists || !HasMeta(path) {
			c.protect = append(c.protect, p)
		}
		if !exists && mayBeGlob(path) {
			globs = append(globs, path)
		}
	}
	var err error
	c.globs.Filter, err = dedupe.Filter{Exclude: globs}.Plain()
	c.absolute.Filter = c.globs.Absolute()
	return c, err
}

// matcher is a plain filter that remembers which folders it excludes.
type matcher struct {
	dedupe.Filter
	known map[string]bool
}

// mostKnown is how many folders a matcher remembers.
const mostKnown = 10_000

// match reports whether the filter excludes a file, or a folder above it.
func (m *matcher) match(rel string) bool {
	if len(m.Exclude) == 0 {
		return false
	}
	if m.known == nil || len(m.known) > mostKnown {
		m.known = make(map[string]bool)
	}
	return m.Excludes(rel, m.known)
}

// spared reports whether a rule may protect files.
func (c *Chooser) spared() bool { return len(c.protect)+len(c.globs.Exclude) > 0 }

// File is a file of a group.
type File struct {
	dedupe.File
	HardLink bool // to the inode of an earlier file
}

// id identifies an inode, as well as a report does.
type id struct {
	device, number  uint64
	changed, edited dedupe.Timestamp
}

func (f *File) id() id { return id{f.Device, f.Inode, f.ChangeTime, f.ModTime} }

// Choice is what the rules say about a group. Add its files, then call End.
type Choice struct {
	Drop   bool  // do not report the group
	Copies int64 // inodes
	local  bool  // all files are below one root

	// What deleting the files that are not kept frees; as in dedupe.Group.
	Reclaimable, ReclaimableAllocated int64

	// First is the kept file that comes first, if the rules say which files to keep.
	First File

	chooser *Chooser
	best    rank   // of First
	root    string // of the first file
	wanted  bool   // the group has the file CopiesOf
	free    int64  // inodes that deleting files frees
	least   int64  // bytes that the smallest of those occupies
	spared  int64  // files that are protected
	inodes  map[id]*inode
}

// inode is an inode of a group that has, or may have, several names.
type inode struct {
	names     uint32 // in the group
	links     uint32 // in all
	allocated int64
	kept      bool
}

// Group begins a choice.
func (c *Chooser) Group() *Choice {
	return &Choice{chooser: c, local: true, wanted: c.CopiesOf == "", least: math.MaxInt64, inodes: make(map[id]*inode)}
}

// Add adds a file of the group.
func (g *Choice) Add(f *File) {
	if !f.HardLink {
		g.Copies++
	}
	at := g.chooser.locate(f.Path)
	g.root = cmp.Or(g.root, at.root)
	g.local = g.local && g.root == at.root
	g.wanted = g.wanted || g.chooser.copiesOf.is(at.spellings)
	protected := g.chooser.Kept() && g.keep(f, at)
	if !g.chooser.Count() {
		return
	}
	if f.Links == 1 {
		if !protected {
			g.frees(f.Allocated)
		}
		return
	}
	of := g.inodes[f.id()]
	if of == nil {
		of = &inode{links: f.Links, allocated: f.Allocated}
		g.inodes[f.id()] = of
	}
	of.names++
	of.kept = of.kept || protected
}

// keep considers keeping a file, and reports whether it is protected.
func (g *Choice) keep(f *File, at located) (protected bool) {
	r := g.chooser.rank(f, at)
	if g.First.Path == "" || r.compare(g.best) < 0 {
		g.First, g.best = *f, r
	}
	if r.unprotected {
		return false
	}
	g.spared++
	return true
}

// frees counts an inode that deleting files frees.
func (g *Choice) frees(allocated int64) {
	g.free++
	g.ReclaimableAllocated += allocated
	g.least = min(g.least, allocated)
}

// End completes the choice for a group with files of a size.
func (g *Choice) End(size int64) {
	c := g.chooser
	g.Drop = !g.wanted || c.Isolate && g.local || g.Copies < int64(max(c.MinCopies, 2))
	if g.Drop || !c.Count() {
		return
	}
	if of := g.inodes[g.First.id()]; of != nil {
		of.kept = true
	} else if g.best.unprotected {
		g.free--
		g.ReclaimableAllocated -= g.First.Allocated
	}
	for _, of := range g.inodes {
		if !of.kept && of.names >= of.links {
			g.frees(of.allocated)
		}
	}
	if !c.Kept() && g.free == g.Copies { // as in [dedupe.Reclaimable]
		g.free--
		g.ReclaimableAllocated -= g.least
	}
	g.Reclaimable = g.free * size
}

// Keeps reports whether a file of the group is kept: a rule chose its inode, or protects
// it under one of its names.
func (g *Choice) Keeps(f *File) bool {
	if f.Path == g.First.Path {
		return true
	}
	if of := g.inodes[f.id()]; of != nil && f.Links != 1 {
		return of.kept
	}
	return g.spared > 0 && g.chooser.protects(g.chooser.locate(f.Path))
}

// KeepsOne reports whether only First is kept.
func (g *Choice) KeepsOne() bool { return g.spared == 0 && g.First.Links == 1 }

// rank says which file of a group to keep: the one with the least rank.
type rank struct {
	unprotected bool
	priority    int
	edited      dedupe.Timestamp
	length      int
	path        string
	newest      bool // the larger time has the lesser rank
}

func (c *Chooser) rank(f *File, at located) rank {
	r := rank{unprotected: !c.protects(at), priority: c.priorityOf(at), path: f.Path}
	switch c.Keep {
	case Oldest, Newest:
		r.edited, r.newest = f.ModTime, c.Keep == Newest
	case Shortest:
		r.length = len(f.Path)
	}
	return r
}

func (r rank) compare(s rank) int {
	edited := r.edited.Compare(s.edited)
	if r.newest {
		edited = -edited
	}
	protected := 0
	if r.unprotected != s.unprotected {
		if protected = -1; r.unprotected {
			protected = 1
		}
	}
	return cmp.Or(protected, cmp.Compare(r.priority, s.priority), edited, cmp.Compare(r.length, s.length), cmp.Compare(r.path, s.path))
}

// priorityOf returns the first of the folders with priority that is above a path.
func (c *Chooser) priorityOf(at located) int {
	for i, dir := range c.priority {
		if dir.holds(at.spellings) {
			return i
		}
	}
	return len(c.priority)
}

// protects reports whether a rule protects what is at a path.
func (c *Chooser) protects(at located) bool {
	for _, p := range c.protect {
		if p.holds(at.spellings) {
			return true
		}
	}
	if c.globs.match(at.rel) || at.listed && c.globs.match(strings.TrimPrefix(at.root, "/")) {
		return true
	}
	for _, path := range at.spellings {
		if path[0] == '/' && c.absolute.match(path[1:]) {
			return true
		}
	}
	return false
}
