package pool

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The test binary doubles as the worker process and as the parent that gets killed.
func TestMain(m *testing.M) {
	switch os.Getenv("DEDUPE_TEST_WORKER") {
	case "worker":
		if err := Serve(os.Stdin, os.Stdout, answer); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	case "parent":
		p := New(1, func() *exec.Cmd {
			cmd := command("worker")
			cmd.Stderr = os.Stdout
			return cmd
		})
		p.Call(context.Background(), []byte("hang"))
		os.Exit(1) // not reached: it is killed
	case "stubborn": // outlives its input, and answers at most one request
		if request, _ := readFrame(os.Stdin); string(request) == "pid" {
			writeFrame(os.Stdout, answer(request))
		}
		os.Stdout.Close()
		hang()
	default:
		os.Exit(m.Run())
	}
}

func command(role string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	// By default the race detector delays exit by a second.
	cmd.Env = append(os.Environ(), "DEDUPE_TEST_WORKER="+role, "GORACE=atexit_sleep_ms=0")
	return cmd
}

func self() *exec.Cmd { return command("worker") }

func missing() *exec.Cmd { return exec.Command("/no/such/binary") }

// answer runs in the worker and does what the first word of the request says.
func answer(request []byte) []byte {
	verb, rest, _ := strings.Cut(string(request), " ")
	half := func() { os.Stdout.Write([]byte{200, 0, 0, 0, 1, 2, 3, 4, 'h', 'a', 'l', 'f'}) }
	switch verb {
	case "echo":
		return []byte(rest)
	case "pid":
		return strconv.AppendInt(nil, int64(os.Getpid()), 10)
	case "once": // the first worker to get here does what follows
		marker, first, _ := strings.Cut(rest, " ")
		f, err := os.OpenFile(marker, os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return []byte("survived")
		}
		f.Close()
		return answer([]byte(first))
	case "exit":
		code, _ := strconv.Atoi(rest)
		os.Exit(code)
	case "kill":
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
		hang()
	case "half-exit":
		half()
		os.Exit(3)
	case "half-hang":
		half()
		hang()
	case "garbage":
		os.Stdout.WriteString("panic: hello\n")
		hang()
	case "close":
		os.Stdout.Close()
		hang()
	case "hang":
		fmt.Fprintln(os.Stderr, os.Getpid())
		hang()
	case "large":
		return make([]byte, maxPayload+1)
	case "stderr":
		fmt.Fprintln(os.Stderr, rest)
		return []byte(rest)
	case "allocate":
		ballast := bytes.Repeat([]byte{1}, ballastSize)
		runtime.KeepAlive(ballast)
		ballast = nil
		debug.FreeOSMemory() // now only the peak includes it
	}
	return nil
}

const ballastSize = 64 << 20

func hang() {
	for {
		time.Sleep(time.Hour)
	}
}

