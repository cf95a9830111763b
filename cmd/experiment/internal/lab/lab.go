// Package lab runs the experiment: it calls a Lambda function's tasks in goroutines,
// in processes and in other languages, in Lambda-sized boxes, on an EFS-like mount.
//
// Tasks return checksums, which lab compares with ones computed another way: that
// proves that every mode did the same work. A series is one workload in one mode
// with one memory size. A run calls each series in turn, so that a disturbance of
// the machine hits all of them.
//
//	lab.go           what to run, and in which order
//	child.go         the process that runs it
//	scratch.go       what must not be left behind, and who removes it
//	workload.go      what tasks need, and their true checksums
//	environment.go   one environment of a function: its box, its mount, its calls
//	helpers.go       the helpers that a function invokes: their environments, and who waits
//	statemachine.go  the same, invoked by Step Functions
//	function.go      the programs that run tasks: the bootstrap, the contenders
//	truth.go         checksums, computed another way
//	pace.go          how long the rest will take
//	machine.go       the machine it runs on
//
// Package task is what is measured, package box where, and package results turns
// the calls into tables.
package lab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"efsdedupe/cmd/experiment/internal/contenders"
	"efsdedupe/cmd/experiment/internal/predict"
	"efsdedupe/cmd/experiment/internal/results"
	"efsdedupe/cmd/experiment/internal/task"
	"efsdedupe/dedupe/cost"
	"efsdedupe/fixtures/aws"
	"efsdedupe/fixtures/efs"
	"efsdedupe/fixtures/lambda/box"
)

// Options say what to run. See [Defaults].
type Options struct {
	Workloads []string
	Modes     []string // of the bootstrap, and those of contenders, such as "python-threads"
	MemoryMB  []int64

	Tasks     int // of one call
	Workers   int // tasks in flight
	Runs      int
	Instances int // environments of a series in each run
	Helpers   int // the most, in the mode task.Helpers; fewer are tried, too
	Timeout   time.Duration

	From      Source        // where the files of a workload are
	S3Latency time.Duration // of each request, from S3

	Calls  int64 // a month
	Region string
	Prices *cost.Book `json:"-"` // nil for those of Region
	Arch   cost.Arch  // whose prices

	Bootstrap  string                 // the program that runs tasks: cmd/experiment/bootstrap
	Product    string                 // the program of the mode Product: cmd/lambda
	Predictor  string                 // the program that runs the tasks of predict: cmd/experiment/predictor
	Predict    predict.Files          // what they take
	Contenders []contenders.Contender // whose modes may be among Modes

	Unboxed bool // without boxes: no limits, and neither CPU time nor memory is known

	// Progress, if it is set, is told how far the experiment is, by one goroutine
	// at a time.
	Progress func(Progress) `json:"-"`
}

// Source is where tasks read files from.
type Source string

// The sources.
const (
	EFS Source = "efs" // a mount like EFS
	S3  Source = "s3"  // a server on the loopback address that answers GET like S3
)

// Progress is how far an experiment is.
type Progress struct {
	Done, Total int // series, over all runs
	Now         string
	Left        time.Duration // as well as it can be told; 0 if it can't
}

const (
	// warmCalls is how many calls follow the cold one in an environment.
	warmCalls = 2

	fileBytes  = 1 << 20                // the standard set's
	fibSteps   = 200_000                // half a millisecond of a core, in Go
	fetchDelay = 100 * time.Millisecond // of a chart that somebody else draws
	maxTasks   = 10_000

	helperMB   = 1769             // of each helper: one vCPU
	maxTimeout = 15 * time.Minute // Lambda's
)

// Defaults are the mission's own case: the standard set, both modes, at the sizes
// where something changes for a function: 1,769 MB is one vCPU.
func Defaults() Options {
	return Options{
		Workloads: []string{task.Scan},
		Modes:     []string{task.Goroutines, task.Processes},
		MemoryMB:  []int64{128, 256, 512, 1024, 1769, 3008},
		Tasks:     100,
		Workers:   100,
		Runs:      5,
		Instances: 1,
		Helpers:   10,
		Timeout:   30 * time.Second, // what an HTTP API waits
		From:      EFS,
		S3Latency: aws.S3Latency,
		Calls:     50_000_000,
		Region:    "us-east-1", // the one with a price for everything
		Arch:      cost.ARM,
	}
}

// series is a row of the results, and how to call it.
type series struct {
	results.Series
	function function
	workload *workload
}

// running is an experiment under way.
type running struct {
	Options
	scratch
	series    []*series
	workloads map[string]*workload
	emulator  *aws.Emulator // nil unless the mode StepFunctions needs it

	mu   sync.Mutex // of the calls of series
	pace pace
}

// run runs an experiment. Its error is that the machine can't do it, that ctx was
// cancelled, or that a task returned what it must not. That a call is killed or
// takes too long is a result.
func run(ctx context.Context, o Options, p scratch) (results.Experiment, error) {
	x := running{Options: o, scratch: p, workloads: make(map[string]*workload)}
	defer x.close()
	if err := x.prepare(ctx); err != nil {
		return results.Experiment{}, err
	}
	started := time.Now()
	for n := range o.Runs {
		if err := x.run(ctx, n); err != nil {
			return results.Experiment{}, err
		}
	}
	return x.results(started), nil
}

