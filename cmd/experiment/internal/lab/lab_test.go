package lab

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"efsdedupe/cmd/experiment/internal/results"
	"efsdedupe/cmd/experiment/internal/task"
	"efsdedupe/fixtures/lambda/box"
)

// TestMain makes this program all that an experiment starts of it: its process,
// the way into a box, and a function.
func TestMain(m *testing.M) {
	if isChild, err := RunChild(os.Args[1:], os.Stdin, os.Stdout); isChild {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(box.ExitStatus)
		}
		os.Exit(0)
	}
	if behaviour := os.Getenv("BENCH_TEST_FUNCTION"); behaviour != "" && os.Getenv("AWS_LAMBDA_RUNTIME_API") != "" {
		answer(behaviour)
	}
	os.Exit(m.Run())
}

// answer is a function that computes fib in its own way, and then behaves.
func answer(behaviour string) {
	api := "http://" + os.Getenv("AWS_LAMBDA_RUNTIME_API") + "/2018-06-01/runtime/invocation/"
	for calls := 0; ; calls++ {
		r, err := http.Get(api + "next")
		if err != nil {
			os.Exit(1)
		}
		var e task.Event
		json.NewDecoder(r.Body).Decode(&e)
		var a task.Answer
		for i := range e.Tasks {
			a.Checksums = append(a.Checksums, slowFib(int64(i), e.Steps).String())
		}
		switch {
		case behaviour == "lies":
			a.Checksums[1] = "1"
		case behaviour == "lies when warm" && calls > 0:
			a.Checksums = a.Checksums[1:]
		case behaviour == "dies":
			fmt.Fprintln(os.Stderr, "a first line\nthe last words")
			os.Exit(3)
		case behaviour == "hangs":
			select {}
		case behaviour == "allocates":
			a.Digest = string(slices.Repeat([]byte{1}, 600<<20))
		}
		body, _ := json.Marshal(a)
		r, err = http.Post(api+r.Header.Get("Lambda-Runtime-Aws-Request-Id")+"/response", "application/json", bytes.NewReader(body))
		if err == nil {
			io.Copy(io.Discard, r.Body)
		}
	}
}

// slowFib is the definition, step by step.
func slowFib(i, steps int64) *big.Int {
	prime := big.NewInt(1<<61 - 1)
	a, b := big.NewInt(i), big.NewInt(1)
	for range steps {
		a.Add(a, b).Mod(a, prime)
		a, b = b, a
	}
	return a
}

func TestTruthOfFib(t *testing.T) {
	for _, steps := range []int64{1, 2, 3, 61, 1000, 12345} {
		checksums := make([]string, 7)
		for i := range checksums {
			checksums[i] = slowFib(int64(i), steps).String()
		}
		if err := truthOfFib(7, steps).check("", checksums); err != nil {
			t.Errorf("%d steps: %v", steps, err)
		}
	}
}

func TestTruthCheck(t *testing.T) {
	truth := truthOfFetch(3)
	right := truth["sha256"]
	if err := truth.check("sha256", slices.Clone(right)); err != nil {
		t.Error(err)
	}
	for name, wrong := range map[string][]string{
		"too few":   right[:2],
		"too many":  append(slices.Clone(right), right[0]),
		"swapped":   {right[1], right[0], right[2]},
		"empty":     {"", "", ""},
		"of blake3": truth["blake3"],
	} {
		if truth.check("sha256", wrong) == nil {
			t.Errorf("%s: taken for right", name)
		}
	}
	if truth.check("md5", right) == nil {
		t.Error("an unknown algorithm is taken for right")
	}
}

