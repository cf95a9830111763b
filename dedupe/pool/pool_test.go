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

// The test binary is its own worker process, and the parent that gets killed.
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
	case "stubborn": // does not end with its input, and answers one request at most
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
	// The race detector keeps a process that ends for a second otherwise.
	cmd.Env = append(os.Environ(), "DEDUPE_TEST_WORKER="+role, "GORACE=atexit_sleep_ms=0")
	return cmd
}

func self() *exec.Cmd { return command("worker") }

func missing() *exec.Cmd { return exec.Command("/no/such/binary") }

// answer does what the request's first word says, in the worker.
func answer(request []byte) []byte {
	verb, rest, _ := strings.Cut(string(request), " ")
	half := func() { os.Stdout.Write([]byte{200, 0, 0, 0, 1, 2, 3, 4, 'h', 'a', 'l', 'f'}) }
	switch verb {
	case "echo":
		return []byte(rest)
	case "pid":
		return strconv.AppendInt(nil, int64(os.Getpid()), 10)
	case "once": // does what follows if it is the first to come here
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
		debug.FreeOSMemory() // so that it counts only as a peak
	}
	return nil
}

const ballastSize = 64 << 20

func hang() {
	for {
		time.Sleep(time.Hour)
	}
}

// guard ends what hangs, so that a test fails instead of the whole run.
func guard(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// closed returns a pool that is closed with the test.
func closed(t testing.TB, size int, command func() *exec.Cmd) *Pool {
	p := New(size, command)
	t.Cleanup(func() { p.Close() })
	return p
}

func call(t testing.TB, p *Pool, request, want string) {
	t.Helper()
	got, err := p.Call(guard(t), []byte(request))
	if err != nil || string(got) != want {
		t.Errorf("%q is answered %q, error %v, want %q", request, got, err, want)
	}
}

// pids makes calls in parallel and returns who answered them.
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

// gone reports whether a process of ours has ended and was waited for.
func gone(pid int) bool { return syscall.Kill(pid, 0) == syscall.ESRCH }

func TestWorkersAreStartedOnceAndReused(t *testing.T) {
	t.Parallel()
	const size = 5
	p := New(size, self)
	first := pids(t, p, size)
	if len(first) != size {
		t.Errorf("%d calls of a new pool were answered by the processes %v", size, first)
	}
	if later := pids(t, p, 10*size); !slices.Equal(later, first) {
		t.Errorf("the processes %v became %v", first, later)
	}
	for _, pid := range first {
		if gone(pid) {
			t.Errorf("%d does not live", pid)
		}
		// Or ^C at a terminal ends it before the parent can report.
		if group, err := syscall.Getpgid(pid); group != pid {
			t.Errorf("%d is in the process group %d, error %v", pid, group, err)
		}
	}
	used := p.Close()
	if used.Started != size {
		t.Errorf("%d processes were started, want %d", used.Started, size)
	}
	if used.CPU <= 0 {
		t.Errorf("they took %v of CPU time", used.CPU)
	}
	if runtime.GOOS == "linux" && used.PeakMemory <= 0 {
		t.Errorf("they took %d bytes", used.PeakMemory)
	}
	for _, pid := range first {
		if !gone(pid) {
			t.Errorf("Close left %d", pid)
		}
	}
}

// Not parallel, so that no other test opens or closes a descriptor meanwhile.
func TestDescriptors(t *testing.T) {
	open := func() int {
		names, err := os.ReadDir("/dev/fd")
		if err != nil {
			t.Skip(err)
		}
		return len(names)
	}
	warm := New(1, self) // the runtime opens some of its own
	call(t, warm, "echo", "")
	warm.Close()

	const size = 4
	before := open()
	p := New(size, self)
	pids(t, p, size)
	if took := open() - before; took > size*Descriptors {
		t.Errorf("%d workers took %d descriptors, more than %d each", size, took, Descriptors)
	}
	p.Close()
	for range 10 {
		if _, err := New(1, missing).Call(guard(t), nil); err == nil {
			t.Error("started what does not exist")
		}
	}
	if left := open() - before; left != 0 {
		t.Errorf("%d descriptors are left", left)
	}
}

func TestPeakMemory(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells it of other processes")
	}
	p := New(1, self)
	call(t, p, "allocate", "")
	if used := p.Close(); used.PeakMemory < ballastSize {
		t.Errorf("the peak is %d bytes, the worker held %d", used.PeakMemory, ballastSize)
	}
}

