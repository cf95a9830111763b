package dedupe

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Abandoned counts the system calls that a process stopped waiting for, because their
// context ended while a mount did not answer. Each holds a thread until the mount
// answers. A process that scans more than once shares one Abandoned among its scans. Its
// zero value is ready to use.
type Abandoned struct{ calls atomic.Int64 }

// maxAbandoned leaves room for running scans among the 1,024 threads of an AWS Lambda
// function.
const maxAbandoned = 500

// admit returns an error that wraps os.ErrDeadlineExceeded if too many calls are
// abandoned.
func (a *Abandoned) admit() error {
	if a == nil || a.calls.Load() < maxAbandoned {
		return nil
	}
	return &hungError{a.calls.Load()}
}

// hungError is the error of a scan that may not start, because too many calls of earlier
// scans still hang.
type hungError struct{ calls int64 }

func (e *hungError) Error() string {
	return fmt.Sprintf("a file system does not answer: %d calls of earlier scans still wait for it; find the mount that hangs, and unmount it or restart its server", e.calls)
}

func (e *hungError) Unwrap() error { return os.ErrDeadlineExceeded }

// hungAfter is how long to wait for a call after its context ends. A system call on a
// hung mount cannot be interrupted, so after that it is abandoned.
const hungAfter = 250 * time.Millisecond

// await runs run in its own goroutine and waits until it ends, or until ctx ends and run
// hangs. It reports whether run ended. A run that hangs counts as the number of calls it
// makes at once.
func (a *Abandoned) await(ctx context.Context, atOnce func() int, run func()) (finished bool) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		run()
	}()
	select {
	case <-ended:
		return true
	case <-ctx.Done():
	}
	select {
	case <-ended:
		return true
	case <-time.After(hungAfter):
	}
	if a != nil {
		n := int64(atOnce())
		a.calls.Add(n)
		go func() {
			<-ended
			a.calls.Add(-n)
		}()
	}
	return false
}

// one is the atOnce of a run that makes one call at a time.
func one() int { return 1 }

// OpenWithin opens a directory inside Within, by a path that cannot leave it. If the file
// system does not answer before ctx ends, it returns the cause that ended ctx. If too many
// earlier calls hang, its error wraps os.ErrDeadlineExceeded.
func (e *Engine) OpenWithin(ctx context.Context, path string) (*os.File, error) {
	opened := make(chan *os.File, 1)
	err := e.atOnce(ctx, func() error {
		fd, err := (confinedDir{within: e.Within}).openDirectory(path)
		if err == nil {
			opened <- os.NewFile(uintptr(fd), path)
		}
		return err
	})
	switch errno := unix.Errno(0); {
	case errors.As(err, &errno):
		return nil, &Problem{Op: "open", Path: path, Err: err}
	case err != nil: // the garbage collector closes the file if it opens later
		return nil, err
	}
	return <-opened, nil
}

// HasWithin reports whether there is a directory or a file inside Within, at a path that
// cannot leave it and has no symbolic link. Its errors are those of OpenWithin.
func (e *Engine) HasWithin(ctx context.Context, path string) (bool, error) {
	var st status
	err := e.atOnce(ctx, func() (err error) {
		st, err = confinedDir{within: e.Within}.lstat(path, 0)
		return err
	})
	switch errno := unix.Errno(0); {
	case err == nil:
		return st.isDirectory() || st.isFile(), nil
	case errors.As(err, &errno) && errno != unix.EIO && errno != unix.ESTALE:
		return false, nil
	case errors.As(err, &errno):
		return false, &Problem{Op: "stat", Path: path, Err: err}
	}
	return false, err
}

// atOnce runs a system call, and returns its error. Other errors say that it hangs.
func (e *Engine) atOnce(ctx context.Context, call func() error) error {
	if err := e.Abandoned.admit(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	if !e.Abandoned.await(ctx, one, func() { ended <- call() }) {
		return context.Cause(ctx)
	}
	return <-ended
}
