package report

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"slices"
	"strconv"
	"strings"

	"efsdedupe/dedupe"
	"efsdedupe/dedupe/choose"
	"efsdedupe/dedupe/cost"
)

// Page selects part of a report's groups and unique files, as JSON. The totals cover all
// groups.
type Page struct {
	After    Cursor           // where the previous page ended
	Limit    int              // most groups and unique files; 0 means no limit
	MaxBytes int              // most bytes of JSON, as a string inside other JSON; 0 means no limit
	Tool     Tool             // the program that made the report
	Chooser  *choose.Chooser  // what the groups were selected by; nil: nothing
	Folders  []choose.Folders // that are duplicates, for the first page
}

// rules returns what the groups were selected by.
func (p *Page) rules() (r choose.Rules) {
	if p.Chooser != nil {
		r = p.Chooser.Rules
	}
	return r
}

// pageGroup is a group with its files in the order of the page.
type pageGroup struct {
	group
	files iter.Seq[file]
}

// order returns a group with the kept files first, if rules say which ones.
func (p *Page) order(g dedupe.Group) pageGroup {
	byPath := func(yield func(file) bool) {
		for f, hardLink := range g.Files() {
			if !yield(fileOf(f, hardLink)) {
				return
			}
		}
	}
	if p.Chooser == nil || !p.Chooser.Kept() {
		return pageGroup{groupOf(g), byPath}
	}
	choice, firsts := p.Chooser.Group(), make(map[fileID]int)
	for f := range byPath {
		if f.links != 1 && !f.hardLink {
			firsts[f.id()]++
		}
		candidate := candidateOf(f)
		choice.Add(&candidate)
	}
	choice.End(g.Size)
	return pageGroup{groupOf(g), keptFirst(choice, byPath, firsts)}
}

// Cursor is a position in the groups and their files. Their order is the same in every
// report of the same files. The zero Cursor is before all groups.
type Cursor struct {
	reclaimable uint64
	digest      dedupe.Digest
	path        string // the last file on the page, if the group continues; at most maxCursorPath bytes; empty after a whole group
	skip        int    // files after path that earlier pages also have, because their paths begin with it
	kept        bool   // that file is kept; there may be more such files, and then come the others
	unique      bool   // the groups are over: path is the first name of an inode in the unique files, and skip counts files from there on
	set         bool
}

// maxCursorPath keeps a cursor short enough for a request, however long the path.
const maxCursorPath = 4096

// ErrCursor is the error of a next that no answer contained.
var ErrCursor = errors.New("next is not from an answer: send it unchanged, or leave it out for the first page")

// ParseCursor parses the result of String. "" is the zero Cursor.
func ParseCursor(s string) (Cursor, error) {
	if s == "" {
		return Cursor{}, nil
	}
	parts := strings.Split(s, "-")
	c := Cursor{set: true}
	if parts[0] == uniqueMark && len(parts) == 3 {
		path, err := hex.DecodeString(parts[2])
		c.unique, c.path = true, string(path)
		var bad error
		if c.skip, bad = strconv.Atoi(parts[1]); bad != nil || err != nil || len(path) > maxCursorPath || c.skip < 0 {
			return Cursor{}, ErrCursor
		}
		return c, nil
	}
	if len(parts) == 5 && parts[4] == keptMark {
		c.kept, parts = true, parts[:4]
	}
	if len(parts) != 2 && len(parts) != 4 {
		return Cursor{}, ErrCursor
	}
	var errs [4]error
	c.reclaimable, errs[0] = strconv.ParseUint(parts[0], 10, 64)
	digest, err := hex.DecodeString(parts[1])
	if errs[1] = err; len(digest) != len(c.digest) {
		return Cursor{}, ErrCursor
	}
	c.digest = dedupe.Digest(digest)
	if len(parts) == 4 {
		var path []byte
		c.skip, errs[2] = strconv.Atoi(parts[2])
		path, errs[3] = hex.DecodeString(parts[3])
		if c.path = string(path); c.path == "" || len(path) > maxCursorPath || c.skip < 0 {
			return Cursor{}, ErrCursor
		}
	}
	if errors.Join(errs[:]...) != nil {
		return Cursor{}, ErrCursor
	}
	return c, nil
}

