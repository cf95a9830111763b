package report

import (
	"fmt"
	"io"
	"text/tabwriter"

	"efsdedupe/dedupe/cost"
)

// writeWeighed writes both bills as a table, and the churn at which they are equal.
func writeWeighed(w io.Writer, p *cost.Projection, s Style) error {
	all, index := p.Weighed.AllBill, p.Weighed.IndexBill
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	row := func(name, all, index string) { fmt.Fprintf(table, "%s\t%s\t%s\t\n", pad(name, meterWidth), all, index) }
	row("", "every call reads all", "with the index, "+cost.Percent(p.Weighed.Churn)+" churn")
	for _, meter := range cost.Meters(all, index) {
		row(meter, Commas(all.Amount(all.Meter(meter))), Commas(index.Amount(index.Meter(meter))))
	}
	row("total, "+all.Currency, money(all.Total), money(index.Total))
	if err := table.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(w, "\n%s%s.\n", s.Strong(breakEven(p.Weighed.BreakEven)), repaid(p.Weighed))
	fmt.Fprintf(w, "A call takes %s without the index and %s with it: this scan's duration, and reads at the speed of one environment.\n",
		elapsed(p.Weighed.All.Lambda.Duration), elapsed(p.Weighed.IndexUsage.Lambda.Duration))
	return nil
}

// breakEven says at which churn the bills are equal.
func breakEven(churn int64) string {
	switch churn {
	case 0:
		return "The index does not pay, even if no file changes between two calls"
	case 1e6:
		return "The index pays unless all files change between two calls"
	}
	return fmt.Sprintf("The index pays while less than %s of the files change between two calls", cost.Percent(churn))
}

// repaid says when the first filling pays for itself at the churn.
func repaid(w *cost.Weighed) string {
	switch {
	case w.BreakEven == 0:
		return ""
	case w.Items == (cost.Items{}):
		return ", and being in a file it costs nothing"
	case w.Repaid == 0:
		return "; at " + cost.Percent(w.Churn) + " it does not"
	}
	return "; at " + cost.Percent(w.Churn) + " its first filling is paid for after " + Count(w.Repaid, "call", "calls")
}
