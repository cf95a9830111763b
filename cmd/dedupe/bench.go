package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"efsdedupe/dedupe/bench"
	"efsdedupe/dedupe/bench/results"
	"efsdedupe/dedupe/bench/task"
	"efsdedupe/dedupe/cost"
	"efsdedupe/fixtures/contenders"
)

// experiment is the flags of dedupe bench.
type experiment struct {
	std
	options    bench.Options
	contenders bool
	reports    []string
	format     results.Format
	output     string
	quiet      bool
}

func benchCommand(s std) *cobra.Command {
	c := experiment{std: s, options: bench.Defaults(), format: results.Text}
	cmd := &cobra.Command{
		Use:   "bench [flags]",
		Short: "Compare goroutines and processes as on Lambda, in time, memory and money",
		Long: `Run the Lambda function here, in boxes with the CPU time, the memory and the other
limits that Lambda gives a function, on a mount that is as slow and as metered as
EFS, and compare its modes at several memory sizes: how long a call takes, and what
50 million of them cost a month.

  scan    each task reads and hashes a file of the standard set; the mode product
          is the scan with all that it does to read and hash less
  fib     each task computes
  fetch   each task waits for an HTTP server

Tasks return checksums. They are compared with those that this program computes by
other means; a wrong one ends the experiment: that all did the same work is proven.

The boxes need Linux, root and cgroups; --unboxed does without, and what is measured
then does not depend on the memory size. Exit codes: 0 there are results, also if
calls were killed or took too long; 2 there are none; 130 interrupted.`,
		Example: `  dedupe bench
  dedupe bench --workload fib --modes goroutines,processes,processes-per-task --memory 128,512,1769
  dedupe bench --contenders --workload scan,fib,fetch --memory 1769
  dedupe bench --instances 100 --memory 512 --runs 1
  dedupe bench --format html -o report.html
  dedupe bench --report old.json --report new.json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.run(cmd.Context()) },
	}
	f := cmd.Flags()
	o := &c.options
	f.StringSliceVar(&o.Workloads, "workload", o.Workloads, "what tasks do: "+strings.Join(task.Workloads(), ", "))
	f.StringSliceVar(&o.Modes, "modes", o.Modes, "how the function runs them: "+strings.Join(bench.Modes(), ", "))
	f.Int64SliceVar(&o.MemoryMB, "memory", o.MemoryMB, "sizes of the function, in MB")
	f.IntVar(&o.Tasks, "tasks", o.Tasks, "tasks of a call; of a scan, files of 1 MiB")
	f.IntVar(&o.Workers, "workers", o.Workers, "tasks in flight")
	f.IntVar(&o.Runs, "runs", o.Runs, "how often each mode and size has its turn")
	f.IntVar(&o.Instances, "instances", o.Instances, "environments at each turn, as many at once as this machine's cores have the quota for")
	f.DurationVar(&o.Timeout, "timeout", o.Timeout, "the function's time-out")
	f.BoolVar(&c.contenders, "contenders", false, "compare with Python processes and threads and Rust threads, too, where python3 and cargo are")
	f.BoolVar(&o.Unboxed, "unboxed", false, "run without boxes: neither CPU time nor memory are limited, or known")
	f.StringVar(&o.Bootstrap, "bootstrap", "", "the function's `program`; by default bootstrap, beside this one")
	f.StringArrayVar(&c.reports, "report", nil, "run nothing, but show the results in this `file`, in another format; of two, how the second differs from the first")
	f.Var(choice[results.Format]{&c.format, results.Formats()}, "format", "how to write the results; bench is for benchstat")
	f.StringVarP(&c.output, "output", "o", "", "write the results to this `file`, replacing it only by whole ones")
	f.BoolVarP(&c.quiet, "quiet", "q", false, "show no progress")
	f.Var((*quantity)(&o.Calls), "calls", "calls a month that the costs are for")
	f.StringVar(&o.Region, "region", o.Region, "prices of this `region`: "+strings.Join(cost.Regions(), ", "))
	f.Var(choice[cost.Arch]{&o.Arch, []cost.Arch{cost.ARM, cost.X86}}, "arch", "instruction set whose prices are used")
	return cmd
}

func (c *experiment) run(ctx context.Context) error {
	if len(c.reports) > 0 {
		return c.show()
	}
	if err := c.complete(); err != nil {
		return err
	}
	out, err := openOutput(c.output, c.out)
	if err != nil {
		return err
	}
	defer out.discard()
	e, err := c.measure(ctx)
	switch {
	case ctx.Err() != nil:
		return exitCode(exitInterrupted)
	case err != nil:
		return err
	}
	e.Version = version()
	if err := results.Write(out, c.format, e, out.path == "" && inColour(out.Writer)); err != nil {
		return out.failed(err)
	}
	if err := out.commit(true); err != nil {
		return out.failed(err)
	}
	return nil
}

// complete adds to the options what flags do not say, and makes sure that they
// can be, before anything runs.
func (c *experiment) complete() error {
	o := &c.options
	if err := o.Validate(); err != nil {
		return err
	}
	if o.Bootstrap == "" {
		self, err := os.Executable()
		if err != nil {
			return err
		}
		o.Bootstrap = filepath.Join(filepath.Dir(self), "bootstrap")
	}
	path, err := filepath.Abs(o.Bootstrap)
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		return fmt.Errorf("the function's program: %w; make it with make build, or name it with --bootstrap", err)
	}
	o.Bootstrap = path
	return nil
}

func (c *experiment) measure(ctx context.Context) (results.Experiment, error) {
	if c.contenders {
		if err := c.prepareContenders(ctx); err != nil {
			return results.Experiment{}, err
		}
	}
	bar := newRunsBar(c)
	defer bar.end()
	c.options.Progress = bar.tell
	return bench.Run(ctx, c.options)
}

// prepareContenders adds the contenders that can be had here. That one can't is
// told, and no reason not to run.
func (c *experiment) prepareContenders(ctx context.Context) error {
	cache, err := os.UserCacheDir()
	if err != nil {
		return fmt.Errorf("the contenders are built below the cache directory: %w; set XDG_CACHE_HOME", err)
	}
	ready, missing := contenders.Prepare(ctx, filepath.Join(cache, "dedupe", "contenders"), c.err)
	for _, err := range missing {
		fmt.Fprintf(c.err, "dedupe: %s\n", oneLine(err.Error()))
	}
	c.options.Contenders = ready
	for _, contender := range ready {
		c.options.Modes = append(c.options.Modes, bench.ModesOf(contender)...)
	}
	return ctx.Err()
}

// show writes results that were saved, or compares two of them.
func (c *experiment) show() error {
	if len(c.reports) > 2 {
		return errors.New("--report takes one file to show, or two to compare")
	}
	var saved []results.Experiment
	for _, path := range c.reports {
		e, err := readResults(path)
		if err != nil {
			return fmt.Errorf("can't use the results %q: %w", path, err)
		}
		saved = append(saved, e)
	}
	out, err := openOutput(c.output, c.out)
	if err != nil {
		return err
	}
	defer out.discard()
	colour := out.path == "" && inColour(out.Writer)
	if len(saved) == 2 {
		err = results.WriteComparison(out, saved[0], saved[1], colour)
	} else {
		err = results.Write(out, c.format, saved[0], colour)
	}
	if err == nil {
		err = out.commit(true)
	}
	if err != nil {
		return out.failed(err)
	}
	return nil
}

func readResults(path string) (results.Experiment, error) {
	f, err := os.Open(path)
	if err != nil {
		return results.Experiment{}, err
	}
	defer f.Close()
	return results.Read(f)
}

// runsBar shows on a terminal how far an experiment is.
type runsBar struct {
	bars *mpb.Progress
	bar  *mpb.Bar
	last atomic.Pointer[bench.Progress]
}

func newRunsBar(c *experiment) *runsBar {
	if c.quiet || !isTerminal(c.err) {
		return &runsBar{}
	}
	b := &runsBar{bars: mpb.New(mpb.WithOutput(c.err), mpb.WithWidth(64))}
	text := func(decor.Statistics) string {
		switch p := b.last.Load(); {
		case p == nil:
			return ""
		case p.Left == 0:
			return p.Now
		default:
			return fmt.Sprintf("%v left: %s", p.Left.Round(time.Second), p.Now)
		}
	}
	b.bar = b.bars.AddBar(0, mpb.BarRemoveOnComplete(),
		mpb.PrependDecorators(decor.CountersNoUnit("%d of %d turns")), mpb.AppendDecorators(decor.Any(text)))
	return b
}

func (b *runsBar) tell(p bench.Progress) {
	if b.bar == nil {
		return
	}
	b.last.Store(&p)
	b.bar.SetTotal(int64(p.Total), false)
	b.bar.SetCurrent(int64(p.Done))
}

func (b *runsBar) end() {
	if b.bar != nil {
		b.bar.Abort(true)
		b.bars.Shutdown()
	}
}
