package results

import (
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"efsdedupe/dedupe/cost"
	"efsdedupe/dedupe/report"
)

// none stands in a table for what was not measured or can't be priced.
const none = "–"

// heads are what stands above the cells of a row, in two lines.
func (w *workload) heads() (names, units []string) {
	names = []string{"", "p50", "p95", "±", "cold", "CPU", "peak", "per 1M", "Lambda", "req.", "API", w.source(), "total", "cost", "time"}
	units = []string{"MB", "ms", "ms", "%", "ms", "ms", "MiB", "USD", "USD", "USD", "USD", "USD", "USD", "×", "×"}
	return names, units
}

// source is where tasks read files from.
func (w *workload) source() string {
	if slices.ContainsFunc(w.rows(), func(r *row) bool { return r.bill != nil && r.bill.s3.Sign() > 0 }) {
		return "S3"
	}
	return "EFS"
}

// cells are the row's figures, in the order of heads.
func (r *row) cells(cents bool) []string {
	cells := slices.Repeat([]string{none}, 15)
	cells[0] = humanize.Comma(r.MemoryMB)
	if s := r.basis(); s != nil {
		cells[1], cells[2] = ms(s.p50), ms(s.p95)
		cells[3] = fmt.Sprintf("%.0f", 100*report.Ratio(s.most-s.least, s.p50))
		cells[5], cells[6] = unless0(s.cpu, ms), unless0(s.peakMemory, mib)
	}
	if r.cold != nil {
		cells[4] = ms(r.cold.p50)
	}
	if b := r.bill; b != nil {
		cells[7] = money(b.million, true)
		for i, part := range []*big.Rat{b.lambda, b.requests, b.gateway, b.files(), b.total} {
			cells[8+i] = money(part, cents)
		}
	}
	cells[13], cells[14] = unless0(r.costRatio, toBest), unless0(r.timeRatio, toBest)
	return cells
}

// small reports whether all bills of the workload are below 10,000 dollars: in
// larger ones cents only take room.
func (w *workload) small() bool {
	return !slices.ContainsFunc(w.rows(), func(r *row) bool { return r.bill != nil && r.bill.total.Cmp(big.NewRat(10_000, 1)) >= 0 })
}

const runsAbout = "All instances of a run together, median run, and the slowest instance of all runs"

func runHeads() []string {
	return []string{"mode", "memory MB", "calls", "USD", "median instance ms", "slowest ms"}
}

// runCells are the figures of a typical run.
func (r *row) runCells() []string {
	t, usd := typical(r.runs), none
	if t.cost != nil {
		usd = report.Commas(cost.Decimal(t.cost, 6))
	}
	return []string{quoteUnprintable(r.Mode), humanize.Comma(r.MemoryMB), humanize.Comma(int64(t.calls)), usd, ms(t.median), ms(t.slowest)}
}

func unless0[N int64 | float64 | time.Duration](n N, print func(N) string) string {
	if n == 0 {
		return none
	}
	return print(n)
}

func ms(d time.Duration) string { return humanize.Comma(d.Round(time.Millisecond).Milliseconds()) }

// mib prints bytes in MiB, those below 10 with a decimal.
func mib(bytes int64) string {
	if m := float64(bytes) / (1 << 20); m < 9.95 {
		return fmt.Sprintf("%.1f", m)
	}
	return humanize.Comma((bytes + 1<<19) >> 20)
}

// toBest prints a ratio to the best; only the best, and its equals, are 1.
func toBest(x float64) string {
	switch {
	case x == 1:
		return "1"
	case x < 99.95:
		return fmt.Sprintf("%.2f", x)
	}
	return humanize.Comma(int64(x + 0.5))
}

func size(memoryMB int64) string { return humanize.Comma(memoryMB) + " MB" }

// status says what a reader of the row's figures must know; it is empty for a row
// of warm calls that all succeeded.
func status(r *row) string {
	var parts []string
	switch {
	case len(r.Calls) == 0:
		return "no calls"
	case r.lost():
		return "ALL FAILED: " + failures(r)
	case r.bad() > 0:
		parts = append(parts, failures(r))
	}
	if r.warm == nil {
		parts = append(parts, "cold only")
	}
	return strings.Join(parts, " ")
}

// failures counts the calls that failed: "OOM 2/15".
func failures(r *row) string {
	var parts []string
	for _, kind := range []struct {
		outcome Outcome
		name    string
	}{{OutOfMemory, "OOM"}, {TimedOut, "timeout"}, {Failed, "error"}} {
		if n := ended(r.Calls, kind.outcome); n > 0 {
			parts = append(parts, fmt.Sprintf("%s %d/%d", kind.name, n, len(r.Calls)))
		}
	}
	return strings.Join(parts, " ")
}

// problems says why calls failed, a line for each row and reason.
func (w *workload) problems() []string {
	var lines []string
	for _, r := range w.rows() {
		count := make(map[string]int)
		var reasons []string
		for _, c := range r.Calls {
			if c.Outcome == OK {
				continue
			}
			why := string(c.Outcome)
			if c.Error != "" {
				why += ": " + quoteUnprintable(c.Error)
			}
			if count[why]++; count[why] == 1 {
				reasons = append(reasons, why)
			}
		}
		for _, why := range reasons {
			lines = append(lines, fmt.Sprintf("%s at %s, %d of %d calls: %s", quoteUnprintable(r.Mode), size(r.MemoryMB), count[why], len(r.Calls), why))
		}
	}
	return lines
}

// verdict is what the modes of a workload come to, a line of cells for each.
func (w *workload) verdict() [][]string {
	var lines [][]string
	for _, m := range w.modes {
		sound := slices.DeleteFunc(slices.Clone(m.rows), func(r *row) bool { return !r.sound() })
		cells := []string{quoteUnprintable(m.name), none, none, none}
		if r := m.cheapest; r != nil {
			cells[1] = fmt.Sprintf("%s, %s USD/1M", size(r.MemoryMB), money(r.bill.million, true))
		}
		if r := m.fastest; r != nil {
			cells[2] = fmt.Sprintf("%s, %s ms", size(r.MemoryMB), ms(r.basis().p50))
		}
		if r := m.knee; r != nil {
			cells[3] = fmt.Sprintf("%s, %s ms", size(r.MemoryMB), ms(r.basis().p50))
		} else if len(sound) > 1 {
			cells[3] = "beyond " + size(sound[len(sound)-1].MemoryMB)
		}
		lines = append(lines, cells)
	}
	return lines
}
