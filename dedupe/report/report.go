// Package report writes a scan's report, and what such a scan costs, for people
// and for programs. It knows nothing of how a report was found.
//
//	report.go      the formats
//	index.go       a bill with an index and without, side by side
//	json.go        the JSON contract, written and read; report.schema.json describes it
//	page.go        a part of a report in JSON, and where the next one begins
//	request.go     a projection asked for in JSON
//	text.go        for people
//	compare.go     several reports side by side
//	csv.go         a row for each file of a duplicate group
//	fdupes.go      what fdupes prints
package report

import (
	"bufio"
	"fmt"
	"io"
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
)

// TellsProblems reports whether a report in this format says which files were
// not read. Where it doesn't, they must be told elsewhere.
func (f Format) TellsProblems() bool { return f == Text || f == JSON }

// Write writes a report. Colour concerns the text format alone; so does
// projection the text and JSON formats, and nil leaves it out.
func Write(w io.Writer, f Format, r dedupe.Report, p *cost.Projection, colour bool) error {
	switch f {
	case Text:
		return writeText(w, r, p, colour)
	case JSON:
		return writeJSON(w, r, p)
	case CSV:
		return writeCSV(w, r)
	case Fdupes:
		return writeFdupes(w, r)
	}
	return fmt.Errorf("unknown format %q", f)
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

// ProblemLine is a problem as one line of text.
func ProblemLine(p *dedupe.Problem) string {
	return fmt.Sprintf("%s %s: %v", p.Op, Printable(p.Path), p.Err)
}

// Printable returns a path as it is, or quoted if it holds what would not print,
// what a terminal might obey, a quote, or space at its ends.
func Printable(path string) string {
	if quoted := strconv.Quote(path); quoted != `"`+path+`"` || strings.TrimSpace(path) != path {
		return quoted
	}
	return path
}

// Took is what a scan took, as far as a bill depends on it.
func Took(r dedupe.Report) cost.Scan {
	s := r.Stats
	return cost.Scan{
		Elapsed:          s.Elapsed,
		PeakMemory:       s.PeakMemory,
		Partial:          !r.Complete,
		Files:            s.Files,
		Directories:      s.Directories,
		Opens:            s.Opens,
		OpensSpared:      s.OpensSpared,
		StoredBytes:      s.Bytes,
		ReclaimableBytes: s.ReclaimableBytes,
	}
}
