package results

import (
	"cmp"
	"math"
	"slices"

	"efsdedupe/dedupe/report"
)

// judge compares the rows of a workload with each other.
func (w *workload) judge(s Setup) {
	cheap, fast := cheapest(w.rows()), best(w.rows(), byTime)
	for _, r := range w.rows() {
		if !r.sound() {
			continue
		}
		if r.bill != nil {
			r.costRatio = quotient(r.bill.total, cheap.bill.total)
		}
		r.timeRatio = report.Ratio(r.basis().p50, fast.basis().p50)
	}
	for i := range w.modes {
		m := &w.modes[i]
		m.cheapest, m.fastest, m.knee = cheapest(m.rows), best(m.rows, byTime), knee(m.rows)
	}
	w.penalty, w.gain = penaltyOf(w, s), gainOf(w, s)
}

// best returns the least of the rows without a failed call, the first of equals;
// nil if there is none.
func best(rows []*row, by func(a, b *row) int) *row {
	var least *row
	for _, r := range rows {
		if r.sound() && (least == nil || by(r, least) < 0) {
			least = r
		}
	}
	return least
}

// cheapest is best of the rows that have a price.
func cheapest(rows []*row) *row {
	if r := best(rows, byCost); r != nil && r.bill != nil {
		return r
	}
	return nil
}

func byTime(a, b *row) int { return cmp.Compare(a.basis().p50, b.basis().p50) }

// byCost puts rows without a price last.
func byCost(a, b *row) int {
	switch {
	case a.bill != nil && b.bill != nil:
		return a.bill.total.Cmp(b.bill.total)
	case a.bill != nil:
		return -1
	case b.bill != nil:
		return 1
	}
	return 0
}

// kneeGain is the least part of the time that doubling the memory must take off
// to be worth it. Lambda's price of a second doubles too.
const kneeGain = 0.10

// knee returns the smallest size from which no larger one pays: none takes off at
// least kneeGain of the time for each doubling of memory. All larger sizes are
// asked, not the next alone, so that one slow row does not make a knee; and
// doublings are counted, not steps, so that it does not matter which sizes there
// are in between. It returns nil where the largest size still pays: the knee, if
// there is one, is beyond it.
func knee(rows []*row) *row {
	rows = slices.DeleteFunc(slices.Clone(rows), func(r *row) bool { return !r.sound() })
	for i, r := range rows[:max(len(rows)-1, 0)] {
		if !slices.ContainsFunc(rows[i+1:], func(larger *row) bool { return pays(r, larger) }) {
			return r
		}
	}
	return nil
}

func pays(small, large *row) bool {
	doublings := math.Log2(float64(large.MemoryMB) / float64(small.MemoryMB))
	return report.Ratio(large.basis().p50, small.basis().p50) <= math.Pow(1-kneeGain, doublings)
}

func (w *workload) mode(name string) *mode {
	for i := range w.modes {
		if w.modes[i].name == name {
			return &w.modes[i]
		}
	}
	return nil
}

func (m *mode) at(memoryMB int64) *row {
	for _, r := range m.rows {
		if r.MemoryMB == memoryMB {
			return r
		}
	}
	return nil
}
