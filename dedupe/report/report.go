// Package report writes a scan's report and its bill, for people and for programs, and
// reads reports back. It only formats: package cost does the arithmetic.
//
// A report is a stream: a header, then groups with their files, then problems. Each
// format is a handler of that stream, which comes from a [dedupe.Report] or from JSON, so
// no format needs the report in memory. README.md is for readers of reports.
//
//	report.go       the formats
//	stream.go       the stream, and the stream of a dedupe.Report
//	read.go         the stream of a JSON report
//	decoder.go      its files and values
//	aside.go        files that come before the size of their group
//	saved.go        what dedupe cost needs from a JSON report
//	chosen.go       what rules change about the stream
//	spool.go        the files of a group, read more than once
//	json.go         the fields of the JSON format; report.schema.json describes them
//	write.go        the stream as JSON
//	bill.go         bills in JSON, written and read
//	index.go        bills with and without an index, for people
//	advice.go       cheaper ways, in JSON and for people
//	request.go      bills of figures given in JSON
//	strict.go       JSON written by hand: no typing error selects a default
//	page.go         a part of a report in JSON, and where the next one begins
//	textchosen.go   duplicate folders and unique files, for people
//	lines.go        a report in lines, to be stored, and pages of it
//	totals.go       duplicates by size and by folder
//	text.go         for people
//	billtext.go     bills for people
//	compare.go      several reports side by side
//	csv.go          a row for each file of a duplicate group
//	fdupes.go       what fdupes prints, also with zero bytes
//	script.go       a shell script that links or removes copies
//	html.go         a page for browsers: what it remembers of a report
//	foldertree.go   what is reclaimable by folder, with the folders above
//	findings.go     what the page says
//	htmlreport.go   the page of a report
//	htmlchanges.go  the page of two reports
//	htmlpage.go     parts of pages
//	markup.go       HTML, and any text in it
package report

import (
	"bufio"
	"fmt"
	"io"
	"iter"
	"runtime/debug"
	"strconv"
	"strings"

	"efsdedupe/dedupe"
	"efsdedupe/dedupe/choose"
	"efsdedupe/dedupe/cost"
)

// Format is a way to write a report.
type Format string

const (
	Text   Format = "text"
	JSON   Format = "json"
	CSV    Format = "csv"
	Fdupes Format = "fdupes"
	Print0 Format = "print0" // as Fdupes, but a zero byte ends every path, and another one every group
	Script Format = "sh"     // that links or removes copies
	HTML   Format = "html"
	NDJSON Format = "ndjson" // see [LinePage]
)

// TellsProblems reports whether this format includes the problems. If not, report them
// elsewhere.
func (f Format) TellsProblems() bool { return f == Text || f == JSON || f == HTML }

// DefaultTop is how many groups and folders the text lists unless [Options] says
// otherwise.
const DefaultTop = 10

// Options say how to write a report.
type Options struct {
	// Of the text format.
	Colour  bool
	Top     int  // how many groups and folders to list; 0 means DefaultTop
	Summary bool // list no groups and no folders
	All     bool // list all groups with all files, all folders and all problems
	Bill    bool // write the whole bill, not one line

	Rules   choose.Rules     // what to report of the groups, and how
	Spell   choose.Spell     // other names of a path in the rules; needed if there are any
	Folders []choose.Folders // that are duplicates, largest first

	By Action // of the script

	// For the JSON format, of a report that was not read from JSON.
	Tool Tool   // the program that ran the scan
	Dir  string // the base of relative roots; if empty, leave out absolute paths

	// For HTML. Advise returns the cheapest ways to run scans like the one of a report.
	// Storage returns the bill for only storing so many bytes, some of them reclaimable;
	// it is for reports without a bill. If nil, a page says less.
	Advise  func(*cost.Projection, dedupe.Stats) (*cost.Advice, error)
	Storage func(stored, reclaimable int64) (*cost.Bill, error)

	// Spill returns an empty temporary file. [Convert] needs one only for a group that is
	// too large for memory and whose files come before its size. If nil, such a group
	// stays in memory.
	Spill func() (io.ReadWriteSeeker, error)
}

