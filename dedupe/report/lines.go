package report

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"efsdedupe/dedupe"
)

// A report in lines, the format NDJSON, is made to be stored and read in pieces: a line for
// each group, then for each problem, then for each skipped entry, and at the end one for
// everything else. Each line is an object with one field, which says what it is. A group
// that takes more than mostLine bytes continues on the next line, as on the next page of a
// report.
const (
	groupLine   = `{"group":`
	problemLine = `{"problem":`
	skippedLine = `{"skipped":`
	reportLine  = `{"report":`

	mostLine = 64 << 10
)

// linesWriter writes the stream of a job's report as lines. No job looks for duplicate
// folders or unique files.
type linesWriter struct {
	nowhere
	b      *bufio.Writer
	line   []byte
	totals *totals
	of     group // which the line is about
	first  int64 // number of the first file on the line
	files  int64 // of this group
}

func newLinesWriter(w io.Writer) *linesWriter {
	return &linesWriter{b: bufio.NewWriterSize(w, 64<<10), totals: newTotals()}
}

func (w *linesWriter) group(g group) error {
	w.totals.group(g)
	w.of, w.first, w.files = g, 0, 0
	w.line = appendGroup(append(w.line[:0], groupLine...), g)
	return nil
}

func (w *linesWriter) file(f file) error {
	w.totals.file(f)
	if on := w.files - w.first; on >= fewestFiles && len(w.line) >= mostLine {
		if err := w.flush(); err != nil {
			return err
		}
		w.first = w.files
		w.line = appendGroup(append(w.line[:0], groupLine...), w.of)
	}
	if w.files > w.first {
		w.line = append(w.line, ',')
	}
	w.line = appendFile(w.line, f)
	w.files++
	return nil
}

func (w *linesWriter) endGroup(g group) error {
	w.totals.endGroup(g)
	return w.flush()
}

// flush writes the line of a group.
func (w *linesWriter) flush() error {
	g := w.of
	g.before, g.leftOut = w.first, max(g.names-w.files, 0)
	w.line = append(appendEndGroup(w.line, g), "}\n"...)
	_, err := w.b.Write(w.line)
	return err
}

func (w *linesWriter) problem(p *dedupe.Problem) error { return w.value(problemLine, problemOf(p)) }

func (w *linesWriter) skip(s dedupe.Skipped) error { return w.value(skippedLine, skippedOf(s)) }

func (w *linesWriter) value(kind string, v any) error {
	b, err := marshal(v)
	if err != nil {
		return err
	}
	w.b.WriteString(kind)
	w.b.Write(b)
	_, err = w.b.WriteString("}\n")
	return err
}

func (w *linesWriter) end(d *document) error {
	if err := d.readBill(); err != nil {
		return err
	}
	d.writeBill()
	d.setTotals(w.totals, DefaultTop) // which all pages have
	if err := w.value(reportLine, d); err != nil {
		return err
	}
	return w.b.Flush()
}

// LinePage is a page of a report that was written as NDJSON. The zero value with a Head is
// an empty page.
type LinePage struct {
	Head     []byte // the last line of the report
	First    bool   // the page is the first one
	Next     string // where the next page begins; empty for none
	Groups   int    // that began on earlier pages
	MaxBytes int    // most bytes of JSON, as a string inside other JSON; 0 means no limit

	size  int
	lines [][]byte
}

// Add adds the next line of the report. It returns false if the line does not fit, in any
// format.
func (p *LinePage) Add(line []byte) bool {
	if p.size == 0 {
		p.size = QuotedSize(p.Head) + pageMarks + 2*maxCursorPath
	}
	need := QuotedSize(line) + len("\n")
	if p.MaxBytes > 0 && p.size+need > p.MaxBytes && len(p.lines) > 0 {
		return false
	}
	p.size += need
	p.lines = append(p.lines, bytes.TrimSuffix(line, []byte("\n")))
	return true
}

// Len returns the number of lines on the page.
func (p *LinePage) Len() int { return len(p.lines) }

// Truncate removes all lines after the first n.
func (p *LinePage) Truncate(n int) { p.lines = p.lines[:n] }

// Begun counts the groups that begin on the page or before it.
func (p *LinePage) Begun() int {
	n := p.Groups
	for _, line := range p.lines {
		if bytes.HasPrefix(line, []byte(groupLine)) && !continues(line) {
			n++
		}
	}
	return n
}

// continues reports whether the line of a group continues that of an earlier line.
func continues(line []byte) bool {
	end := line[bytes.LastIndexByte(line, ']')+1:]
	return bytes.Contains(end, []byte(`"files_before":`))
}

// Encode returns the page: as JSON, which is a report as [WritePage] writes it; as CSV, in
// which only the first page has the names of the columns; or as NDJSON, in which the line of
// the whole report comes first.
func (p *LinePage) Encode(f Format) ([]byte, error) {
	switch f {
	case JSON:
		return p.json()
	case CSV:
		return p.csv()
	case NDJSON:
		var b bytes.Buffer
		if p.First {
			b.Write(bytes.TrimSuffix(p.Head, []byte("\n")))
			b.WriteByte('\n')
		}
		for _, line := range p.lines {
			b.Write(line)
			b.WriteByte('\n')
		}
		return b.Bytes(), nil
	}
	return nil, fmt.Errorf("a page of a report can't be written as %s", f)
}

// errLines is the error of lines that no report has.
var errLines = errors.New("the stored report is damaged")

func (p *LinePage) json() ([]byte, error) {
	head, ok := within(p.Head, reportLine)
	if !ok || len(head) < 2 {
		return nil, errLines
	}
	b := append([]byte(nil), head[:len(head)-1]...)
	n := 0
	for _, kind := range []struct{ prefix, array string }{{groupLine, "groups"}, {problemLine, "problems"}, {skippedLine, "skipped"}} {
		if kind.array == "skipped" && n == len(p.lines) {
			break
		}
		b = append(append(append(b, `,"`...), kind.array...), `":[`...)
		for i := 0; n < len(p.lines); i, n = i+1, n+1 {
			value, ok := within(p.lines[n], kind.prefix)
			if !ok {
				break
			}
			if i > 0 {
				b = append(b, ',')
			}
			b = append(b, value...)
		}
		b = append(b, ']')
	}
	if n < len(p.lines) {
		return nil, errLines
	}
	if p.Next != "" {
		b = append(append(append(b, `,"next":"`...), p.Next...), '"')
	}
	return append(b, "}\n"...), nil
}

// within returns the value of a line of a kind.
func within(line []byte, kind string) ([]byte, bool) {
	line = bytes.TrimSuffix(line, []byte("\n"))
	value, ok := bytes.CutPrefix(line, []byte(kind))
	if !ok || !bytes.HasSuffix(value, []byte("}")) {
		return nil, false
	}
	return value[:len(value)-1], true
}

func (p *LinePage) csv() ([]byte, error) {
	doc, err := p.json()
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	w := newCSVWriter(&b, false)
	w.n, w.noHeader, w.parts = p.Groups, !p.First, true
	if len(p.lines) > 0 && continues(p.lines[0]) {
		w.n--
	}
	if err := read(bytes.NewReader(doc), w, readOptions{ordered: true}); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
