package results

import (
	"math/big"
	"strings"
	"testing"
	"time"

	"efsdedupe/dedupe/report"

	"github.com/google/go-cmp/cmp"
)

// dollars multiplies what a bill is made of, exactly.
func dollars(t *testing.T, factors ...string) *big.Rat {
	t.Helper()
	product := big.NewRat(1, 1)
	for _, f := range factors {
		r, ok := new(big.Rat).SetString(f)
		if !ok {
			t.Fatalf("not a number: %s", f)
		}
		product.Mul(product, r)
	}
	return product
}

// TestBill compares with a bill made by hand, from the prices that AWS publishes
// for us-east-1: a GB-second on arm64 is 0.0000133334 dollars, a request 0.0000002,
// a call of an HTTP API 0.000001, and a GB read from EFS with Elastic throughput
// 0.03, data and metadata alike.
func TestBill(t *testing.T) {
	s := known() // 300 ms billed, 100 MiB and 300 operations metered, at 1,769 MB
	r := rowOf(&s, newPricer(setup()))
	want := map[string]*big.Rat{
		"Lambda":   dollars(t, "50000000", "0.300", "1769/1024", "0.0000133334"),
		"requests": dollars(t, "50000000", "0.0000002"),
		"gateway":  dollars(t, "50000000", "0.000001"),
		"EFS":      new(big.Rat).Add(dollars(t, "50000000", "100/1024", "0.03"), dollars(t, "50000000", "300/262144", "0.03")), // 4 KiB are 1/262,144 GB
	}
	total := new(big.Rat)
	for _, part := range want {
		total.Add(total, part)
	}
	want["total"] = total
	want["a million"] = new(big.Rat).Quo(total, big.NewRat(50, 1)) // no tier is left
	got := map[string]*big.Rat{"Lambda": r.bill.lambda, "requests": r.bill.requests, "gateway": r.bill.gateway,
		"EFS": r.bill.efs, "total": r.bill.total, "a million": r.bill.million}
	for part, w := range want {
		if got[part].Cmp(w) != 0 {
			t.Errorf("%s is %s, want %s", part, got[part].FloatString(9), w.FloatString(9))
		}
	}
	cells := r.cells(true)[7:13]
	if diff := cmp.Diff([]string{"2,972.13", "345.51", "10.00", "50.00", "148,200.99", "148,606.50"}, cells); diff != "" {
		t.Errorf("shown (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(&billJSON{Lambda: "345.51", Requests: "10.00", Gateway: "50.00", EFS: "148200.99",
		Total: "148606.50", Least: "148548.91", Most: "149412.69", Million: "2972.129966"}, r.bill.json(r.Series)); diff != "" {
		t.Errorf("in JSON (-want +got):\n%s", diff)
	}

	// The median cold call: 501 ms, and nothing metered.
	if want := dollars(t, "50000000", "0.501", "1769/1024", "0.0000133334"); r.coldBill.lambda.Cmp(want) != 0 || r.coldBill.efs.Sign() != 0 {
		t.Errorf("cold: Lambda %s, EFS %s", r.coldBill.lambda.FloatString(9), r.coldBill.efs.FloatString(9))
	}
	s.Calls = s.Calls[:1]
	if r := rowOf(&s, newPricer(setup())); r.bill.total.Cmp(r.coldBill.total) != 0 {
		t.Error("without a warm call, the row costs something else than its cold call")
	}
}

// A call that reads 100 objects from S3 pays $0.0000004 for each, however large, and
// EFS nothing.
func TestBillS3(t *testing.T) {
	s := known()
	for i := range s.Calls {
		s.Calls[i].Reads = Reads{Gets: 100}
	}
	r := rowOf(&s, newPricer(setup()))
	if r.bill.s3.Cmp(big.NewRat(2000, 1)) != 0 || r.bill.efs.Sign() != 0 {
		t.Errorf("S3 %s, EFS %s, want 2000 and 0", r.bill.s3.FloatString(9), r.bill.efs.FloatString(9))
	}
	if got := r.cells(true)[11:13]; got[0] != "2,000.00" || got[1] != "2,405.51" { // and the 405.51 of TestBill without EFS
		t.Errorf("shown as %s of %s", got[0], got[1])
	}
	if got := r.bill.json(r.Series); got.S3 != "2000.00" || got.EFS != "0.00" {
		t.Errorf("in JSON: S3 %s, EFS %s", got.S3, got.EFS)
	}
	noS3 := setup()
	noS3.Region = "us-west-2"
	noS3.FromS3 = true
	if err := noS3.CheckPrices(false); err == nil || !strings.Contains(err.Error(), `"s3.get"`) {
		t.Errorf("a region without a price for GET: %v", err)
	}
}