// Write writes a report. Text and JSON include the projection, unless it is nil.
func Write(w io.Writer, f Format, r dedupe.Report, p *cost.Projection, o Options) error {
	h, err := handlerFor(w, f, o)
	if err != nil {
		return err
	}
	if !o.Rules.Change() {
		return stream(r, p, o, h)
	}
	return withRules(o, rootsOf(selectionOf(r, o), o.Spell), h,
		func(h handler) error { return streamGroups(r.Groups, h) },
		func(h handler) error { return stream(r, p, o, h) })
}

// WriteParts writes a report whose parts come one by one. It ignores the Groups, Problems and Skipped of r.
func WriteParts(w io.Writer, f Format, r dedupe.Report, parts Parts, o Options) error {
	h, err := handlerFor(w, f, o)
	if err == nil && parts.Bill != nil {
		parts.Projection, err = parts.Bill(o)
	}
	if err != nil {
		return err
	}
	if !o.Rules.Change() {
		return streamParts(r, parts, o, h)
	}
	return withRules(o, rootsOf(selectionOf(r, o), o.Spell), h,
		func(h handler) error { return streamPartGroups(parts.Groups, h) },
		func(h handler) error { return streamParts(r, parts, o, h) })
}

// Convert reads a JSON report of any version and writes it in another format, or as JSON
// of this version. It holds no more in memory than the text shows. It returns why the
// report is incomplete, in words, or "" if it is complete. Its error comes from the
// reader or the writer, or says why the input is not a report.
func Convert(w io.Writer, f Format, in io.Reader, o Options) (incomplete string, err error) {
	h, err := handlerFor(w, f, o)
	if err != nil {
		return "", err
	}
	told := &told{handler: h}
	err = readAs(in, told, readOptions{ordered: f != Fdupes, spill: o.Spill}, o)
	return told.incomplete, err
}

// readAs streams a JSON report to a handler, as the rules of the options want it.
func readAs(in io.Reader, h handler, ro readOptions, o Options) error {
	if !o.Rules.Change() && !o.Rules.Unique && !o.Rules.Folders {
		return read(in, h, ro)
	}
	ro.ordered = true
	repeated, err := again(in, o.Spill)
	if err != nil {
		return err
	}
	source := func(h handler) error {
		if _, err := repeated.Seek(0, io.SeekStart); err != nil {
			return err
		}
		return read(repeated, h, ro)
	}
	if o.Rules.Kept() {
		h = unmarked{h}
	}
	before := &finder{o: o}
	if err := source(before); err != nil && err != errFound {
		return err
	}
	return withRules(o, before.roots, h, source, source)
}

// unmarked is a handler for a report whose duplicate folders were marked by other rules.
type unmarked struct{ handler }

func (u unmarked) twin(t twin) error {
	t.kept = false
	return u.handler.twin(t)
}

// told is a handler that remembers why the report is incomplete.
type told struct {
	handler
	incomplete string
}

func (t *told) end(d *document) error {
	t.incomplete = d.incomplete()
	return t.handler.end(d)
}

func handlerFor(w io.Writer, f Format, o Options) (handler, error) {
	switch f {
	case Text:
		return newTextWriter(w, o), nil
	case JSON:
		return newJSONWriter(w), nil
	case CSV:
		return newCSVWriter(w, o.Rules.Unique), nil
	case NDJSON:
		return newLinesWriter(w), nil
	case Fdupes:
		return &fdupesWriter{b: bufio.NewWriterSize(w, 64<<10), after: '\n', lone: o.Rules.Unique}, nil
	case Print0:
		return &fdupesWriter{b: bufio.NewWriterSize(w, 64<<10), after: 0, lone: o.Rules.Unique}, nil
	case Script:
		return newScriptWriter(w, o.By), nil
	case HTML:
		return newHTMLWriter(w, o), nil
	}
	return nil, fmt.Errorf("unknown format %q", f)
}

// WriteProjection writes a projection on its own, as text or JSON.
func WriteProjection(w io.Writer, f Format, p *cost.Projection, colour bool) error {
	switch f {
	case Text:
		b := bufio.NewWriter(w)
		if err := writeBill(b, p, NewStyle(colour)); err != nil {
			return err
		}
		return b.Flush()
	case JSON:
		return writeProjectionJSON(w, p)
	}
	return fmt.Errorf("a bill can't be written as %s: choose text or json", f)
}

// ProblemLine formats a problem as one line of text.
func ProblemLine(p *dedupe.Problem) string {
	return fmt.Sprintf("%s %s: %v", p.Op, Printable(p.Path), p.Err)
}

