package results

import (
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestHelpersBill compares with a bill made by hand: a call takes 77 ms, in 73 of which the
// main function waits for ten helpers that take as long, all of 1,769 MB. There are eleven
// requests, and with a state machine thirteen transitions. Then nothing waits.
func TestHelpersBill(t *testing.T) {
	for mode, test := range map[string]struct{ seconds, transitions string }{
		"helpers-10":               {"0.807", "0"},
		"helpers-stepfunctions-10": {"0.734", "13"},
	} {
		r := helpingRow(t, mode)
		want := map[string]*big.Rat{
			"helpers":     dollars(t, "50000000", "0.730", "1769/1024", "0.0000133334"),
			"Lambda":      dollars(t, "50000000", test.seconds, "1769/1024", "0.0000133334"),
			"transitions": dollars(t, "50000000", test.transitions, "0.000025"),
			"gateway":     dollars(t, "50000000", "0.000001"),
			"EFS":         new(big.Rat),
		}
		want["requests"] = new(big.Rat).Add(want["transitions"], dollars(t, "50000000", "11", "0.0000002"))
		got := map[string]*big.Rat{"helpers": r.bill.helpers, "Lambda": r.bill.lambda, "transitions": r.bill.transitions,
			"gateway": r.bill.gateway, "EFS": r.bill.efs, "requests": r.bill.requests}
		total := new(big.Rat)
		for part, w := range want {
			if got[part].Cmp(w) != 0 {
				t.Errorf("%s: %s is %s, want %s", mode, part, got[part].FloatString(9), w.FloatString(9))
			}
			if part != "helpers" && part != "transitions" { // which are parts of others
				total.Add(total, w)
			}
		}
		if r.bill.total.Cmp(total) != 0 {
			t.Errorf("%s: the total is %s, want %s", mode, r.bill.total.FloatString(9), total.FloatString(9))
		}
	}
}

func helpingRow(t *testing.T, mode string) *row {
	t.Helper()
	r := compute(helping())
	for i := range r.rows {
		if r.rows[i].Mode == mode && r.rows[i].MemoryMB == 1769 {
			return &r.rows[i]
		}
	}
	t.Fatalf("no row %s", mode)
	return nil
}

// TestBothSides checks that both sides of each bill add up to its total, as they are shown.
func TestBothSides(t *testing.T) {
	r := compute(helping())
	for i := range r.rows {
		row := &r.rows[i]
		if row.Helpers == 0 {
			continue
		}
		cells := row.helperCells(1769, true)
		sum := new(big.Rat)
		for _, i := range []int{2, 3, 4, 5, 7, 8, 9, 10} {
			sum.Add(sum, dollars(t, strings.ReplaceAll(cells[i], ",", "")))
		}
		off := sum.Sub(sum, dollars(t, strings.ReplaceAll(cells[11], ",", "")))
		if off.Abs(off).Cmp(big.NewRat(4, 100)) > 0 { // eight amounts, each rounded to the cent
			t.Errorf("%v do not add up: %s off", cells, off.FloatString(4))
		}
	}
}

// TestIdle has 10 helpers billed 73 ms each, 70 of which they work.
func TestIdle(t *testing.T) {
	r := helpingRow(t, "helpers-10")
	if idle, ok := r.warm.idle(1769); !ok || idle < 0.0410 || idle > 0.0411 {
		t.Errorf("idle for %v, %v", idle, ok)
	}
	if idle, _ := r.warm.idle(2 * 1769); idle < 0.5205 || idle > 0.5206 {
		t.Errorf("of two cores each, idle for %v", idle)
	}
	for _, s := range []*stats{nil, {}, {helpersBilled: time.Second}} {
		if idle, ok := s.idle(1769); ok {
			t.Errorf("of %+v, idle for %v", s, idle)
		}
	}
}

func TestGain(t *testing.T) {
	took := func(mode string, helpers int, took, busy time.Duration) Series {
		c := Call{Outcome: OK, Duration: took, CPU: time.Millisecond}
		for range helpers {
			c.Helpers = append(c.Helpers, Helper{Outcome: OK, Duration: took - time.Millisecond, CPU: busy})
		}
		return Series{Workload: "fib", Mode: mode, MemoryMB: 1769, Helpers: helpers, Calls: []Call{c}}
	}
	const ms = time.Millisecond
	goroutines := took("goroutines", 0, 100*ms, 0)
	for _, test := range []struct {
		series []Series
		want   string
	}{
		{nil, ""},
		{[]Series{goroutines}, ""},
		{[]Series{took("helpers-2", 2, 61*ms, 30*ms)}, "With a main function of 1,769 MB, helpers' cores are idle for 50% with 2."},
		{[]Series{goroutines, took("helpers-1", 1, 101*ms, 80*ms), took("helpers-2", 2, 101*ms, 25*ms)},
			"With a main function of 1,769 MB, helpers' cores are idle for 20% with 1 and 75% with 2. They do not pay off: at best, with 1, a call takes 1.01 times as long as in goroutines, for 1.72 times the bill."},
		{[]Series{goroutines, took("helpers-1", 1, 91*ms, 90*ms), took("helpers-2", 2, 61*ms, 60*ms)},
			"With a main function of 1,769 MB, helpers' cores are idle for 0% with 1 and 0% with 2. They start to pay off at 2: a call takes 61 ms, not the 100 ms of goroutines, for 1.65 times the bill."},
		{[]Series{goroutines, took("helpers-2", 2, 61*ms, 60*ms), took("helpers-5", 5, 31*ms, 15*ms)},
			"With a main function of 1,769 MB, helpers' cores are idle for 0% with 2 and 50% with 5. They start to pay off at 2: a call takes 61 ms, not the 100 ms of goroutines, for 1.65 times the bill; at 5 it takes 31 ms, for 1.82 times the bill."},
		{[]Series{goroutines, took("helpers-1", 1, 46*ms, 40*ms)}, "With a main function of 1,769 MB, helpers' cores are idle for 11% with 1. They start to pay off at 1: a call takes 46 ms, not the 100 ms of goroutines, for the same bill."},
		{[]Series{goroutines, took("helpers-2", 2, 61*ms, 0)}, "With a main function of 1,769 MB, helpers' cores are idle for an unknown part with 2."},
	} {
		s := setup()
		s.HelperMB = 1769
		r := compute(experiment(s, test.series))
		got := ""
		if len(r.workloads) > 0 && r.workloads[0].gain != nil {
			got = r.workloads[0].gain.sentence
		}
		if !strings.HasPrefix(got, test.want) || test.want == "" && got != "" {
			t.Errorf("%s\nwant %s", got, test.want)
		}
	}
}

// TestFleets has instances that take 1, 2, 3 s and so on, each with two calls.
func TestFleets(t *testing.T) {
	s := setup()
	s.Instances, s.Runs = 12, 1
	series := Series{Workload: "fib", Mode: "goroutines", MemoryMB: 1769}
	for i := range s.Instances {
		half := time.Duration(i+1) * time.Second / 2
		series.Calls = append(series.Calls, Call{Instance: i, Outcome: OK, Cold: true, Duration: half}, Call{Instance: i, Outcome: OK, Duration: half})
	}
	r := compute(experiment(s, []Series{series}))
	got := r.rows[0].fleetCells(r)
	// A second of 1,769 MB is 23.03 millionths of a dollar, two calls and their requests 2.4.
	want := []string{"goroutines", "1,769", "25, 1,000", "74, 2,000", "358, 5,000", "1,291, 10,000", "1,825, 12,000"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	fleets := r.rows[0].fleets(s.Instances, r.prices)
	if last := fleets[len(fleets)-1]; last.median != 6*time.Second || last.cost.Cmp(r.rows[0].runs[0].cost) != 0 {
		t.Errorf("all together: %+v", last)
	}
}

func TestSteps(t *testing.T) {
	for most, want := range map[int][]int{1: {1}, 2: {1, 2}, 3: {1, 2, 3}, 10: {1, 2, 5, 10}, 12: {1, 2, 5, 10, 12}, 100: {1, 2, 5, 10, 20, 50, 100}} {
		if got := Steps(most); !slices.Equal(got, want) {
			t.Errorf("up to %d: %v", most, got)
		}
	}
}
