// Package pool runs calls in worker processes over their standard input and output.
// It does not know what the calls do.
//
// The caller uses a [Pool] like a function: bytes in, bytes out. The worker runs
// [Serve]. They talk over pipes because AWS Lambda has no /dev/shm.
//
// If a worker dies, closes its output or writes garbage, the pool replaces it and
// retries the call once. If the second worker fails too, the call fails. A worker
// exits when its input ends, and its input ends with its parent, so even a killed
// parent leaves no worker behind.
//
//	pool.go    hands calls to workers
//	worker.go  one worker process, from both sides
//	role.go    tells a process that it is a worker
//	frame.go   the wire format
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

	"efsdedupe/dedupe/limits"
)

// Descriptors is the number of file descriptors that each worker takes in this
// process: two pipes, and one that package os keeps to signal the worker safely.
const Descriptors = 3

// Tasks is the number of threads that the system counts for each worker: those of a Go
// program, and the one that waits for it to exit.
const Tasks = 6

// Pool is a fixed number of worker processes. Each of the first calls starts one,
// until all are running.
type Pool struct {
	command func() *exec.Cmd
	free    chan struct{} // one token per worker that may still start
	idle    chan *worker
	running atomic.Int64

	mu   sync.Mutex
	used Usage
}

// Usage is what all workers of a pool used over their lifetimes.
type Usage struct {
	Started    int64         // processes, including replacements
	CPU        time.Duration // user and system
	PeakMemory int64         // bytes, summed over the workers alive at Close; see limits.PeakMemory
}

// New returns a pool of at most size workers. The pool calls command for each one
// and takes over its standard input and output. The program must call Serve.
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

// Call sends request to a worker and returns its response. It waits while all
// workers are busy, and is safe for concurrent use. It fails if ctx ends, if two
// workers in a row fail, if no worker can start, or if request exceeds 1 MiB.
func (p *Pool) Call(ctx context.Context, request []byte) ([]byte, error) {
	if err := checkSize(request); err != nil {
		return nil, err // the caller's fault: retrying would only kill workers
	}
	for failures, births := 0, 0; ; {
		w, err := p.acquire(ctx)
		if err != nil {
			return nil, err
		}
		response, err := w.call(ctx, request)
		if err == nil {
			p.idle <- w
			return response, nil
		}
		diedIdle := w.answered && errors.Is(err, syscall.EPIPE) // not because of this call
		err = p.discard(w, err)
		stillborn := !w.answered && crashed(err)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		// If the system has too few processes or threads left, a worker dies at its
		// first call, whatever that is.
		if births++; stillborn && births <= maxStillborn && p.takeBack() {
			continue
		}
		if !diedIdle {
			failures++
		}
		if failures == 2 {
			return nil, fmt.Errorf("%w, the second: %w%s", ErrFailed, err, adviceOn(err))
		}
	}
}

// ErrFailed is the error of a call that two workers in a row did not survive.
var ErrFailed = errors.New("two worker processes failed at it")

// maxStillborn is how many new workers may die on a call before the call is to blame.
const maxStillborn = 3

// takeBack decides not to replace a worker that is gone, if another one runs.
func (p *Pool) takeBack() bool {
	if p.running.Load() == 0 {
		return false
	}
	select {
	case <-p.free:
		return true
	default:
		return false
	}
}

// acquire returns a worker, which the caller passes on to idle or discard. If a
// worker cannot start, the pool makes do with those that run.
func (p *Pool) acquire(ctx context.Context) (*worker, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		select { // prefer a new worker, so that a pool of n runs n processes
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
			return nil, fmt.Errorf("can't start a worker process: %w", err)
		}
	}
}

func (p *Pool) start() (*worker, error) {
	p.mu.Lock() // one at a time: starting a process briefly takes extra descriptors
	defer p.mu.Unlock()
	w, err := startWorker(p.command())
	if err == nil {
		p.running.Add(1)
		p.used.Started++
	}
	return w, err
}

// discard stops a failed worker and returns why it failed. If failure says only
// that the worker is gone, its exit status says more.
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

// Close stops the workers and returns what they used. Call it once every call has
// returned or had its context canceled.
func (p *Pool) Close() Usage {
	var peak int64
	idle := p.takeIdle()
	for _, w := range idle {
		peak += limits.PeakMemory(w.cmd.Process.Pid, false)
	}
	var stopped sync.WaitGroup
	for _, w := range idle {
		stopped.Go(func() { p.stop(w) })
	}
	stopped.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.used.PeakMemory += peak
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
