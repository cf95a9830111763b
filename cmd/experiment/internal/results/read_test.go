package results

import (
	"bytes"
	"efsdedupe/dedupe/report/reporttest"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// same compares experiments; a list that is empty is as one that is nil.
func same(a, b Experiment) string { return cmp.Diff(a, b, cmpopts.EquateEmpty()) }

// TestReadIsLossless reads back what was written of experiments that are anything
// that one can be.
func TestReadIsLossless(t *testing.T) {
	schema := reporttest.Compile(t, schemaFile)
	all := samples()
	random := rand.New(rand.NewPCG(1, 2))
	for range 100 {
		all = append(all, sample{"random", anything(random)})
	}
	for _, s := range all {
		text := write(t, JSON, s.Experiment, false)
		got, err := Read(bytes.NewReader(text))
		if err != nil {
			t.Fatalf("%s: %v\n%s", s.name, err, text)
		}
		if diff := same(s.Experiment, got); diff != "" {
			t.Fatalf("%s (-written +read):\n%s", s.name, diff)
		}
		if again := write(t, JSON, got, false); !bytes.Equal(again, text) {
			t.Fatalf("%s, written again:\n%s\nwas\n%s", s.name, again, text)
		}
		if err := schema.Validate(reporttest.Parse(t, text)); err != nil {
			t.Fatalf("%s: %v\n%s", s.name, err, text)
		}
	}
}

// anything is a random experiment that is valid, however unlikely.
func anything(r *rand.Rand) Experiment {
	text := func() string {
		return []string{"", "goroutines", "processes", "scan", "é\x1b[31m\n|", "<b>&\"'</b>", "a b/c", "日本"}[r.IntN(8)]
	}
	number := func() int64 { return r.Int64() >> r.IntN(64) }
	duration := func() time.Duration { return time.Duration(number()) % (maxDuration + 1) }
	e := Experiment{
		Started: time.Unix(r.Int64N(1<<33), r.Int64N(1e9)).UTC(),
		Version: text(),
		Machine: Machine{text(), int(number()), number(), text(), text(), text(), text()},
		Setup: Setup{
			Boxed: r.IntN(2) == 0, Tasks: int(number()), Workers: int(number()), Runs: int(number()), Instances: r.IntN(3), HelperMB: []int64{0, 1769, number()}[r.IntN(3)], Timeout: duration(),
			FileBytes: number(), FibSteps: number(), FetchDelay: duration(), Latency: duration(), Throughput: number(), FromS3: r.IntN(2) == 0, S3Latency: duration(),
			Calls: number(), Region: []string{"us-east-1", "us-east-2", "nowhere"}[r.IntN(3)], Arch: []string{"arm64", "x86_64", text()}[r.IntN(3)],
		},
	}
	for range r.IntN(8) {
		s := Series{Workload: text() + "w", Mode: text() + "m", MemoryMB: 128 + r.Int64N(10240-127), Digest: text(),
			Helpers: r.IntN(3), Transitions: r.IntN(3), AtOnce: r.IntN(3)}
		for range r.IntN(6) {
			s.Calls = append(s.Calls, Call{
				Run: r.IntN(3), Instance: r.IntN(3), Cold: r.IntN(2) == 0,
				Outcome: []Outcome{OK, OK, OutOfMemory, TimedOut, Failed}[r.IntN(5)], Error: text(),
				Init: duration(), Duration: duration(), CPU: duration(), PeakMemory: number(), OOMKills: number(),
				Reads: Reads{number(), number(), number(), number(), number()}, Wait: duration(),
			})
			last := &s.Calls[len(s.Calls)-1]
			for range r.IntN(3) {
				last.Helpers = append(last.Helpers, Helper{last.Outcome, duration(), duration(), duration(), number(), Reads{number(), number(), number(), number(), number()}})
			}
		}
		e.Series = append(e.Series, s)
	}
	return e
}

func TestReadRefuses(t *testing.T) {
	whole := string(write(t, JSON, failing(), false))
	helped := string(write(t, JSON, helping(), false))
	replace := func(good, bad string) string {
		if !strings.Contains(whole, good) {
			t.Fatalf("nothing to replace: no %s", good)
		}
		return strings.Replace(whole, good, bad, 1)
	}
	for _, test := range []struct{ text, want string }{
		{"", "EOF"},
		{"dedupe", "invalid character"},
		{"[]", "cannot unmarshal array"},
		{"{}", `its schema is "", not dedupe.bench/v1: use what 'experiment run --format json' wrote`},
		{`{"schema":"dedupe.report/v1","roots":[]}`, `"dedupe.report/v1"`},
		{`{"schema":"dedupe.bench/v1"}`, "it has no rows"},
		{whole + "{}", "there is more after it"},
		{whole[:len(whole)/2], "unexpected EOF"},
		{replace(`"outcome":"timeout"`, `"outcome":"lost"`), `fib processes-per-task at 128 MB: the outcome of a call is "lost"`},
		{replace(`"memory_mb":1769`, `"memory_mb":64`), "scan goroutines has a memory of 64 MB, allowed: 128 to 10240"},
		{replace(`"mode":"serial"`, `"mode":""`), "no mode"},
		{replace(`"duration_ms":60000`, `"duration_ms":-1`), "a duration is -1 ms, allowed: 0 to 86400000"},
		{replace(`"duration_ms":60000`, `"duration_ms":1e300`), "a duration is 1e+300 ms"},
		{replace(`"duration_ms":60000`, `"duration_ms":"1s"`), "cannot unmarshal string"},
		{replace(`"oom_kills":1`, `"oom_kills":-1`), "has a negative count, -1"},
		{replace(`"metered_read_bytes":104857600`, `"metered_read_bytes":-5`), "has a negative count, -5"},
		{strings.Replace(helped, `"helpers":[{"outcome":"ok"`, `"helpers":[{"outcome":"lost"`, 1), `the outcome of a helper is "lost"`},
		{strings.Replace(helped, `"peak_memory_bytes":8388608`, `"peak_memory_bytes":-8`, 1), "a call has a negative count, -8"},
		{strings.Replace(helped, `"at_once":2`, `"at_once":-2`, 1), "has a negative count, -2"},
		{replace(`"run":1`, `"run":1.5`), "cannot unmarshal number"},
		{replace(`"tasks":100`, `"tasks":-100`), "has a negative figure, -100"},
		{replace(`"started":"2026`, `"started":"6`), "cannot parse"},
	} {
		e, err := Read(strings.NewReader(test.text))
		if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("error %q, want one line with %q", err, test.want)
		}
		if diff := same(e, Experiment{}); diff != "" {
			t.Errorf("with the error %v comes an experiment: %s", err, diff)
		}
	}
}