var failures = []struct{ name, request, want string }{
	{"exits", "exit 3", "exit status 3"},
	{"exits as if all were well", "exit 0", "hung up"},
	{"is killed", "kill", "signal: killed"},
	{"exits within a frame", "half-exit", "exit status 3"},
	{"prints", "garbage", "not a frame"},
	{"closes its output", "close", "hung up"},
	{"answers too much", "large", "exit status 1"},
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
				t.Errorf("%d processes were started, want 2", used.Started)
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
				t.Errorf("answered %q, error %v, want one that names %q", got, err, test.want)
			}
			others.Wait()
			for range 4 {
				call(t, p, "echo after", "after")
			}
			// Two for the call, two more that answered at the end.
			if used := p.Close(); used.Started < 3 || used.Started > 4 {
				t.Errorf("%d processes were started", used.Started)
			}
		})
	}
}

// How it ended, after it hung up, is then the pool's doing and says nothing.
func TestWorkerDoesNotEndWithItsInput(t *testing.T) {
	t.Parallel()
	p := New(1, func() *exec.Cmd { return command("stubborn") })
	if _, err := p.Call(guard(t), []byte("hang up")); err == nil || !strings.Contains(err.Error(), "hung up") {
		t.Errorf("error %v", err)
	}
	left := pids(t, p, 1)
	p.Close()
	if !gone(left[0]) {
		t.Errorf("Close left %d", left[0])
	}
}

// This one takes as long as a worker may be stuck within a frame.
func TestWorkerHangsWithinAFrame(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes frameTime")
	}
	p := closed(t, 2, self)
	first := pids(t, p, 1)
	marker := filepath.Join(t.TempDir(), "marker")
	call(t, p, "once "+marker+" half-hang", "survived")
	// By now the time for the first frame of the other one is over, too.
	if again := pids(t, p, 1); !slices.Equal(again, first) {
		t.Errorf("%v, which waited, was replaced by %v", first, again)
	}
}

func TestStandardErrorIsTheCommands(t *testing.T) {
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
		t.Errorf("error %v: it is the caller's, not a worker's", err)
	}
	call(t, p, "echo", "")
	if used := p.Close(); used.Started != 1 {
		t.Errorf("it cost %d workers", used.Started-1)
	}
}

// killIdle kills all idle workers, and returns when none has an input any more.
func killIdle(p *Pool) {
	for range len(p.idle) {
		w := <-p.idle
		w.cmd.Process.Kill()
		for err := error(nil); err == nil; {
			_, err = w.in.Write([]byte("until its input is gone"))
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
			t.Errorf("%d answers, and was killed", pid)
		}
	}
	if used := p.Close(); used.Started != 2*size {
		t.Errorf("%d processes were started, want %d", used.Started, 2*size)
	}
}

// A call may meet more than one worker that died idle, here because one that
// can't be started leaves it no other. That is not a file at which two died.
func TestCallMeetsTwoWorkersThatDiedIdle(t *testing.T) {
	t.Parallel()
	starts := 0
	p := closed(t, 2, func() *exec.Cmd {
		if starts++; starts == 3 {
			return missing()
		}
		return self()
	})
	pids(t, p, 2)
	killIdle(p)
	call(t, p, "echo after", "after")
}

// Every call gets its own answer or the one error, whatever dies when.
func TestChaos(t *testing.T) {
	t.Parallel()
	const size, callers, calls, kills = 4, 8, 200, 60
	var commands []*exec.Cmd // guarded by p.mu, as their processes are
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
				// Not by its number, which may be another's by now.
				if started[i].Process.Kill() == nil {
					break // it had not been waited for
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
				// Some fit into a pipe and some do not: so it is killed while
				// it reads and writes, too.
				want := strings.Repeat(strconv.Itoa(i)+" ", 1+i*i)
				got, err := p.Call(guard(t), []byte("echo "+want))
				due <- struct{}{}
				mu.Lock()
				switch {
				case err == nil && string(got) == want:
					answered++
				case err == nil:
					t.Errorf("call %d has a wrong answer of %d bytes", i, len(got))
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
		t.Error("no call was answered")
	}
	call(t, p, "echo after", "after")
	used := p.Close()
	for _, cmd := range commands {
		if cmd.ProcessState == nil {
			t.Errorf("%d was not waited for", cmd.Process.Pid)
		}
	}
	if int(used.Started) != len(commands) {
		t.Errorf("%d processes were started and %d counted", len(commands), used.Started)
	}
	t.Logf("%d answered, %d failed, %d processes", answered, failed, used.Started)
}

func TestNoneCanBeStarted(t *testing.T) {
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
		t.Errorf("nothing took %+v", used)
	}
}

