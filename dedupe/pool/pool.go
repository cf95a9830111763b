// Package pool runs calls in worker processes, over their standard input and
// output. It knows nothing of what the calls do.
//
// A [Pool] is the caller's side: bytes in, bytes out, as if it were a function.
// [Serve] is the worker's. Pipes are all it needs: AWS Lambda has no /dev/shm.
//
// A worker that dies, hangs up or writes what is not a frame is replaced, and
// its call made once more; a second time is the call's error. A worker ends when
// its input does, and its input ends with the parent, however that ends: so
// none is left behind by one that is killed.
//
//	pool.go     the pool: who does a call
//	worker.go   one worker process, from both sides
//	role.go     how a program learns that it is one
//	frame.go    what goes over the pipes
//	memory_*.go what a process holds
package pool

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Descriptors is how many file descriptors a worker takes in this process: two
// pipes, and what os keeps to signal it safely.
const Descriptors = 3

// Pool is a number of worker processes. It starts one for each of its first
// calls, until it has all of them.
type Pool struct {
	command func() *exec.Cmd
	free    chan struct{} // one for each worker that may still be started
	idle    chan *worker
	running atomic.Int64

	mu   sync.Mutex
	used Usage
}

// Usage is what the workers of a pool took, from their start to their end.
type Usage struct {
	Started    int64         // processes, replacements included
	CPU        time.Duration // user and system
	PeakMemory int64         // bytes, of those that lived to the end, together; see PeakMemory
}

// New returns a pool of at most size workers. Each runs a command of its own,
// which must call Serve; its standard input and output are the pool's.
func New(size int, command func() *exec.Cmd) *Pool {
	p := &Pool{
		command: command,
		free:    make(chan struct{}, size),
		idle:    make(chan *worker, size),
	}
	for range size {
		p.free <- struct{}{}
	}
	return p
}

// Call has a worker answer request, and waits for one to be idle if need be.
// Its error is that of ctx, or says how two workers in turn failed, or why none
// could be started, or that request is too large. It may be called from many
// goroutines.
func (p *Pool) Call(ctx context.Context, request []byte) ([]byte, error) {
	if err := checkSize(request); err != nil {
		return nil, err // no worker's failure
	}
	for failures := 0; ; {
		w, err := p.acquire(ctx)
		if err != nil {
			return nil, err
		}
		response, err := w.call(ctx, request)
		if err == nil {
			p.idle <- w
			return response, nil
		}
		diedIdle := w.answered && errors.Is(err, syscall.EPIPE) // not this call's doing
		err = p.discard(w, err)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if !diedIdle {
			failures++
		}
		if failures == 2 {
			return nil, fmt.Errorf("two worker processes failed at it, the second: %w", err)
		}
	}
}

// acquire returns a worker to be given back to idle or to discard. One that
// can't be started is done without, as long as there are others.
func (p *Pool) acquire(ctx context.Context) (*worker, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		select { // rather a new one: a pool of n is n processes
		case <-p.free:
		default:
			select {
			case <-p.free:
			case w := <-p.idle:
				return w, nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		w, err := p.start()
		if err == nil {
			return w, nil
		}
		if p.running.Load() == 0 {
			p.free <- struct{}{}
			return nil, fmt.Errorf("no worker process can be started: %w", err)
		}
	}
}

func (p *Pool) start() (*worker, error) {
	p.mu.Lock() // one at a time: a start takes descriptors of its own
	defer p.mu.Unlock()
	w, err := startWorker(p.command())
	if err == nil {
		p.running.Add(1)
		p.used.Started++
	}
	return w, err
}

// discard ends a worker that failed and returns how, better than failure knows
// it if that is only that the worker is gone.
func (p *Pool) discard(w *worker, failure error) error {
	err := p.stop(w)
	p.running.Add(-1)
	p.free <- struct{}{}
	switch {
	case !hungUp(failure):
		return failure
	case err == nil:
		return errHungUp
	}
	return err
}

func (p *Pool) stop(w *worker) error {
	cpu, err := w.stop()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.used.CPU += cpu
	return err
}

// Close ends the workers, when all calls have returned or their contexts are
// cancelled, and returns what they took.
func (p *Pool) Close() Usage {
	var memory int64
	idle := p.takeIdle()
	for _, w := range idle {
		memory += PeakMemory(w.cmd.Process.Pid, false)
	}
	var stopped sync.WaitGroup
	for _, w := range idle {
		stopped.Go(func() { p.stop(w) })
	}
	stopped.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.used.PeakMemory += memory
	return p.used
}

func (p *Pool) takeIdle() (idle []*worker) {
	for {
		select {
		case w := <-p.idle:
			idle = append(idle, w)
		default:
			return idle
		}
	}
}