// FuzzRead holds that what is read can be written in all formats, and read again.
func FuzzRead(f *testing.F) {
	for _, s := range samples()[1:] {
		for i, row := range s.Series { // short ones are tried more often
			s.Series[i].Calls = row.Calls[:min(len(row.Calls), 2)]
		}
		s.Series = s.Series[:min(len(s.Series), 4)]
		f.Add(write(f, JSON, s.Experiment, false))
	}
	f.Add([]byte(`{"schema":"dedupe.bench/v1","setup":{"calls":1,"region":"us-east-1","arch":"arm64"},"rows":[` +
		`{"workload":"w","mode":"goroutines","memory_mb":128,"calls":[{"outcome":"ok"}]},{"workload":"w","mode":"processes","memory_mb":10240,"calls":[{"outcome":"ok","duration_ms":9e7,"peak_memory_bytes":9223372036854775807}]}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := Read(bytes.NewReader(data))
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("an error of more than a line: %q", err)
			}
			return
		}
		for _, format := range Formats() {
			write(t, format, e, true)
		}
		var b bytes.Buffer
		if err := WriteComparison(&b, e, e, false); err != nil {
			t.Fatal(err)
		}
		again, err := Read(bytes.NewReader(write(t, JSON, e, false)))
		if err != nil {
			t.Fatal(err)
		}
		if diff := same(e, again); diff != "" {
			t.Errorf("read again (-first +second):\n%s", diff)
		}
	})
}
