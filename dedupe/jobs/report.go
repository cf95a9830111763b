package jobs

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"

	"efsdedupe/dedupe"
	"efsdedupe/dedupe/report"
)

// A report is stored as the lines that package report writes, cut into parts. The last line,
// which all pages need, is an object of its own, after a line with the number of parts. It is
// stored last: a report is there whole or not at all.

const (
	// partBytes is how many bytes of lines a part has, before compression.
	partBytes = 1 << 20

	headPart = "head"
)

// WriteReport stores the report of a job, as the job's rules want it, replaces what an earlier
// attempt left of it, and sums it up. failed says afterwards whether the parts are whole.
func (r *Registry) WriteReport(ctx context.Context, ref Ref, whole dedupe.Report, parts report.Parts, failed *error, tool report.Tool) (*Outcome, error) {
	if err := r.removeReport(ctx, ref); err != nil {
		return nil, err
	}
	j, err := r.job(ctx, ref)
	if err != nil {
		return nil, err
	}
	s := whole.Stats
	outcome := &Outcome{Complete: whole.Complete, Reason: whole.Reason, Files: s.Files, Bytes: s.Bytes, Directories: s.Directories}
	all := parts.Problems
	parts.Problems = func(yield func(*dedupe.Problem) bool) {
		for p := range all {
			outcome.Problems++
			if !yield(p) {
				return
			}
		}
	}
	w := &partWriter{ctx: ctx, r: r, ref: ref}
	err = j.withOptions(ctx, tool, func(o report.Options) error { return report.WriteParts(w, report.NDJSON, whole, parts, o) })
	if err == nil {
		err = *failed
	}
	if err == nil {
		err = outcome.count(w.lines[w.last():])
	}
	if err != nil {
		return nil, err
	}
	return outcome, w.end()
}

// count takes the duplicates that rules left from the last line of a report.
func (o *Outcome) count(line []byte) error {
	var last struct {
		Report struct {
			Stats struct {
				Groups      int64 `json:"duplicate_groups"`
				Files       int64 `json:"duplicate_files"`
				Reclaimable int64 `json:"reclaimable_bytes"`
			}
		}
	}
	err := json.Unmarshal(line, &last)
	s := last.Report.Stats
	o.DuplicateGroups, o.DuplicateFiles, o.ReclaimableBytes = s.Groups, s.Files, s.Reclaimable
	return err
}

// partWriter stores lines as parts.
type partWriter struct {
	ctx   context.Context
	r     *Registry
	ref   Ref
	lines []byte // not stored yet
	parts int
}

// Write implements [io.Writer].
func (w *partWriter) Write(b []byte) (int, error) {
	w.lines = append(w.lines, b...)
	for len(w.lines) > 2*partBytes { // the last line is still here
		end := partBytes + bytes.IndexByte(w.lines[partBytes:], '\n') + 1
		if end == partBytes || end == len(w.lines) {
			break
		}
		if err := w.put(w.lines[:end]); err != nil {
			return 0, err
		}
		w.lines = append(w.lines[:0], w.lines[end:]...)
	}
	return len(b), nil
}

// end stores what is left, and then the last line.
func (w *partWriter) end() error {
	last := w.last()
	if last > 0 {
		if err := w.put(w.lines[:last]); err != nil {
			return err
		}
	}
	return w.r.putZipped(w.ctx, reportPart(w.ref, headPart), fmt.Appendf(nil, "%d\n%s", w.parts, w.lines[last:]))
}

// last returns where the last line begins.
func (w *partWriter) last() int {
	return bytes.LastIndexByte(bytes.TrimSuffix(w.lines, []byte("\n")), '\n') + 1
}

func (w *partWriter) put(lines []byte) error {
	w.parts++
	return w.r.putZipped(w.ctx, reportPart(w.ref, partName(w.parts)), lines)
}

func reportPart(ref Ref, part string) string { return ref.object("reports") + "/" + part }

// partName returns the name of part n, from 1 on.
func partName(n int) string { return fmt.Sprintf("%010d", n) }

func (r *Registry) putZipped(ctx context.Context, name string, data []byte) error {
	var b bytes.Buffer
	w, _ := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	w.Write(data)
	w.Close()
	return r.Store.Put(ctx, name, b.Bytes(), "")
}

