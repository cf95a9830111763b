package results

import (
	"bytes"
	"efsdedupe/dedupe/report/reporttest"
	"errors"
	"flag"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files instead of comparing with them")

const mebi = 1 << 20

func TestMain(m *testing.M) {
	time.Local = time.FixedZone("elsewhere", -7*60*60) // what is written depends on no time zone
	m.Run()
}

// sample is an experiment that a test writes.
type sample struct {
	name string
	Experiment
}

// samples have between them all that an experiment can have.
func samples() []sample {
	return []sample{
		{"usual", usual()},
		{"failures", failing()},
		{"instances", instances()},
		{"helpers", helping()},
		{"unboxed", unboxed()},
		{"unpriced", unpriced()},
		{"s3", fromS3()},
		{"nothing", Experiment{Setup: setup()}},
	}
}

func setup() Setup {
	return Setup{
		Boxed: true, Tasks: 100, Workers: 100, Runs: 2, Instances: 1, Timeout: time.Minute,
		FileBytes: mebi, FibSteps: 2_000_000, FetchDelay: 100 * time.Millisecond,
		Latency: time.Millisecond, Throughput: 500 * mebi,
		Calls: 50_000_000, Region: "us-east-1", Arch: "arm64",
	}
}

func experiment(s Setup, series ...[]Series) Experiment {
	e := Experiment{
		Started: time.Date(2026, 11, 23, 12, 34, 56, 789, time.UTC),
		Version: "dedupe v1.2.3",
		Machine: Machine{CPU: "Intel(R) Xeon(R) Processor @ 2.20GHz", Cores: 2, MemoryMB: 7962, Kernel: "Linux 6.1.0", Cgroup: "v2", GOOS: "linux", GOARCH: "amd64"},
		Setup:   s,
	}
	for _, more := range series {
		e.Series = append(e.Series, more...)
	}
	return e
}

// program is what a call of a made-up program takes. It makes series that look
// like measured ones; what is computed of them is checked elsewhere.
type program struct {
	workload, mode, digest string

	cpu, init, wait int64   // ms: of a call, of INIT more, and without CPU
	cores           float64 // that it can use
	peak            int64   // MiB
}

var lambdaSizes = []int64{128, 256, 512, 1024, 1769, 3008}

// series is the program at all sizes, a cold and three warm calls in each of two
// runs.
func (p program) series(sizes ...int64) []Series {
	var all []Series
	for _, size := range sizes {
		s := Series{Workload: p.workload, Mode: p.mode, MemoryMB: size, Digest: p.digest}
		for run := range 2 {
			for i := range 4 {
				s.Calls = append(s.Calls, p.call(size, run, i))
			}
		}
		all = append(all, s)
	}
	return all
}

func (p program) call(size int64, run, i int) Call {
	speed := min(float64(size)/1769, p.cores)
	took := func(cpu int64) time.Duration {
		jitter := 1 + 0.01*float64((run*7+i*3)%5)
		return time.Duration(max(float64(cpu)/speed, float64(p.wait)) * jitter * 1e6).Round(time.Microsecond)
	}
	c := Call{Run: run, Cold: i == 0, Outcome: OK, Duration: took(p.cpu), CPU: time.Duration(p.cpu) * time.Millisecond, PeakMemory: p.peak * mebi}
	if c.Cold {
		c.Init = took(p.init)
		c.CPU += time.Duration(p.init) * time.Millisecond
	}
	if p.workload == "scan" {
		c.Reads = Reads{Opens: 100, BytesRead: 100 * mebi, MeteredReadBytes: 100 * mebi, MetadataOperations: 302}
	}
	return c
}

func usual() Experiment {
	var all [][]Series
	for _, p := range []program{
		{"scan", "goroutines", "blake3", 90, 6, 235, 2, 14},
		{"scan", "processes", "blake3", 420, 300, 250, 2, 118},
		{"scan", "processes-per-task", "blake3", 610, 8, 260, 2, 96},
		{"scan", "serial", "blake3", 85, 6, 900, 1, 9},
		{"scan", "product", "blake3", 70, 6, 225, 2, 13},
		{"scan", "python-processes", "sha256", 1900, 900, 300, 2, 640},
		{"scan", "python-threads", "sha256", 260, 90, 240, 2, 38},
		{"scan", "rust-threads", "blake3", 80, 2, 233, 2, 11},
		{"fib", "goroutines", "sum", 700, 6, 0, 2, 8},
		{"fib", "processes", "sum", 1010, 300, 0, 2, 105},
		{"fetch", "goroutines", "sum", 12, 6, 104, 2, 12},
		{"fetch", "processes", "sum", 330, 300, 108, 2, 110},
	} {
		sizes := lambdaSizes
		if p.digest == "sha256" {
			sizes = []int64{512, 1769} // contenders need not run everywhere
		}
		all = append(all, p.series(sizes...))
	}
	return experiment(setup(), all...)
}

// failing has rows of which some calls failed, and all, in all ways.
func failing() Experiment {
	sizes := []int64{128, 512, 1769}
	goroutines := program{"scan", "goroutines", "blake3", 90, 6, 235, 2, 14}.series(sizes...)
	processes := program{"scan", "processes", "blake3", 420, 300, 250, 2, 118}.series(sizes...)
	perTask := program{"fib", "processes-per-task", "sum", 2000, 8, 0, 2, 96}.series(sizes...)
	fib := program{"fib", "goroutines", "sum", 700, 6, 0, 2, 8}.series(sizes...)
	fetch := program{"fetch", "serial", "", 12, 6, 9000, 2, 12}.series(sizes...)
	for i, c := range processes[0].Calls { // each killed, so each cold
		c.Cold, c.Outcome, c.Error, c.OOMKills = true, OutOfMemory, "the process ended: signal: killed", 1
		c.PeakMemory = 128 * mebi
		processes[0].Calls[i] = c
	}
	for i, n := range []int{1, 2} {
		c := &perTask[0].Calls[n]
		c.Outcome, c.Error, c.Duration = TimedOut, "no answer within 1m0s", time.Minute
		perTask[1].Calls[i].Outcome, perTask[1].Calls[i].Error = Failed, "task 7: fork: \x1b[31mresource temporarily unavailable"
		perTask[2].Calls[i].Outcome = OutOfMemory
	}
	for i := range fetch[0].Calls {
		fetch[0].Calls[i].Outcome = Failed
	}
	fetch[1].Calls = nil
	fetch[2].Calls = fetch[2].Calls[:1] // cold
	return experiment(setup(), goroutines, processes, perTask, fib, fetch)
}

// fromS3 reads images from S3.
func fromS3() Experiment {
	s := setup()
	s.FromS3, s.S3Latency = true, 30*time.Millisecond
	var all [][]Series
	for _, p := range []program{
		{"predict", "goroutines", "blake3", 1150, 400, 30, 2, 120},
		{"predict", "processes", "blake3", 3400, 900, 30, 2, 1141},
		{"predict", "rust-threads", "blake3", 1050, 390, 30, 2, 117},
	} {
		all = append(all, p.series(1769, 3008))
	}
	for _, series := range all {
		for _, s := range series {
			for i := range s.Calls {
				s.Calls[i].Reads = Reads{Gets: 100}
			}
		}
	}
	return experiment(s, all...)
}

// instances has three instances in each of two runs.
func instances() Experiment {
	s := setup()
	s.Runs, s.Instances = 2, 3
	var all []Series
	for _, p := range []program{
		{"fib", "goroutines", "sum", 700, 6, 0, 2, 8},
		{"fib", "processes", "sum", 1010, 300, 0, 2, 105},
	} {
		row := Series{Workload: p.workload, Mode: p.mode, MemoryMB: 1769, Digest: p.digest}
		for run := range s.Runs {
			for i := range s.Instances {
				c := p.call(1769, run+i, 0)
				c.Run, c.Instance = run, i
				row.Calls = append(row.Calls, c)
			}
		}
		all = append(all, row)
	}
	return experiment(s, all)
}

// helping has functions that share tasks among helpers, one of which fails.
func helping() Experiment {
	s := setup()
	s.HelperMB = 1769
	shared := func(p program, helpers, transitions int) []Series {
		all := p.series(512, 1769)
		for i := range all {
			all[i].Helpers, all[i].Transitions, all[i].AtOnce = helpers, transitions, 2
			for k := range all[i].Calls {
				c := &all[i].Calls[k]
				for range helpers {
					h := Helper{Outcome: OK, Duration: time.Duration(700/helpers+3) * time.Millisecond, CPU: time.Duration(700/helpers) * time.Millisecond, PeakMemory: 8 * mebi}
					if c.Cold {
						h.Init = 5 * time.Millisecond
					}
					c.Helpers = append(c.Helpers, h)
				}
				c.Wait = c.Helpers[0].Init + c.Helpers[0].Duration
				c.Duration = c.Wait + 4*time.Millisecond
			}
		}
		return all
	}
	e := experiment(s,
		program{"fib", "goroutines", "sum", 700, 6, 0, 2, 8}.series(512, 1769),
		shared(program{"fib", "helpers-1", "sum", 4, 6, 0, 1, 12}, 1, 0),
		shared(program{"fib", "helpers-10", "sum", 5, 6, 0, 1, 12}, 10, 0),
		shared(program{"fib", "helpers-stepfunctions-10", "sum", 5, 6, 0, 1, 12}, 10, 13),
		shared(program{"fetch", "helpers-2", "sum", 4, 6, 0, 1, 12}, 2, 0),
	)
	bad := &e.Series[2].Calls[1]
	bad.Outcome, bad.Error, bad.Helpers[0].Outcome = Failed, "HelperError: helper 0: it hurts", Failed
	return e
}

func unboxed() Experiment {
	e := experiment(setup(), program{"scan", "goroutines", "blake3", 90, 6, 235, 2, 14}.series(512, 1769), program{"scan", "processes", "blake3", 420, 300, 250, 2, 118}.series(512, 1769))
	e.Setup.Boxed, e.Setup.Throughput, e.Machine.Cgroup = false, 0, ""
	for _, s := range e.Series {
		for i := range s.Calls {
			s.Calls[i].CPU, s.Calls[i].PeakMemory = 0, 0
		}
	}
	return e
}

// unpriced is in a region of which no price of the gateway is known.
func unpriced() Experiment {
	e := experiment(setup(), program{"fib", "goroutines", "sum", 700, 6, 0, 2, 8}.series(128, 1769), program{"fib", "processes", "sum", 1010, 300, 0, 2, 105}.series(128, 1769))
	e.Setup.Region = "ca-central-1"
	return e
}

func write(t testing.TB, f Format, e Experiment, colour bool) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, f, e, colour); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestGolden(t *testing.T) {
	for _, s := range samples() {
		for _, f := range Formats() {
			if s.name == "usual" && (f == JSON || f == Bench) {
				continue // long, and nothing in them that others have not
			}
			reporttest.Golden(t, *update, s.name+"."+string(f), write(t, f, s.Experiment, false))
		}
		reporttest.Golden(t, *update, s.name+".colour", write(t, Text, s.Experiment, true))
	}
}

// A full disk or a closed pipe must not pass for a whole report.
func TestWriteErrors(t *testing.T) {
	for _, s := range samples()[1:] {
		for _, f := range Formats() {
			whole := len(write(t, f, s.Experiment, false))
			for room := 0; room < whole; room += 1 + whole/4 {
				if err := Write(&full{room}, f, s.Experiment, false); !errors.Is(err, syscall.ENOSPC) {
					t.Errorf("%s as %s, %d of %d bytes written: error %v", s.name, f, room, whole, err)
				}
			}
		}
	}
	if err := Write(&bytes.Buffer{}, "xml", usual(), false); err == nil || !strings.Contains(err.Error(), "text json html markdown bench") {
		t.Errorf("as xml: %v", err)
	}
}

// full is a disk with room for so many bytes.
type full struct{ room int }

func (f *full) Write(p []byte) (int, error) {
	n := min(len(p), f.room)
	if f.room -= n; n < len(p) {
		return n, fmt.Errorf("write: %w", syscall.ENOSPC)
	}
	return n, nil
}
