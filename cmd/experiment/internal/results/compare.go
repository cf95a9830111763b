package results

import (
	"bufio"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"efsdedupe/dedupe/report"

	"golang.org/x/perf/benchmath"
)

// WriteComparison writes, for each row that two experiments have in common, what
// the new one takes and costs for each unit of the old one, and names the rows
// that only one of them has. A change of the time is told from noise as benchstat
// does it: by a Mann-Whitney U test of the billed times, below p = 0.05. Where
// machines or setups differ, figures can't be compared, and it says in what.
func WriteComparison(w io.Writer, before, after Experiment, colour bool) error {
	b, s := bufio.NewWriter(w), newStyle(colour)
	fmt.Fprintf(b, "before: %s\nafter:  %s\n", before.origin(), after.origin())
	differ := differences("machine", before.Machine, after.Machine)
	before.Setup.Runs = after.Setup.Runs // more of the same
	differ = append(differ, differences("setup", setupOf(before.Setup), setupOf(after.Setup))...)
	for _, d := range differ {
		fmt.Fprintf(b, "%s %s\n", s.Bad("not comparable:"), d)
	}
	if err := writePairs(b, compute(before), compute(after), s); err != nil {
		return err
	}
	return b.Flush()
}

// origin says when, and by what, an experiment was made.
func (e *Experiment) origin() string {
	return e.Started.UTC().Format("2006-01-02 15:04 UTC, ") + quoteUnprintable(e.Version)
}

// differences names the fields in which two structs differ, as JSON calls them.
func differences[T any](what string, before, after T) []string {
	var lines []string
	a, b := reflect.ValueOf(before), reflect.ValueOf(after)
	for i := range a.NumField() {
		x, y := a.Field(i).Interface(), b.Field(i).Interface()
		if x != y {
			name, _, _ := strings.Cut(a.Type().Field(i).Tag.Get("json"), ",")
			lines = append(lines, fmt.Sprintf("%s.%s was %s, is %s", what, name, shown(x), shown(y)))
		}
	}
	return lines
}

func shown(v any) string {
	if d, ok := v.(milliseconds); ok {
		return time.Duration(d).String()
	}
	return quoteUnprintable(fmt.Sprint(v))
}

// writePairs writes a line for each row that both have, and names the others.
func writePairs(b io.Writer, before, after *results, s style) error {
	width := 0
	old := make(map[string]*row)
	for i := range before.rows {
		old[before.rows[i].name()] = &before.rows[i]
	}
	for i := range after.rows {
		width = max(width, utf8.RuneCountInString(after.rows[i].name()))
	}
	table := tabwriter.NewWriter(b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(table, "%*s\tbefore\tafter\ttime\tCPU\tpeak\tcost\t\n", width, "")
	fmt.Fprintln(table, "\tms\tms\t×\t×\t×\t×\t")
	var added []string
	for i := range after.rows {
		y := &after.rows[i]
		x := old[y.name()]
		if x == nil {
			added = append(added, y.name())
			continue
		}
		delete(old, y.name())
		cells, change := pair(x, y, s)
		fmt.Fprintf(table, "%-*s\t%s\t  %s\n", width, y.name(), strings.Join(cells, "\t"), change)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for i := range before.rows {
		if name := before.rows[i].name(); old[name] != nil {
			fmt.Fprintf(b, "only before: %s\n", name)
		}
	}
	for _, name := range added {
		fmt.Fprintf(b, "only after: %s\n", name)
	}
	return nil
}

func (r *row) name() string {
	return fmt.Sprintf("%s %s %s", quoteUnprintable(r.Workload), quoteUnprintable(r.Mode), size(r.MemoryMB))
}

// pair is a line of the comparison: its cells, and what has changed in words. Only
// calls of one kind, warm or cold, are compared.
func pair(x, y *row, s style) (cells []string, change string) {
	cells = slices.Repeat([]string{none}, 6)
	if x.basis() == nil || y.basis() == nil || (x.warm == nil) != (y.warm == nil) {
		return cells, "not of the same kind: " + x.kind() + ", now " + y.kind()
	}
	a, b := x.basis(), y.basis()
	cells[0], cells[1] = ms(a.p50), ms(b.p50)
	cells[2] = unless0(report.Ratio(b.p50, a.p50), times2)
	cells[3] = unless0(report.Ratio(b.cpu, a.cpu), times2)
	cells[4] = unless0(report.Ratio(b.peakMemory, a.peakMemory), times2)
	if x.bill != nil && y.bill != nil {
		cells[5] = unless0(quotient(y.bill.total, x.bill.total), times2)
	}
	change = x.change(y, s)
	if x.bad()+y.bad() > 0 {
		change += fmt.Sprintf(", failed %d/%d, now %d/%d", x.bad(), len(x.Calls), y.bad(), len(y.Calls))
	}
	return cells, change
}

// change says whether y takes longer than r, beyond noise.
func (r *row) change(y *row, s style) string {
	c := benchmath.AssumeNothing.Compare(r.sample(), y.sample())
	switch {
	case c.P > c.Alpha && len(c.Warnings) > 0:
		return "~ " + c.Warnings[0].Error()
	case c.P > c.Alpha:
		return "~ " + pValue(c.P)
	case y.basis().p50 > r.basis().p50:
		return s.Bad("slower") + ", " + pValue(c.P)
	default:
		return s.Strong("faster") + ", " + pValue(c.P)
	}
}

func pValue(p float64) string {
	if p < 0.001 {
		return "p<0.001"
	}
	return fmt.Sprintf("p=%.3f", p)
}

// sample is the billed times of the calls that stand for the row.
func (r *row) sample() *benchmath.Sample {
	var values []float64
	for _, c := range r.Calls {
		if c.Cold == (r.warm == nil) {
			values = append(values, float64(c.Billed()))
		}
	}
	return benchmath.NewSample(values, &benchmath.DefaultThresholds)
}

func (r *row) kind() string {
	switch {
	case r.warm != nil:
		return "warm calls"
	case r.cold != nil:
		return "cold calls"
	}
	return "no calls"
}

func times2(x float64) string { return fmt.Sprintf("%.2f", x) }
