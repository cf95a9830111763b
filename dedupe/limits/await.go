package limits

import (
	"context"
	"time"
)

// Await calls f, which may wait for a file system that does not answer or for input that
// does not come, and returns its result. If ctx ends first, it waits with some patience,
// then leaves f behind, with its thread, and returns the error of ctx.
func Await[T any](ctx context.Context, patience time.Duration, f func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	ended := make(chan result, 1)
	go func() {
		value, err := f()
		ended <- result{value, err}
	}()
	select {
	case r := <-ended:
		return r.value, r.err
	case <-ctx.Done():
	}
	select {
	case r := <-ended:
		return r.value, r.err
	case <-time.After(patience):
		return *new(T), ctx.Err()
	}
}