func TestOnlyOneCanBeStarted(t *testing.T) {
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
		t.Errorf("the processes %v answered", all)
	}
	// And when that one is gone, calls say so instead of waiting for it.
	for range 5 {
		if _, err := p.Call(guard(t), []byte("kill")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("error %v", err)
		}
	}
	if used := p.Close(); used.Started != 1 {
		t.Errorf("%d processes were started", used.Started)
	}
}

// A pipe's end tells what no timer can: that no process holds it any more.
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

// hanging returns the PID that a worker prints before it hangs.
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

func TestCancelledWhileItHangs(t *testing.T) {
	t.Parallel()
	r, w := lifeline(t)
	p := New(1, func() *exec.Cmd {
		cmd := self()
		cmd.Stderr = w
		return cmd
	})
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for range 3 { // one has the worker, the others wait for it
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
		t.Errorf("%d is left", pid)
	}
}

// cancelling is a worker's input that cancels the call that writes to it.
type cancelling struct {
	io.WriteCloser
	cancel func()
}

func (c cancelling) Write(b []byte) (int, error) {
	c.cancel()
	return len(b), nil
}

// A worker that a cancelled call is about to kill must not be given to another
// call, nor be left behind by Close: not even if it has answered.
func TestCancelledCallHasNoAnswer(t *testing.T) {
	t.Parallel()
	w, err := startWorker(self())
	if err != nil {
		t.Fatal(err)
	}
	defer w.stop()
	cancelled, cancel := context.WithCancel(t.Context())
	w.in = cancelling{w.in, cancel}
	w.out.Reset(bytes.NewReader(frame(t, []byte("answer"))))
	if got, err := w.call(cancelled, nil); err != context.Canceled {
		t.Errorf("answer %q, error %v", got, err)
	}
	p := New(1, self)
	if _, err := p.Call(cancelled, []byte("echo")); err != context.Canceled {
		t.Errorf("error %v", err)
	}
	if used := p.Close(); used.Started > 0 {
		t.Error("a worker was started for a call that was cancelled before")
	}
}

// A parent that is killed can clean up nothing; its workers must see to it.
func TestKilledParentLeavesNoWorker(t *testing.T) {
	t.Parallel()
	r, w := lifeline(t)
	parent := command("parent")
	parent.Stdout = w
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	pid := hanging(t, r) // it is busy
	parent.Process.Kill()
	parent.Wait()
	// It prints no more. The end is that of the worker, the last to hold the
	// pipe; its number may stay, if who inherits it does not wait for it.
	if more, err := io.ReadAll(r); err != nil || len(more) > 0 {
		t.Errorf("the worker lives: printed %q, error %v", more, err)
		syscall.Kill(pid, syscall.SIGKILL)
	}
}

func TestServe(t *testing.T) {
	t.Parallel()
	in := bytes.NewReader(frame(t, []byte("truncated"))[:10])
	if err := Serve(in, io.Discard, answer); err != io.ErrUnexpectedEOF {
		t.Errorf("its input ends within a frame: %v", err)
	}
	if err := Serve(strings.NewReader("panic: hello\n"), io.Discard, answer); err != errGarbage {
		t.Errorf("its input is garbage: %v", err)
	}
	if err := Serve(strings.NewReader(""), io.Discard, answer); err != nil {
		t.Errorf("its input is empty: %v", err)
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
		t.Error("it waits")
	}
}

// BenchmarkCall is what the pool adds to the work: two writes, two reads and
// four switches between processes.
func BenchmarkCall(b *testing.B) {
	request := bytes.Repeat([]byte("x"), 150) // about as long as those of PoolHasher
	copy(request, "echo ")
	for _, size := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("workers=%d", size), func(b *testing.B) {
			p := New(size, self)
			defer p.Close()
			for range size { // start them all
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

// BenchmarkStart is the life of a worker process that has nothing to do.
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
