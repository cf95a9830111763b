package report

import (
	"cmp"
	"iter"
	"path/filepath"
	"slices"

	"efsdedupe/dedupe"
	"efsdedupe/dedupe/choose"
	"efsdedupe/dedupe/cost"
)

// handler receives a report as a stream. begin comes first and end last. Between them
// come groups, duplicate folders, unique files, problems and skipped entries, each kind in
// one run.
type handler interface {
	begin(d *document) error // what is known before the first group, perhaps nothing
	group(g group) error
	file(f file) error      // of the current group
	endGroup(g group) error // with everything known about the group
	twin(t twin) error      // the folders of one set follow each other
	unique(f file) error
	problem(p *dedupe.Problem) error
	skip(s dedupe.Skipped) error
	end(d *document) error // everything else
}

// nowhere is a handler that does nothing. Those that ignore most of a stream embed it.
type nowhere struct{}

func (nowhere) begin(*document) error         { return nil }
func (nowhere) group(group) error             { return nil }
func (nowhere) file(file) error               { return nil }
func (nowhere) endGroup(group) error          { return nil }
func (nowhere) twin(twin) error               { return nil }
func (nowhere) unique(file) error             { return nil }
func (nowhere) problem(*dedupe.Problem) error { return nil }
func (nowhere) skip(dedupe.Skipped) error     { return nil }
func (nowhere) end(*document) error           { return nil }

// group is a duplicate group without its files.
type group struct {
	size        int64
	digest      dedupe.Digest
	reclaimable int64
	allocated   int64 // reclaimable on the file system; negative if unknown
	copies      int64 // 0 if unknown
	names       int64 // files of the group; 0 if unknown
	before      int64 // files on earlier pages
	leftOut     int64 // files on later pages
}

// file is a file of a group.
type file struct {
	path         string
	device       uint64 // 0 if unknown
	inode        uint64
	mtime, ctime moment // ctime is the zero moment if unknown
	links        int64  // 0 if unknown; then allocated is unknown, too
	allocated    int64
	hardLink     bool // to the inode of an earlier file of the group
	kept         bool
	size         int64 // of a unique file
}

// twin is a folder that has duplicates.
type twin struct {
	set         int64 // numbers the sets of identical folders
	files       int64 // in each folder of the set
	bytes       int64 // of each
	reclaimable int64 // of the set
	path        string
	kept        bool
}

// moment is a point in time, in any year.
type moment struct {
	seconds     int64 // since 1970
	nanoseconds int64 // 0 to 999,999,999
}

func momentOf(t dedupe.Timestamp) moment {
	return moment{t.Sec, int64(t.Nsec)}
}

// countsApart reports whether the number of copies does not follow from the reclaimable
// bytes, because some copies have names elsewhere.
func (g *group) countsApart() bool {
	return g.size > 0 && g.copies > 0 && g.copies != g.reclaimable/g.size+1
}

func groupOf(g dedupe.Group) group {
	out := group{size: g.Size, digest: g.Digest, reclaimable: g.Reclaimable, allocated: -1, copies: int64(len(g.Copies)), names: int64(g.Names())}
	if counted(g) {
		out.allocated = g.ReclaimableAllocated
	}
	return out
}

// counted reports whether somebody counted the links to the files of a group, and what is
// allocated to them.
func counted(g dedupe.Group) bool { return len(g.Copies) > 0 && g.Copies[0].Links() > 0 }

func fileOf(f dedupe.File, hardLink bool) file {
	return file{
		path:      f.Path,
		device:    f.Device,
		inode:     f.Inode,
		mtime:     momentOf(f.ModTime),
		ctime:     momentOf(f.ChangeTime),
		links:     int64(f.Links),
		allocated: f.Allocated,
		hardLink:  hardLink,
	}
}

// Parts are what of a report may not fit in memory, in the order of [dedupe.Report].
type Parts struct {
	Groups   iter.Seq[Group]
	Problems iter.Seq[*dedupe.Problem]
	Skipped  iter.Seq[dedupe.Skipped]

	Projection *cost.Projection // nil: the report has none

	// Bill, unless it is nil, returns the Projection of a report with the rules of the options.
	Bill func(Options) (*cost.Projection, error)
}

// Group is a duplicate group whose files come one by one.
type Group struct {
	Size                              int64 // bytes of each file
	Digest                            dedupe.Digest
	Reclaimable, ReclaimableAllocated int64 // see dedupe.Group
	Copies                            int64
	Names                             int64                        // files
	Files                             iter.Seq2[dedupe.File, bool] // by path; true for a hard link to an earlier one
}

// stream streams a report to a handler.
func stream(r dedupe.Report, p *cost.Projection, o Options, h handler) error {
	d := documentOf(r, p, o)
	if err := h.begin(&document{head: d.head}); err != nil {
		return err
	}
	if err := streamGroups(r.Groups, h); err != nil {
		return err
	}
	if err := streamChosen(r, o, h); err != nil {
		return err
	}
	return streamRest(&d, slices.Values(r.Problems), slices.Values(r.Skipped), h)
}