// options returns options for a small experiment with the function of this program.
func options(t *testing.T, behaviour string) Options {
	t.Helper()
	if err := box.Available(); err != nil {
		t.Skip(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("BENCH_TEST_FUNCTION", behaviour)
	o := Defaults()
	o.Workloads, o.Modes, o.MemoryMB = []string{task.Fib}, []string{"serial"}, []int64{512}
	o.Tasks, o.Runs, o.Bootstrap = 3, 1, self
	return o
}

// TestLies checks that a wrong checksum is the end of an experiment, not a
// result.
func TestLies(t *testing.T) {
	for behaviour, want := range map[string]string{
		"lies":           "the checksum of task 1 is \"1\"",
		"lies when warm": "2 checksums for 3 tasks",
	} {
		_, err := Run(t.Context(), options(t, behaviour))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "fib, serial, 512 MB") {
			t.Errorf("%s: error %v, want one with %s", behaviour, err, want)
		}
	}
}

// TestFailures checks that what happens to a function is a result.
func TestFailures(t *testing.T) {
	for behaviour, want := range map[string]results.Call{
		"is right":  {Outcome: results.OK},
		"dies":      {Outcome: results.Failed, Error: "the last words"},
		"hangs":     {Outcome: results.TimedOut, Error: "timed out"},
		"allocates": {Outcome: results.OutOfMemory, Error: "killed"},
	} {
		t.Run(behaviour, func(t *testing.T) {
			o := options(t, behaviour)
			o.Timeout = time.Minute
			if behaviour == "hangs" {
				o.Timeout = time.Second
			}
			e, err := Run(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			calls := e.Series[0].Calls
			if n := map[bool]int{true: 1 + warmCalls, false: 1}[behaviour == "is right"]; len(calls) != n {
				t.Fatalf("%d calls, want %d: %+v", len(calls), n, calls)
			}
			c := calls[0]
			if c.Outcome != want.Outcome || !strings.Contains(c.Error, want.Error) || c.Duration <= 0 || c.Init <= 0 || !c.Cold || c.CPU <= 0 {
				t.Errorf("got %+v, want %+v", c, want)
			}
			if behaviour == "hangs" && c.Duration < o.Timeout {
				t.Errorf("%v is billed of %v", c.Duration, o.Timeout)
			}
		})
	}
}

func TestPace(t *testing.T) {
	var p pace
	all := []*series{{}, {}, {}}
	for i, mb := range []int64{1769, 1769, 1769} {
		all[i].MemoryMB = mb
	}
	if left := p.left(all, 2, 0); left != 0 {
		t.Errorf("%v, before anything is known", left)
	}
	p.took(all[0], time.Second)
	if left := p.left(all, 2, 1); left != 5*time.Second {
		t.Errorf("%v left of five turns of a second", left)
	}
	p.took(all[1], time.Second)
	p.took(all[2], 4*time.Second)
	if left := p.left(all, 2, 3); left != 6*time.Second {
		t.Errorf("%v left of a second run of 6 s", left)
	}
}

// TestAddHelpers has helpers that waited for a core: the main function is not billed for
// it.
func TestAddHelpers(t *testing.T) {
	const ms = time.Millisecond
	start := time.Now()
	made := func(from, to time.Duration, init, duration time.Duration) invocation {
		i := invocation{from: start.Add(from), to: start.Add(to)}
		i.Init, i.Duration, i.Outcome = init, duration, results.OK
		return i
	}
	for name, test := range map[string]struct {
		took           time.Duration // by the clock
		made           []invocation
		duration, wait time.Duration
		outcome        results.Outcome
	}{
		"none":        {5 * ms, nil, 5 * ms, 0, results.OK},
		"one":         {25 * ms, []invocation{made(0, 20*ms, 0, 20*ms)}, 25 * ms, 20 * ms, results.OK},
		"three waves": {65 * ms, []invocation{made(2*ms, 60*ms, 0, 18*ms), made(0, 20*ms, 0, 20*ms), made(ms, 41*ms, 0, 21*ms)}, 27 * ms, 22 * ms, results.OK},
		"INIT":        {65 * ms, []invocation{made(0, 30*ms, 10*ms, 20*ms), made(0, 60*ms, 11*ms, 20*ms)}, 36 * ms, 31 * ms, results.OK},
		"too long":    {2050 * ms, []invocation{made(0, 1000*ms, 0, 1000*ms), made(0, 2000*ms, 0, 999*ms)}, 1000 * ms, 950 * ms, results.TimedOut},
		"hangs":       {3000 * ms, nil, 1000 * ms, 0, results.TimedOut},
	} {
		c := results.Call{Duration: test.took, Outcome: results.OK}
		addHelpers(&c, test.made, time.Second)
		if c.Duration != test.duration || c.Wait != test.wait || len(c.Helpers) != len(test.made) || c.Outcome != test.outcome {
			t.Errorf("%s: %v, %v of it waiting, %d helpers, %s", name, c.Duration, c.Wait, len(c.Helpers), c.Outcome)
		}
	}
}

func TestCheckGroups(t *testing.T) {
	checksums := []string{"a", "b", "a", "c", "b", "a"}
	for name, test := range map[string]struct {
		groups [][]int
		right  bool
	}{
		"right":             {[][]int{{1, 4}, {0, 2, 5}}, true},
		"one is missing":    {[][]int{{0, 2, 5}}, false},
		"one twice":         {[][]int{{1, 4}, {1, 4}}, false},
		"half of one":       {[][]int{{1, 4}, {0, 2}}, false},
		"unequal files":     {[][]int{{1, 4}, {0, 2, 3, 5}}, false},
		"one alone":         {[][]int{{1, 4}, {0, 2, 5}, {3}}, false},
		"an empty one":      {[][]int{{1, 4}, {}}, false},
		"what is no task":   {[][]int{{1, 4}, {6}}, false},
		"none where no two": {nil, false},
	} {
		if err := checkGroups(checksums, test.groups); (err == nil) != test.right {
			t.Errorf("%s: error %v", name, err)
		}
	}
	if err := checkGroups([]string{"a", "b"}, nil); err != nil {
		t.Error(err)
	}
}
