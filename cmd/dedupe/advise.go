package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"efsdedupe/cmd/internal/cli"
	"efsdedupe/dedupe"
	"efsdedupe/dedupe/cost"
	"efsdedupe/dedupe/report"
)

// adviser is the flags of dedupe cost advise.
type adviser struct {
	bill
	staleness time.Duration
	trees     cli.Quantity
}

func adviseCommand(s cli.Std) *cobra.Command {
	c := adviser{bill: bill{Std: s, format: report.Text, projection: projection{usage: cost.DefaultUsage()}}, trees: 1}
	cmd := &cobra.Command{
		Use:   "advise [flags] [REPORT...]",
		Short: "List the cheapest ways to answer the calls",
		Long: `List the cheapest ways to answer a month of calls: throughput modes, an index,
the page cache, answers that are kept, One Zone, S3, the architecture and the
memory of the function. For each, show what it needs, which flags and stack
parameters select it, and why it costs more than the first.

Take the figures of a call from a REPORT, or give them by hand as for dedupe
cost. If the scan had no index, estimate what one would use.

Exit codes: 0 there is a way; 2 there is none; 4 a limit you set was exceeded:
the cheapest costs more than --fail-above.`,
		Example: `  dedupe cost advise report.json
  dedupe cost advise --churn 1% --staleness 60s --peak-factor 3 report.json
  dedupe cost advise --duration 300ms --bytes-read 100MiB --opens 100`,
		Args: cli.Args("[REPORT...]"),
		RunE: func(cmd *cobra.Command, reports []string) error {
			c.reports = append(slices.Clone(c.reports), reports...)
			return c.run(cmd.Context(), cmd.Flags())
		},
	}
	cli.Flags(cmd, "Job", func(f *pflag.FlagSet) {
		f.DurationVar(&c.staleness, "staleness", 0, "how old an answer may be; 0 if each must be new")
		f.Var(&c.trees, "trees", "how many such trees the calls are about")
	})
	c.billFlags(cmd)
	churn := cmd.Flags().Lookup("churn")
	churn.Usage, churn.DefValue = "the share of the files that change between two calls", "0%"
	cmd.Flags().Lookup("fail-above").Usage = "exit with 4 if a month costs more in the cheapest way"
	return cmd
}

func (c *adviser) run(ctx context.Context, f *pflag.FlagSet) error {
	switch {
	case c.staleness < 0:
		return fmt.Errorf("--staleness %v: choose 0 or more", c.staleness)
	case c.trees < 1 || c.trees > 1e9:
		return fmt.Errorf("--trees %d: choose 1 to 1G", c.trees)
	case len(c.reports) > 0 && c.usageFile != "":
		return errors.New("REPORT and --usage both give the figures of a call: choose one")
	}
	if len(c.reports) == 0 {
		s, err := c.byHand(ctx, f)
		if err != nil {
			return err
		}
		return c.advise(ctx, s, cost.Scan{Files: int64(c.opens), Directories: 1, Opens: int64(c.opens)})
	}
	var limit error
	for _, path := range c.reports {
		s, err := c.read(ctx, path)
		if err == nil {
			s, err = c.replaced(s, f)
		}
		if err == nil {
			err = c.advise(ctx, s, c.scanOf(s, f))
		}
		switch {
		case errors.Is(err, cli.ExitLimit):
			limit = err
		case err != nil:
			return fmt.Errorf("can't use the report %q: %w", path, err)
		}
	}
	return limit
}

// replaced is [bill.changed], which does not change what the index of a report tells. So it
// drops that if the flags say all of what a call reads, and fails if they say a part.
func (c *adviser) replaced(s report.Saved, f *pflag.FlagSet) (report.Saved, error) {
	switch read, opened := f.Changed("bytes-read"), f.Changed("opens"); {
	case read && opened:
		s.Index = nil
	case s.Index != nil && (read || opened || f.Changed("metadata-operations")):
		return s, errors.New("its scan had an index, which tells what a call reads and opens: give both --bytes-read and --opens, or neither and no --metadata-operations")
	}
	return c.changed(s, f)
}

// scanOf returns the scan of a report, as far as flags do not replace it.
func (c *adviser) scanOf(s report.Saved, f *pflag.FlagSet) cost.Scan {
	scan := report.Took(dedupe.Report{Stats: s.Stats})
	if f.Changed("opens") {
		scan.Files, scan.Directories, scan.Opens, scan.OpensSpared = int64(c.opens), 1, int64(c.opens), 0
	}
	return scan
}

// advise writes the advice for calls like a scan.
func (c *adviser) advise(ctx context.Context, s report.Saved, scan cost.Scan) error {
	c.prices.Region = s.Region
	book, err := c.prices.Book(ctx)
	if err != nil {
		return err
	}
	job := jobLike(scan, s.Stats, s.Usage, s.Index)
	job.Churn, job.Staleness, job.Trees = int64(c.churn), c.staleness, int64(c.trees)
	advice, err := book.Advise(job)
	if err != nil {
		return cost.Explain(err)
	}
	if err := report.WriteAdvice(c.Out, c.format, advice, c.inColour()); err != nil {
		return err
	}
	return c.limit(c.Std, &cost.Projection{Bill: advice.Ways[0].Bill})
}

// jobLike returns the job of calls that each do what a scan did.
func jobLike(scan cost.Scan, s dedupe.Stats, u cost.Usage, x *cost.Unindexed) cost.Job {
	job := cost.NewJob(cost.OnProvisioned(u), scan, x)
	if !s.CPUUnknown {
		job.CPU = s.CPU
	}
	return job
}

// pagePrices are the prices of a page: of a book, or if it is nil of the bill's region.
type pagePrices struct{ book *cost.Book }

// set sets what a page needs.
func (p pagePrices) set(o *report.Options) { o.Advise, o.Storage = p.advise, p.storage }

func (p pagePrices) advise(of *cost.Projection, s dedupe.Stats) (*cost.Advice, error) {
	book, err := p.in(of.Bill.Region)
	if err != nil {
		return nil, err
	}
	advice, err := book.Advise(jobLike(report.Took(dedupe.Report{Stats: s}), s, of.Usage, of.Index))
	return advice, cost.Explain(err)
}

func (p pagePrices) storage(stored, reclaimable int64) (*cost.Bill, error) {
	book, err := p.in(cost.DefaultRegion)
	if err != nil {
		return nil, err
	}
	u := cost.WithoutService(cost.DefaultUsage())
	u.API, u.Lambda.Duration, u.Lambda.MemoryMB = cost.NoAPI, time.Millisecond, cost.DefaultMemoryMB
	u.EFS.StoredBytes, u.EFS.ReclaimableBytes = stored, reclaimable
	return book.Bill(u)
}

func (p pagePrices) in(region string) (*cost.Book, error) {
	if p.book != nil {
		return p.book, nil
	}
	return cost.Prices(region)
}
