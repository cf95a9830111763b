// Package runtimeapi runs a Lambda bootstrap as AWS does, on this machine: it is
// the server of the Lambda Runtime API, on loopback, of which a bootstrap is the
// client. It knows nothing of what the bootstrap does with an event.
//
//	function.go     a function: its calls, and a new environment after a failure
//	environment.go  one environment: a process and the API that it talks to
//	api.go          the requests of the Runtime API
//
// What it does not have: limits on memory and CPU, a file system that can't be
// written, extensions, streamed responses, and freezing between calls.
package runtimeapi

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"sync"
	"time"
)

const (
	// MaxPayload is what Lambda takes as an event and as an answer, in bytes.
	MaxPayload = 6 << 20

	// initTime is how long Lambda gives a bootstrap to ask for its first event.
	initTime = 10 * time.Second
)

// ErrTimeout is the error of a call that was not answered in its time.
var ErrTimeout = errors.New("timed out, and was killed")

// Function is a Lambda function with one environment: one process, one call at a
// time. Its methods may be called from many goroutines.
type Function struct {
	command func() *exec.Cmd

	mu  sync.Mutex   // held for the whole of a call
	env *environment // nil after one that failed, until the next call
}

// Result is the answer to a call: a body, or the function's own error.
type Result struct {
	RequestID string
	Body      []byte

	ErrorType    string // set if the function answered that it failed
	ErrorMessage string

	Duration time.Duration // from the event to its answer
	Init     time.Duration // of a cold call: from the start of the process until it asked for an event
}

// Start starts the environment of a function, and returns when it asks for its
// first event. Each environment runs a command of its own, to whose environment
// variables, or to those of this process, the ones that Lambda sets are added.
// The bootstrap's logs are the command's standard output and error. The context
// is for the start alone; Close ends the function.
func Start(ctx context.Context, command func() *exec.Cmd) (*Function, error) {
	f := &Function{command: command}
	if err := f.warm(ctx); err != nil {
		return nil, err
	}
	return f, nil
}

// warm starts an environment.
func (f *Function) warm(ctx context.Context) error {
	env, err := startEnvironment(ctx, f.command())
	if err != nil {
		return fmt.Errorf("the bootstrap did not start: %w", err)
	}
	f.env = env
	return nil
}

// Invoke calls the function. That the function answers with an error is in the
// result. Invoke's own error is that there is no answer: the bootstrap exited,
// or took longer than timeout, which is ErrTimeout, or ctx was cancelled. Then
// its process is killed, and the next call starts another one.
func (f *Function) Invoke(ctx context.Context, event []byte, timeout time.Duration) (Result, error) {
	if len(event) > MaxPayload {
		return Result{}, fmt.Errorf("an event of %d bytes is above Lambda's limit of %d", len(event), MaxPayload)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return Result{}, err
	}
	result, err := f.invoke(ctx, event, timeout)
	if errors.Is(err, errNotDelivered) { // the end of the call before, not of this one
		f.discard()
		result, err = f.invoke(ctx, event, timeout)
	}
	if err != nil {
		f.discard()
	}
	return result, err
}

func (f *Function) invoke(ctx context.Context, event []byte, timeout time.Duration) (Result, error) {
	if f.env == nil {
		if err := f.warm(ctx); err != nil {
			return Result{}, err
		}
	}
	return f.env.invoke(ctx, event, timeout)
}

func (f *Function) discard() {
	if f.env != nil {
		f.env.close()
		f.env = nil
	}
}

// Close ends the environment, after the call that it may be busy with.
func (f *Function) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.discard()
}
