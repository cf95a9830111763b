package results

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"unicode"
	"unicode/utf8"

	"efsdedupe/cmd/internal/cli"
	"efsdedupe/dedupe/report"
)

// style is the style of reports, and whether it has colour.
type style struct {
	report.Style
	colour bool
}

func newStyle(colour bool) style { return style{report.NewStyle(colour), colour} }

func writeText(b io.Writer, r *results, s style) error {
	if !r.Setup.Boxed {
		fmt.Fprintf(b, "%s\n\n", s.Bad(notBoxed))
	}
	fmt.Fprintf(b, "%s\n\n", s.Faint(r.costs()))
	for _, w := range r.workloads {
		fmt.Fprintf(b, "%s  %s\n", s.Strong(quoteUnprintable(w.name)), s.Faint(w.about(r.Setup)))
		if err := writeTable(b, &w, s); err != nil {
			return err
		}
		if err := writeRuns(b, &w, r); err != nil {
			return err
		}
		if err := writeHelpers(b, &w, r.Setup); err != nil {
			return err
		}
		for _, line := range w.problems() {
			fmt.Fprintf(b, "%s %s\n", s.Bad("failed:"), line)
		}
		fmt.Fprintln(b)
	}
	for _, note := range r.notes() {
		fmt.Fprintln(b, s.Faint(cli.Wrap("- "+note, 118, "  ")))
	}
	fmt.Fprintln(b)
	for _, w := range r.workloads {
		writePlot(b, &w, r.modes(), s)
	}
	for _, w := range r.workloads {
		if err := writeVerdict(b, &w, s); err != nil {
			return err
		}
	}
	return writeSources(b, newSources(r), s)
}

// writeSources writes what reading costs from EFS and from S3, if anything is read.
func writeSources(b io.Writer, c *sources, s style) error {
	if c == nil {
		return nil
	}
	fmt.Fprintln(b, s.Strong("EFS or S3"))
	table := tabwriter.NewWriter(b, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, row := range append([][]string{c.heads()}, c.rows()...) {
		fmt.Fprintln(table, strings.Join(append(row, ""), "\t"))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(b, "%s\n%s\n\n", cli.Wrap(c.verdict(), 118, ""), s.Faint(cli.Wrap(c.about(), 118, "")))
	return err
}

// writeTable writes the rows of a workload. The cheapest and the fastest stand
// out, and those of which no call succeeded.
func writeTable(b io.Writer, w *workload, s style) error {
	width := len("mode")
	for _, m := range w.modes {
		width = max(width, utf8.RuneCountInString(quoteUnprintable(m.name)))
	}
	var text bytes.Buffer
	table := tabwriter.NewWriter(&text, 0, 0, 1, ' ', tabwriter.AlignRight)
	line := func(first string, cells []string, last string) {
		fmt.Fprintf(table, "%-*s\t%s\t %s\n", width, first, strings.Join(cells, "\t"), last)
	}
	names, units := w.heads()
	line("", names, "")
	line("mode", units, "")
	paint := []func(a ...any) string{s.Faint, s.Faint}
	for _, m := range w.modes {
		for i, r := range m.rows {
			first := quoteUnprintable(m.name)
			if i > 0 {
				first = ""
			}
			line(first, r.cells(w.small()), status(r))
			paint = append(paint, s.of(r))
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for i, line := range strings.Split(strings.TrimSuffix(text.String(), "\n"), "\n") {
		fmt.Fprintln(b, paint[i](strings.TrimRight(line, " ")))
	}
	return nil
}

func (s style) of(r *row) func(a ...any) string {
	switch {
	case len(r.Calls) > 0 && r.lost():
		return s.Bad
	case r.costRatio == 1, r.timeRatio == 1:
		return s.Strong
	}
	return fmt.Sprint
}

// writeRuns writes what runs of several instances took and cost, if there are any.
func writeRuns(b io.Writer, w *workload, all *results) error {
	rows := w.fleetRows()
	if len(rows) == 0 {
		return nil
	}
	fmt.Fprintln(b, runsAbout)
	table := tabwriter.NewWriter(b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, strings.Join(append(runHeads(), ""), "\t"))
	for _, r := range rows {
		fmt.Fprintln(table, strings.Join(append(r.runCells(), ""), "\t"))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(b, fleetsAbout)
	fmt.Fprintln(table, strings.Join(append(fleetHeads(all.Setup.Instances), ""), "\t"))
	for _, r := range rows {
		fmt.Fprintln(table, strings.Join(append(r.fleetCells(all), ""), "\t"))
	}
	return table.Flush()
}

// writeHelpers writes both sides of the bill of functions with helpers, if there are any.
func writeHelpers(b io.Writer, w *workload, s Setup) error {
	rows := w.helped()
	if len(rows) == 0 {
		return nil
	}
	fmt.Fprintln(b, cli.Wrap(helpersAbout, 118, ""))
	table := tabwriter.NewWriter(b, 0, 0, 1, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, strings.Join(append(w.helperHeads(), ""), "\t"))
	for _, r := range rows {
		fmt.Fprintln(table, strings.Join(append(r.helperCells(s.HelperMB, w.small()), ""), "\t"))
	}
	return table.Flush()
}

// writeVerdict writes a line for each mode, the penalty of processes and what helpers do.
func writeVerdict(b io.Writer, w *workload, s style) error {
	fmt.Fprintln(b, s.Strong(quoteUnprintable(w.name)))
	table := tabwriter.NewWriter(b, 0, 0, 3, ' ', 0)
	fmt.Fprintln(table, "  mode\tcheapest\tfastest\tknee")
	for _, cells := range w.verdict() {
		fmt.Fprintln(table, "  "+strings.Join(cells, "\t"))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if w.penalty != nil {
		fmt.Fprintln(b, cli.Wrap(w.penalty.sentence, 118, ""))
	}
	if w.gain != nil {
		fmt.Fprintln(b, cli.Wrap(w.gain.sentence, 118, ""))
	}
	_, err := fmt.Fprintln(b)
	return err
}

// quoteUnprintable returns text as it is, or quoted if it holds what does not print or
// what a terminal might obey. Unlike report.Printable, it leaves quotes in a sentence.
func quoteUnprintable(text string) string {
	if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) || !utf8.ValidString(text) {
		return strconv.Quote(text)
	}
	return text
}
