package results

import (
	"cmp"
	"slices"
	"time"

	"efsdedupe/dedupe/cost"
)

// Billed is what Lambda bills of a call: INIT and duration together, in whole
// milliseconds, at least one. Source: AWS Lambda pricing; INIT since 2025-08.
func (c Call) Billed() time.Duration {
	return max(cost.BilledDuration(c.Init+c.Duration), time.Millisecond)
}

// vcpuMB is the memory of a function that has one whole vCPU.
// Source: AWS Lambda Developer Guide, Configure function memory.
const vcpuMB = 1769

// ofQuota is the CPU time of a call as a share of what its memory entitles it to.
func (c Call) ofQuota(memoryMB int64) float64 {
	if c.CPU == 0 {
		return 0
	}
	entitled := float64(c.Init+c.Duration) * float64(memoryMB) / vcpuMB
	return float64(c.CPU) / max(entitled, 1)
}

// stats is what the cold calls of a series come to, or the warm ones.
type stats struct {
	calls                         int
	outOfMemory, timeouts, failed int // of calls

	p50, p95, least, most time.Duration // billed
	init, cpu             time.Duration // p50
	ofQuota               float64       // p50
	peakMemory            int64         // the most of any call
	reads                 Reads         // p50 of what is metered

	helpers                                 int           // p50, of a call
	wait                                    time.Duration // p50, of the main function for its helpers
	helpersBilled, helpersInit, helpersBusy time.Duration // p50, of all helpers of a call: busy is their CPU time
}

// statsOf returns nil for no calls.
func statsOf(calls []Call, memoryMB int64) *stats {
	if len(calls) == 0 {
		return nil
	}
	billed := each(calls, Call.Billed)
	return &stats{
		calls:       len(calls),
		outOfMemory: ended(calls, OutOfMemory),
		timeouts:    ended(calls, TimedOut),
		failed:      ended(calls, Failed),
		p50:         percentile(billed, 50),
		p95:         percentile(billed, 95),
		least:       slices.Min(billed),
		most:        slices.Max(billed),
		init:        percentile(each(calls, func(c Call) time.Duration { return c.Init }), 50),
		cpu:         percentile(each(calls, Call.allCPU), 50),
		ofQuota:     percentile(each(calls, func(c Call) float64 { return c.ofQuota(memoryMB) }), 50),
		peakMemory:  slices.Max(each(calls, Call.mostMemory)),
		reads: Reads{
			MeteredReadBytes:   percentile(each(calls, func(c Call) int64 { return c.allReads().MeteredReadBytes }), 50),
			MetadataOperations: percentile(each(calls, func(c Call) int64 { return c.allReads().MetadataOperations }), 50),
			Gets:               percentile(each(calls, func(c Call) int64 { return c.allReads().Gets }), 50),
		},

		helpers:       percentile(each(calls, func(c Call) int { return len(c.Helpers) }), 50),
		wait:          percentile(each(calls, func(c Call) time.Duration { return c.Wait }), 50),
		helpersBilled: percentile(each(calls, Call.helpersBilled), 50),
		helpersInit:   percentile(each(calls, Call.helpersInit), 50),
		helpersBusy:   percentile(each(calls, Call.helpersCPU), 50),
	}
}

// ended is how many of the calls had an outcome.
func ended(calls []Call, as Outcome) int {
	n := 0
	for _, c := range calls {
		if c.Outcome == as {
			n++
		}
	}
	return n
}

// percentile is the nearest-rank percentile: the least of the values that p in
// 100 of them are not above. It is one of the values; the median of an even
// number of them is the lower of the two in the middle.
func percentile[T cmp.Ordered](values []T, p int) T {
	return percentileFunc(values, p, cmp.Compare)
}

func percentileFunc[T any](values []T, p int, compare func(a, b T) int) T {
	sorted := slices.SortedFunc(slices.Values(values), compare)
	return sorted[(p*len(sorted)+99)/100-1]
}

func each[T any](calls []Call, of func(Call) T) []T {
	values := make([]T, len(calls))
	for i, c := range calls {
		values[i] = of(c)
	}
	return values
}

// row is what the calls of a series come to: a row of the table.
type row struct {
	*Series
	cold, warm     *stats // nil where there are no such calls
	bill, coldBill *bill  // of basis, and of cold; nil where they can't be priced

	costRatio, timeRatio float64 // to the best of the workload; 0 where one is not known

	runs []run // where a run has several instances
}

func rowOf(s *Series, p *pricer) row {
	var cold, warm []Call
	for _, c := range s.Calls {
		if c.Cold {
			cold = append(cold, c)
		} else {
			warm = append(warm, c)
		}
	}
	r := row{Series: s, cold: statsOf(cold, s.MemoryMB), warm: statsOf(warm, s.MemoryMB)}
	r.coldBill = p.bill(s, r.cold)
	r.bill = p.bill(s, r.basis())
	if p.setup.Instances > 1 {
		r.runs = runsOf(s, p)
	}
	return r
}

// basis is the calls that stand for the row: the warm ones, or, where there are
// none, the cold ones. It is nil without any.
func (r *row) basis() *stats {
	if r.warm != nil {
		return r.warm
	}
	return r.cold
}

// bad is how many of the calls failed, however.
func (r *row) bad() int { return len(r.Calls) - ended(r.Calls, OK) }

// sound reports whether the row may compete: it has calls, and none failed.
func (r *row) sound() bool { return len(r.Calls) > 0 && r.bad() == 0 }

// lost reports whether no call succeeded, be it that there was none.
func (r *row) lost() bool { return r.bad() == len(r.Calls) }
