package pool

import (
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

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
		t.Skip("it waits for a timeout: leave out -short")
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
			killOne(started)
		}
	})

	requests := make(chan int)
	var answered, failed atomic.Int64
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			for i := range requests {
				if chaoticCall(t, p, i) {
					answered.Add(1)
				} else {
					failed.Add(1)
				}
				due <- struct{}{}
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

	if answered.Load() == 0 {
		t.Error("no call got a response")
	}
	call(t, p, "echo after", "after")
	used := p.Close()
	if n := slices.IndexFunc(commands, func(c *exec.Cmd) bool { return c.ProcessState == nil }); n >= 0 {
		t.Errorf("worker %d was not waited for", n)
	}
	if int(used.Started) != len(commands) {
		t.Errorf("started %d processes, but counted %d", len(commands), used.Started)
	}
	t.Logf("%d answered, %d failed, %d processes", answered.Load(), failed.Load(), used.Started)
}

// killOne kills one of the processes that still run.
func killOne(started []*exec.Cmd) {
	for _, i := range rand.Perm(len(started)) {
		// Not by PID: another process may have that number by now.
		if started[i].Process.Kill() == nil {
			return
		}
	}
}

// chaoticCall reports whether a call got its own response, not the error that two workers
// failed. Some requests exceed the pipe's buffer, so workers also die in the middle of
// reading and writing.
func chaoticCall(t *testing.T, p *Pool, i int) bool {
	want := strings.Repeat(strconv.Itoa(i)+" ", 1+i*i)
	got, err := p.Call(guard(t), []byte("echo "+want))
	switch {
	case err == nil && string(got) != want:
		t.Errorf("call %d got a wrong response of %d bytes", i, len(got))
	case err != nil && !strings.Contains(err.Error(), "two worker processes failed"):
		t.Errorf("call %d: %v", i, err)
	}
	return err == nil
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
