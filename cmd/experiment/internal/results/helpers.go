package results

import (
	"fmt"
	"math"
	"math/big"
	"slices"
	"time"

	"github.com/dustin/go-humanize"

	"efsdedupe/dedupe/report"
)

// billed is what Lambda bills of a helper, as of a call.
func (h Helper) billed() time.Duration { return Call{Init: h.Init, Duration: h.Duration}.Billed() }

// paid is what Lambda bills of the main function. It does not wait for helpers that a state
// machine invokes.
func (c Call) paid(r *Series) time.Duration {
	if r.Transitions > 0 {
		c.Duration = max(0, c.Duration-c.Wait)
	}
	return c.Billed()
}

// paid is what Lambda bills of the main function's call, of those that took so long.
func (s *stats) paid(r *Series, took time.Duration) time.Duration {
	if r.Transitions > 0 {
		return Call{Duration: max(0, took-s.wait)}.Billed()
	}
	return took
}

// addTimes adds up durations of helpers.
func addTimes(helpers []Helper, of func(Helper) time.Duration) time.Duration {
	var sum time.Duration
	for _, h := range helpers {
		sum += of(h)
	}
	return sum
}

func (c Call) helpersBilled() time.Duration { return addTimes(c.Helpers, Helper.billed) }

func (c Call) helpersInit() time.Duration {
	return addTimes(c.Helpers, func(h Helper) time.Duration { return h.Init })
}

func (c Call) helpersCPU() time.Duration {
	return addTimes(c.Helpers, func(h Helper) time.Duration { return h.CPU })
}

// allCPU is the CPU time of a call and its helpers.
func (c Call) allCPU() time.Duration { return c.CPU + c.helpersCPU() }

// mostMemory is the most that the call or one of its helpers held at once.
func (c Call) mostMemory() int64 {
	most := c.PeakMemory
	for _, h := range c.Helpers {
		most = max(most, h.PeakMemory)
	}
	return most
}

// allReads is what a call and its helpers read.
func (c Call) allReads() Reads {
	all := c.Reads
	for _, h := range c.Helpers {
		all.Opens = addUp(all.Opens, h.Reads.Opens)
		all.BytesRead = addUp(all.BytesRead, h.Reads.BytesRead)
		all.MeteredReadBytes = addUp(all.MeteredReadBytes, h.Reads.MeteredReadBytes)
		all.MetadataOperations = addUp(all.MetadataOperations, h.Reads.MetadataOperations)
		all.Gets = addUp(all.Gets, h.Reads.Gets)
	}
	return all
}

// addUp adds two counts, and ends at the largest integer.
func addUp(a, b int64) int64 {
	if b > math.MaxInt64-a {
		return math.MaxInt64
	}
	return a + b
}

// idle is the share of the helpers' cores that is billed and not used. It is unknown
// without a box, which the result ok says.
func (s *stats) idle(helperMB int64) (share float64, ok bool) {
	if s == nil || s.helpersBilled == 0 || s.helpersBusy == 0 || helperMB <= 0 {
		return 0, false
	}
	cores := float64(helperMB) / vcpuMB
	return max(0, 1-float64(s.helpersBusy)/(float64(s.helpersBilled)*cores)), true
}

// waiting is the share of the main function's billed time in which it waits.
func (s *stats) waiting() float64 { return min(1, report.Ratio(s.wait, s.p50)) }

const helpersAbout = "Both sides of the bill, in USD a month. The main function invokes helpers and waits for them. INIT is the extra cost if every call is cold"

func (w *workload) helperHeads() []string {
	return []string{"mode", "MB", "main works", "main waits", "helpers work", "helpers idle", "idle, %", "requests", "transitions", "API", w.source(), "total", "INIT"}
}

