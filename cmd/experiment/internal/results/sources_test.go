package results

import (
	"math/big"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestSources compares with figures made by hand, from what AWS publishes: a GET costs
// $0.0000004 whatever its size, and a GB from EFS $0.03. A read counts at least 32 KiB, and
// in steps of 1 KiB; OPEN and CLOSE count 4 KiB each, in cold and in warm calls. A
// MiBps of Provisioned throughput costs $6 a month of 2,592,000 s, and reads count a
// third. So, for 5 billion files:
//
//	all cold, 4 KiB       5e9 × (32+8) KiB × 0.03 / 2^30
//	10% cold, 64 KiB      5e9 × (6.4+8) KiB × 0.03 / 2^30
//	Provisioned, 64 KiB   5e9 × (64/3+8) KiB / 2^20 / 2,592,000 × 6
//
// And a GET buys 0.0000004 / 0.03 × 2^30 = 14,316.6 bytes from EFS, 6,124.6 of them after
// OPEN and CLOSE. That is less than 32 KiB, but ten times as much is 59.8 KiB, and a
// hundred times 598.1 KiB. With Provisioned throughput, 2,000 / 6 = 333.3 MiBps less
// 15.07 for OPEN and CLOSE are 3 × 318.26 MiB/s, or 506.8 KiB a file.
func TestSources(t *testing.T) {
	want := [][]string{
		{"4 KiB", "5,722", "1,602", "1,190", "211", "2,000"},
		{"16 KiB", "5,722", "1,602", "1,190", "211", "2,000"},
		{"64 KiB", "10,300", "2,060", "1,236", "332", "2,000"},
		{"256 KiB", "37,766", "4,807", "1,511", "1,055", "2,000"},
		{"1 MiB", "147,629", "15,793", "2,609", "3,948", "2,000"},
		{"4 MiB", "587,082", "59,738", "7,004", "15,523", "2,000"},
		{"EFS costs no more up to", "no size", "59 KiB", "598 KiB", "506 KiB", none},
	}
	s := newSources(compute(fromS3()))
	if diff := cmp.Diff(want, s.rows()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	exact := func(bytes string) *big.Rat { return dollars(t, "5000000000", bytes, "0.03", "1/1073741824") }
	for i, want := range []*big.Rat{exact("40960"), exact("73728")} { // 4 and 64 KiB, with OPEN and CLOSE
		if got := s.ways[0].costs[2*i]; got.Cmp(want) != 0 {
			t.Errorf("%s cold: %s, want %s", fileSize(s.sizes[2*i]), got.FloatString(9), want.FloatString(9))
		}
	}
	for i, w := range s.ways {
		if i == 0 {
			continue
		}
		if at := compute(fromS3()).reading(w.usage(w.breakEven, 100)); at.Cmp(s.s3) > 0 {
			t.Errorf("%s: at the break-even EFS costs %s", w.name, at.FloatString(2))
		}
		if above := compute(fromS3()).reading(w.usage(w.breakEven+1, 100)); above.Cmp(s.s3) <= 0 {
			t.Errorf("%s: a byte above the break-even EFS costs %s", w.name, above.FloatString(2))
		}
	}
	if !strings.Contains(s.verdict(), "at every size") {
		t.Error(s.verdict())
	}
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range want {
		if line := "| " + strings.Join(row, " | ") + " |\n"; !strings.Contains(string(readme), line) {
			t.Errorf("README.md lacks the line %s", line)
		}
	}
}

// Nothing is compared where nothing is read, or a price is missing.
func TestNoSources(t *testing.T) {
	noPrice := fromS3()
	noPrice.Setup.Region = "us-west-2"
	noCalls := fromS3()
	noCalls.Setup.Calls = 0
	for name, e := range map[string]Experiment{"fib": instances(), "no price of GET": noPrice, "no calls": noCalls} {
		if s := newSources(compute(e)); s != nil {
			t.Errorf("%s: %+v", name, s)
		}
	}
}