// guard limits a call to a minute, so that a hang fails one test, not the whole run.
func guard(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// newPool returns a pool that closes when the test ends.
func newPool(t testing.TB, size int, command func() *exec.Cmd) *Pool {
	p := New(size, command)
	t.Cleanup(func() { p.Close() })
	return p
}

func call(t testing.TB, p *Pool, request, want string) {
	t.Helper()
	got, err := p.Call(guard(t), []byte(request))
	if err != nil || string(got) != want {
		t.Errorf("%q: got %q, error %v, want %q", request, got, err, want)
	}
}

// pids makes calls in parallel and returns the distinct process IDs that answered.
func pids(t *testing.T, p *Pool, calls int) []int {
	t.Helper()
	pids := make([]int, calls)
	var all sync.WaitGroup
	for i := range calls {
		all.Go(func() {
			got, err := p.Call(guard(t), []byte("pid"))
			if err == nil {
				pids[i], err = strconv.Atoi(string(got))
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	slices.Sort(pids)
	return slices.Compact(pids)
}

// gone reports whether a child process has exited and been waited for.
func gone(pid int) bool { return syscall.Kill(pid, 0) == syscall.ESRCH }

func TestWorkersAreStartedOnceAndReused(t *testing.T) {
	t.Parallel()
	const size = 5
	p := New(size, self)
	first := pids(t, p, size)
	if len(first) != size {
		t.Errorf("processes %v answered the first %d calls", first, size)
	}
	if later := pids(t, p, 10*size); !slices.Equal(later, first) {
		t.Errorf("processes %v answered, then %v", first, later)
	}
	for _, pid := range first {
		if gone(pid) {
			t.Errorf("worker %d is dead", pid)
		}
		// In the parent's group, ^C would kill it before the parent can report.
		if group, err := syscall.Getpgid(pid); group != pid {
			t.Errorf("worker %d is in process group %d, error %v", pid, group, err)
		}
	}
	used := p.Close()
	if used.Started != size {
		t.Errorf("started %d processes, want %d", used.Started, size)
	}
	if used.CPU <= 0 {
		t.Errorf("CPU time %v", used.CPU)
	}
	if runtime.GOOS == "linux" && used.PeakMemory <= 0 {
		t.Errorf("peak memory %d bytes", used.PeakMemory)
	}
	for _, pid := range first {
		if !gone(pid) {
			t.Errorf("Close left worker %d behind", pid)
		}
	}
}

// Not parallel: other tests open and close descriptors.
func TestDescriptors(t *testing.T) {
	open := func() int {
		names, err := os.ReadDir("/dev/fd")
		if err != nil {
			t.Skip(err)
		}
		return len(names)
	}
	warm := New(1, self) // lets the runtime open descriptors of its own first
	call(t, warm, "echo", "")
	warm.Close()

	const size = 4
	before := open()
	p := New(size, self)
	pids(t, p, size)
	if took := open() - before; took > size*Descriptors {
		t.Errorf("%d workers took %d descriptors, want at most %d each", size, took, Descriptors)
	}
	p.Close()
	for range 10 {
		if _, err := New(1, missing).Call(guard(t), nil); err == nil {
			t.Error("started a missing program")
		}
	}
	if left := open() - before; left != 0 {
		t.Errorf("leaked %d descriptors", left)
	}
}

func TestPeakMemory(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("only Linux reports the memory of other processes")
	}
	p := New(1, self)
	call(t, p, "allocate", "")
	if used := p.Close(); used.PeakMemory < ballastSize {
		t.Errorf("peak memory %d bytes, but the worker held %d", used.PeakMemory, ballastSize)
	}
}

var failures = []struct{ name, request, want string }{
	{"exits with an error", "exit 3", "exit status 3"},
	{"exits with status 0", "exit 0", "hung up"},
	{"is killed", "kill", "signal: killed; unless somebody killed it, there was too little memory"},
	{"exits inside a frame", "half-exit", "exit status 3"},
	{"prints text", "garbage", "not a frame"},
	{"closes its output", "close", "hung up"},
	{"response too large", "large", "exit status 1"},
}

func TestWorkerFailsOnce(t *testing.T) {
	t.Parallel()
	for _, test := range failures {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			p := New(1, self)
			marker := filepath.Join(t.TempDir(), "marker")
			call(t, p, "once "+marker+" "+test.request, "survived")
			if used := p.Close(); used.Started != 2 {
				t.Errorf("started %d processes, want 2", used.Started)
			}
		})
	}
}

func TestWorkerFailsTwice(t *testing.T) {
	t.Parallel()
	for _, test := range failures {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			p := New(2, self)
			var others sync.WaitGroup
			others.Go(func() {
				for range 20 {
					call(t, p, "echo other", "other")
				}
			})
			got, err := p.Call(guard(t), []byte(test.request))
			if err == nil || !strings.Contains(err.Error(), "two worker") || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %q, error %v, want an error that says %q", got, err, test.want)
			}
			others.Wait()
			for range 4 {
				call(t, p, "echo after", "after")
			}
			// Two failed at the call; one or two more did the rest.
			if used := p.Close(); used.Started < 3 || used.Started > 4 {
				t.Errorf("started %d processes, want 3 or 4", used.Started)
			}
		})
	}
}

