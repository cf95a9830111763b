package results

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"slices"
)

// Format is a way to write what an experiment found.
type Format string

// The formats.
const (
	Text     Format = "text"     // tables, charts and the verdict, for a terminal of 120 columns
	JSON     Format = "json"     // every call, and all that is computed; what Read reads
	HTML     Format = "html"     // a page that needs no other file
	Markdown Format = "markdown" // the tables and the verdict
	Bench    Format = "bench"    // a Go benchmark line for each call
)

// Formats lists the formats.
func Formats() []Format { return []Format{Text, JSON, HTML, Markdown, Bench} }

// Write writes what an experiment found. Colour concerns the text format alone.
func Write(w io.Writer, f Format, e Experiment, colour bool) error {
	b, r := bufio.NewWriter(w), compute(e)
	var err error
	switch f {
	case Text:
		err = writeText(b, r, newStyle(colour))
	case JSON:
		err = writeJSON(b, r)
	case HTML:
		err = writeHTML(b, r)
	case Markdown:
		writeMarkdown(b, r)
	case Bench:
		writeBench(b, r)
	default:
		err = fmt.Errorf("unknown format %q: choose one of %v", f, Formats())
	}
	if err != nil {
		return err
	}
	return b.Flush()
}

// results is an experiment and what is computed of it.
type results struct {
	Experiment
	prices    *pricer
	rows      []row // one for each series, in their order
	workloads []workload
}

// workload is the rows of one workload, by mode.
type workload struct {
	name    string
	modes   []mode
	penalty *penalty // nil if nothing can be said of it
	gain    *gain    // nil without helpers
}

// mode is the rows of one mode of a workload, by memory, and its verdict: rows
// that are nil where nothing qualifies.
type mode struct {
	name string
	rows []*row

	cheapest, fastest, knee *row
}

func compute(e Experiment) *results {
	r := &results{Experiment: e, prices: newPricer(e.Setup), rows: make([]row, len(e.Series))}
	for i := range e.Series {
		r.rows[i] = rowOf(&e.Series[i], r.prices)
	}
	r.workloads = group(r.rows)
	for i := range r.workloads {
		r.workloads[i].judge(e.Setup)
	}
	return r
}

// group arranges rows by workload and mode, each in the order in which it first
// appears, and by memory.
func group(rows []row) []workload {
	var groups []workload
	for i := range rows {
		r := &rows[i]
		w := find(&groups, func(w workload) bool { return w.name == r.Workload }, workload{name: r.Workload})
		m := find(&w.modes, func(m mode) bool { return m.name == r.Mode }, mode{name: r.Mode})
		m.rows = append(m.rows, r)
	}
	for _, w := range groups {
		for _, m := range w.modes {
			slices.SortStableFunc(m.rows, func(a, b *row) int { return cmp.Compare(a.MemoryMB, b.MemoryMB) })
		}
	}
	return groups
}

// find returns the element that is wanted, which it adds if it is missing.
func find[T any](all *[]T, wanted func(T) bool, missing T) *T {
	i := slices.IndexFunc(*all, wanted)
	if i < 0 {
		i = len(*all)
		*all = append(*all, missing)
	}
	return &(*all)[i]
}

// rows are all rows of the workload, by mode and memory.
func (w *workload) rows() []*row {
	var rows []*row
	for _, m := range w.modes {
		rows = append(rows, m.rows...)
	}
	return rows
}

// sizes are the memory sizes of the workload, in order.
func (w *workload) sizes() []int64 {
	var sizes []int64
	for _, r := range w.rows() {
		sizes = append(sizes, r.MemoryMB)
	}
	slices.Sort(sizes)
	return slices.Compact(sizes)
}

// modes lists the modes of all workloads, each once: what is of one colour.
func (r *results) modes() []string {
	var names []string
	for _, w := range r.workloads {
		for _, m := range w.modes {
			if !slices.Contains(names, m.name) {
				names = append(names, m.name)
			}
		}
	}
	return names
}