// streamChosen streams duplicate folders and unique files.
func streamChosen(r dedupe.Report, o Options, h handler) error {
	for i, set := range o.Folders {
		for _, f := range set.Paths {
			if err := h.twin(twin{int64(i), set.Files, set.Bytes, set.Reclaimable, f.Path, f.Kept}); err != nil {
				return err
			}
		}
	}
	for _, c := range r.Unique {
		first := true
		for f := range c.Files() {
			one := fileOf(f, !first)
			one.size, first = f.Size, false
			if err := h.unique(one); err != nil {
				return err
			}
		}
	}
	return nil
}

// streamParts streams a report and its parts to a handler.
func streamParts(r dedupe.Report, parts Parts, o Options, h handler) error {
	d := documentOf(r, parts.Projection, o)
	if err := h.begin(&document{head: d.head}); err != nil {
		return err
	}
	if err := streamPartGroups(parts.Groups, h); err != nil {
		return err
	}
	return streamRest(&d, parts.Problems, parts.Skipped, h)
}

// streamRest streams what comes after the groups.
func streamRest(d *document, problems iter.Seq[*dedupe.Problem], skipped iter.Seq[dedupe.Skipped], h handler) error {
	for p := range problems {
		if err := h.problem(p); err != nil {
			return err
		}
	}
	for s := range skipped {
		if err := h.skip(s); err != nil {
			return err
		}
	}
	return h.end(d)
}

func streamGroups(groups []dedupe.Group, h handler) error {
	for _, g := range groups {
		if err := streamGroup(groupOf(g), g.Files(), h); err != nil {
			return err
		}
	}
	return nil
}

func streamPartGroups(groups iter.Seq[Group], h handler) error {
	for g := range groups {
		head := group{size: g.Size, digest: g.Digest, reclaimable: g.Reclaimable, allocated: g.ReclaimableAllocated, copies: g.Copies, names: g.Names}
		if err := streamGroup(head, g.Files, h); err != nil {
			return err
		}
	}
	return nil
}

func streamGroup(g group, files iter.Seq2[dedupe.File, bool], h handler) error {
	if err := h.group(g); err != nil {
		return err
	}
	for f, hardLink := range files {
		if err := h.file(fileOf(f, hardLink)); err != nil {
			return err
		}
	}
	return h.endGroup(g)
}

// reasonOf says why a report is incomplete.
func reasonOf(r dedupe.Report) string {
	switch {
	case r.Complete:
		return ""
	case r.Reason == "" && r.Interrupted:
		return dedupe.ReasonInterrupted
	}
	return cmp.Or(r.Reason, dedupe.ReasonProblems)
}

// selectionOf returns what the scan of a report was asked for.
func selectionOf(r dedupe.Report, o Options) *selectionJSON {
	s := &selectionJSON{
		Roots:   make([]rootJSON, len(r.Roots)),
		MinSize: r.Filter.MinSize,
		MaxSize: r.Filter.MaxSize,
		Newer:   r.Filter.Newer.UTC(),
		Older:   r.Filter.Older.UTC(),
	}
	s.choose(o.Rules)
	s.Include, s.IncludeBase64 = textsOf(r.Filter.Include)
	s.Exclude, s.ExcludeBase64 = textsOf(r.Filter.Exclude)
	for i, root := range r.Roots {
		s.Roots[i] = rootJSON{pathJSON: pathOf(root)}
		if absolute := absolute(root, o.Dir); absolute != "" {
			path := pathOf(absolute)
			s.Roots[i].Absolute, s.Roots[i].AbsoluteBase64 = path.Path, path.PathBase64
		}
		if i < len(r.FileSystems) {
			s.Roots[i].FileSystem = &fileSystemJSON{r.FileSystems[i].Type, r.FileSystems[i].Identity}
		}
	}
	return s
}

// choose records rules besides those that the scan was given.
func (s *selectionJSON) choose(r choose.Rules) {
	if r.Kept() {
		s.Keep = r.Keep
		s.Priority, s.PriorityBase64 = textsOf(r.Priority)
		s.Protect, s.ProtectBase64 = textsOf(r.Protect)
	}
	s.Isolate, s.Unique, s.Folders = s.Isolate || r.Isolate, s.Unique || r.Unique, s.Folders || r.Folders
	s.MinCopies = max(s.MinCopies, r.MinCopies)
	if r.Newer.After(s.Newer) {
		s.Newer = r.Newer.UTC()
	}
	if !r.Older.IsZero() && (s.Older.IsZero() || r.Older.Before(s.Older)) {
		s.Older = r.Older.UTC()
	}
	for _, of := range []struct {
		path string
		text *string
		full *[]byte
	}{
		{r.CopiesOf, &s.CopiesOf, &s.CopiesOfBase64},
		{r.FilesFrom, &s.FilesFrom, &s.FilesFromBase64},
		{r.Files0From, &s.Files0From, &s.Files0FromBase64},
	} {
		if of.path != "" {
			path := pathOf(of.path)
			*of.text, *of.full = path.Path, path.PathBase64
		}
	}
}

// absolute returns the absolute path of a root, or "" if dir is empty.
func absolute(root, dir string) string {
	switch {
	case dir == "":
		return ""
	case filepath.IsAbs(root):
		return filepath.Clean(root)
	}
	return filepath.Join(dir, root)
}