// The pool has to kill this worker, so the exit status says nothing about the cause.
func TestWorkerOutlivesItsInput(t *testing.T) {
	t.Parallel()
	p := New(1, func() *exec.Cmd { return command("stubborn") })
	if _, err := p.Call(guard(t), []byte("hang up")); err == nil || !strings.Contains(err.Error(), "hung up") {
		t.Errorf("error %v", err)
	}
	left := pids(t, p, 1)
	p.Close()
	if !gone(left[0]) {
		t.Errorf("Close left worker %d behind", left[0])
	}
}

func TestWorkerHangsInsideAFrame(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes frameTimeout")
	}
	p := newPool(t, 2, self)
	first := pids(t, p, 1)
	marker := filepath.Join(t.TempDir(), "marker")
	call(t, p, "once "+marker+" half-hang", "survived")
	// The idle worker was silent for just as long, but must not time out.
	if again := pids(t, p, 1); !slices.Equal(again, first) {
		t.Errorf("idle worker %v was replaced by %v", first, again)
	}
}

func TestStandardErrorIsLeftToTheCommand(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p := New(1, func() *exec.Cmd {
		cmd := self()
		cmd.Stderr = w
		return cmd
	})
	call(t, p, "stderr hello", "hello")
	p.Close()
	w.Close()
	if printed, err := io.ReadAll(r); err != nil || string(printed) != "hello\n" {
		t.Errorf("printed %q, error %v", printed, err)
	}
}

func TestRequestTooLarge(t *testing.T) {
	t.Parallel()
	p := New(1, self)
	call(t, p, "echo", "")
	if _, err := p.Call(guard(t), make([]byte, maxPayload+1)); err == nil || strings.Contains(err.Error(), "worker") {
		t.Errorf("error %v, want one that does not blame a worker", err)
	}
	call(t, p, "echo", "")
	if used := p.Close(); used.Started != 1 {
		t.Errorf("the request killed %d workers", used.Started-1)
	}
}

// killIdle kills all idle workers and returns once all their inputs are closed.
func killIdle(p *Pool) {
	for range len(p.idle) {
		w := <-p.idle
		w.cmd.Process.Kill()
		for err := error(nil); err == nil; {
			_, err = w.in.Write([]byte("until its input is closed"))
		}
		p.idle <- w
	}
}

func TestIdleWorkersDie(t *testing.T) {
	t.Parallel()
	const size = 4
	p := New(size, self)
	before := pids(t, p, size)
	killIdle(p)
	for range size {
		call(t, p, "echo after", "after")
	}
	for _, pid := range pids(t, p, size) {
		if slices.Contains(before, pid) {
			t.Errorf("worker %d answered after it was killed", pid)
		}
	}
	if used := p.Close(); used.Started != 2*size {
		t.Errorf("started %d processes, want %d", used.Started, 2*size)
	}
}

// Workers that died while idle do not count as failures of the call. Here the call
// meets two of them, because no replacement can start for the first.
func TestCallMeetsTwoWorkersThatDiedIdle(t *testing.T) {
	t.Parallel()
	starts := 0
	p := newPool(t, 2, func() *exec.Cmd {
		if starts++; starts == 3 {
			return missing()
		}
		return self()
	})
	pids(t, p, 2)
	killIdle(p)
	call(t, p, "echo after", "after")
}

