package results

import (
	"fmt"
	"io"
	"strings"
	"time"

	"efsdedupe/dedupe/cost"
)

// writeBench writes a line for each call in Go's benchmark format, as benchstat
// reads it. What the calls have in common stands above them: benchstat compares
// only what it is equal for. A call that failed has its outcome in its name, so
// that it is not averaged with others.
func writeBench(b io.Writer, r *results) {
	m, s := r.Machine, r.Setup
	for _, c := range []struct {
		key   string
		value any
	}{
		{"goos", m.GOOS}, {"goarch", m.GOARCH}, {"pkg", "efsdedupe/cmd/experiment"}, {"cpu", m.CPU}, {"cores", m.Cores},
		{"boxed", s.Boxed}, {"tasks", s.Tasks}, {"workers", s.Workers}, {"instances", s.Instances}, {"timeout", s.Timeout},
		{"file-bytes", s.FileBytes}, {"fib-steps", s.FibSteps}, {"fetch-delay", s.FetchDelay},
		{"latency", s.Latency}, {"throughput", s.Throughput},
	} {
		if value := strings.Join(strings.Fields(fmt.Sprint(c.value)), " "); value != "" {
			fmt.Fprintf(b, "%s: %s\n", c.key, value)
		}
	}
	for _, row := range r.rows {
		for _, c := range row.Calls {
			writeBenchLine(b, &row, c, r.prices)
		}
	}
}

func writeBenchLine(b io.Writer, r *row, c Call, p *pricer) {
	start := "warm"
	if c.Cold {
		start = "cold"
	}
	fmt.Fprintf(b, "BenchmarkBench/workload=%s/mode=%s/memory=%d/start=%s", benchName(r.Workload), benchName(r.Mode), r.MemoryMB, start)
	if c.Outcome != OK {
		fmt.Fprintf(b, "/outcome=%s", benchName(string(c.Outcome)))
	}
	fmt.Fprintf(b, " 1 %d ns/op %d billed-ms", (c.Init + c.Duration).Nanoseconds(), c.Billed().Milliseconds())
	if c.CPU > 0 || c.PeakMemory > 0 {
		fmt.Fprintf(b, " %.3f cpu-ms %d peak-B", float64(c.CPU)/float64(time.Millisecond), c.PeakMemory)
	}
	if usd := p.call(1e6, r.Series, c); usd != nil {
		fmt.Fprintf(b, " %s USD/1M-calls", cost.Decimal(usd, 6))
	}
	fmt.Fprintln(b)
}

// benchName is a name as part of a benchmark's.
func benchName(name string) string {
	return strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("-_.+", r) {
			return r
		}
		return '_'
	}, name)
}
