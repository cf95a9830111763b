package report

import (
	"bufio"
	"fmt"
	"io"
	"math/big"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/fatih/color"

	"efsdedupe/dedupe"
	"efsdedupe/dedupe/cost"
)

// filesShown is how many files of a group the text format names. It says how
// many it leaves out; the other formats leave out none.
const filesShown = 10

// Style is how the parts of a text stand out, on a terminal.
type Style struct {
	Strong, Faint, Bad func(a ...any) string
}

// NewStyle returns a style, which without colour changes nothing.
func NewStyle(colour bool) Style {
	paint := func(attributes ...color.Attribute) func(a ...any) string {
		c := color.New(attributes...)
		if colour {
			c.EnableColor()
		} else {
			c.DisableColor()
		}
		return c.SprintFunc()
	}
	return Style{Strong: paint(color.Bold), Faint: paint(color.Faint), Bad: paint(color.FgRed, color.Bold)}
}

func writeText(w io.Writer, r dedupe.Report, p *cost.Projection, colour bool) error {
	b := bufio.NewWriter(w)
	s := NewStyle(colour)
	for _, g := range r.Groups {
		writeGroup(b, g, s)
	}
	writeProblems(b, r, s)
	writeFound(b, r, s)
	if p != nil {
		fmt.Fprintln(b)
		if err := writeBill(b, p, s); err != nil {
			return err
		}
	}
	return b.Flush()
}

func writeGroup(w io.Writer, g dedupe.Group, s Style) {
	fmt.Fprintf(w, "%s, %s reclaimable  %s\n",
		s.Strong(Count(g.Copies(), "copy", "copies"), " of ", size(g.Size)), size(g.Reclaimable), s.Faint(g.Digest.String()[:16]))
	first := make(map[dedupe.File]string) // by all of a file but its path
	links := g.HardLinks()
	for i, f := range g.Files {
		if i == filesShown && len(g.Files) > filesShown+1 {
			fmt.Fprintf(w, "  %s\n", s.Faint("and ", humanize.Comma(int64(len(g.Files)-i)), " more; --format fdupes, csv or json names all"))
			break
		}
		inode := f
		inode.Path = ""
		if links[i] {
			fmt.Fprintf(w, "  %s %s\n", Printable(f.Path), s.Faint("(hard link to "+Printable(first[inode])+")"))
			continue
		}
		first[inode] = f.Path
		fmt.Fprintf(w, "  %s\n", Printable(f.Path))
	}
	fmt.Fprintln(w)
}

func writeProblems(w io.Writer, r dedupe.Report, s Style) {
	if len(r.Problems) == 0 {
		return
	}
	fmt.Fprintln(w, s.Bad(Count(int64(len(r.Problems)), "problem", "problems"))+": what is named here is in no group")
	for _, p := range r.Problems {
		fmt.Fprintf(w, "  %s\n", ProblemLine(p))
	}
	fmt.Fprintln(w)
}

func writeFound(w io.Writer, r dedupe.Report, s Style) {
	t := r.Stats
	if !r.Complete {
		fmt.Fprintln(w, s.Bad("Not complete: ")+"there may be more duplicates than these.")
	}
	switch {
	case t.DuplicateGroups > 0:
		fmt.Fprintf(w, "%s: %s of %s are copies of another, %s of %s reclaimable.\n",
			s.Strong(Count(t.DuplicateGroups, "duplicate group", "duplicate groups")), humanize.Comma(t.DuplicateFiles),
			Count(t.Files, "file", "files"), s.Strong(size(t.ReclaimableBytes)), size(t.Bytes))
	default:
		fmt.Fprintf(w, "%s among %s, %s.\n", s.Strong("No duplicates"), Count(t.Files, "file", "files"), size(t.Bytes))
	}
	known := ""
	if t.FilesKnown > 0 {
		known = fmt.Sprintf(", %s known from the index", Count(t.FilesKnown, "file", "files"))
	}
	cpu := fmt.Sprintf(", %s of CPU", elapsed(t.CPU))
	if t.CPUUnknown {
		cpu = ""
	}
	fmt.Fprintf(w, "Read %s in %s%s, %s listed; %s hashed, %s compared; took %s%s and %s of memory in %s, %s.\n",
		size(t.BytesRead), Count(t.Opens, "open", "opens"), known, Count(t.Directories, "directory", "directories"),
		Count(t.FilesHashed, "file", "files"), humanize.Comma(t.FilesCompared),
		elapsed(t.Elapsed), cpu, size(t.PeakMemory), r.Mode, Count(int64(r.Workers), "worker", "workers"))
	if t.CPUUnknown {
		fmt.Fprintln(w, "CPU time not known: another scan ran in the same process.")
	}
	if t.OpensSpared > 0 {
		fmt.Fprintf(w, "The index spared %s and %s.\n", Count(t.OpensSpared, "open", "opens"), size(t.BytesSpared))
	}
}

// writeBill writes a bill, or that with an index beside that without, and what is to
// be known of it.
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
	for _, warning := range p.Warnings() {
		fmt.Fprintf(w, "Note: %s.\n", strings.TrimSuffix(warning, "."))
	}
	return nil
}

// writeItems writes the items of a bill as a table, and which of them is most.
func writeItems(w io.Writer, p *cost.Projection, _ Style) error {
	b := p.Bill
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, item := range b.Items {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t\n", pad(item.Meter), commas(cost.Decimal(item.Quantity, 3))+" "+item.Unit,
			"× "+cost.Decimal(item.UnitPrice, 16), money(item.Cost))
	}
	fmt.Fprintf(table, "%s\t\t\t%s\t\n", pad("total, "+b.Currency), money(b.Total))
	if err := table.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w)
	if most, share := b.Largest(); share > 0 {
		fmt.Fprintf(w, "%s is %d%% of it.", most, share)
		if p.Usage.EFS.ReclaimableBytes > 0 {
			fmt.Fprintf(w, " Keeping the duplicates costs %s %s a month.", money(b.Reclaimable), b.Currency)
		}
		fmt.Fprintln(w)
	}
	return nil
}

// basis says what each call was taken to be.
func basis(u cost.Usage) string {
	parts := []string{fmt.Sprintf("each %s at %s MB, %s", elapsed(u.Lambda.Duration), humanize.Comma(u.Lambda.MemoryMB), u.Lambda.Arch)}
	if u.API == cost.HTTP || u.API == cost.REST {
		parts = append(parts, string(u.API)+" API")
	}
	parts = append(parts, string(u.EFS.Throughput)+" throughput")
	if u.FreeTier {
		parts = append(parts, "free tier")
	}
	return strings.Join(parts, ", ")
}

// pad sets a cell flush left in a table whose cells are flush right.
func pad(cell string) string { return fmt.Sprintf("  %-32s", cell) }

func money(amount *big.Rat) string { return commas(cost.Cents(amount)) }

// commas sets thousands apart in a decimal number.
func commas(decimal string) string {
	whole, fraction, hasFraction := strings.Cut(decimal, ".")
	if n, ok := new(big.Int).SetString(whole, 10); ok {
		whole = humanize.BigComma(n)
	}
	if hasFraction {
		return whole + "." + fraction
	}
	return whole
}

func size(bytes int64) string { return humanize.IBytes(uint64(bytes)) }

// Count writes a number of things, which are called one or many.
func Count(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return humanize.Comma(n) + " " + many
}

// elapsed keeps three digits or so of a duration.
func elapsed(d time.Duration) string {
	switch {
	case d >= 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d >= 100*time.Millisecond:
		return d.Round(time.Millisecond).String()
	}
	return d.Round(100 * time.Microsecond).String()
}