// prepare makes what the workloads need and lists the series.
func (x *running) prepare(ctx context.Context) error {
	if slices.Contains(x.Modes, StepFunctions) {
		if err := x.startEmulator(ctx); err != nil {
			return err
		}
	}
	for _, name := range x.Workloads {
		w, err := x.newWorkload(ctx, name)
		if err != nil {
			return err
		}
		x.workloads[name] = w
	}
	for _, name := range x.Workloads {
		for _, memory := range x.MemoryMB {
			for _, mode := range x.modes(name) {
				for _, f := range x.functions(name, mode) {
					x.series = append(x.series, x.newSeries(x.workloads[name], f, memory))
				}
			}
		}
	}
	return nil
}

func (x *running) newSeries(w *workload, f function, memoryMB int64) *series {
	s := &series{
		Series:   results.Series{Workload: w.name, Mode: f.name, MemoryMB: memoryMB, Helpers: f.helpers},
		function: f,
		workload: w,
	}
	if f.mode == task.Join {
		s.Transitions = transitionsOf(f.helpers)
	}
	s.AtOnce = x.atOnce(s)
	return s
}

// ownMode is the mode that a workload has and no other does, empty for none.
func ownMode(workload string) string {
	switch workload {
	case task.Scan:
		return Product
	case task.Predict:
		return task.GoroutinesUngated
	}
	return ""
}

// modes returns the modes of a workload, its own among them.
func (x *running) modes(workload string) []string {
	if mode := ownMode(workload); mode != "" && !slices.Contains(x.Modes, mode) {
		return append(slices.Clone(x.Modes), mode)
	}
	return x.Modes
}

func (x *running) close() {
	for _, w := range x.workloads {
		w.close()
	}
	if x.emulator != nil {
		x.emulator.Stop()
	}
}

// run has every series once. Every other run goes backwards, so that none is
// always before another.
func (x *running) run(ctx context.Context, run int) error {
	order := slices.Clone(x.series)
	if run%2 == 1 {
		slices.Reverse(order)
	}
	for i, s := range order {
		x.tell(run*len(order)+i, s)
		start := time.Now()
		if err := x.runSeries(ctx, run, s); err != nil {
			return fmt.Errorf("%s: %w", s.name(), err)
		}
		x.pace.took(s, time.Since(start))
	}
	return nil
}

func (s *series) name() string { return fmt.Sprintf("%s, %s, %d MB", s.Workload, s.Mode, s.MemoryMB) }

// runSeries calls all instances of a series, as many at once as there are cores
// for. Where a function has helpers, it is they for whom there are so many cores.
func (x *running) runSeries(ctx context.Context, run int, s *series) error {
	group, ctx := errgroup.WithContext(ctx)
	if group.SetLimit(s.AtOnce); s.Helpers > 0 {
		group.SetLimit(1)
	}
	for instance := range x.Instances {
		group.Go(func() error {
			calls, digest, err := x.callEnvironment(ctx, s)
			for i := range calls {
				calls[i].Run, calls[i].Instance = run, instance
			}
			x.mu.Lock()
			defer x.mu.Unlock()
			s.Calls = append(s.Calls, calls...)
			s.Digest = cmp.Or(s.Digest, digest)
			return err
		})
	}
	return group.Wait()
}

// atOnce is how many environments of a series run at once, or how many helpers: the main
// function only waits for them. Their mounts are work for this machine, too: they have a
// core to themselves, if there is another.
func (x *running) atOnce(s *series) int {
	if x.Unboxed {
		return 1
	}
	spare := 0
	if s.workload.files != "" {
		spare = 1
	}
	memory := s.MemoryMB
	if s.Helpers > 0 {
		memory = helperMB
	}
	return box.Fit(memory, spare)
}

func (x *running) tell(done int, s *series) {
	if x.Progress != nil {
		x.Progress(Progress{Done: done, Total: x.Runs * len(x.series), Now: s.name(), Left: x.pace.left(x.series, x.Runs, done)})
	}
}

// results is what is known at the end.
func (x *running) results(started time.Time) results.Experiment {
	e := results.Experiment{
		Started: started.UTC(),
		Machine: machine(!x.Unboxed),
		Setup:   x.setup(),
	}
	for _, s := range x.series {
		slices.SortStableFunc(s.Calls, func(a, b results.Call) int {
			return cmp.Or(a.Run-b.Run, a.Instance-b.Instance)
		})
		e.Series = append(e.Series, s.Series)
	}
	return e
}

func (o *Options) setup() results.Setup {
	mount := efs.Elastic()
	s := results.Setup{
		Boxed: !o.Unboxed, Tasks: o.Tasks, Workers: o.Workers, Runs: o.Runs, Instances: o.Instances, HelperMB: helperMB, Timeout: o.Timeout,
		FileBytes: fileBytes, FibSteps: fibSteps, FetchDelay: fetchDelay,
		Latency: mount.Latency.Read, Throughput: mount.Throughput,
		Calls: o.Calls, Region: o.Region, Prices: o.Prices, Arch: string(o.Arch),
	}
	if o.From == S3 {
		s.FromS3, s.S3Latency = true, o.S3Latency
	}
	return s
}