const (
	keptMark   = "kept"   // ends the text of a cursor after a kept file
	uniqueMark = "unique" // begins that of a cursor in the unique files
)

// String returns the cursor as text for URLs and JSON.
func (c Cursor) String() string {
	switch {
	case !c.set:
		return ""
	case c.unique:
		return fmt.Sprintf("%s-%d-%x", uniqueMark, c.skip, c.path)
	case c.path == "":
		return fmt.Sprintf("%d-%v", c.reclaimable, c.digest)
	case c.kept:
		return fmt.Sprintf("%d-%v-%d-%x-%s", c.reclaimable, c.digest, c.skip, c.path, keptMark)
	}
	return fmt.Sprintf("%d-%v-%d-%x", c.reclaimable, c.digest, c.skip, c.path)
}

// after returns the cursor after a group, or before its file number n.
func after(g pageGroup, n int) Cursor {
	c := Cursor{reclaimable: uint64(g.reclaimable), digest: g.digest, set: true}
	if int64(n) < g.names {
		last := g.at(n - 1)
		c.path, c.kept = last.path[:min(len(last.path), maxCursorPath)], last.kept
		c.skip = n - c.upTo(g)
	}
	return c
}

// at returns file number n of a group.
func (g *pageGroup) at(n int) (f file) {
	for f = range g.files {
		if n == 0 {
			break
		}
		n--
	}
	return f
}

// upTo counts the files of a group that come before the cursor, except those to skip. The
// first of the kept files is one of them, whatever its path is.
func (c Cursor) upTo(g pageGroup) (n int) {
	for f := range g.files {
		switch {
		case f.kept && (n == 0 || !c.kept):
		case f.kept != c.kept, f.path > c.path:
			return n
		}
		n++
	}
	return n
}

// before reports whether the cursor comes before a group.
func (c Cursor) before(g dedupe.Group) bool {
	return !c.set || cmp.Or(cmp.Compare(c.reclaimable, uint64(g.Reclaimable)), bytes.Compare(g.Digest[:], c.digest[:])) > 0
}

// rest returns the groups that are not entirely on earlier pages, and how many files of
// each are. A group that an earlier page began comes first, even if it has changed since
// and now belongs elsewhere.
func (p *Page) rest(groups []dedupe.Group) iter.Seq2[pageGroup, int] {
	c := p.After
	return func(yield func(pageGroup, int) bool) {
		if c.unique {
			return
		}
		begun := func(g dedupe.Group) bool { return c.path != "" && g.Digest == c.digest }
		if i := slices.IndexFunc(groups, begun); i >= 0 {
			g := p.order(groups[i])
			n := c.upTo(g) + c.skip
			if int64(n) < g.names && !yield(g, n) {
				return
			}
		}
		for _, g := range groups {
			if c.before(g) && !begun(g) && !yield(p.order(g), 0) {
				return
			}
		}
	}
}

// pageJSON is a page of a report. Groups, files and problems make up most of it. They are
// encoded only once, so these fields stay empty.
type pageJSON struct {
	head
	Groups   []struct{}    `json:"groups"`
	Problems []struct{}    `json:"problems"`
	Skipped  []skippedJSON `json:"skipped,omitempty"`
	tail

	room     int    // bytes left for groups, files and problems
	groups   []byte // the elements in JSON
	folders  []byte
	unique   []byte
	problems []byte
}

// WritePage writes the report as JSON, with the groups and problems that fit on the page,
// and where the next page begins. It splits a group only if the group alone is larger
// than a page. Its error comes from w, or says that nothing fits.
func WritePage(w io.Writer, r dedupe.Report, p *cost.Projection, page Page) error {
	if page.Limit < 0 || page.MaxBytes < 0 {
		return fmt.Errorf("a page of %d groups and %d bytes: neither can be negative", page.Limit, page.MaxBytes)
	}
	page.Limit, page.MaxBytes = cmp.Or(page.Limit, math.MaxInt), cmp.Or(page.MaxBytes, math.MaxInt)
	// Include the summaries by size and by folder if they leave half of the page.
	doc := pageOf(r, p, Options{Tool: page.Tool, Rules: page.rules()})
	summarized := doc
	summarized.summarize(r, &page)
	if summarized.fill(r, page) == nil {
		return summarized.write(w)
	}
	if err := doc.fill(r, page); err != nil {
		return err
	}
	return doc.write(w)
}

