package report

import (
	"fmt"
	"io"
	"math/big"
	"strings"
	"text/tabwriter"

	"github.com/dustin/go-humanize"

	"efsdedupe/dedupe/cost"
)

// writeBillLine writes a bill in one line. The report may be incomplete.
func writeBillLine(w io.Writer, p *cost.Projection, complete bool, s Style) {
	if p.Err != nil {
		fmt.Fprintf(w, "No bill: %v.\n", p.Err)
		return
	}
	most := ""
	if meter, share := p.Bill.Largest(); share > 0 {
		most = fmt.Sprintf(", %d%% of it %s", share, meterName(meter))
	}
	partial := ""
	if !complete {
		partial = ", based on a partial scan"
	}
	fmt.Fprintf(w, "%s a month: %s%s%s (--bill for details)\n", callCount(p.Usage.Calls), s.Strong(price(p.Bill)), most, partial)
}

// callCount formats a number of calls, with millions as 50M.
func callCount(n int64) string {
	const million, tenth = 1_000_000, 100_000
	if n >= million && n%tenth == 0 {
		return humanize.Ftoa(float64(n)/million) + "M calls"
	}
	return Count(n, "call", "calls")
}

// price formats the total of a bill, without cents where they don't matter.
func price(b *cost.Bill) string {
	amount := money(b.Total)
	if b.Total.Cmp(big.NewRat(100, 1)) >= 0 {
		amount = Commas(cost.Decimal(b.Total, 0))
	}
	if b.Currency == "USD" {
		return "$" + amount
	}
	return amount + " " + b.Currency
}

// meterName says in words what a meter counts.
func meterName(meter string) string {
	for _, m := range []struct{ prefix, name string }{
		{"lambda.duration", "Lambda compute time"},
		{"lambda.init", "Lambda INIT"},
		{"lambda.provisioned", "Lambda provisioned concurrency"},
		{"lambda.requests", "Lambda requests"},
		{"lambda.", "Lambda"},
		{"api.", "API Gateway"},
		{"efs.read", "EFS reads"},
		{"efs.write", "EFS writes"},
		{"efs.metadata", "EFS metadata operations"},
		{"efs.provisioned", "EFS provisioned throughput"},
		{"efs.access", "EFS access to cold files"},
		{"efs.storage", "EFS storage"},
		{"dynamodb.", "DynamoDB"},
		{"logs.", "logs"},
		{"transfer.", "data transfer"},
		{"metrics.", "metrics and alarms"},
	} {
		if strings.HasPrefix(meter, m.prefix) {
			return m.name
		}
	}
	return meter
}

// writeBill writes the bill, or the bills with and without an index side by side, and the
// warnings.
func writeBill(w io.Writer, p *cost.Projection, s Style) error {
	u, b := p.Usage, p.Bill
	if p.Err != nil {
		_, err := fmt.Fprintf(w, "No bill: %v.\n", p.Err)
		return err
	}
	fmt.Fprintf(w, "%s in %s, prices of %s\n", s.Strong("A month of ", humanize.Comma(u.Calls), " such calls"), b.Region, b.Date)
	fmt.Fprintf(w, "%s\n\n", s.Faint(basis(u)))
	write := writeItems
	if p.Weighed != nil {
		write = writeWeighed
	}
	if err := write(w, p, s); err != nil {
		return err
	}
	writeColdShares(w, p)
	for _, warning := range p.Warnings() {
		fmt.Fprintf(w, "Note: %s.\n", strings.TrimSuffix(warning, "."))
	}
	return nil
}

// writeItems writes the items of a bill as a table, and names the most expensive.
func writeItems(w io.Writer, p *cost.Projection, _ Style) error {
	b := p.Bill
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	width := 0 // no more than needed, to fit a terminal
	for _, item := range b.Items {
		width = max(width, len(item.Meter))
	}
	for _, item := range b.Items {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t\n", pad(item.Meter, width), Commas(cost.Decimal(item.Quantity, 3))+" "+item.Unit,
			"× "+cost.Decimal(item.UnitPrice, 16), Commas(b.Amount(item.Cost)))
	}
	fmt.Fprintf(table, "%s\t\t\t%s\t\n", pad("total, "+b.Currency, width), money(b.Total))
	if err := table.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w)
	if most, share := b.Largest(); share > 0 {
		fmt.Fprintf(w, "%s is %d%% of it.", most, share)
		if p.Usage.EFS.ReclaimableBytes > 0 {
			fmt.Fprintf(w, " Keeping the duplicates costs %s %s a month.", Commas(b.Amount(b.Reclaimable)), b.Currency)
		}
		fmt.Fprintln(w)
	}
	return nil
}

// writeColdShares says what the bills are if some calls find the files in their page
// cache.
func writeColdShares(w io.Writer, p *cost.Projection) {
	fewer, with := p.AtColdShare, []cost.ColdTotal(nil)
	if p.Weighed != nil {
		fewer, with = p.Weighed.AllAtColdShare, p.Weighed.IndexAtColdShare
	}
	var totals []string
	for i, c := range fewer {
		total := money(c.Total)
		if i < len(with) {
			total += " (with the index " + money(with[i].Total) + ")"
		}
		totals = append(totals, fmt.Sprintf("%s at %s", total, cost.Percent(c.Share)))
	}
	if len(totals) > 0 {
		fmt.Fprintf(w, "Every call is taken to be cold, an upper bound. With fewer cold calls the total is %s.\n", strings.Join(totals, ", "))
	}
}

// basis says what the bill assumes about each call.
func basis(u cost.Usage) string {
	parts := []string{fmt.Sprintf("each %s at %s MB, %s", elapsed(u.Lambda.Duration), humanize.Comma(u.Lambda.MemoryMB), u.Lambda.Arch)}
	if u.API == cost.HTTP || u.API == cost.REST {
		parts = append(parts, string(u.API)+" API")
	}
	parts = append(parts, string(u.EFS.Throughput)+" throughput")
	if u.Warm > 0 {
		parts = append(parts, cost.Percent(1e6-u.Warm)+" cold")
	}
	if u.Hours > 0 {
		parts = append(parts, fmt.Sprintf("a month of %d hours", u.Hours))
	}
	if u.FreeTier {
		parts = append(parts, "free tier")
	}
	return strings.Join(parts, ", ")
}

// meterWidth is wide enough for most names of meters.
const meterWidth = 32

// pad aligns a cell left in a table that aligns cells right.
func pad(cell string, width int) string { return fmt.Sprintf("  %-*s", width, cell) }

func money(amount *big.Rat) string { return Commas(cost.Amount(amount)) }

// Commas separates the thousands of a decimal number.
func Commas(decimal string) string {
	whole, fraction, hasFraction := strings.Cut(decimal, ".")
	if n, ok := new(big.Int).SetString(whole, 10); ok {
		whole = humanize.BigComma(n)
	}
	if hasFraction {
		return whole + "." + fraction
	}
	return whole
}