// helperCells are both sides of the row's bill. All but the share and INIT add up to the
// total.
func (r *row) helperCells(helperMB int64, cents bool) []string {
	cells := append([]string{quoteUnprintable(r.Mode), humanize.Comma(r.MemoryMB)}, slices.Repeat([]string{none}, 11)...)
	s, b := r.basis(), r.bill
	idle, known := s.idle(helperMB)
	if known {
		cells[6] = fmt.Sprintf("%.0f", 100*idle)
	}
	if b == nil {
		return cells
	}
	main := new(big.Rat).Sub(b.lambda, b.helpers)
	waits := new(big.Rat)
	if r.Transitions == 0 {
		waits = portion(main, s.waiting())
	}
	cells[2], cells[3] = money(main.Sub(main, waits), cents), money(waits, cents)
	idles := portion(b.helpers, idle)
	cells[4] = money(new(big.Rat).Sub(b.helpers, idles), cents)
	if known {
		cells[5] = money(idles, cents)
	}
	cells[7] = money(new(big.Rat).Sub(b.requests, b.transitions), cents)
	for i, part := range []*big.Rat{b.transitions, b.gateway, b.files(), b.total} {
		cells[8+i] = money(part, cents)
	}
	if b, s := r.coldBill, r.cold; b != nil {
		init := portion(b.helpers, report.Ratio(s.helpersInit, s.helpersBilled))
		main := new(big.Rat).Sub(b.lambda, b.helpers)
		cells[12] = money(init.Add(init, portion(main, report.Ratio(s.init, s.p50))), cents)
	}
	return cells
}

// portion is a share of an amount, at most all of it.
func portion(amount *big.Rat, share float64) *big.Rat {
	p := new(big.Rat)
	p.SetFloat64(min(share, 1)) // it is finite
	return p.Mul(p, amount)
}

// helped are the rows with helpers.
func (w *workload) helped() []*row {
	return slices.DeleteFunc(w.rows(), func(r *row) bool { return r.Helpers == 0 || r.basis() == nil })
}

// gain is what helpers take and cost beyond goroutines, at one size of the main function.
type gain struct {
	sentence string
	memoryMB int64
	counts   []gained
	from     int // how many begin to pay off; 0 for none
}

// gained is what a number of helpers does.
type gained struct {
	*row
	idle       float64
	idleKnown  bool
	time, cost float64 // for each unit of goroutines'; 0 where unknown
}

// paysOff is the time that a call with helpers may take, for each unit of one without,
// for it to be worth having them.
const paysOff = 0.9

// gainOf compares helpers with goroutines where those are the best buy, or else at the
// smallest size that there is. It returns nil without helpers.
func gainOf(w *workload, s Setup) *gain {
	rows := slices.DeleteFunc(w.helped(), func(r *row) bool { return r.Transitions > 0 || !r.sound() })
	if len(rows) == 0 {
		return nil
	}
	g := gain{memoryMB: slices.MinFunc(rows, func(a, b *row) int { return int(a.MemoryMB - b.MemoryMB) }).MemoryMB}
	var alone *row
	if m := w.mode("goroutines"); m != nil {
		alone = bestBuy(slices.DeleteFunc(slices.Clone(m.rows), func(r *row) bool {
			return !r.sound() || !slices.ContainsFunc(rows, func(h *row) bool { return h.MemoryMB == r.MemoryMB })
		}))
	}
	if alone != nil {
		g.memoryMB = alone.MemoryMB
	}
	for _, r := range rows {
		if r.MemoryMB != g.memoryMB {
			continue
		}
		c := gained{row: r}
		c.idle, c.idleKnown = r.basis().idle(s.HelperMB)
		if alone != nil {
			c.time = report.Ratio(r.basis().p50, alone.basis().p50)
			if r.bill != nil && alone.bill != nil {
				c.cost = quotient(r.bill.total, alone.bill.total)
			}
			if g.from == 0 && c.time < paysOff {
				g.from = r.Helpers
			}
		}
		g.counts = append(g.counts, c)
	}
	g.sentence = g.say(alone)
	return &g
}

// say says in a sentence how idle helpers are, and in another where they pay off.
func (g *gain) say(alone *row) string {
	var shares []string
	for _, c := range g.counts {
		share := "an unknown part"
		if c.idleKnown {
			share = fmt.Sprintf("%.0f%%", 100*c.idle)
		}
		shares = append(shares, fmt.Sprintf("%s with %s", share, humanize.Comma(int64(c.Helpers))))
	}
	text := fmt.Sprintf("With a main function of %s, helpers' cores are idle for %s", size(g.memoryMB), list(shares))
	if alone == nil {
		return text + "."
	}
	return text + ". " + g.sayPay(alone)
}