// Printable returns a path as it is. It quotes a path with unprintable characters,
// characters a terminal might obey, quotes, or spaces at its ends.
func Printable(path string) string {
	if quoted := strconv.Quote(path); quoted != `"`+path+`"` || strings.TrimSpace(path) != path {
		return quoted
	}
	return path
}

// Took returns the parts of a report that a bill depends on.
func Took(r dedupe.Report) cost.Scan {
	s := r.Stats
	took := cost.Scan{
		Elapsed:          s.Elapsed,
		PeakMemory:       s.PeakMemory,
		Partial:          !r.Complete,
		Files:            s.Files,
		Directories:      s.Directories,
		Opens:            s.Opens,
		OpensSpared:      s.OpensSpared,
		StoredBytes:      s.Bytes,
		ReclaimableBytes: s.ReclaimableBytes,
		Reclaimable:      reclaimable(r.Groups),
		AnswerBytes:      answerBytes(filesOf(r.Groups)),
	}
	if s.NFS != nil {
		took.Messages = cost.Messages{Count: s.NFS.BesidesREAD(), Bytes: s.NFS.MeteredBytes}
	}
	return took
}

// TookParts does the same for a report whose groups come one by one. What of them can be
// reclaimed is not in it.
func TookParts(r dedupe.Report, groups iter.Seq[Group]) cost.Scan {
	took := Took(r)
	took.AnswerBytes = answerBytes(func(yield func(iter.Seq2[dedupe.File, bool]) bool) {
		for g := range groups {
			if !yield(g.Files) {
				return
			}
		}
	})
	return took
}

// filesOf yields the files of each group.
func filesOf(groups []dedupe.Group) iter.Seq[iter.Seq2[dedupe.File, bool]] {
	return func(yield func(iter.Seq2[dedupe.File, bool]) bool) {
		for _, g := range groups {
			if !yield(g.Files()) {
				return
			}
		}
	}
}

// answerBytes is about what the service answers, uncompressed: the first page of the
// groups, and the rest with the bill. It is at most what Lambda can answer.
func answerBytes(groups iter.Seq[iter.Seq2[dedupe.File, bool]]) int64 {
	const (
		rest      = 5900
		eachGroup = 190
		eachFile  = 134 // and its path
		firstPage = 1000
		most      = 6 << 20
	)
	bytes := int64(rest)
	n := 0
	for files := range groups {
		if n++; n > firstPage {
			break
		}
		bytes += eachGroup
		for f := range files {
			if bytes += eachFile + int64(len(f.Path)); bytes >= most {
				return most
			}
		}
	}
	return bytes
}

// reclaimable is the copies that free storage when deleted, as EFS meters them.
func reclaimable(groups []dedupe.Group) cost.Objects {
	var o cost.Objects
	for _, g := range groups {
		allocated := g.ReclaimableAllocated
		if !counted(g) {
			allocated = -1
		}
		Reclaim(&o, g.Size, g.Reclaimable, allocated)
	}
	return o
}

// Version is the version of all programs and packages. It is defined only here.
const Version = "0.1.0"

// Reclaim adds the copies of a group that free storage when deleted. Allocated is what is
// allocated to them, or negative if that is unknown.
func Reclaim(o *cost.Objects, size, reclaimable, allocated int64) {
	if size == 0 || reclaimable < size {
		return
	}
	n := reclaimable / size
	if allocated >= 0 {
		allocated /= n
	}
	o.Add(size, allocated, n)
}

// Tool is the program that made a report.
type Tool struct {
	Name     string `json:"name"`
	Version  string `json:"version"`
	Revision string `json:"revision"`           // that it was built from, or unknown
	Modified bool   `json:"modified,omitempty"` // the checkout had changes
}

// ThisTool describes the running program under a name. Its revision is the one that go build
// recorded.
func ThisTool(name string) Tool {
	tool := Tool{Name: name, Version: Version, Revision: "unknown"}
	build, ok := debug.ReadBuildInfo()
	if !ok {
		return tool
	}
	for _, setting := range build.Settings {
		switch setting.Key {
		case "vcs.revision":
			tool.Revision = setting.Value
		case "vcs.modified":
			tool.Modified = setting.Value == "true"
		}
	}
	return tool
}
