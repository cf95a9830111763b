package results

import (
	"testing"
	"time"
)

func TestBilled(t *testing.T) {
	for _, test := range []struct{ init, duration, want time.Duration }{
		{0, 0, time.Millisecond}, // no call is free
		{0, 1, time.Millisecond},
		{0, time.Millisecond, time.Millisecond},
		{0, time.Millisecond + 1, 2 * time.Millisecond},
		{600 * time.Microsecond, 600 * time.Microsecond, 2 * time.Millisecond}, // rounded once
		{100 * time.Millisecond, 200*time.Millisecond + 1, 301 * time.Millisecond},
	} {
		if got := (Call{Init: test.init, Duration: test.duration}).Billed(); got != test.want {
			t.Errorf("INIT of %v and duration of %v: billed %v, want %v", test.init, test.duration, got, test.want)
		}
	}
}

// The first two lists are the examples of Wikipedia's article on percentiles, of
// the nearest-rank method.
func TestPercentile(t *testing.T) {
	for _, test := range []struct {
		values  []int
		p, want int
	}{
		{[]int{15, 20, 35, 40, 50}, 5, 15},
		{[]int{15, 20, 35, 40, 50}, 30, 20},
		{[]int{50, 20, 35, 40, 15}, 40, 20},
		{[]int{15, 20, 35, 40, 50}, 50, 35},
		{[]int{15, 20, 35, 40, 50}, 100, 50},
		{[]int{3, 6, 7, 8, 8, 10, 13, 15, 16, 20}, 25, 7},
		{[]int{3, 6, 7, 8, 8, 10, 13, 15, 16, 20}, 50, 8},
		{[]int{3, 6, 7, 8, 8, 10, 13, 15, 16, 20}, 75, 15},
		{[]int{3, 6, 7, 8, 8, 9, 10, 13, 15, 16, 20}, 50, 9},
		{[]int{7}, 50, 7},
		{[]int{7}, 95, 7},
		{[]int{2, 1}, 50, 1},
		{[]int{2, 1}, 95, 2},
		{[]int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20}, 95, 19},
		{[]int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21}, 95, 20},
	} {
		if got := percentile(test.values, test.p); got != test.want {
			t.Errorf("p%d of %v is %d, want %d", test.p, test.values, got, test.want)
		}
	}
}

// known is a series of which all figures are known: two cold calls and five warm
// ones, one of which timed out.
func known() Series {
	ms := time.Millisecond
	warm := func(run int, d, cpu time.Duration, peak, read, metadata int64) Call {
		return Call{Run: run, Outcome: OK, Duration: d, CPU: cpu, PeakMemory: peak, Reads: Reads{MeteredReadBytes: read, MetadataOperations: metadata}}
	}
	calls := []Call{
		{Cold: true, Outcome: OK, Init: 100*ms + 1, Duration: 400 * ms, CPU: 125 * ms, PeakMemory: 5},
		warm(0, 299*ms+1, 30*ms, 10, 100*mebi, 300), // 300 are billed
		warm(0, 310*ms, 31*ms, 40, 101*mebi, 301),
		{Cold: true, Outcome: OutOfMemory, Init: 50 * ms, Duration: 700 * ms, CPU: 125 * ms, PeakMemory: 20},
		warm(1, 250*ms, 29*ms, 30, 99*mebi, 300),
		warm(1, 280*ms, 35*ms, 20, 90*mebi, 100),
		warm(1, 1000*ms, 500*ms, 20, 200*mebi, 900),
	}
	calls[6].Outcome = TimedOut
	return Series{Workload: "scan", Mode: "goroutines", MemoryMB: 1769, Calls: calls}
}

func TestStats(t *testing.T) {
	s := known()
	r := rowOf(&s, newPricer(setup()))
	ms := time.Millisecond
	warm := stats{
		calls: 5, timeouts: 1,
		p50: 300 * ms, p95: 1000 * ms, least: 250 * ms, most: 1000 * ms,
		cpu: 31 * ms, ofQuota: 29.0 / 250, // at 1,769 MB the quota is the time: 0.1003, 0.1, 0.116, 0.125, 0.5
		peakMemory: 40, reads: Reads{MeteredReadBytes: 100 * mebi, MetadataOperations: 300},
	}
	cold := stats{
		calls: 2, outOfMemory: 1,
		p50: 501 * ms, p95: 750 * ms, least: 501 * ms, most: 750 * ms,
		init: 50 * ms, cpu: 125 * ms, ofQuota: 125.0 / 750, peakMemory: 20,
	}
	if *r.warm != warm {
		t.Errorf("warm %+v, want %+v", *r.warm, warm)
	}
	if *r.cold != cold {
		t.Errorf("cold %+v, want %+v", *r.cold, cold)
	}
	if r.basis() != r.warm || r.bad() != 2 || r.sound() || r.lost() {
		t.Errorf("%d bad, sound %t, lost %t", r.bad(), r.sound(), r.lost())
	}

	s.Calls = s.Calls[:1]
	if r := rowOf(&s, newPricer(setup())); r.warm != nil || r.basis() != r.cold || !r.sound() || status(&r) != "cold only" {
		t.Errorf("of one cold call: %+v", r)
	}
	s.Calls = nil
	if r := rowOf(&s, newPricer(setup())); r.basis() != nil || r.bill != nil || r.sound() || status(&r) != "no calls" {
		t.Errorf("of no calls: %+v", r)
	}
}

// The quota is memory/1,769 of a core for the time of INIT and duration.
func TestOfQuota(t *testing.T) {
	for _, test := range []struct {
		call   Call
		memory int64
		want   float64
	}{
		{Call{Duration: time.Second}, 1769, 0}, // not measured
		{Call{Duration: time.Second, CPU: time.Second}, 1769, 1},
		{Call{Duration: time.Second, CPU: time.Second}, 3538, 0.5},
		{Call{Init: 3 * time.Second, Duration: time.Second, CPU: time.Second}, 1769, 0.25},
	} {
		if got := test.call.ofQuota(test.memory); got != test.want {
			t.Errorf("%+v at %d MB uses %v of its quota, want %v", test.call, test.memory, got, test.want)
		}
	}
	if got := (Call{CPU: 1}).ofQuota(128); got != 1 {
		t.Errorf("CPU in no time is %v", got)
	}
}

func TestStatus(t *testing.T) {
	calls := func(outcomes ...Outcome) []Call {
		var all []Call
		for i, o := range outcomes {
			all = append(all, Call{Cold: i == 0, Outcome: o})
		}
		return all
	}
	for _, test := range []struct {
		calls []Call
		want  string
	}{
		{calls(OK, OK), ""},
		{calls(OK, TimedOut, OutOfMemory, OutOfMemory, Failed), "OOM 2/5 timeout 1/5 error 1/5"},
		{calls(Failed), "ALL FAILED: error 1/1"},
		{calls(OutOfMemory, TimedOut), "ALL FAILED: OOM 1/2 timeout 1/2"},
	} {
		s := Series{MemoryMB: 128, Calls: test.calls}
		r := rowOf(&s, newPricer(setup()))
		if got := status(&r); got != test.want {
			t.Errorf("%v is %q, want %q", test.calls, got, test.want)
		}
	}
}
