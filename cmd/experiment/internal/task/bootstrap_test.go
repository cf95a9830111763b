package task

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"efsdedupe/fixtures/lambda/runtimeapi"
	"efsdedupe/fixtures/testkit"
)

// built is the Lambda function's program as it is deployed, made by the first
// test that needs it.
var built struct {
	once sync.Once
	dir  string
	err  error
}

func bootstrap(t testing.TB) (path string) {
	t.Helper()
	built.once.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "dedupe-task-"); built.err != nil {
			return
		}
		built.err = testkit.BuildFunction(built.dir, "efsdedupe/cmd/experiment/bootstrap")
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return filepath.Join(built.dir, "bootstrap")
}

// A bootstrap that has a worker's role, and no parent, says so and ends.
func TestBootstrapWorkerByHand(t *testing.T) {
	cmd := exec.Command(bootstrap(t)) // its standard input is no pipe
	cmd.Env = append(os.Environ(), "DEDUPE_TASK_WORKER=tasks")
	out, err := cmd.CombinedOutput()
	if err == nil || cmd.ProcessState.ExitCode() != 2 || !strings.Contains(string(out), "unset it") || strings.Count(string(out), "\n") != 1 {
		t.Errorf("%v: %s", err, out)
	}
}

// deployed is the function, and its present process.
type deployed struct {
	*runtimeapi.Function
	cmd *exec.Cmd
}

// start starts the function. Its log, and that of its workers, goes to stderr.
func start(t testing.TB, stderr *os.File) *deployed {
	t.Helper()
	path := bootstrap(t)
	var d deployed
	var err error
	d.Function, err = runtimeapi.Start(t.Context(), func() *exec.Cmd {
		d.cmd = exec.Command(path)
		d.cmd.Env = append(os.Environ(), "DEDUPE_ROOT=/no/such/root") // it has no use for one
		d.cmd.Stderr = stderr
		return d.cmd
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return &d
}

func (d *deployed) invoke(t testing.TB, e Event) runtimeapi.Result {
	t.Helper()
	payload, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	r, err := d.Invoke(t.Context(), payload, time.Minute)
	if err != nil {
		t.Fatalf("%+v: %v", e, err)
	}
	return r
}

// check makes sure that the answer to an event is the true one.
func (d *deployed) check(t testing.TB, e Event, want Answer) {
	t.Helper()
	r := d.invoke(t, e)
	var got Answer
	if err := json.Unmarshal(r.Body, &got); err != nil {
		t.Fatalf("%+v: %s: %s (%v)", e, r.ErrorType, r.ErrorMessage, err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%+v: %s", e, diff)
	}
}

// workers are the processes that the function's process has.
func (d *deployed) workers() []int {
	return slices.DeleteFunc(testkit.Children(d.cmd.Process.Pid), func(pid int) bool { return !testkit.Alive(pid) })
}

// The bootstrap gives the true answer in every mode, in one environment.
func TestBootstrap(t *testing.T) {
	t.Parallel()
	d := start(t, nil)
	for _, w := range all(t) {
		for _, mode := range append(Modes(), Modes()...) {
			w.Mode = mode
			d.check(t, w.Event, w.want)
		}
	}
}

// An event that is refused, and a task that fails, are errors of the function,
// which goes on.
func TestBootstrapErrors(t *testing.T) {
	t.Parallel()
	d := start(t, nil)
	for event, want := range bad {
		r, err := d.Invoke(t.Context(), []byte(event), time.Minute)
		if err != nil || r.ErrorType != "EventError" || !strings.Contains(r.ErrorMessage, want) {
			t.Errorf("%s: %+v, error %v", event, r, err)
		}
	}
	nobody := httptest.NewServer(nil)
	nobody.Close()
	for _, mode := range Modes() {
		r := d.invoke(t, Event{Workload: Fetch, Mode: mode, Tasks: 1, Workers: 1, URL: nobody.URL})
		if r.ErrorType != "TaskError" || !strings.HasPrefix(r.ErrorMessage, "task 0: Get ") || !strings.Contains(r.ErrorMessage, "connection refused") {
			t.Errorf("%s: %+v", mode, r)
		}
	}
	pid := d.cmd.Process.Pid
	d.check(t, Event{Workload: Fib, Mode: Goroutines, Tasks: 2, Workers: 1, Steps: 1}, Answer{Digest: "", Checksums: []string{"1", "1"}})
	if d.cmd.Process.Pid != pid {
		t.Error("an error ended its process")
	}
}

// The processes that run tasks are seen while all tasks in flight wait: the same
// ones in each call, a new one for each task, or none.
func TestBootstrapProcesses(t *testing.T) {
	testkit.NeedProc(t)
	t.Parallel()
	const workers, tasks, calls = 4, 12, 2
	for mode, want := range map[string]struct{ inFlight, atOnce, all, after int }{
		Goroutines:       {workers, 0, 0, 0},
		Processes:        {workers, workers, workers, workers},
		ProcessesPerTask: {workers, workers, calls * tasks, 0},
		Serial:           {1, 0, 0, 0},
	} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			d := start(t, nil)
			seen := make(map[int]bool)
			c := crowd{size: want.inFlight}
			c.gathered = func() {
				now := d.workers()
				if len(now) != want.atOnce {
					t.Errorf("%d processes at once, want %d", len(now), want.atOnce)
				}
				for _, pid := range now {
					seen[pid] = true
				}
			}
			e := Event{Workload: Fetch, Mode: mode, Tasks: tasks, Workers: workers, URL: c.serve(t)}
			for range calls {
				d.check(t, e, Answer{Digest: "blake3", Checksums: trueFetch(tasks)})
			}
			if len(seen) != want.all || c.most != want.inFlight {
				t.Errorf("%d processes and at most %d in flight, want %+v", len(seen), c.most, want)
			}
			if left := d.workers(); len(left) != want.after {
				t.Errorf("%d processes are kept, want %d", len(left), want.after)
			}
		})
	}
}

