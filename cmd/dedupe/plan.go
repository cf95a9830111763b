package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/big"
	"math/rand/v2"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"efsdedupe/cmd/internal/cli"
	"efsdedupe/dedupe/cost"
	"efsdedupe/dedupe/job"
)

// jobPlan is the flags of dedupe job plan.
type jobPlan struct {
	cli.Std
	selection
	files       cli.Quantity
	sample      cli.Quantity
	throughput  cost.Throughput
	provisioned int64
	prices      cli.Prices
}

func jobPlanCommand(s cli.Std) *cobra.Command {
	c := jobPlan{Std: s, selection: newSelection(), sample: 200_000, throughput: cost.Elastic}
	cmd := &cobra.Command{
		Use:   "plan [flags] ROOT...",
		Short: "Estimate what a job takes and costs on AWS",
		Long: `Estimate what a job takes and costs on AWS, from a list of the files below the
ROOTs, or from a sample if they are many. No file is opened. It is the most that
a job takes: files that may have to be read count as read.

More functions are faster only until they take all that the file system gives.
What is paid beyond that is the cost of idle cores.`,
		Example: `  dedupe job plan /mnt/efs
  dedupe job plan --throughput provisioned --provisioned-mibps 100 /mnt/efs
  dedupe job plan --files 1G`,
		RunE: func(cmd *cobra.Command, roots []string) error {
			c.sel.Roots = roots
			return c.run(cmd.Context())
		},
	}
	cli.Flags(cmd, "Select", func(f *pflag.FlagSet) {
		c.selection.flags(f)
		f.Var(&c.files, "files", "instead of ROOTs, plan for a tree with this `number` of files of 100 kB on average")
		f.Var(&c.sample, "sample", "list about this `number` of directory entries")
	})
	cli.Flags(cmd, "AWS", func(f *pflag.FlagSet) {
		f.Var(cli.OneOf(&c.throughput, cost.Elastic, cost.Provisioned, cost.Bursting), "throughput", "the throughput mode of the file system")
		f.Int64Var(&c.provisioned, "provisioned-mibps", 100, "the provisioned throughput in `MiBps`")
		c.prices.Flags(f)
	})
	return cmd
}

func (c *jobPlan) run(ctx context.Context) error {
	book, err := c.prices.Book()
	if err != nil {
		return err
	}
	e, err := c.estimate(ctx)
	if err != nil {
		return err
	}
	return writePlan(c.Out, book, e, cost.RatesOf(c.throughput, c.provisioned))
}

func (c *jobPlan) estimate(ctx context.Context) (job.Estimate, error) {
	switch {
	case c.provisioned < 1:
		return job.Estimate{}, fmt.Errorf("--provisioned-mibps %d: choose 1 or more", c.provisioned)
	case c.files > 0 && len(c.sel.Roots) > 0:
		return job.Estimate{}, errors.New("--files is instead of ROOTs: leave out one of them")
	case c.files > 0:
		return job.Reference(int64(c.files)), nil
	}
	if err := c.settle(); err != nil {
		return job.Estimate{}, err
	}
	return job.Sample(ctx, c.sel, int64(c.sample), rand.New(rand.NewPCG(1, 2))) // the same sample each time
}

// writePlan writes what a job takes and costs, and how that depends on the number of
// functions.
func writePlan(w io.Writer, book *cost.Book, e job.Estimate, rates cost.Rates) error {
	f := e.Fanout()
	best, err := book.Crowd(f, rates, f.Saturating(rates))
	if err != nil {
		return err
	}
	f.Time = time.Duration(best.Functions) * best.Time
	bill, err := book.Fanout(f)
	if err != nil {
		return err
	}
	how := "a sample of the tree"
	if e.Exact {
		how = "a list of the whole tree"
	} else if e.Files == job.Reference(e.Files).Files && e == job.Reference(e.Files) {
		how = "a tree like the one that the manual describes"
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name string, value string) { fmt.Fprintf(t, "%s\t%s\n", name, value) }
	fmt.Fprintf(t, "From %s, at most:\n", how)
	row("files", fmt.Sprintf("%s, %s, in %s directories", humanize.Comma(e.Files), humanize.IBytes(uint64(e.Bytes)), humanize.Comma(e.Directories)))
	row("to read", fmt.Sprintf("%s files, %s again; EFS meters %s", humanize.Comma(e.Copies), humanize.Comma(e.Again), humanize.IBytes(uint64(f.DataBytes))))
	row("NFS messages", fmt.Sprintf("%s, and %s READs", humanize.Comma(f.Messages.Count), humanize.Comma(f.Reads)))
	row("units", fmt.Sprintf("%s, %s transitions", humanize.Comma(f.Units), humanize.Comma(f.Transitions)))
	row("S3 requests", fmt.Sprintf("%s PUT, %s GET", humanize.Comma(f.Puts), humanize.Comma(f.Gets)))
	row("Lambda", fmt.Sprintf("%s GB-seconds", cost.Decimal(f.GBSeconds(), 0)))
	fmt.Fprintln(t)
	usd := func(meters ...string) string {
		sum := new(big.Rat)
		for _, m := range meters {
			sum.Add(sum, bill.Meter(m))
		}
		return cost.Cents(sum)
	}
	fmt.Fprintln(t, "USD")
	row("EFS data", usd("efs.read"))
	row("EFS metadata", usd("efs.metadata"))
	row("Lambda", usd("lambda.duration.arm64", "lambda.requests"))
	row("S3", usd("s3.get", "s3.list"))
	row("Step Functions", usd("states.transitions"))
	row("in all", cost.Cents(bill.Total))
	t.Flush()
	fmt.Fprintf(w, "\n%s can serve %d functions: more are no faster.\n\n", "The file system", best.Functions)
	return writeCrowds(w, book, f, rates, best.Functions)
}

// writeCrowds writes a table of numbers of functions.
func writeCrowds(w io.Writer, book *cost.Book, f cost.Fanout, rates cost.Rates, best int64) error {
	counts := []int64{best, 1000, 10_000}
	slices.Sort(counts)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "functions\thours\tbusy\tUSD\tof which idle\t")
	for _, n := range slices.Compact(counts) {
		c, err := book.Crowd(f, rates, n)
		if err != nil {
			return err
		}
		fmt.Fprintf(t, "%s\t%.1f\t%.0f%%\t%s\t%s\t\n", humanize.Comma(n), c.Time.Hours(), 100*c.Busy, cost.Decimal(c.Cost, 0), cost.Decimal(c.Idle, 0))
	}
	return t.Flush()
}
