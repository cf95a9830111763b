package report

import (
	"bufio"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/dustin/go-humanize"

	"efsdedupe/dedupe"
	"efsdedupe/dedupe/cost"
)

// Comparison is a saved scan, and what such scans cost.
type Comparison struct {
	Saved
	cost.Projection
}

// WriteComparison writes what several scans took and cost as a table with one column
// each, and says whether they found the same groups.
func WriteComparison(w io.Writer, scans []Comparison, colour bool) error {
	b := bufio.NewWriter(w)
	s := NewStyle(colour)
	table := tabwriter.NewWriter(b, 0, 0, 2, ' ', tabwriter.AlignRight)
	row := func(name string, cell func(c Comparison) string) {
		fmt.Fprint(table, pad(name, meterWidth), "\t")
		for _, c := range scans {
			fmt.Fprint(table, cell(c), "\t")
		}
		fmt.Fprintln(table)
	}
	row("mode", func(c Comparison) string { return string(c.Mode) })
	row("workers", func(c Comparison) string { return fmt.Sprint(c.Workers) })
	row("took", func(c Comparison) string { return elapsed(c.Stats.Elapsed) })
	row("CPU", func(c Comparison) string {
		if c.Stats.CPUUnknown {
			return "not known"
		}
		return elapsed(c.Stats.CPU)
	})
	row("memory", func(c Comparison) string { return size(c.Stats.PeakMemory) })
	row("files hashed", func(c Comparison) string { return humanize.Comma(c.Stats.FilesHashed) })
	row("files compared", func(c Comparison) string { return humanize.Comma(c.Stats.FilesCompared) })
	row("files known", func(c Comparison) string { return humanize.Comma(c.Stats.FilesKnown) })
	row("opens", func(c Comparison) string { return humanize.Comma(c.Stats.Opens) })
	row("read", func(c Comparison) string { return size(c.Stats.BytesRead) })
	bills := make([]*cost.Bill, len(scans))
	for i, c := range scans {
		bills[i] = c.Bill
	}
	for _, meter := range cost.Meters(bills...) {
		row(meter, func(c Comparison) string { return Commas(c.Bill.Amount(c.Bill.Meter(meter))) })
	}
	row(fmt.Sprintf("total, %s", scans[0].Bill.Currency), func(c Comparison) string { return money(c.Bill.Total) })
	if err := table.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(b)
	for _, c := range scans[1:] {
		compare(b, scans[0], c, s)
	}
	return b.Flush()
}

// compare says in two sentences how a scan differs from the first.
func compare(w io.Writer, first, c Comparison, s Style) {
	switch {
	case first.Groups == "" || c.Groups == "":
	case first.Groups == c.Groups:
		fmt.Fprintf(w, "%s and %s found the same groups.\n", label(first), label(c))
	default:
		fmt.Fprintf(w, "%s: they did not find the same groups, so this compares different work.\n", s.Bad(label(first), " and ", label(c)))
	}
	more, share := c.Bill.Above(first.Bill)
	word := "more"
	if more.Sign() < 0 {
		word = "less"
	}
	cpu := ""
	if !first.Stats.CPUUnknown && !c.Stats.CPUUnknown {
		cpu = fmt.Sprintf("%.2f times the CPU time and ", Ratio(c.Stats.CPU, first.Stats.CPU))
	}
	fmt.Fprintf(w, "%s took %.2f times as long as %s, %s%.2f times the memory, and cost %s %s %s a month (%s%%).\n",
		label(c), Ratio(c.Stats.Elapsed, first.Stats.Elapsed), label(first), cpu,
		Ratio(c.Stats.PeakMemory, first.Stats.PeakMemory), Commas(first.Bill.Amount(more.Abs(more))), c.Bill.Currency, word,
		cost.Decimal(share, 2))
}

func label(c Comparison) string {
	if c.Mode == "" {
		return "the projection"
	}
	if c.Mode == dedupe.Processes { // as many as were needed
		return fmt.Sprintf("%d %s", c.Stats.WorkerProcesses, c.Mode)
	}
	return fmt.Sprintf("%d %s", c.Workers, c.Mode)
}

// Ratio returns a/b, or 0 if b is 0.
func Ratio[N ~int64](a, b N) float64 {
	if b == 0 {
		return 0
	}
	return float64(a) / float64(b)
}