// write writes the page, with the groups and problems where they belong. Quotes inside
// JSON strings are escaped, so the seam cannot occur in a path.
func (doc *pageJSON) write(w io.Writer) error {
	frame, err := marshal(doc)
	if err != nil {
		return err
	}
	before, rest, _ := bytes.Cut(frame, []byte(seam))
	parts := [][]byte{before, []byte(`"groups":[`), doc.groups}
	if doc.Selection.Folders {
		parts = append(parts, []byte(`],"duplicate_folders":[`), doc.folders)
	}
	if doc.Selection.Unique {
		parts = append(parts, []byte(`],"unique":[`), doc.unique)
	}
	for _, part := range append(parts, []byte(`],"problems":[`), doc.problems, []byte("]"), rest, []byte("\n")) {
		if _, err := w.Write(part); err != nil {
			return err
		}
	}
	return nil
}

// seam is where groups and problems belong.
const seam = `"groups":[],"problems":[]`

// fill adds the groups and problems that fit.
func (doc *pageJSON) fill(r dedupe.Report, page Page) error {
	frame, err := marshal(doc)
	if err != nil {
		return err
	}
	doc.room = page.MaxBytes - QuotedSize(frame) - pageMarks
	if doc.Sizes != nil && doc.room < page.MaxBytes/2 {
		return tooSmall(page, doc.room, 0)
	}
	for i, p := range r.Problems {
		problem, err := marshal(problemOf(p))
		if err != nil {
			return err
		}
		need := QuotedSize(problem) + len(",")
		if doc.room-need < page.MaxBytes/2 { // the groups matter more
			doc.ProblemsLeftOut = len(r.Problems) - i
			break
		}
		doc.room -= need
		doc.problems = appendElement(doc.problems, problem)
	}
	if !page.After.set {
		if err := doc.fillFolders(page); err != nil {
			return err
		}
	}
	return doc.fillGroups(r, page)
}

// fillFolders adds the sets of folders that fit, and counts the others.
func (doc *pageJSON) fillFolders(page Page) error {
	for _, set := range page.Folders {
		b := appendTwins(nil, twin{files: set.Files, bytes: set.Bytes, reclaimable: set.Reclaimable})
		for i, f := range set.Paths {
			path, err := marshal(twinJSON{pathOf(f.Path), f.Kept})
			if err != nil {
				return err
			}
			if i > 0 {
				b = append(b, ',')
			}
			b = append(b, path...)
		}
		b = append(b, "]}"...)
		need := QuotedSize(b) + len(",")
		if doc.room-need < page.MaxBytes/4 { // the groups matter more
			doc.FoldersLeftOut++
			continue
		}
		doc.room -= need
		doc.folders = appendElement(doc.folders, b)
	}
	return nil
}

func (doc *pageJSON) fillGroups(r dedupe.Report, page Page) error {
	if doc.room < 0 {
		return tooSmall(page, doc.room, 0)
	}
	last := page.After
	groups := 0
	for g, from := range page.rest(r.Groups) {
		if groups == page.Limit {
			doc.Next = last.String()
			return nil
		}
		n, need := doc.add(g, from, groups == 0)
		switch {
		case n == 0 && groups == 0:
			return tooSmall(page, doc.room, need)
		case n == 0:
			doc.Next = last.String()
			return nil
		}
		groups++
		if last = after(g, from+n); last.path != "" {
			doc.Next = last.String()
			return nil
		}
	}
	return doc.fillUnique(r.Unique, page, groups)
}