func (r *Registry) getZipped(ctx context.Context, name string) ([]byte, error) {
	b, _, err := r.Store.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	in, err := gzip.NewReader(bytes.NewReader(b))
	if err == nil {
		b, err = io.ReadAll(in)
	}
	if err != nil {
		return nil, fmt.Errorf("object %s is damaged: %w", name, err)
	}
	return b, nil
}

// removeReport removes the report of a job, the head first.
func (r *Registry) removeReport(ctx context.Context, ref Ref) error {
	if err := r.Store.Remove(ctx, reportPart(ref, headPart)); err != nil {
		return err
	}
	for {
		const atOnce = 1000
		names, err := r.Store.List(ctx, ref.object("reports")+"/", "", atOnce)
		if err != nil {
			return err
		}
		for _, name := range names {
			if err := r.Store.Remove(ctx, name); err != nil {
				return err
			}
		}
		if len(names) < atOnce {
			return nil
		}
	}
}

// Cursor is a place in a stored report. The zero value is its beginning.
type Cursor struct {
	part, line int // from 0 on
	groups     int // that begin before
}

// ParseCursor parses the result of String. Empty text is the beginning.
func ParseCursor(s string) (c Cursor, err error) {
	if s == "" {
		return c, nil
	}
	fields := strings.Split(s, "-")
	if len(fields) != 3 {
		return c, report.ErrCursor
	}
	for i, n := range []*int{&c.part, &c.line, &c.groups} {
		if *n, err = strconv.Atoi(fields[i]); err != nil || *n < 0 {
			return c, report.ErrCursor
		}
	}
	if c.String() != s {
		return c, report.ErrCursor
	}
	return c, nil
}

// String returns the cursor as text for URLs and JSON. Its beginning is empty.
func (c Cursor) String() string {
	if c == (Cursor{}) {
		return ""
	}
	return fmt.Sprintf("%d-%d-%d", c.part, c.line, c.groups)
}

// Page returns up to limit lines of a report that fit in a number of bytes in a format, and
// where the next page begins. The error is ErrNotFound if there is no report.
func (r *Registry) Page(ctx context.Context, ref Ref, f report.Format, from Cursor, limit, maxBytes int) (page []byte, next Cursor, err error) {
	head, err := r.getZipped(ctx, reportPart(ref, headPart))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, next, ErrNotFound
	}
	if err != nil {
		return nil, next, err
	}
	count, head, _ := bytes.Cut(head, []byte("\n"))
	parts, err := strconv.Atoi(string(count))
	if err != nil || from.part > parts {
		return nil, next, cmp.Or(err, report.ErrCursor)
	}
	p := report.LinePage{Head: head, First: from == Cursor{}, Groups: from.groups, MaxBytes: maxBytes}
	places, err := r.fill(ctx, ref, &p, from, parts, limit)
	if err != nil {
		return nil, next, err
	}
	for n := p.Len(); ; n = n / 2 {
		p.Truncate(n)
		next = places[n]
		if next != (Cursor{}) {
			next.groups = p.Begun()
		}
		p.Next = next.String()
		if page, err = p.Encode(f); err != nil || f == report.JSON || report.QuotedSize(page) <= maxBytes || n <= 1 {
			return page, next, err
		}
	}
}

// fill adds lines to a page, from a report of some parts. For each number of lines, it returns where the page after these
// begins: the zero Cursor if that is the end.
func (r *Registry) fill(ctx context.Context, ref Ref, p *report.LinePage, from Cursor, parts, limit int) (places []Cursor, err error) {
	at := from
	for at.part < parts {
		lines, err := r.getZipped(ctx, reportPart(ref, partName(at.part+1)))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, ErrNotFound // it is being removed
		}
		if err != nil {
			return nil, err
		}
		n := 0
		for line := range bytes.Lines(lines) {
			if n++; n <= at.line {
				continue
			}
			places = append(places, at)
			if p.Len() == limit || !p.Add(line) {
				return places, nil
			}
			at.line = n
		}
		if at.line > n || n == 0 || at == from {
			return nil, report.ErrCursor
		}
		at = Cursor{part: at.part + 1}
	}
	if at == from && from != (Cursor{}) {
		return nil, report.ErrCursor
	}
	return append(places, Cursor{}), nil
}