// A call that needs a pool of another size gets one, and the old one is gone; a
// call in another mode ends it.
func TestBootstrapPoolSize(t *testing.T) {
	testkit.NeedProc(t)
	t.Parallel()
	d := start(t, nil)
	before := []int(nil)
	for _, size := range []struct{ tasks, workers, want int }{{12, 4, 4}, {3, 4, 3}, {12, 5, 5}} {
		e := Event{Workload: Fib, Mode: Processes, Tasks: size.tasks, Workers: size.workers, Steps: steps}
		d.check(t, e, Answer{Digest: "", Checksums: trueFib(size.tasks, steps)})
		now := d.workers()
		if len(now) != size.want || slices.ContainsFunc(now, func(pid int) bool { return slices.Contains(before, pid) }) {
			t.Errorf("%+v: the processes %v after %v", size, now, before)
		}
		before = now
	}
	for _, mode := range []string{Goroutines, Processes, ProcessesPerTask, Serial} {
		d.check(t, Event{Workload: Fib, Mode: mode, Tasks: 2, Workers: 2, Steps: steps}, Answer{Digest: "", Checksums: trueFib(2, steps)})
		if now := d.workers(); len(now) > 0 != (mode == Processes) {
			t.Errorf("in the mode %s it keeps the processes %v", mode, now)
		}
	}
}

// Workers that are killed, idle or at work, are replaced, and the answer is right.
func TestBootstrapWorkersDie(t *testing.T) {
	testkit.NeedProc(t)
	t.Parallel()
	d := start(t, nil)
	killed := make(map[int]bool)
	kill := func(pids []int) {
		for _, pid := range pids {
			syscall.Kill(pid, syscall.SIGKILL)
			killed[pid] = true
		}
	}
	first := new(sync.Once)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		first.Do(func() { kill(d.workers()[:1]) })
		w.Write(body(r.URL.Path))
	}))
	t.Cleanup(server.Close)
	e := Event{Workload: Fetch, Mode: Processes, Tasks: 12, Workers: 4, URL: server.URL}
	want := Answer{Digest: "blake3", Checksums: trueFetch(12)}
	d.check(t, e, want)
	d.check(t, e, want)
	kill(d.workers())
	d.check(t, e, want)
	now := d.workers()
	if len(now) != 4 || slices.ContainsFunc(now, func(pid int) bool { return killed[pid] }) {
		t.Errorf("the processes %v after %v were killed", now, slices.Sorted(maps.Keys(killed)))
	}
}

