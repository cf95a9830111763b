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
	"efsdedupe/dedupe/report"
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
		Long: `Estimate what a job takes and costs on AWS. List the files below each ROOT, or a
sample of them if they are many, and open none. The estimate is an upper bound:
every file that may have to be read counts as read.

More functions are faster only until they use all the throughput of the file
system. Beyond that, you pay for idle cores.`,
		Example: `  dedupe job plan /mnt/efs
  dedupe job plan --throughput provisioned --provisioned-mibps 100 /mnt/efs
  dedupe job plan --files 1G`,
		Args: func(cmd *cobra.Command, roots []string) error {
			if c.files > 0 {
				return nil
			}
			return cli.Args("ROOT...")(cmd, roots)
		},
		RunE: func(cmd *cobra.Command, roots []string) error {
			c.sel.Roots = roots
			return c.run(cmd.Context())
		},
	}
	cli.Flags(cmd, "Select", func(f *pflag.FlagSet) {
		c.selection.flags(f)
		f.Var(&c.files, "files", "instead of a ROOT, plan for a tree with this `number` of files, 100 kB on average")
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
	book, err := c.prices.Book(ctx)
	if err != nil {
		return err
	}
	e, how, err := c.estimate(ctx)
	if err != nil {
		return err
	}
	return writePlan(c.Out, book, e, how, cost.RatesOf(c.throughput, c.provisioned))
}

// estimate returns what the tree is taken to be, and how that is known.
func (c *jobPlan) estimate(ctx context.Context) (e job.Estimate, how string, err error) {
	switch {
	case c.provisioned < 1:
		return e, "", fmt.Errorf("--provisioned-mibps %d: choose 1 or more", c.provisioned)
	case c.files > 0 && len(c.sel.Roots) > 0:
		return e, "", errors.New("give either --files or a ROOT, not both")
	case c.files > 0:
		return job.Reference(int64(c.files)), "a tree of files of 100 kB on average", nil
	}
	if err := c.settle(); err != nil {
		return e, "", err
	}
	if how = "a sample of the tree"; c.sample < 1 {
		return e, "", fmt.Errorf("--sample %d: choose 1 or more", c.sample)
	}
	e, err = job.Sample(ctx, c.sel, int64(c.sample), rand.New(rand.NewPCG(1, 2))) // the same sample each time
	if e.Exact {
		how = "a list of the whole tree"
	}
	return e, how, err
}

// writePlan writes what a job takes and costs, and how that depends on the number of
// functions.
func writePlan(w io.Writer, book *cost.Book, e job.Estimate, how string, rates cost.Rates) error {
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
	count := humanize.Comma
	fmt.Fprintf(w, "From %s, at most:\n\n", how)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range [][2]string{
		{"files", fmt.Sprintf("%s, %s, in %s", count(e.Files), humanize.IBytes(uint64(e.Bytes)), report.Count(e.Directories, "directory", "directories"))},
		{"to read", fmt.Sprintf("%s, %s twice; EFS meters %s", report.Count(e.Copies, "file", "files"), count(e.Again), humanize.IBytes(uint64(f.DataBytes)))},
		{"NFS messages", fmt.Sprintf("%s, and %s READs", count(f.Messages.Count), count(f.Reads))},
		{"units", fmt.Sprintf("%s, with %s", count(f.Units), report.Count(f.Transitions, "transition", "transitions"))},
		{"S3 requests", fmt.Sprintf("%s PUT, %s GET", count(f.Puts), count(f.Gets))},
		{"Lambda", cost.Decimal(f.GBSeconds(), 0) + " GB-seconds"},
		{},
		{"EFS data", usd(bill, "efs.read")},
		{"EFS metadata", usd(bill, "efs.metadata")},
		{"Lambda", usd(bill, "lambda.duration.arm64", "lambda.requests")},
		{"S3", usd(bill, "s3.get", "s3.list")},
		{"Step Functions", usd(bill, "states.transitions")},
		{"in all", bill.Amount(bill.Total) + " USD"},
		{},
	} {
		if row[0] == "" {
			fmt.Fprintln(t)
			continue
		}
		fmt.Fprintf(t, "%s\t%s\n", row[0], row[1])
	}
	t.Flush()
	fmt.Fprintf(w, "The file system can serve %s at once. More are no faster:\n\n", report.Count(best.Functions, "function", "functions"))
	return writeCrowds(w, book, f, rates, best.Functions)
}

// usd returns what some meters cost together.
func usd(bill *cost.Bill, meters ...string) string {
	sum := new(big.Rat)
	for _, m := range meters {
		sum.Add(sum, bill.Meter(m))
	}
	return bill.Amount(sum) + " USD"
}

// writeCrowds writes a table of numbers of functions.
func writeCrowds(w io.Writer, book *cost.Book, f cost.Fanout, rates cost.Rates, best int64) error {
	counts := []int64{best, 1000, 10_000}
	slices.Sort(counts)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "functions\ttime\tbusy\tUSD\tof it idle\t")
	for _, n := range slices.Compact(counts) {
		c, err := book.Crowd(f, rates, n)
		if err != nil {
			return err
		}
		took := c.Time.Round(time.Millisecond).String()
		if c.Time >= time.Hour {
			took = fmt.Sprintf("%.1f h", c.Time.Hours())
		}
		fmt.Fprintf(t, "%s\t%s\t%.0f%%\t%s\t%s\t\n", humanize.Comma(n), took, 100*c.Busy, dollars(c.Cost), dollars(c.Idle))
	}
	return t.Flush()
}

// dollars returns an amount in whole dollars, or more exactly if it is small.
func dollars(r *big.Rat) string {
	if r.Cmp(big.NewRat(1, 1)) < 0 {
		return cost.Amount(r)
	}
	whole, _ := new(big.Rat).Add(r, big.NewRat(1, 2)).Float64()
	return humanize.Comma(int64(whole))
}