// Validate returns what is wrong with the options, in words for the one who gave
// them.
func (o *Options) Validate() error {
	if !o.Unboxed {
		if err := box.Available(); err != nil {
			return fmt.Errorf("%w; or run without boxes, --unboxed", err)
		}
	}
	return errors.Join(o.validateCounts(), o.validateNames(), o.validateSizes(), o.validateHelpers(), o.setup().CheckPrices(slices.Contains(o.Modes, StepFunctions)))
}

// HasHelpers reports whether a mode has helpers.
func (o *Options) HasHelpers() bool {
	return slices.Contains(o.Modes, task.Helpers) || slices.Contains(o.Modes, StepFunctions)
}

// validateHelpers returns what is wrong with the modes that have helpers.
func (o *Options) validateHelpers() error {
	if !o.HasHelpers() {
		return nil
	}
	machine := slices.Contains(o.Modes, StepFunctions)
	most := min(o.Tasks, task.MaxHelpers)
	switch {
	case o.Helpers < 1 || o.Helpers > most:
		return fmt.Errorf("%d helpers: choose 1 to %d", o.Helpers, most)
	case machine && o.Tasks > maxStateTasks:
		return fmt.Errorf("%d tasks: the answers of more than %d are above what Step Functions passes on", o.Tasks, maxStateTasks)
	}
	if err := o.checkMemory(helperMB); err != nil {
		return fmt.Errorf("helpers: %w", err)
	}
	if !machine {
		return nil
	}
	_, err := aws.EmulatorInstalled()
	return err
}

func (o *Options) validateCounts() error {
	var all []error
	check := func(name string, n, least, most int) {
		if n < least || n > most {
			all = append(all, fmt.Errorf("%d %s: choose %d to %d", n, name, least, most))
		}
	}
	check("tasks", o.Tasks, 2, maxTasks)
	if slices.Contains(o.Workloads, task.Predict) {
		check("tasks of predict", o.Tasks, 2, predict.Images)
	}
	check("workers", o.Workers, 1, 1000)
	check("runs", o.Runs, 1, 1000)
	check("instances", o.Instances, 1, 1000)
	if o.Timeout < time.Second || o.Timeout > maxTimeout {
		all = append(all, fmt.Errorf("a timeout of %v: choose 1s to Lambda's 15m", o.Timeout))
	}
	if o.S3Latency < 0 || o.S3Latency > time.Minute {
		all = append(all, fmt.Errorf("an S3 latency of %v: choose 0s to 1m", o.S3Latency))
	}
	return errors.Join(all...)
}

func (o *Options) validateNames() error {
	var all []error
	all = append(all, each("workload", o.Workloads, task.Workloads()))
	known := Modes()
	for _, c := range o.Contenders {
		known = append(known, ModesOf(c)...)
	}
	all = append(all, each("mode", o.Modes, known))
	for _, workload := range task.Workloads() {
		mode := ownMode(workload)
		if slices.Contains(o.Modes, mode) && !slices.Equal(o.Workloads, []string{workload}) {
			all = append(all, fmt.Errorf("the mode %s has no workload but %s", mode, workload))
		}
	}
	if o.From == S3 {
		all = append(all, o.checkS3())
	}
	return errors.Join(all...)
}

// checkS3 refuses workloads whose tasks can't read from S3: they would read from EFS, or
// nothing, under a heading that says S3.
func (o *Options) checkS3() error {
	for _, name := range o.Workloads {
		if name != task.Predict {
			return fmt.Errorf("the workload %s does not read from S3: leave out --from s3, or choose --workload %s", name, task.Predict)
		}
	}
	return nil
}

// each makes sure that names are known, and there once.
func each(what string, names, known []string) error {
	if len(names) == 0 {
		return fmt.Errorf("no %s: choose %s", what, strings.Join(known, ", "))
	}
	for i, name := range names {
		if !slices.Contains(known, name) {
			return fmt.Errorf("unknown %s %q: choose %s", what, name, strings.Join(known, ", "))
		}
		if slices.Contains(names[:i], name) {
			return fmt.Errorf("the %s %s appears twice: leave one out", what, name)
		}
	}
	return nil
}

func (o *Options) validateSizes() error {
	if len(o.MemoryMB) == 0 {
		return errors.New("there is no memory size: choose 128 to 10240")
	}
	for i, mb := range o.MemoryMB {
		if slices.Contains(o.MemoryMB[:i], mb) {
			return fmt.Errorf("the memory size %d appears twice: leave one out", mb)
		}
		if err := o.checkMemory(mb); err != nil {
			return err
		}
	}
	return nil
}

func (o *Options) checkMemory(mb int64) error {
	if !o.Unboxed {
		return box.CheckMemory(mb)
	}
	if mb < 128 || mb > 10240 { // no box, but a price
		return fmt.Errorf("%d MB: choose 128 to 10240", mb)
	}
	return nil
}