// TestRuns adds up by hand what two runs of three instances cost.
func TestRuns(t *testing.T) {
	s := Series{Workload: "fib", Mode: "goroutines", MemoryMB: 1024}
	for i, ms := range []time.Duration{100, 200, 400, 1000, 30, 20} { // by instance, and then of another run
		s.Calls = append(s.Calls, Call{Run: i / 3, Instance: i % 3, Cold: true, Outcome: OK, Duration: ms * time.Millisecond})
	}
	s.Calls = append(s.Calls, Call{Run: 0, Instance: 0, Outcome: OK, Duration: 50 * time.Millisecond}) // warm
	setup := setup()
	setup.Instances = 3
	r := rowOf(&s, newPricer(setup))
	const perCall = "0.0000012" // a request and the gateway
	for i, want := range []struct {
		seconds         string
		calls           int
		slowest, median time.Duration
	}{
		{"0.750", 4, 400, 200}, // 150, 200 and 400
		{"1.050", 3, 1000, 30},
	} {
		total := dollars(t, want.seconds, "0.0000133334")
		for range want.calls {
			total.Add(total, dollars(t, perCall))
		}
		got := r.runs[i]
		if got.number != i || got.calls != want.calls || got.slowest != want.slowest*time.Millisecond || got.median != want.median*time.Millisecond || got.cost.Cmp(total) != 0 {
			t.Errorf("run %d: %+v costs %s; want %+v and %s", i, got, got.cost.FloatString(12), want, total.FloatString(12))
		}
	}
	if diff := cmp.Diff([]string{"goroutines", "1,024", "4", "0.000015", "30", "1,000"}, r.runCells()); diff != "" {
		t.Errorf("shown (-want +got):\n%s", diff)
	}
	setup.Instances = 1
	if r := rowOf(&s, newPricer(setup)); r.runs != nil {
		t.Errorf("runs of one instance: %+v", r.runs)
	}
}

func TestUnpriced(t *testing.T) {
	for _, test := range []struct {
		change func(*Setup, *Series)
		want   string
	}{
		{func(s *Setup, _ *Series) { s.Region = "nowhere" }, "nowhere"},
		{func(s *Setup, series *Series) {
			s.Region = "ca-central-1"
			for i := range series.Calls {
				series.Calls[i].Reads = Reads{}
			}
		}, `no price for "api.http" in ca-central-1`},
		{func(s *Setup, _ *Series) { s.Arch = "riscv" }, `architecture is "riscv"`},
		{func(_ *Setup, s *Series) { s.Calls[1].Duration = time.Hour; s.Calls = s.Calls[:2] }, "duration is 1h0m0s"},
	} {
		s, series := setup(), known()
		test.change(&s, &series)
		p := newPricer(s)
		r := rowOf(&series, p)
		if r.bill != nil || len(p.unpriced) != 1 || !strings.Contains(p.unpriced[0], test.want) || strings.Contains(p.unpriced[0], "\n") {
			t.Errorf("bill %v, because %q; want %q once", r.bill, p.unpriced, test.want)
		}
	}
	for region, want := range map[string]bool{"us-east-1": true, "eu-west-1": true, "us-east-2": true, "ca-central-1": false, "nowhere": false} {
		s := setup()
		s.Region = region
		if err := s.CheckPrices(false); (err == nil) != want {
			t.Errorf("prices of %s: %v", region, err)
		}
		if err := s.CheckPrices(true); (err == nil) != (region == "us-east-1" || region == "eu-west-1") {
			t.Errorf("prices of %s with a state machine: %v", region, err)
		}
	}
}

func TestCommas(t *testing.T) {
	for in, want := range map[string]string{
		"0": "0", "999": "999", "1000": "1,000", "999999": "999,999", "1000000": "1,000,000",
		"0.5": "0.5", "1234.5678": "1,234.5678", "146484.38": "146,484.38",
		"9223372036854775808000.000001": "9,223,372,036,854,775,808,000.000001",
	} {
		if got := report.Commas(in); got != want {
			t.Errorf("report.Commas(%s) is %s, want %s", in, got, want)
		}
	}
}
