package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"efsdedupe/cmd/internal/cli"
	"efsdedupe/dedupe"
	"efsdedupe/dedupe/cost"
	"efsdedupe/dedupe/job"
	"efsdedupe/dedupe/limits"
	"efsdedupe/dedupe/report"
)

func jobCommand(s cli.Std) *cobra.Command {
	cmd := &cobra.Command{
		Use:                   "job COMMAND",
		DisableFlagsInUseLine: true,
		Short:                 "Scan a tree of any size in small units that survive crashes",
		Long: `Scan a tree of any size as a job: in units of work that several processes share,
each in at most 256 MiB. A folder, the store, keeps what they find until the
report is written. A job that was killed continues where it stopped.`,
		Example: `  dedupe job run --store build/jobs --format json -o r.json /mnt/efs
  dedupe job plan /mnt/efs`,
		Args: cli.OnlyCommands,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(jobRunCommand(s), jobPlanCommand(s))
	return cmd
}

// jobRun is the flags of dedupe job run.
type jobRun struct {
	cli.Std
	selection
	answerFlags
	spec    job.Spec
	options job.Options
	store   string
	index   indexFlags
	maxCost cli.Amount
	bill    projection
	speller *speller
}

const jobRunHelp = `Find groups of identical files below each ROOT, as 'dedupe scan' does, in units
of work that processes on this machine share. The report is the same as that of
a scan, except for time, memory and what was read.

If the job is interrupted or killed, run the same command again: it continues
where the job stopped, and reads again only what was in progress. Once the
report is written, the job's part of the store is removed.

--max-cost limits what the same job would cost on AWS: EFS with Elastic
throughput, Lambda, S3 and Step Functions.

Exit codes: 0 everything was read; 1 there were problems; 2 no answer;
3 there are duplicates, and you gave --fail-on-duplicates; 4 the job would cost
more than --max-cost, and continues with a higher one; or a month costs more
than --fail-above, and the report is written; 130 interrupted.`

func jobRunCommand(s cli.Std) *cobra.Command {
	c := jobRun{Std: s, selection: newSelection(), answerFlags: answerFlags{format: report.Text}, bill: projection{usage: cost.DefaultUsage()}, spec: job.Spec{Limits: job.DefaultLimits()}}
	cmd := &cobra.Command{
		Use:   "run [flags] ROOT...",
		Short: "Run a job on this machine, or continue it",
		Long:  jobRunHelp,
		Example: `  dedupe job run --store build/jobs --format json -o r.json /mnt/efs
  dedupe job run --store build/jobs --max-cost 20 /mnt/efs`,
		Args: cli.Args("ROOT..."),
		RunE: func(cmd *cobra.Command, roots []string) error {
			c.sel.Roots = roots
			c.bill.weigh = cmd.Flags().Changed("churn")
			c.bill.settle(cmd.Flags())
			if !cmd.Flags().Changed("workers") {
				c.spec.Workers = new(dedupe.Engine).FittingWorkers()
			}
			return c.run(cmd.Context())
		},
	}
	cli.Flags(cmd, "Select", func(f *pflag.FlagSet) { c.selection.flags(f) })
	cli.Flags(cmd, "Choose", func(f *pflag.FlagSet) { ruleFlags(f, &c.write.Rules) })
	cli.Flags(cmd, "Run", func(f *pflag.FlagSet) {
		f.StringVar(&c.store, "store", "", "keep intermediate results in this `folder`, which must be outside every ROOT")
		f.IntVar(&c.options.Concurrency, "max-concurrency", runtime.NumCPU(), "run at most this `number` of units at once, each in its own process")
		f.Var(&c.maxCost, "max-cost", "stop before the job would cost more than this many `USD` on AWS; run the command again with a higher limit to continue")
		f.IntVar(&c.spec.Workers, "workers", dedupe.DefaultWorkers, fmt.Sprintf("read at most this many files at once in each unit, 1 to %d", dedupe.MaxWorkers))
		f.BoolVar(&c.spec.HashAll, "hash-all", false, "hash every file that shares its size from start to end, without reading ends first or comparing files")
	})
	cli.Flags(cmd, "Index", func(f *pflag.FlagSet) { c.index.flags(f) })
	cli.Flags(cmd, "Output", c.answerFlags.flags)
	cli.Flags(cmd, "Bill", func(f *pflag.FlagSet) { c.bill.flags(f, 0, scanMemoryHelp) })
	cmd.MarkFlagRequired("store")
	for _, only := range []string{"copies-of", "unique", "folders"} {
		cmd.Flags().MarkHidden(only) // a job says to use dedupe scan
	}
	return cmd
}

func (c *jobRun) check() error {
	eng := dedupe.Engine{Mode: dedupe.Goroutines, Workers: c.spec.Workers}
	if err := cmp.Or(eng.Validate(), c.settle(), checkText(c.write), checkRules(c.format, &c.write)); err != nil {
		return err
	}
	switch {
	case c.spec.HashAll && c.index.name != "":
		return errors.New("--hash-all reads every file, and --index avoids that: choose one")
	case c.write.Rules.Unique, c.write.Rules.Folders, c.write.Rules.CopiesOf != "":
		return errors.New("a job does not support --unique, --folders and --copies-of: use 'dedupe scan'")
	case c.newer.age || c.older.age:
		return errors.New("an age means another time on each run, and a job continues only with the same flags: give --newer and --older a date or a time")
	case c.failOnDuplicates && (c.write.Rules.Isolate || c.write.Rules.MinCopies > 0):
		return errors.New("with a job, --fail-on-duplicates counts all groups: leave out --isolate and --min-copies")
	case c.bill.weigh:
		return errors.New("a job does not support --churn: leave it out, or see 'dedupe scan --index'")
	case c.options.Concurrency < 1:
		return fmt.Errorf("--max-concurrency %d: choose 1 or more", c.options.Concurrency)
	}
	return nil
}

func (c *jobRun) run(ctx context.Context) error {
	if err := c.check(); err != nil {
		return err
	}
	book, err := c.book(ctx)
	if err != nil {
		return err
	}
	c.limit(book)
	pagePrices{book}.set(&c.write)
	out, err := cli.OpenOutput(ctx, c.output, c.Out)
	if err != nil {
		return err
	}
	defer out.Discard()
	c.speller = newSpeller(ctx)
	c.write.Spell = c.speller.spell
	advice, err := cli.Await(ctx, func() ([]string, error) {
		return c.adviseGlobs(c.write.Rules.Protect), cmp.Or(checkPaths(&c.write.Rules, c.write.Spell), c.index.apart(out))
	})
	if err != nil {
		return err
	}
	for _, line := range advice {
		fmt.Fprintf(c.Err, "dedupe: %s\n", line)
	}
	_, err = cli.Finish(ctx, func() (struct{}, error) { return struct{}{}, c.runTo(ctx, out, book) })
	if ctx.Err() != nil && err != nil && !c.quiet {
		fmt.Fprintln(c.Err, "dedupe: interrupted: run the same command again to continue")
	}
	return err
}

// runTo runs the job and writes its report.
func (c *jobRun) runTo(ctx context.Context, out *cli.Output, book *cost.Book) error {
	limits.RespectMemory(os.Getenv)
	dir, _ := os.Getwd() // without it, a report has no absolute roots
	c.spec.Selection, c.spec.Dir = c.sel, []byte(dir)
	if err := c.useIndex(ctx); err != nil {
		return err
	}
	j, err := job.Open(c.store, c.spec)
	if err != nil {
		return err
	}
	defer j.Close()
	if err := c.runUnits(ctx, j, append(out.Own, cli.RegularFiles(c.Out, c.Err)...)); err != nil {
		return err
	}
	c.write.Colour, c.write.Tool, c.write.Dir = c.format == report.Text && out.UseColour(), report.ThisTool(program), dir
	c.write.Spill = spill
	return c.report(j, book, out)
}

// report writes the report of a finished job, and removes the job.
func (c *jobRun) report(j *job.Job, book *cost.Book, out *cli.Output) error {
	r, parts, failed := j.Answer()
	var err error
	if parts.Projection, err = j.Bill(book, c.bill.usage, r, parts, c.write); err != nil {
		return err
	}
	problems := c.tellProblems(&parts)
	if err := cmp.Or(report.WriteParts(out, c.format, r, parts, c.write), c.speller.err); err != nil {
		return out.Failed(err)
	}
	if *failed != nil {
		return fmt.Errorf("can't read what the job found: %w; run the same command again", *failed)
	}
	if err := out.Commit(true); err != nil {
		return out.Failed(err)
	}
	if !r.Complete && (c.format != report.Text || out.Path != "") {
		fmt.Fprintf(c.Err, "dedupe: the report is not complete: %s\n", report.Count(*problems, "problem", "problems"))
	}
	if err := j.Remove(); err != nil {
		return err
	}
	return c.exit(r, parts.Projection)
}

// book returns the prices of the bill, after making sure that there is one.
func (c *jobRun) book(ctx context.Context) (*cost.Book, error) {
	book, err := c.bill.prices.Book(ctx)
	if err != nil {
		return nil, err
	}
	usage := c.bill.usage
	if c.index.shared() {
		usage.DynamoDB = cost.DynamoDB{ReadUnits: 1, WriteUnits: 1, StoredBytes: 1}
	}
	return book, cost.CheckBill(book, usage)
}

// useIndex makes the job use the index, if there is one, after making sure that it can be used.
func (c *jobRun) useIndex(ctx context.Context) error {
	if c.index.name == "" {
		return nil
	}
	x, err := c.index.open(ctx)
	if err != nil {
		return err
	}
	c.spec.Index = &job.Index{Name: c.index.name, FileSystem: x.FileSystem, Table: c.index.shared()}
	return x.Store.Close()
}

// limit makes the job stop before it costs more than --max-cost.
func (c *jobRun) limit(book *cost.Book) {
	if c.maxCost.Rat == nil {
		return
	}
	limit := job.MaxCost{Prices: book, Most: c.maxCost.Rat}
	c.options.Spend = func(used, next cost.Fanout) error {
		err := limit.Admit(used, next)
		if over := (*job.CostError)(nil); errors.As(err, &over) {
			fmt.Fprintf(c.Err, "dedupe: the job stopped before it would cost more than --max-cost %s: on AWS it would have cost %s %s so far; run the same command with a higher limit to continue\n",
				&c.maxCost, cost.Cents(over.Spent), over.Currency)
			return cli.ExitLimit
		}
		return err
	}
}

// runUnits runs the units of a job, and tells how many were done before.
func (c *jobRun) runUnits(ctx context.Context, j *job.Job, own []os.FileInfo) error {
	before, now := 0, 0
	terminal := !c.quiet && cli.IsTerminal(c.Err)
	c.options.Observe = func(p job.Progress) {
		if p.Earlier {
			before++
		} else {
			now++
		}
		if terminal && p.Done == p.Units {
			fmt.Fprintf(c.Err, "dedupe: stage %s: %s\n", p.Stage, report.Count(int64(p.Units), "unit is done", "units are done"))
		}
	}
	err := job.Local{Own: own}.Run(ctx, j, c.options)
	if j.Resumed && !c.quiet {
		fmt.Fprintf(c.Err, "dedupe: the job continued where it had stopped: %s before, %d now\n", report.Count(int64(before), "unit", "units"), now)
	}
	return err
}

// tellProblems counts problems as they are written, and names them on standard error if
// the format does not.
func (c *jobRun) tellProblems(parts *report.Parts) *int64 {
	n := new(int64)
	all := parts.Problems
	parts.Problems = func(yield func(*dedupe.Problem) bool) {
		for p := range all {
			*n++
			if !c.format.TellsProblems() {
				fmt.Fprintf(c.Err, "dedupe: %s\n", report.ProblemLine(p))
			}
			if !yield(p) {
				return
			}
		}
	}
	return n
}

func (c *jobRun) exit(r dedupe.Report, p *cost.Projection) error {
	limit := c.bill.limit(c.Std, p)
	switch {
	case c.failOnDuplicates && r.Stats.DuplicateGroups > 0:
		return cli.ExitDuplicates
	case limit != nil:
		return limit
	case !r.Complete:
		return cli.ExitIncomplete
	}
	return nil
}