// fillUnique adds the unique files that fit after a number of groups. They are there only if
// they were asked for.
func (doc *pageJSON) fillUnique(all []*dedupe.Copy, page Page, entries int) error {
	if !page.rules().Unique {
		return nil
	}
	n, from := 0, 0
	if page.After.unique {
		from = page.After.among(all)
	}
	last := "" // the first name of the inode of the last file on the page, or before it
	for _, c := range all {
		before := n
		for f := range c.Files() {
			if n++; n <= from {
				continue
			}
			one := fileOf(f, n-1 > before)
			one.size = f.Size
			b := appendUnique(nil, one)
			first := c.File().Path
			need := QuotedSize(b) + len(",")
			if entries == page.Limit || need+cursorMarks+2*min(len(first), maxCursorPath) > doc.room {
				if entries == 0 {
					return tooSmall(page, doc.room, need)
				}
				next := Cursor{unique: true, path: last[:min(len(last), maxCursorPath)], set: true}
				next.skip = n - 1 - next.among(all)
				doc.Next = next.String()
				return nil
			}
			entries++
			doc.room -= need
			doc.unique = appendElement(doc.unique, b)
			last = first
		}
	}
	return nil
}

// among counts the unique files before the cursor.
func (c Cursor) among(all []*dedupe.Copy) int {
	n := c.skip
	for _, of := range all {
		if of.File().Path >= c.path {
			break
		}
		for range of.Files() {
			n++
		}
	}
	return n
}

// fewestFiles is the fewest files with which a group begins on a page. With fewer it
// would not be a group.
const fewestFiles = 2

// add appends a group if it fits, without the files on earlier pages. With divide it cuts
// the group where the room ends. It returns how many files are on the page, and how many
// bytes it has encoded.
func (doc *pageJSON) add(g pageGroup, from int, divide bool) (files, size int) {
	out := g.group
	out.before = int64(from)
	b := doc.groups
	if len(b) > 0 {
		b = append(b, ',')
	}
	b = appendGroup(b, out)
	size = QuotedSize(b[len(doc.groups):]) + groupMarks
	end := 0 // of the part that fits
	names := int(g.names)
	i := -1 - from
	for f := range g.files {
		if i++; i < 0 {
			continue
		}
		at := len(b)
		if i > 0 {
			b = append(b, ',')
		}
		b = appendFile(b, f)
		if size += QuotedSize(b[at:]); size > doc.room {
			break
		}
		switch whole := from+i+1 == names; {
		case whole, divide && (i+1 >= fewestFiles || from > 0) && size+cursorMarks+2*min(len(f.path), maxCursorPath) <= doc.room:
			files, end = i+1, len(b)
		}
	}
	if files == 0 {
		return 0, size
	}
	out.leftOut = int64(names - from - files)
	doc.room -= size
	doc.groups = appendEndGroup(b[:end], out)
	return files, size
}

// The most bytes that a page adds to groups and problems.
const (
	pageMarks   = 200 // next, without a path; problems_left_out; the end of the line
	groupMarks  = 100 // the end of a group, files_before and files_left_out
	cursorMarks = 30  // in next, around the path of a file
)

func tooSmall(page Page, room, need int) error {
	return fmt.Errorf("a page of %d bytes is too small for this report: it needs %d", page.MaxBytes, page.MaxBytes-room+need)
}

// pageOf returns a page without groups and problems.
func pageOf(r dedupe.Report, p *cost.Projection, o Options) pageJSON {
	d := documentOf(r, p, o)
	d.writeBill()
	doc := pageJSON{head: d.head, tail: d.tail, Groups: []struct{}{}, Problems: []struct{}{}}
	for _, s := range r.Skipped {
		doc.Skipped = append(doc.Skipped, skippedOf(s))
	}
	return doc
}

// summarize fills in the summaries by size and by folder, which cover all groups.
func (doc *pageJSON) summarize(r dedupe.Report, page *Page) {
	t := newTotals()
	for _, g := range r.Groups {
		t.add(page.order(g))
	}
	doc.setTotals(t, DefaultTop)
}

func appendElement(array, element []byte) []byte {
	if len(array) > 0 {
		array = append(array, ',')
	}
	return append(array, element...)
}

// QuotedSize returns how many bytes of JSON take as a string inside other JSON, which is
// how Lambda sends them: with quotes and backslashes escaped. Nothing else in them needs
// escaping.
func QuotedSize(text []byte) int {
	return len(text) + bytes.Count(text, []byte{'"'}) + bytes.Count(text, []byte{'\\'})
}
