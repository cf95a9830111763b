package report

import (
	"cmp"
	"errors"
	"io"
	"iter"
	"slices"
	"strings"

	"efsdedupe/dedupe"
	"efsdedupe/dedupe/choose"
	"efsdedupe/dedupe/cost"
)

// withRules streams a report from a source to a handler as the rules of the options want.
// It also needs the groups alone, because their totals come first.
func withRules(o Options, roots []choose.Root, h handler, groups, source func(handler) error) error {
	c, err := choose.New(o.Rules, roots, o.Spell)
	if err != nil {
		return err
	}
	counted := &chosen{handler: nowhere{}, o: o, chooser: c}
	if err := groups(counted); err != nil {
		return err
	}
	return source(&chosen{handler: h, o: o, chooser: c, counted: &counted.found})
}

// Choose puts into what a bill depends on how much the rules of the options leave to reclaim
// of groups that come one by one, for the report r.
func Choose(took *cost.Scan, r dedupe.Report, groups iter.Seq[Group], o Options) error {
	if !o.Rules.Change() {
		return nil
	}
	c, err := choose.New(o.Rules, rootsOf(selectionOf(r, o), o.Spell), o.Spell)
	if err != nil {
		return err
	}
	counted := &chosen{handler: nowhere{}, o: o, chooser: c}
	err = streamPartGroups(groups, counted)
	took.ReclaimableBytes, took.Reclaimable = counted.found.ReclaimableBytes, counted.freed
	return err
}

// finder is a handler that finds the roots of a report, and whether it has what the
// options ask for. It ends with errFound as soon as it knows.
type finder struct {
	nowhere
	o     Options
	roots []choose.Root
}

// errFound ends reading early.
var errFound = errors.New("found")

func (f *finder) begin(d *document) error {
	if d.Selection == nil {
		return nil
	}
	return cmp.Or(f.end(d), errFound)
}

func (f *finder) end(d *document) error {
	s := cmp.Or(d.Selection, new(selectionJSON))
	f.roots = rootsOf(s, f.o.Spell)
	switch {
	case f.o.Rules.Unique && !s.Unique:
		return errors.New("it does not name the files without a duplicate: scan again with --unique")
	case f.o.Rules.Folders && !s.Folders:
		return errors.New("it does not name duplicate folders: scan again with --folders")
	}
	return nil
}

// chosen passes on the groups that the rules select, kept files first.
type chosen struct {
	handler
	o       Options
	chooser *choose.Chooser
	found   statsJSON    // groups, files and bytes so far
	freed   cost.Objects // copies that free storage when deleted
	counted *statsJSON   // the same of the whole report; nil if unknown

	choice *choose.Choice // of this group
	spool  spool
	firsts map[fileID]int // files of the group that are no hard links, by inode, if it has several names
}

// fileID identifies an inode in a report.
type fileID struct {
	device, inode uint64
	mtime, ctime  moment
}

func (f *file) id() fileID { return fileID{f.device, f.inode, f.mtime, f.ctime} }

func (c *chosen) begin(d *document) error { return c.handler.begin(c.changed(d)) }

func (c *chosen) end(d *document) error { return c.handler.end(c.changed(d)) }

// changed returns a document with the rules and what they select.
func (c *chosen) changed(d *document) *document {
	changed := *d
	if d.Selection != nil {
		s := *d.Selection
		s.choose(c.o.Rules)
		changed.Selection = &s
	}
	if d.Stats != nil && c.counted != nil {
		s := *d.Stats
		s.DuplicateGroups, s.DuplicateFiles, s.ReclaimableBytes = c.counted.DuplicateGroups, c.counted.DuplicateFiles, c.counted.ReclaimableBytes
		changed.Stats = &s
	}
	return &changed
}

// rootsOf returns the roots of a selection.
func rootsOf(s *selectionJSON, spell choose.Spell) []choose.Root {
	roots := make([]choose.Root, len(s.Roots))
	for i, r := range s.Roots {
		roots[i].Path = paths{r.Path, string(r.PathBase64)}.full()
		if r.Absolute != "" {
			absolute := paths{r.Absolute, string(r.AbsoluteBase64)}.full()
			others, _ := spell(absolute)
			roots[i].Names = append(others, absolute)
		}
	}
	return roots
}

func (c *chosen) group(g group) error {
	c.spool = spool{files: c.spool.files[:0], create: c.o.Spill}
	c.firsts = make(map[fileID]int)
	c.choice = c.chooser.Group()
	if g.before > 0 || g.leftOut > 0 {
		return errPart
	}
	return nil
}