// Whichever worker dies when, every call gets its own response or the error that two
// workers failed.
func TestChaos(t *testing.T) {
	t.Parallel()
	const size, callers, calls, kills = 4, 8, 200, 60
	var commands []*exec.Cmd // p.mu guards the slice and the processes
	p := New(size, func() *exec.Cmd {
		cmd := self()
		commands = append(commands, cmd)
		return cmd
	})

	due := make(chan struct{}, calls)
	var killer sync.WaitGroup
	killer.Go(func() {
		for n := 0; n < kills; n++ {
			if _, more := <-due; !more {
				return
			}
			p.mu.Lock()
			started := slices.Clone(commands)
			p.mu.Unlock()
			for _, i := range rand.Perm(len(started)) {
				// Not by PID: another process may have that number by now.
				if started[i].Process.Kill() == nil {
					break // it was still running
				}
			}
		}
	})

	requests := make(chan int)
	var answered, failed int
	var mu sync.Mutex
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			for i := range requests {
				// Some requests exceed the pipe's buffer, so workers also die
				// in the middle of reading and writing.
				want := strings.Repeat(strconv.Itoa(i)+" ", 1+i*i)
				got, err := p.Call(guard(t), []byte("echo "+want))
				due <- struct{}{}
				mu.Lock()
				switch {
				case err == nil && string(got) == want:
					answered++
				case err == nil:
					t.Errorf("call %d got a wrong response of %d bytes", i, len(got))
				case strings.Contains(err.Error(), "two worker processes failed"):
					failed++
				default:
					t.Errorf("call %d: %v", i, err)
				}
				mu.Unlock()
			}
		})
	}
	for i := range calls {
		requests <- i
	}
	close(requests)
	all.Wait()
	close(due)
	killer.Wait()

	if answered == 0 {
		t.Error("no call got a response")
	}
	call(t, p, "echo after", "after")
	used := p.Close()
	for _, cmd := range commands {
		if cmd.ProcessState == nil {
			t.Errorf("worker %d was not waited for", cmd.Process.Pid)
		}
	}
	if int(used.Started) != len(commands) {
		t.Errorf("started %d processes, but counted %d", len(commands), used.Started)
	}
	t.Logf("%d answered, %d failed, %d processes", answered, failed, used.Started)
}

func TestNoWorkerCanStart(t *testing.T) {
	t.Parallel()
	p := New(4, missing)
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if _, err := p.Call(guard(t), nil); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("error %v", err)
			}
		})
	}
	all.Wait()
	if used := p.Close(); used != (Usage{}) {
		t.Errorf("no worker ran, but they used %+v", used)
	}
}

func TestOnlyOneWorkerCanStart(t *testing.T) {
	t.Parallel()
	var starts int
	p := New(4, func() *exec.Cmd {
		if starts++; starts > 1 {
			return missing()
		}
		return self()
	})
	call(t, p, "echo first", "first")
	if all := pids(t, p, 20); len(all) != 1 {
		t.Errorf("processes %v answered, want one", all)
	}
	// Once that one is gone, calls fail instead of waiting for it.
	for range 5 {
		if _, err := p.Call(guard(t), []byte("kill")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("error %v", err)
		}
	}
	if used := p.Close(); used.Started != 1 {
		t.Errorf("started %d processes, want 1", used.Started)
	}
}

// lifeline returns a pipe. Its read end reports EOF once no process holds the write
// end, which beats waiting for some time.
func lifeline(t *testing.T) (r *bufio.Reader, w *os.File) {
	t.Helper()
	end, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	end.SetReadDeadline(time.Now().Add(time.Minute))
	t.Cleanup(func() { end.Close(); w.Close() })
	return bufio.NewReader(end), w
}