func (g *gain) sayPay(alone *row) string {
	best := slices.MinFunc(g.counts, func(a, b gained) int { return byTime(a.row, b.row) })
	if g.from == 0 {
		return fmt.Sprintf("They do not pay off: at best, with %s, a call takes %s as long as in goroutines%s.",
			humanize.Comma(int64(best.Helpers)), times(best.time), best.price())
	}
	first := g.counts[slices.IndexFunc(g.counts, func(c gained) bool { return c.Helpers == g.from })]
	text := fmt.Sprintf("They start to pay off at %s: a call takes %s ms, not the %s ms of goroutines%s",
		humanize.Comma(int64(g.from)), ms(first.basis().p50), ms(alone.basis().p50), first.price())
	if best.Helpers != first.Helpers {
		text += fmt.Sprintf("; at %s it takes %s ms%s", humanize.Comma(int64(best.Helpers)), ms(best.basis().p50), best.price())
	}
	return text + "."
}

// price says how high the bill is, behind what it is for; nothing if that is not known.
func (c gained) price() string {
	switch {
	case c.cost == 0:
		return ""
	case math.Abs(c.cost-1) < 0.005:
		return ", for the same bill"
	}
	return ", for " + times(c.cost) + " the bill"
}

// waves says how many environments ran at once here, of how many, if not all did.
func (r *results) waves() []string {
	var notes []string
	most, least, helpers := 0, math.MaxInt, 0
	for _, row := range r.rows {
		if row.AtOnce > 0 && row.Helpers > 0 {
			most, least, helpers = max(most, row.AtOnce), min(least, row.AtOnce), max(helpers, row.Helpers)
		}
	}
	if slices.ContainsFunc(r.rows, func(row row) bool { return row.Transitions > 0 }) {
		notes = append(notes, "In the mode helpers-stepfunctions a state machine invokes the helpers, and then the main function, which is billed only for joining their answers. "+
			"Its time is that of the slowest helper and of the join: what Step Functions takes besides was not measured. It runs on an emulator.")
	}
	if helpers > 0 {
		notes = append(notes, fmt.Sprintf("A helper is a function of %s that the main function invokes. On Lambda all run at once; here %s at once, in up to %s: "+
			"what the main function waits is computed as if each had begun when it was invoked. Invoking takes no time but that of HTTP on this machine; on Lambda it takes milliseconds more.",
			size(r.Setup.HelperMB), ran(least, most), report.Count(int64((helpers+least-1)/least), "wave", "waves")))
	}
	most, least = 0, math.MaxInt
	for _, row := range r.rows {
		if row.AtOnce > 0 && row.Helpers == 0 {
			most, least = max(most, row.AtOnce), min(least, row.AtOnce)
		}
	}
	if n := r.Setup.Instances; n > 1 && most > 0 && least < n {
		notes = append(notes, fmt.Sprintf("Of the %s instances of a run, %s at once, in up to %s. On Lambda all do, and share what EFS and the server can do.",
			humanize.Comma(int64(n)), ran(least, most), report.Count(int64((n+least-1)/least), "wave", "waves")))
	}
	return notes
}

// ran says how many ran.
func ran(least, most int) string {
	switch {
	case most == 1:
		return "one ran"
	case least == most:
		return humanize.Comma(int64(most)) + " ran"
	}
	return fmt.Sprintf("%s to %s ran", humanize.Comma(int64(least)), humanize.Comma(int64(most)))
}

func (g *gain) json() *gainJSON {
	if g == nil {
		return nil
	}
	doc := &gainJSON{Sentence: g.sentence, MemoryMB: g.memoryMB, From: g.from, Counts: make([]gainedJSON, len(g.counts))}
	for i, c := range g.counts {
		doc.Counts[i] = gainedJSON{Helpers: c.Helpers, Wait: c.basis().waiting(), Time: c.time, Cost: c.cost}
		if c.idleKnown {
			doc.Counts[i].Idle = &c.idle
		}
	}
	return doc
}
