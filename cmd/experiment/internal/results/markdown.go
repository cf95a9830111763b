package results

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// writeMarkdown writes the tables, the verdict and the notes for README.md.
func writeMarkdown(b io.Writer, r *results) {
	if !r.Setup.Boxed {
		fmt.Fprintf(b, "**%s**\n\n", notBoxed)
	}
	fmt.Fprintf(b, "%s\n\n", escape(r.costs()))
	for _, w := range r.workloads {
		names, units := w.heads()
		for i := range names {
			names[i] = strings.TrimPrefix(names[i]+", "+units[i], ", ")
		}
		fmt.Fprintf(b, "**%s**: %s\n\n", escape(w.name), w.about(r.Setup))
		markdownRow(b, slices.Concat([]string{"mode"}, names, []string{""}))
		markdownRow(b, slices.Concat([]string{"---"}, slices.Repeat([]string{"--:"}, len(names)), []string{"---"}))
		for _, row := range w.rows() {
			markdownRow(b, slices.Concat([]string{escape(row.Mode)}, row.cells(w.small()), []string{status(row)}))
		}
		fmt.Fprintln(b)
		markdownRow(b, []string{"mode", "cheapest", "fastest", "knee"})
		markdownRow(b, slices.Repeat([]string{"---"}, 4))
		for _, cells := range w.verdict() {
			markdownRow(b, append([]string{escape(cells[0])}, cells[1:]...))
		}
		if w.penalty != nil {
			fmt.Fprintf(b, "\n%s\n", w.penalty.sentence)
		}
		writeMarkdownRuns(b, &w, r)
		writeMarkdownHelpers(b, &w, r.Setup)
		fmt.Fprintln(b)
	}
	if s := newSources(r); s != nil {
		fmt.Fprintf(b, "**EFS or S3**: %s\n\n", s.verdict())
		heads := s.heads()
		markdownRow(b, heads)
		markdownRow(b, append([]string{"---"}, slices.Repeat([]string{"--:"}, len(heads)-1)...))
		for _, row := range s.rows() {
			markdownRow(b, row)
		}
		fmt.Fprintf(b, "\n%s\n\n", s.about())
	}
	for _, note := range r.notes() {
		fmt.Fprintf(b, "- %s\n", escape(note))
	}
}

func writeMarkdownRuns(b io.Writer, w *workload, r *results) {
	markdownTable(b, runsAbout, runHeads(), w.fleetRows(), (*row).runCells)
	markdownTable(b, fleetsAbout, fleetHeads(r.Setup.Instances), w.fleetRows(), func(row *row) []string { return row.fleetCells(r) })
}

func writeMarkdownHelpers(b io.Writer, w *workload, s Setup) {
	markdownTable(b, helpersAbout, w.helperHeads(), w.helped(), func(r *row) []string { return r.helperCells(s.HelperMB, w.small()) })
	if w.gain != nil {
		fmt.Fprintf(b, "\n%s\n", w.gain.sentence)
	}
}

// markdownTable writes a table of rows, whose first cell is the mode, if there are any.
func markdownTable(b io.Writer, about string, heads []string, rows []*row, cells func(*row) []string) {
	if len(rows) == 0 {
		return
	}
	fmt.Fprintf(b, "\n%s:\n\n", about)
	markdownRow(b, heads)
	markdownRow(b, slices.Concat([]string{"---"}, slices.Repeat([]string{"--:"}, len(heads)-1)))
	for _, row := range rows {
		line := cells(row)
		line[0] = escape(row.Mode)
		markdownRow(b, line)
	}
}

func markdownRow(b io.Writer, cells []string) {
	fmt.Fprintf(b, "| %s |\n", strings.Join(cells, " | "))
}

// escape keeps text from being taken for Markdown.
func escape(text string) string {
	var b strings.Builder
	for _, r := range quoteUnprintable(text) {
		if strings.ContainsRune("\\`*_{}[]<>#|~", r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}
