package results

import (
	"fmt"
	"math"
	"math/big"
	"slices"
	"strings"

	"efsdedupe/dedupe/report"

	"github.com/dustin/go-humanize"
)

// penalty is what processes take and cost beyond goroutines, at one size.
type penalty struct {
	sentence string

	memoryMB          int64 // 0 where there is no size to compare them at, and no figures then
	time, cpu, memory float64
	bill              *float64 // processes' more, or less, as a share of goroutines'; nil without prices
}

// sameBill is how much more a size may cost and still be as cheap: what one bill
// differs from the next when the same thing is measured again.
const sameBill = 0.01

// penaltyOf compares processes with goroutines at the size that who pays would
// choose for goroutines: of those that cost the least, or within sameBill of it,
// the fastest. Sizes at which one of the two had a failed call are named instead.
// It returns nil if the workload has not both modes.
func penaltyOf(w *workload, s Setup) *penalty {
	goroutines, processes := w.mode("goroutines"), w.mode("processes")
	if processes == nil {
		processes = w.mode("processes-per-task")
	}
	if goroutines == nil || processes == nil {
		return nil
	}
	var v penalty
	var clauses []string
	both := slices.DeleteFunc(slices.Clone(goroutines.rows), func(g *row) bool {
		p := processes.at(g.MemoryMB)
		return p == nil || !p.sound() || !g.sound()
	})
	if g := bestBuy(both); g != nil {
		clauses = append(clauses, v.compare(g, processes.at(g.MemoryMB), s)...)
	} else {
		clauses = append(clauses, "at no size did both goroutines and "+processes.name+" run without a failed call")
	}
	for _, r := range slices.Concat(goroutines.rows, processes.rows) {
		if r.bad() > 0 {
			clauses = append(clauses, fmt.Sprintf("at %s %s failed (%s)", size(r.MemoryMB), r.Mode, failures(r)))
		}
	}
	text := strings.Join(clauses, "; ")
	v.sentence = strings.ToUpper(text[:1]) + text[1:] + "."
	return &v
}

// bestBuy is the fastest of the rows that cost the least, or within sameBill of
// it; the fastest of all where there are no prices.
func bestBuy(rows []*row) *row {
	least := cheapest(rows)
	return best(slices.DeleteFunc(rows, func(r *row) bool {
		return least != nil && (r.bill == nil || quotient(r.bill.total, least.bill.total) > 1+sameBill)
	}), byTime)
}

// compare fills in what p takes and costs beyond g, which ran at the same size,
// and says it in clauses of a sentence.
func (v *penalty) compare(g, p *row, s Setup) []string {
	a, b := g.basis(), p.basis()
	v.memoryMB = g.MemoryMB
	v.time, v.cpu, v.memory = report.Ratio(b.p50, a.p50), report.Ratio(b.cpu, a.cpu), report.Ratio(b.peakMemory, a.peakMemory)
	takes := []string{times(v.time) + " the time"}
	if v.cpu > 0 {
		takes = append(takes, times(v.cpu)+" the CPU time")
	}
	if v.memory > 0 {
		takes = append(takes, times(v.memory)+" the memory")
	}
	where := "at " + size(g.MemoryMB)
	if g.bill == nil || p.bill == nil || g.bill.total.Sign() == 0 {
		return []string{fmt.Sprintf("%s, the fastest size for goroutines, %s take %s of goroutines", where, crowd(p, s), list(takes))}
	}
	more := quotient(new(big.Rat).Sub(p.bill.total, g.bill.total), g.bill.total)
	v.bill = &more
	return []string{
		fmt.Sprintf("%s, the best buy for goroutines, %s take %s of goroutines", where, crowd(p, s), list(takes)),
		moved(more, g.bill),
	}
}

// crowd says how many processes a call has.
func crowd(p *row, s Setup) string {
	if p.Mode == "processes" {
		return fmt.Sprintf("%s processes", humanize.Comma(int64(min(s.Tasks, s.Workers))))
	}
	return fmt.Sprintf("%s processes, one for each task,", humanize.Comma(int64(s.Tasks)))
}

// moved says how much goroutines' bill changes, and what most of it is for.
func moved(share float64, b *bill) string {
	most, part := b.largest()
	of := fmt.Sprintf("%s%% of which is %s", roundedPercent(part), most)
	switch {
	case math.Abs(share) < 0.0005:
		return "that moves less than 0.1% of the bill, " + of
	case share >= 1:
		return fmt.Sprintf("that makes the bill %s as high, %s", times(1+share), of)
	case share > 0:
		return fmt.Sprintf("that adds %s%% to the bill, %s", roundedPercent(share), of)
	default:
		return fmt.Sprintf("that takes %s%% off the bill, %s", roundedPercent(-share), of)
	}
}

// largest is what most of a bill is for, and its share.
func (b *bill) largest() (string, float64) {
	name, most := "Lambda's duration", b.lambda
	for _, part := range []struct {
		name string
		cost *big.Rat
	}{{"EFS", b.efs}, {"S3", b.s3}, {"API Gateway", b.gateway}, {"Lambda's requests", b.requests}} {
		if part.cost.Cmp(most) > 0 {
			name, most = part.name, part.cost
		}
	}
	return name, quotient(most, b.total)
}

// roundedPercent prints a share of at most 1 in percent: below 10 with one decimal, and
// what is not all as 99 at most.
func roundedPercent(share float64) string {
	switch p := share * 100; {
	case p < 9.95:
		return fmt.Sprintf("%.1f", p)
	case p < 100:
		return fmt.Sprintf("%.0f", min(p, 99))
	default:
		return "100"
	}
}

// times prints a ratio as two digits or three: "0.93 times", "3.1 times".
func times(x float64) string {
	switch {
	case x < 1.995:
		return fmt.Sprintf("%.2f times", x)
	case x < 9.95:
		return fmt.Sprintf("%.1f times", x)
	default:
		return humanize.Comma(int64(x+0.5)) + " times"
	}
}

// list is "a", "a and b", or "a, b and c".
func list(items []string) string {
	last := len(items) - 1
	if last < 1 {
		return strings.Join(items, "")
	}
	return strings.Join(items[:last], ", ") + " and " + items[last]
}
