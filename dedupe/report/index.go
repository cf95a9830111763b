package report

import (
	"fmt"
	"io"
	"math"
	"slices"
	"text/tabwriter"

	"github.com/dustin/go-humanize"

	"efsdedupe/dedupe"
	"efsdedupe/dedupe/cost"
)

// Index is what a scan with an index of digests takes when the index knows nothing,
// and the items of the table that it is in; none, if it is in a file.
type Index struct {
	ReadBytes          int64 // as EFS meters them
	AccessBytes        int64 // as EFS meters them
	MetadataOperations int64
	OpenOperations     int64 // of MetadataOperations: open and close
	Items              cost.Items
}

// IndexOf returns that of a scan: what it took, and what it was spared.
func IndexOf(r dedupe.Report, m Reads, items cost.Items) *Index {
	s := r.Stats
	opens := 2 * (s.Opens + s.OpensSpared)
	return &Index{
		ReadBytes:          m.read + m.sparedRead,
		AccessBytes:        m.access + m.sparedAccess,
		MetadataOperations: s.Files + s.Directories + opens,
		OpenOperations:     opens,
		Items:              items,
	}
}

// Charged returns u with what a table of DynamoDB charged for a call, in units.
func Charged(u cost.Usage, readUnits, writeUnits float64) cost.Usage {
	millionths := func(units float64) int64 { return int64(math.Round(units * 1e6)) }
	u.DynamoDB.ReadUnits, u.DynamoDB.WriteUnits = millionths(readUnits), millionths(writeUnits)
	return u
}

// Weighed is a month of calls that read all beside one of calls with the index, at
// a churn.
type Weighed struct {
	Churn int64 // files of a million that change between two calls
	cost.Choice
	cost.Weighed
}

// Weigh prices calls with the index, which p must have, and without. Both take the
// duration of the scan. If it read all, calls with the index are billed for time that
// they don't take; if it read little, calls without are billed for less than they
// take: either way the index spares more of Lambda's duration than this says. What
// writing to the index adds to a call is left out, too: a scan's duration ends before
// it. All of it is below 1% of the bill where reading is most of it.
func (p *Projection) Weigh(book *cost.Book, churn int64) {
	if p.Err != nil {
		return
	}
	u := p.Usage
	u.EFS.ReadBytes, u.EFS.AccessBytes, u.EFS.MetadataOperations = p.Index.ReadBytes, p.Index.AccessBytes, p.Index.MetadataOperations
	u.Index, u.DynamoDB = cost.Index{}, cost.DynamoDB{}
	choice := cost.Choice{All: u, OpenOperations: p.Index.OpenOperations, Items: p.Index.Items}
	w, err := book.Weigh(choice, churn)
	if err != nil {
		p.Bill, p.Err = nil, err
		return
	}
	p.Weighed = &Weighed{churn, choice, w}
}

// all is the projection of calls that read all, and with that of calls with the
// index.
func (w *Weighed) all() *Projection { return &Projection{Usage: w.All, Bill: w.AllBill} }
func (w *Weighed) with() *Projection {
	return &Projection{Usage: w.AtChurn(w.Churn), Bill: w.IndexBill}
}

// writeWeighed writes both bills as a table, and at which churn they are the same.
func writeWeighed(w io.Writer, p *Projection, s Style) error {
	all, index := p.Weighed.AllBill, p.Weighed.IndexBill
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	row := func(name, all, index string) { fmt.Fprintf(table, "%s\t%s\t%s\t\n", pad(name), all, index) }
	row("", "every call reads all", "with the index, "+Percent(p.Weighed.Churn)+" churn")
	for _, meter := range meters(all, index) {
		row(meter, money(meterCost(all, meter)), money(meterCost(index, meter)))
	}
	row("total, "+all.Currency, money(all.Total), money(index.Total))
	if err := table.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(w, "\n%s%s.\n", s.Strong(breakEven(p.Weighed.BreakEven)), repaid(p.Weighed))
	fmt.Fprintln(w, "Both columns take the duration of this scan; what the index spares of it, or adds to it, is left out.")
	return nil
}

// breakEven says at which churn the bills are the same.
func breakEven(churn int64) string {
	switch churn {
	case 0:
		return "The index does not pay, even if no file changes between two calls"
	case 1e6:
		return "The index pays unless all files change between two calls"
	}
	return fmt.Sprintf("The index pays while less than %s of the files change between two calls", Percent(churn))
}

// repaid says what becomes of the first filling at the churn.
func repaid(w *Weighed) string {
	switch {
	case w.BreakEven == 0:
		return ""
	case w.Items == (cost.Items{}):
		return ", and being in a file it costs nothing"
	case w.Repaid == 0:
		return "; at " + Percent(w.Churn) + " it does not"
	}
	return "; at " + Percent(w.Churn) + " its first filling is paid for after " + Count(w.Repaid, "call", "calls")
}

// Percent writes a share, in millionths, such as files of a million, as a percentage.
func Percent(millionths int64) string { return humanize.Ftoa(float64(millionths)/1e4) + "%" }

// notes are the warnings of a projection, each once.
func (p *Projection) notes() []string {
	if p.Weighed == nil {
		return p.Bill.Warnings
	}
	notes := slices.Clone(p.Weighed.AllBill.Warnings)
	for _, warning := range p.Weighed.IndexBill.Warnings {
		if !slices.Contains(notes, warning) {
			notes = append(notes, "with the index, "+warning)
		}
	}
	return notes
}
