package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"efsdedupe/cmd/experiment/internal/results"
	"efsdedupe/cmd/experiment/internal/task"
	"efsdedupe/fixtures/lambda/runtimeapi"
)

// helpers is the environments of the function that another one invokes. On Lambda, all
// run at once. Here they run in waves, as many at once as there are cores for, and what
// the main function waits is computed: see addHelpers.
type helpers struct {
	root   string // of the main function
	all    []*environment
	free   chan *environment
	core   chan struct{} // holds one for each helper that runs
	cancel context.CancelFunc

	// The API with which the main function invokes them; nil if a state machine does.
	api      *runtimeapi.InvokeAPI
	machines int // that were made of this environment

	mu       sync.Mutex
	answered sync.Cond    // of invoking
	invoking int          // invocations
	made     []invocation // in the call under way
	err      error        // why one could not be made
}

// invocation is one of a helper: when it came in, and when its answer left.
type invocation struct {
	from, to time.Time
	results.Call
}

func (i invocation) helper() results.Helper {
	return results.Helper{Outcome: i.Outcome, Init: i.Init, Duration: i.Duration, CPU: i.CPU, PeakMemory: i.PeakMemory, Reads: i.Reads}
}

// openHelpers makes the environments of the helpers, and the API with which the function
// invokes them.
func (e *environment) openHelpers(ctx context.Context) (err error) {
	n, atOnce := e.series.Helpers, e.series.AtOnce
	h := &helpers{root: e.root(), free: make(chan *environment, n), core: make(chan struct{}, atOnce)}
	h.answered.L = &h.mu
	ctx, h.cancel = context.WithCancel(ctx)
	e.helpers = h
	for range n {
		helper := &environment{running: e.running, series: e.series, memoryMB: helperMB, timeout: e.Timeout}
		h.all = append(h.all, helper)
		if err := helper.open(); err != nil {
			return err
		}
		h.free <- helper
	}
	if e.series.Transitions > 0 {
		return nil
	}
	h.api, err = runtimeapi.ServeInvoke(ctx, map[string]func(context.Context, []byte) (runtimeapi.Result, error){task.HelperFunction: h.invoke})
	if err != nil {
		return err
	}
	e.variables = []string{task.EndpointVariable + "=" + h.api.URL}
	waves := (n + atOnce - 1) / atOnce
	e.timeout *= time.Duration(1 + waves)
	return nil
}

// close ends the invocations that there still are, and then the helpers.
func (h *helpers) close() error {
	h.cancel()
	if h.api != nil {
		h.api.Close()
	}
	h.wait()
	var errs []error
	for _, e := range h.all {
		errs = append(errs, e.close())
	}
	return errors.Join(errs...)
}

// wait returns when no invocation is under way.
func (h *helpers) wait() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for h.invoking > 0 {
		h.answered.Wait()
	}
}

// invoke has a free helper answer an event, once there is a core for it.
func (h *helpers) invoke(ctx context.Context, event []byte) (runtimeapi.Result, error) {
	i := invocation{from: time.Now()}
	h.mu.Lock()
	if ctx.Err() != nil {
		defer h.mu.Unlock()
		return runtimeapi.Result{}, ctx.Err()
	}
	h.invoking++
	h.mu.Unlock()
	answer, err := h.attempt(ctx, event, &i)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.invoking--; h.invoking == 0 {
		h.answered.Broadcast()
	}
	h.err = errors.Join(h.err, err)
	if i.to = time.Now(); i.Outcome != "" {
		h.made = append(h.made, i)
	}
	if err == nil && i.Outcome != results.OK {
		return runtimeapi.Result{ErrorType: string(i.Outcome), ErrorMessage: i.Error}, nil
	}
	return runtimeapi.Result{Body: answer}, err
}

func (h *helpers) attempt(ctx context.Context, event []byte, i *invocation) (answer []byte, err error) {
	select {
	case h.core <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-h.core }()
	e := <-h.free // no more are invoked at once than there are
	defer func() { h.free <- e }()
	i.Call, answer, err = e.attempt(ctx, h.local(event, e))
	return answer, err
}

// local returns an event with the helper's root in place of the main function's. On Lambda
// all functions can mount the file system at one path; here each environment has its own.
func (h *helpers) local(event []byte, e *environment) []byte {
	return bytes.ReplaceAll(event, []byte(h.root), []byte(e.root()))
}

// end waits until all helpers of a call have ended, even if the main function did not wait
// for them, and adds them to the call.
func (h *helpers) end(c *results.Call, timeout time.Duration) error {
	h.wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	made, err := h.made, h.err
	h.made, h.err = nil, nil
	if h.api == nil {
		addHelpersOfStateMachine(c, made)
		return err
	}
	addHelpers(c, made, timeout)
	return err
}

// addHelpers adds the helpers to a call. It takes from the call what the main function
// waited only because this machine has fewer cores than Lambda: its wait is as long as if
// each helper had begun as soon as it was invoked.
func addHelpers(c *results.Call, made []invocation, timeout time.Duration) {
	slices.SortFunc(made, func(a, b invocation) int { return a.from.Compare(b.from) })
	var last time.Time
	for _, i := range made {
		if i.to.After(last) {
			last = i.to
		}
		c.Wait = max(c.Wait, i.from.Sub(made[0].from)+i.Init+i.Duration)
		c.Helpers = append(c.Helpers, i.helper())
	}
	if len(made) > 0 {
		c.Duration = max(0, c.Duration-last.Sub(made[0].from)) + c.Wait
	}
	if c.Duration <= timeout {
		return
	}
	c.Duration, c.Wait = timeout, max(0, c.Wait-(c.Duration-timeout))
	if c.Outcome == results.OK {
		c.Outcome, c.Error = results.TimedOut, fmt.Sprintf("after %v the call timed out: its helpers took too long", timeout)
	}
}
