package results

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/perf/benchfmt"
)

// TestBench reads the lines with the parser of benchstat, and compares what it
// finds with the calls.
func TestBench(t *testing.T) {
	for _, s := range append(samples(), sample{"hostile", hostile()}) {
		lines := benchfmt.NewReader(bytes.NewReader(write(t, Bench, s.Experiment, false)), s.name)
		p := newPricer(s.Setup)
		for _, series := range s.Series {
			for _, c := range series.Calls {
				if !lines.Scan() {
					t.Fatalf("%s: fewer lines than calls", s.name)
				}
				line, ok := lines.Result().(*benchfmt.Result)
				if !ok {
					t.Fatalf("%s: %v", s.name, lines.Result())
				}
				check := func(unit string, want float64) {
					t.Helper()
					if got, _ := line.Value(unit); got < want*0.999999 || got > want*1.000001 {
						t.Errorf("%s: %s: %v %s, want %v", s.name, line.Name, got, unit, want)
					}
				}
				check("sec/op", (c.Init + c.Duration).Seconds())
				check("billed-ms", float64(c.Billed().Milliseconds()))
				check("cpu-ms", c.CPU.Seconds()*1000)
				check("peak-B", float64(c.PeakMemory))
				usd := 0.0
				if r := p.call(1e6, &series, c); r != nil {
					usd, _ = r.Float64()
				}
				check("USD/1M-calls", usd)
				start := map[bool]string{true: "/start=cold", false: "/start=warm"}[c.Cold]
				if name := string(line.Name); !strings.HasPrefix(name, "Bench/workload=") || !strings.Contains(name, start) || strings.Contains(name, "outcome=") != (c.Outcome != OK) {
					t.Errorf("%s: %s of %+v", s.name, name, c)
				}
			}
		}
		if lines.Scan() {
			t.Errorf("%s: more lines than calls: %v", s.name, lines.Result())
		}
	}
}

// TestBenchstat lets benchstat itself compare an experiment with one in which all
// takes twice as long.
func TestBenchstat(t *testing.T) {
	before, after := instances(), instances()
	for _, s := range after.Series {
		for i := range s.Calls {
			s.Calls[i].Duration *= 2
			s.Calls[i].Init *= 2
		}
	}
	dir := t.TempDir()
	files := []string{filepath.Join(dir, "before"), filepath.Join(dir, "after")}
	for i, e := range []Experiment{before, after} {
		if err := os.WriteFile(files[i], write(t, Bench, e, false), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.Command("go", "tool", "benchstat", "-row", ".name,/mode", files[0], files[1])
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	for _, want := range []string{"goos: linux", "goarch: amd64", "cpu: Intel", "sec/op", "billed-ms", "cpu-ms", "peak-B", "USD/1M-calls", "goroutines", "processes", "+100.", "p=0.002 n=6"} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("no %q in what benchstat says:\n%s", want, stdout.String())
		}
	}
}
