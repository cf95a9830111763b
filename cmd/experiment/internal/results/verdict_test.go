package results

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// oneCall is rows of one warm call each: a time in ms by size; one below 0 timed
// out after as long.
func oneCall(workload, mode string, ms map[int64]float64) []Series {
	var all []Series
	for _, size := range lambdaSizes {
		took, ok := ms[size]
		if !ok {
			continue
		}
		c := Call{Outcome: OK, Duration: time.Duration(math.Abs(took) * 1e6), CPU: time.Duration(math.Abs(took) * 1e5), PeakMemory: mebi}
		if took < 0 {
			c.Outcome = TimedOut
		}
		all = append(all, Series{Workload: workload, Mode: mode, MemoryMB: size, Calls: []Call{c}})
	}
	return all
}

func TestKnee(t *testing.T) {
	for _, test := range []struct {
		name string
		ms   map[int64]float64
		want int64
	}{
		{"as fast as there is CPU: beyond", map[int64]float64{128: 1600, 256: 800, 512: 400, 1024: 200}, 0},
		{"no gain beyond one vCPU", map[int64]float64{128: 17690, 256: 8845, 512: 4422, 1024: 2211, 1769: 1280, 3008: 1280}, 1769},
		{"all the same", map[int64]float64{128: 100, 256: 100, 1024: 100}, 128},
		{"slower with more", map[int64]float64{128: 100, 256: 110, 1024: 120}, 128},
		{"9% a doubling do not pay", map[int64]float64{128: 1000, 256: 910, 512: 828}, 128},
		{"11% a doubling do", map[int64]float64{128: 1000, 256: 890, 512: 792}, 0},
		{"15% in two doublings do not", map[int64]float64{128: 1000, 512: 850}, 128},
		{"nor 9% in what is less than one", map[int64]float64{1024: 1000, 1769: 930}, 1024},
		{"one slow row is no knee", map[int64]float64{128: 1000, 256: 500, 512: 700, 1024: 250, 1769: 249}, 1024},
		{"a row that failed is not there", map[int64]float64{128: -10, 256: 500, 512: 250, 1024: 249}, 512},
		{"one size has none", map[int64]float64{128: 1000}, 0},
		{"nothing", nil, 0},
	} {
		e := experiment(setup(), oneCall("fib", "serial", test.ms))
		var got int64
		for _, w := range compute(e).workloads {
			if k := w.modes[0].knee; k != nil {
				got = k.MemoryMB
			}
		}
		if got != test.want {
			t.Errorf("%s: the knee is at %d MB, want %d", test.name, got, test.want)
		}
	}
}