// A function that is killed leaves no worker, though all of them are at work.
func TestBootstrapKilled(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{Processes, ProcessesPerTask} {
		r, w := testkit.Lifeline(t)
		d := start(t, w)
		c := crowd{size: 4, never: true, gathered: func() { d.cmd.Process.Kill() }}
		event, err := json.Marshal(Event{Workload: Fetch, Mode: mode, Tasks: 4, Workers: 4, URL: c.serve(t)})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.Invoke(t.Context(), event, time.Minute); err == nil || !strings.Contains(err.Error(), "killed") {
			t.Errorf("%s: error %v", mode, err)
		}
		w.Close()
		if said, err := io.ReadAll(r); err != nil {
			t.Errorf("%s: workers are left: %v, after %q", mode, err, said)
		}
	}
}

// So does one that takes too long, which it leaves to Lambda to say. Its workers
// do nothing but compute.
func TestBootstrapTimeout(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{Processes, ProcessesPerTask} {
		r, w := testkit.Lifeline(t)
		d := start(t, w)
		event, err := json.Marshal(Event{Workload: Fib, Mode: mode, Tasks: 2, Workers: 2, Steps: 1 << 62})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.Invoke(t.Context(), event, time.Second); !errors.Is(err, runtimeapi.ErrTimeout) {
			t.Errorf("%s: error %v", mode, err)
		}
		w.Close()
		if said, err := io.ReadAll(r); err != nil {
			t.Errorf("%s: workers are left: %v, after %q", mode, err, said)
		}
	}
}

// More workers than there are descriptors for are refused, rather than to fail
// half way or to be fewer processes.
func TestBootstrapDescriptors(t *testing.T) {
	t.Parallel()
	path := bootstrap(t)
	f, err := runtimeapi.Start(t.Context(), func() *exec.Cmd {
		cmd := exec.Command("sh", "-c", `ulimit -n 128 && exec "$0"`, path)
		cmd.Env = os.Environ()
		return cmd
	})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	d := deployed{Function: f}
	for mode, most := range map[string]int{Goroutines: 96, Processes: 32, ProcessesPerTask: 16} {
		c := crowd{size: most}
		e := Event{Workload: Fetch, Mode: mode, Tasks: most, Workers: 100, URL: c.serve(t)}
		d.check(t, e, Answer{Digest: "blake3", Checksums: trueFetch(most)})
		e.Tasks++
		if r := d.invoke(t, e); r.ErrorType != "EventError" || !strings.HasSuffix(r.ErrorMessage, fmt.Sprintf("the limit is 128: ask for at most %d workers", most)) {
			t.Errorf("%s: %+v", mode, r)
		}
	}
	d.check(t, Event{Workload: Fib, Mode: Serial, Tasks: 200, Workers: 200, Steps: steps}, Answer{Digest: "", Checksums: trueFib(200, steps)})
}

// BenchmarkBootstrap is a warm call, as Lambda would bill it, of the mission's
// own case: 100 files of 1 MiB from the page cache, 100 workers.
func BenchmarkBootstrap(b *testing.B) {
	root := b.TempDir()
	for i := range 100 {
		if err := os.WriteFile(filepath.Join(root, fmt.Sprintf("%03d", i)), make([]byte, 1<<20), 0o666); err != nil {
			b.Fatal(err)
		}
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write(body("/1")) }))
	defer server.Close()
	for _, workload := range Workloads() {
		for _, mode := range Modes() {
			b.Run(workload+"/"+mode, func(b *testing.B) {
				d := start(b, nil)
				e := Event{Workload: workload, Mode: mode, Tasks: 100, Workers: 100, Root: root, Steps: 200_000, URL: server.URL}
				d.invoke(b, e) // the cold one
				var took time.Duration
				for b.Loop() {
					took += d.invoke(b, e).Duration
				}
				b.ReportMetric(float64(took.Microseconds())/1e3/float64(b.N), "ms-billed")
			})
		}
	}
}