// hanging reads the PID that a worker prints before it hangs.
func hanging(t *testing.T, r *bufio.Reader) int {
	t.Helper()
	line, err := r.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

func TestCancelHangingCall(t *testing.T) {
	t.Parallel()
	r, w := lifeline(t)
	p := New(1, func() *exec.Cmd {
		cmd := self()
		cmd.Stderr = w
		return cmd
	})
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for range 3 { // one call has the worker, the others wait for it
		all.Go(func() {
			if _, err := p.Call(ctx, []byte("hang")); err != context.Canceled {
				t.Errorf("error %v", err)
			}
		})
	}
	pid := hanging(t, r)
	cancel()
	all.Wait()
	p.Close()
	if !gone(pid) {
		t.Errorf("worker %d is still there", pid)
	}
}

// cancelling is a worker's input that cancels the call writing to it.
type cancelling struct {
	io.WriteCloser
	cancel func()
}

func (c cancelling) Write(b []byte) (int, error) {
	c.cancel()
	return len(b), nil
}

// A canceled call is about to kill its worker. Even if the worker has answered, no
// other call may get it, and Close must not leave it behind.
func TestCanceledCallHasNoResponse(t *testing.T) {
	t.Parallel()
	w, err := startWorker(self())
	if err != nil {
		t.Fatal(err)
	}
	defer w.stop()
	canceled, cancel := context.WithCancel(t.Context())
	w.in = cancelling{w.in, cancel}
	w.out.Reset(bytes.NewReader(frame(t, []byte("answer"))))
	if got, err := w.call(canceled, nil); err != context.Canceled {
		t.Errorf("response %q, error %v", got, err)
	}
	p := New(1, self)
	if _, err := p.Call(canceled, []byte("echo")); err != context.Canceled {
		t.Errorf("error %v", err)
	}
	if used := p.Close(); used.Started > 0 {
		t.Error("started a worker for a call that was already canceled")
	}
}

// A killed parent cannot clean up, so its workers have to exit on their own.
func TestKilledParentLeavesNoWorker(t *testing.T) {
	t.Parallel()
	r, w := lifeline(t)
	parent := command("parent")
	parent.Stdout = w
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	pid := hanging(t, r) // now the worker is busy
	parent.Process.Kill()
	parent.Wait()
	// The worker is the last to hold the pipe, so EOF means that it exited. The PID
	// would not tell: it lingers until the process that inherits the worker waits.
	if more, err := io.ReadAll(r); err != nil || len(more) > 0 {
		t.Errorf("the worker survived: it printed %q, error %v", more, err)
		syscall.Kill(pid, syscall.SIGKILL)
	}
}

func TestServe(t *testing.T) {
	t.Parallel()
	in := bytes.NewReader(frame(t, []byte("truncated"))[:10])
	if err := Serve(in, io.Discard, answer); err != io.ErrUnexpectedEOF {
		t.Errorf("input ends inside a frame: %v", err)
	}
	if err := Serve(strings.NewReader("panic: hello\n"), io.Discard, answer); err != errGarbage {
		t.Errorf("garbage as input: %v", err)
	}
	if err := Serve(strings.NewReader(""), io.Discard, answer); err != nil {
		t.Errorf("empty input: %v", err)
	}
}

func TestServeDoesNotWaitForHandle(t *testing.T) {
	t.Parallel()
	in, parent := io.Pipe()
	busy, release := make(chan struct{}), make(chan struct{})
	defer close(release)
	served := make(chan error)
	go func() {
		served <- Serve(in, io.Discard, func([]byte) []byte {
			close(busy)
			<-release
			return nil
		})
	}()
	if err := writeFrame(parent, []byte("request")); err != nil {
		t.Fatal(err)
	}
	<-busy
	parent.Close()
	select {
	case err := <-served:
		if err != nil {
			t.Error(err)
		}
	case <-guard(t).Done():
		t.Error("Serve waits for handle")
	}
}

// BenchmarkCall measures the overhead of a call: two writes, two reads and four
// context switches.
func BenchmarkCall(b *testing.B) {
	request := bytes.Repeat([]byte("x"), 150) // about as long as a real one
	copy(request, "echo ")
	for _, size := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("workers=%d", size), func(b *testing.B) {
			p := New(size, self)
			defer p.Close()
			for range size { // start all workers
				if _, err := p.Call(b.Context(), request); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportAllocs()
			b.SetParallelism(max(1, size/runtime.GOMAXPROCS(0)))
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := p.Call(b.Context(), request); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

// BenchmarkStart measures how long it takes to start a worker, call it and stop it.
func BenchmarkStart(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		p := New(1, self)
		if _, err := p.Call(b.Context(), []byte("echo")); err != nil {
			b.Fatal(err)
		}
		p.Close()
	}
}