func TestCheapestAndFastest(t *testing.T) {
	// GB-seconds decide: 128 MB × 1600 = 256 × 800, and 512 × 390 are less, as are
	// 3,008 × 10, which failed.
	e := experiment(setup(),
		oneCall("fib", "goroutines", map[int64]float64{128: 1600, 256: 800, 512: 390, 1024: 390, 3008: -10}),
		oneCall("fib", "serial", map[int64]float64{128: 1600, 256: 780, 512: 1600}),
		oneCall("scan", "serial", map[int64]float64{128: -1600, 256: -780}))
	r := compute(e)
	var got []modeJSON
	for _, w := range r.workloads {
		got = append(got, w.json().Modes...)
	}
	want := []modeJSON{
		{Mode: "goroutines", Cheapest: 512, Fastest: 512, Knee: 512}, // 1,024 MB are as fast, and no faster
		{Mode: "serial", Cheapest: 256, Fastest: 256, Knee: 256},
		{Mode: "serial"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("verdict (-want +got):\n%s", diff)
	}
	// Ratios are to the best of all modes of the workload.
	requests := 60.0 // dollars, of requests and gateway
	cost := func(mb, ms float64) float64 { return 50e6*mb/1024*ms/1000*0.0000133334 + requests }
	for i, want := range []struct{ cost, time float64 }{
		{cost(128, 1600) / cost(512, 390), 1600.0 / 390},
		{cost(256, 800) / cost(512, 390), 800.0 / 390},
		{1, 1},
		{cost(1024, 390) / cost(512, 390), 1},
		{0, 0},
		{cost(128, 1600) / cost(512, 390), 1600.0 / 390},
		{1, 2}, // 256 × 780 is as much as 512 × 390
		{cost(512, 1600) / cost(512, 390), 1600.0 / 390},
		{0, 0},
		{0, 0},
	} {
		if got := r.rows[i]; math.Abs(got.costRatio-want.cost) > 1e-9 || math.Abs(got.timeRatio-want.time) > 1e-9 {
			t.Errorf("row %d, %s: cost %v and time %v of the best, want %+v", i, got.name(), got.costRatio, got.timeRatio, want)
		}
	}
}

// scanning gives each series a peak of memory in MiB, and metered bytes.
func scanning(series []Series, peak int64, metered int64) []Series {
	for i := range series {
		c := &series[i].Calls[0]
		c.PeakMemory, c.Reads.MeteredReadBytes = peak*mebi, metered
	}
	return series
}

// penaltyTests are results, and what is said about processes.
var penaltyTests = []struct {
	name   string
	series [][]Series
	want   []string
	not    string
}{
	{
		"EFS decides: the fastest of what costs the same", [][]Series{
			scanning(oneCall("scan", "goroutines", map[int64]float64{128: 2000, 1769: 300, 3008: 350}), 10, 100*mebi),
			scanning(oneCall("scan", "processes", map[int64]float64{128: 9000, 1769: 930, 3008: 400}), 120, 100*mebi),
		},
		// 146,484 + 60 + 345 and 1,071 dollars
		[]string{"At 1,769 MB, the best buy for goroutines, 100 processes take 3.1 times the time, 3.1 times the CPU time and 12 times the memory of goroutines; that adds 0.5% to the bill, 99% of which is EFS."}, "failed",
	},
	{
		"Lambda decides: the cheapest", [][]Series{
			oneCall("fib", "goroutines", map[int64]float64{512: 1000, 1769: 1000}),
			oneCall("fib", "processes", map[int64]float64{512: 1500, 1769: 500}),
		},
		// 333.33 + 60 and 500.00 + 60 dollars
		[]string{"At 512 MB, the best buy for goroutines, 100 processes take 1.50 times the time, 1.50 times the CPU time and 1.00 times the memory of goroutines; that adds 42% to the bill, 85% of which is Lambda's duration."}, "",
	},
	{
		"processes failed there: the next, and it is said", [][]Series{
			oneCall("fib", "goroutines", map[int64]float64{128: 1000, 1024: 900}),
			oneCall("fib", "processes", map[int64]float64{128: -60000, 1024: 90}),
		},
		[]string{"At 1,024 MB, the best buy for goroutines, 100 processes take 0.10 times the time", "that takes 82% off the bill", "; at 128 MB processes failed (timeout 1/1)."}, "",
	},
	{
		"nowhere did both run", [][]Series{
			oneCall("fib", "goroutines", map[int64]float64{128: 1000, 1024: -900}),
			oneCall("fib", "processes", map[int64]float64{128: -60000, 1024: 90}),
		},
		[]string{"At no size did both goroutines and processes run without a failed call; at 1,024 MB goroutines failed (timeout 1/1); at 128 MB processes failed (timeout 1/1)."}, "best buy",
	},
	{
		"a process for each task, if there is no pool", [][]Series{
			oneCall("fib", "goroutines", map[int64]float64{128: 1000}),
			oneCall("fib", "processes-per-task", map[int64]float64{128: 15000}),
		},
		// 83.33 + 60 and 1,250.01 + 60 dollars
		[]string{"100 processes, one for each task, take 15 times the time", "that makes the bill 9.1 times as high, 58% of which is Lambda's duration."}, "",
	},
	{
		"no difference", [][]Series{
			oneCall("fib", "goroutines", map[int64]float64{128: 1000}),
			oneCall("fib", "processes", map[int64]float64{128: 1000}),
		},
		[]string{"that moves less than 0.1% of the bill"}, "",
	},
}

func TestPenalty(t *testing.T) {
	for _, test := range penaltyTests {
		r := compute(experiment(setup(), test.series...))
		p := r.workloads[0].penalty
		if p == nil {
			t.Errorf("%s: nothing", test.name)
			continue
		}
		for _, want := range test.want {
			if !strings.Contains(p.sentence, want) || test.not != "" && strings.Contains(p.sentence, test.not) {
				t.Errorf("%s:\n%s\nwant\n%s", test.name, p.sentence, want)
			}
		}
	}
	one := compute(experiment(setup(), oneCall("fib", "goroutines", map[int64]float64{128: 1000})))
	if p := one.workloads[0].penalty; p != nil {
		t.Errorf("of goroutines alone: %s", p.sentence)
	}
}

func TestNumbersInWords(t *testing.T) {
	for x, want := range map[float64]string{0: "0.00 times", 0.929: "0.93 times", 1.994: "1.99 times", 1.996: "2.0 times", 9.94: "9.9 times", 9.96: "10 times", 1234.4: "1,234 times"} {
		if got := times(x); got != want {
			t.Errorf("%v is %s, want %s", x, got, want)
		}
	}
	for x, want := range map[float64]string{0.0004: "0.0", 0.004: "0.4", 0.0994: "9.9", 0.0996: "10", 0.985: "98", 0.996: "99", 0.9999: "99", 1: "100"} {
		if got := roundedPercent(x); got != want {
			t.Errorf("%v is %s%%, want %s", x, got, want)
		}
	}
	for n, want := range []string{"", "a", "a and b", "a, b and c"} {
		if got := list(strings.Split("abc", "")[:n]); got != want {
			t.Errorf("%d items are %q, want %q", n, got, want)
		}
	}
	for x, want := range map[float64]string{1: "1", 1.0001: "1.00", 3.456: "3.46", 99.94: "99.94", 1234.5: "1,235"} {
		if got := toBest(x); got != want {
			t.Errorf("%v of the best is %s, want %s", x, got, want)
		}
	}
	for bytes, want := range map[int64]string{0: "0.0", mebi / 2: "0.5", mebi * 994 / 100: "9.9", mebi * 996 / 100: "10", 1234 * mebi: "1,234"} {
		if got := mib(bytes); got != want {
			t.Errorf("%d bytes are %s MiB, want %s", bytes, got, want)
		}
	}
	for d, want := range map[time.Duration]string{1499 * time.Microsecond: "1", 1234567 * time.Millisecond: "1,234,567"} {
		if got := ms(d); got != want {
			t.Errorf("%v are %s ms, want %s", d, got, want)
		}
	}
}
