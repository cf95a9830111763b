// Package task is what the experiment measures, from the function's side: the tasks
// of a workload, run in a mode. The bootstrap in cmd/experiment/bootstrap serves a
// [Function]. Contenders in other languages take the same events; the checksums
// prove that they do the same work.
//
// In every mode the same errgroup drives the same code for each task, in this
// process or in a worker process. Nothing else differs.
//
//	event.go     what an event asks for, what it gets, and what is refused
//	function.go  all tasks of an event, in its mode
//	helpers.go   the same, shared out among other functions
//	run.go       one task
//	worker.go    one task in a worker process, over package pool
package task

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sync/errgroup"

	"efsdedupe/dedupe/pool"
)

// Function answers events. It takes one call at a time, as Lambda makes them.
type Function struct {
	runner *runner

	// What the last call leaves for one that is like it.
	mode     string
	inFlight int
	workers  *pool.Pool // in the mode Processes; else nil
}

// New returns a function; p may be nil, except for the workload predict. A program that
// has one calls RunWorker first.
func New(p Predictor) *Function { return &Function{runner: newRunner(p)} }

// TaskError is a task that failed, and with it the call.
type TaskError struct {
	Task int
	Err  error
}

func (e *TaskError) Error() string { return fmt.Sprintf("task %d: %v", e.Task, e.Err) }

func (e *TaskError) Unwrap() error { return e.Err }

// Invoke answers an [Event] with an [Answer], both as JSON. Its error is an
// *EventError, or the *TaskError or *HelperError of the first that failed; the others
// are cancelled.
func (f *Function) Invoke(ctx context.Context, payload []byte) ([]byte, error) {
	e, err := parse(payload)
	if err != nil {
		return nil, err
	}
	a, err := f.answer(ctx, e)
	if err != nil {
		return nil, err
	}
	return json.Marshal(a)
}

func (f *Function) answer(ctx context.Context, e Event) (a Answer, err error) {
	switch e.Mode {
	case Helpers:
		f.settle(e)
		return f.delegate(ctx, e)
	case Join:
		return join(e, e.Answers)
	}
	tasks, err := e.tasks()
	if err != nil {
		return a, &EventError{err}
	}
	if e.Workload != Fib {
		a.Digest = Digest
	}
	if e.Workload == Scan && e.shared() {
		a.Files = make([]File, len(tasks))
		for i := range tasks {
			tasks[i].found = &a.Files[i]
		}
	}
	a.Checksums, err = f.run(ctx, e, tasks)
	return a, err
}

// Close ends the worker processes and connections that are kept for another call.
func (f *Function) Close() {
	f.runner.client.CloseIdleConnections()
	if f.workers != nil {
		f.workers.Close()
	}
	f.mode, f.workers, f.runner.gate = "", nil, nil
}

// settle keeps what the last call left if that was like this one. Anything else
// would be memory and descriptors that are not this mode's.
func (f *Function) settle(e Event) {
	if f.mode == e.Mode && f.inFlight == e.inFlight() {
		return
	}
	f.Close()
	f.mode, f.inFlight = e.Mode, e.inFlight()
	switch e.Mode {
	case Processes:
		f.workers = pool.New(f.inFlight, workerCommand)
	case Goroutines:
		f.runner.gate = make(chan struct{}, runtime.GOMAXPROCS(0))
	}
}

// tasks are those that an event asks for, or those of its share.
func (e *Event) tasks() ([]task, error) {
	first, n := e.shareOf()
	tasks := make([]task, n)
	for i := range tasks {
		tasks[i] = task{Workload: e.Workload, Number: first + i, Steps: e.Steps, URL: e.URL}
		if e.Workload == Predict {
			tasks[i].Image = strings.TrimSuffix(e.Root, "/") + "/" + ImageName(first+i)
		}
	}
	if e.Workload != Scan {
		return tasks, nil
	}
	names, err := regularFiles(e.Root)
	if err != nil {
		return nil, fmt.Errorf("can't list the root: %w", err)
	}
	if len(names) < e.Tasks {
		return nil, fmt.Errorf("%q has %d regular files: ask for at most as many tasks, not %d", e.Root, len(names), e.Tasks)
	}
	for i := range tasks {
		tasks[i].Path = []byte(filepath.Join(e.Root, names[first+i]))
	}
	return tasks, nil
}

// regularFiles are the names of those in a directory, sorted.
func regularFiles(dir string) (names []string, err error) {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if e.Type().IsRegular() {
			names = append(names, e.Name())
		}
	}
	return names, err
}

// run runs tasks in the event's mode and returns their checksums.
func (f *Function) run(ctx context.Context, e Event, tasks []task) ([]string, error) {
	f.settle(e)
	run := f.runner.run
	switch e.Mode {
	case Processes:
		run = in(f.workers)
	case ProcessesPerTask:
		run = inNewProcess
	}
	checksums := make([]string, len(tasks))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(e.inFlight())
	for i, t := range tasks {
		group.Go(func() error {
			err := ctx.Err()
			if err == nil {
				checksums[i], err = run(ctx, t)
			}
			if err != nil {
				return &TaskError{t.Number, err}
			}
			return nil
		})
	}
	return checksums, group.Wait()
}
