// Package report writes a scan's report and its bill, for people and for programs, and
// reads reports back. It only formats: package cost does the arithmetic.
//
// A report is a stream: a header, then groups with their files, then problems. Each
// format is a handler of that stream, which comes from a [dedupe.Report] or from JSON, so
// no format needs the report in memory. README.md is for readers of reports.
//
//	report.go      the formats
//	stream.go      the stream, and the stream of a dedupe.Report
//	read.go        the stream of a JSON report
//	aside.go       files that come before the size of their group
//	saved.go       what dedupe cost needs from a JSON report
//	json.go        the fields of the JSON format; report.schema.json describes them
//	write.go       the stream as JSON
//	bill.go        bills in JSON, written and read
//	index.go       bills with and without an index, for people
//	advice.go      cheaper ways, in JSON and for people
//	request.go     bills of figures given in JSON
//	strict.go      JSON that somebody wrote: no typing error selects a default
//	page.go        a part of a report in JSON, and where the next one begins
//	lines.go       a report in lines, to be stored, and pages of it
//	totals.go      duplicates by size and by folder
//	text.go        for people
//	billtext.go    bills for people
//	compare.go     several reports side by side
//	csv.go         a row for each file of a duplicate group
//	fdupes.go      what fdupes prints
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
	"efsdedupe/dedupe/cost"
)

// Format is a way to write a report.
type Format string

const (
	Text   Format = "text"
	JSON   Format = "json"
	CSV    Format = "csv"
	Fdupes Format = "fdupes"
	NDJSON Format = "ndjson" // see [LinePage]
)

// TellsProblems reports whether this format includes the problems. If not, report them
// elsewhere.
func (f Format) TellsProblems() bool { return f == Text || f == JSON }

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

	// For the JSON format, of a report that was not read from JSON.
	Tool Tool   // the program that ran the scan
	Dir  string // the base of relative roots; if empty, leave out absolute paths

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
	return stream(r, p, o, h)
}

// WriteParts writes a report whose parts come one by one. It ignores the Groups, Problems and Skipped of r.
func WriteParts(w io.Writer, f Format, r dedupe.Report, parts Parts, o Options) error {
	h, err := handlerFor(w, f, o)
	if err != nil {
		return err
	}
	return streamParts(r, parts, o, h)
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
	err = read(in, told, readOptions{ordered: f != Fdupes, spill: o.Spill})
	return told.incomplete, err
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
		return newCSVWriter(w), nil
	case NDJSON:
		return newLinesWriter(w), nil
	case Fdupes:
		return &fdupesWriter{b: bufio.NewWriterSize(w, 64<<10)}, nil
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
	Version  string `json:"version"`            // of its module
	Revision string `json:"revision"`           // that it was built from, or unknown
	Modified bool   `json:"modified,omitempty"` // the checkout had changes
}

// ThisTool describes the running program, as go build recorded it, under a name.
func ThisTool(name string) Tool {
	tool := Tool{Name: name, Version: "(devel)", Revision: "unknown"}
	build, ok := debug.ReadBuildInfo()
	if !ok {
		return tool
	}
	tool.Version = build.Main.Version
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