// errPart rejects rules for a group that is not whole.
var errPart = errors.New("it is one page of an answer of the service, with a part of a group: rules need whole groups, from 'dedupe scan' or a larger page")

func (c *chosen) file(f file) error {
	if !c.chooser.Takes(f.mtime.timestamp()) {
		return nil
	}
	if c.o.Spill != nil {
		f.device = 0 // the spool does not keep it
	}
	if f.links != 1 && !f.hardLink {
		c.firsts[f.id()]++
	}
	f.kept = f.kept && !c.chooser.Kept()
	candidate := candidateOf(f)
	c.choice.Add(&candidate)
	if c.counted == nil { // nobody is listening
		return nil
	}
	return c.spool.add(f)
}

func (c *chosen) endGroup(g group) error {
	if g.leftOut > 0 {
		return errPart
	}
	choice := c.choice
	if choice.End(g.size); choice.Drop {
		return nil
	}
	if c.chooser.Count() {
		g.reclaimable = choice.Reclaimable
		if g.allocated >= 0 {
			g.allocated = choice.ReclaimableAllocated
		}
		if g.size > 0 {
			g.copies = choice.Copies
		}
	}
	c.found.DuplicateGroups++
	c.found.DuplicateFiles += choice.Copies - 1
	c.found.ReclaimableBytes += g.reclaimable
	Reclaim(&c.freed, g.size, g.reclaimable, g.allocated)
	if c.counted == nil {
		return nil
	}
	if err := c.handler.group(g); err != nil {
		return err
	}
	if err := c.files(choice); err != nil {
		return err
	}
	return c.handler.endGroup(g)
}

func (c *chosen) unique(f file) error {
	if !c.chooser.Takes(f.mtime.timestamp()) {
		return nil
	}
	return c.handler.unique(f)
}

func candidateOf(f file) choose.File {
	return choose.File{HardLink: f.hardLink, File: dedupe.File{
		Path: f.path, Device: f.device, Inode: f.inode, ModTime: f.mtime.timestamp(), ChangeTime: f.ctime.timestamp(),
		Links: uint32(f.links), Allocated: f.allocated,
	}}
}

func (m moment) timestamp() dedupe.Timestamp {
	return dedupe.Timestamp{Sec: m.seconds, Nsec: int32(m.nanoseconds)}
}

// files passes on the files of the group: the kept ones first.
func (c *chosen) files(choice *choose.Choice) error {
	all := iter.Seq[file](c.spool.all)
	if c.chooser.Kept() {
		if c.spool.rest == nil { // an earlier rule may have put others first
			slices.SortStableFunc(c.spool.files, func(a, b file) int { return strings.Compare(a.path, b.path) })
		}
		all = keptFirst(choice, all, c.firsts)
	}
	for f := range all {
		if err := c.handler.file(f); err != nil {
			return err
		}
	}
	return c.spool.err
}

// keptFirst yields the files of a group, which come by path: the kept ones first, and marked.
// firsts counts the files that are not hard links, by inode, if it has several names.
func keptFirst(choice *choose.Choice, all iter.Seq[file], firsts map[fileID]int) iter.Seq[file] {
	return func(yield func(file) bool) {
		told := make(map[fileID]bool)
		tell := func(f file, kept bool) bool {
			f.kept = f.kept || kept
			if id := f.id(); f.links != 1 && firsts[id] == 1 { // else two devices have such an inode
				f.hardLink = told[id]
				told[id] = true
			}
			return yield(f)
		}
		first := choice.First.Path
		if !tell(fileOf(choice.First.File, choice.First.HardLink), true) {
			return
		}
		for _, kept := range [...]bool{true, false} {
			if kept && choice.KeepsOne() {
				continue
			}
			for f := range all {
				candidate := candidateOf(f)
				if f.path != first && choice.Keeps(&candidate) == kept && !tell(f, kept) {
					return
				}
			}
		}
	}
}

// again returns a reader that can start again: the input itself, or a copy.
func again(in io.Reader, create func() (io.ReadWriteSeeker, error)) (io.ReadSeeker, error) {
	if seeker, ok := in.(io.ReadSeeker); ok {
		if _, err := seeker.Seek(0, io.SeekStart); err == nil {
			return seeker, nil
		}
	}
	if create == nil {
		all, err := io.ReadAll(in)
		return strings.NewReader(string(all)), err
	}
	to, err := create()
	if err != nil {
		return nil, err
	}
	_, err = io.Copy(to, in)
	return to, err
}
