package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"efsdedupe/cmd/internal/cli"
	"efsdedupe/dedupe/cost"
	"efsdedupe/dedupe/report"
)

// projection is the flags that scan and cost share: what a bill is made for,
// other than what a scan measures.
type projection struct {
	usage     cost.Usage
	prices    cli.Prices
	churn     share
	weigh     bool // churn was given
	failAbove cli.Amount
}

func (p *projection) flags(f *pflag.FlagSet, memory int64, memoryHelp string) {
	u := &p.usage
	f.Var((*cli.Quantity)(&u.Calls), "calls", "calls a month that the bill is for")
	p.prices.Flags(f)
	f.Int64Var(&u.Lambda.MemoryMB, "memory", memory, memoryHelp)
	f.Var(cli.OneOf(&u.Lambda.Arch, cost.ARM, cost.X86), "arch", "the instruction set of the Lambda function")
	f.Var(cli.OneOf(&u.API, cost.HTTP, cost.REST, cost.NoAPI), "api", "the kind of API Gateway in front of it")
	f.Var(cli.OneOf(&u.EFS.Throughput, cost.Elastic, cost.Provisioned, cost.Bursting), "throughput", "the throughput mode of the file system")
	f.Var(cli.OneOf(&u.EFS.StorageClass, cost.Standard, cost.OneZone, cost.IA, cost.OneZoneIA, cost.Archive, cost.NoStorage), "storage-class", "where the files are stored; none leaves out storage")
	f.Var((*coldShare)(&u.Warm), "cold-share", "the share of calls that start a new environment, whose page cache has none of the files; 100% is an upper bound")
	f.Var((*extras)(&u.Extras), "extras", "logs, answers sent out, metrics and alarms of the service: all or none; without an API, none is the default")
	f.BoolVar(&u.FreeTier, "free-tier", false, "apply the monthly free tier of Lambda, CloudWatch and data transfer")
	f.Var(&p.churn, "churn", "with an index: the share of the files that change between two calls; shows the bill with the index beside the one without")
	f.Lookup("churn").DefValue = "" // none: there is one bill
	f.Var(&p.failAbove, "fail-above", "exit with 4 if a month costs more; with --churn, a month with the index")
}

// limit returns the error of a month that costs more than --fail-above, and says so.
func (p *projection) limit(s cli.Std, of *cost.Projection) error {
	if p.failAbove.Rat == nil {
		return nil
	}
	if of.Err != nil {
		return fmt.Errorf("there is no bill to compare with --fail-above: %w", of.Err)
	}
	bill := of.Bill
	if of.Weighed != nil {
		bill = of.Weighed.IndexBill
	}
	if bill.Total.Cmp(p.failAbove.Rat) <= 0 {
		return nil
	}
	fmt.Fprintf(s.Err, "dedupe: %s %s a month is above the limit of %s, set with --fail-above\n", cost.Cents(bill.Total), bill.Currency, &p.failAbove)
	return cli.ExitLimit
}

// settle leaves the extras and INIT out if there is no API, unless they were asked for: the
// bill is then that of the function alone.
func (p *projection) settle(f *pflag.FlagSet) {
	if p.usage.API != cost.NoAPI {
		return
	}
	alone := cost.WithoutService(p.usage)
	if f.Changed("extras") {
		alone.Extras = p.usage.Extras
	}
	if f.Changed("init") {
		alone.Lambda.Init = p.usage.Lambda.Init
	}
	p.usage = alone
}

// weighed adds the bills with the index and without if a churn was given.
func (p *projection) weighed(of *cost.Projection, book *cost.Book) {
	if p.weigh && of.Index != nil {
		of.Weigh(book, int64(p.churn))
	}
}

// bill is the flags of dedupe cost.
type bill struct {
	cli.Std
	projection
	reports     []string
	usageFile   string
	bytesRead   cli.ByteSize
	opens       cli.Quantity
	metadata    cli.Quantity
	response    cli.ByteSize
	storedFiles cli.Quantity
	format      report.Format
}

func costCommand(s cli.Std) *cobra.Command {
	c := bill{Std: s, format: report.Text, projection: projection{usage: cost.DefaultUsage()}}
	cmd := &cobra.Command{
		Use:   "cost [flags]",
		Short: "Project what a month of calls costs",
		Long: `Project what a month of calls costs: Lambda, API Gateway, what EFS charges for
reading and storing, logs, answers, metrics and alarms. Give the figures of a
call by hand, or take them from a report (--report) or a file (--usage) and
change some with other flags. Several reports are compared side by side.

EFS meters a file as reads of at most 1 MiB, each at least 32 KiB. It meters
every other NFS request as 4 KiB, or its size if that is larger: two for each
open, and some to list the directory before and after.

With --churn and the report of a scan with an index, show the bill with the
index beside the bill if every call reads everything. This assumes that files
change independently. The index costs money for each lookup, and for rewriting
the items in which a file has changed.

Exit codes: 0 there is a bill; 2 there is none; 4 a limit you set was exceeded:
a month costs more than --fail-above.`,
		Example: `  dedupe cost --calls 50M --duration 300ms --bytes-read 100MiB --opens 100
  dedupe cost --report report.json --throughput provisioned
  dedupe cost --report goroutines.json --report processes.json
  dedupe cost --report indexed.json --churn 1%`,
		Args: cli.OnlyCommands,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c.weigh = cmd.Flags().Changed("churn")
			return c.run(cmd.Context(), cmd.Flags())
		},
	}
	cmd.AddCommand(adviseCommand(s), importPricesCommand(s))
	c.billFlags(cmd)
	return cmd
}

// billFlags adds the flags of a bill: what a call takes, what it pays, and how to write it.
func (c *bill) billFlags(cmd *cobra.Command) {
	u := &c.usage
	cli.Flags(cmd, "Call", func(f *pflag.FlagSet) {
		f.StringArrayVar(&c.reports, "report", nil, "take the figures from this `file`, a JSON report, or - for standard input (may repeat)")
		f.StringVar(&c.usageFile, "usage", "", "take the figures from this `file`, which has the fields of projection.usage in a JSON report, or - for standard input")
		f.DurationVar(&u.Lambda.Duration, "duration", time.Second, "how long a call takes")
		f.Var(&c.bytesRead, "bytes-read", "what a call reads from EFS")
		f.Var(&c.opens, "opens", "files that a call opens, with the bytes spread evenly over them")
		f.Var(&c.metadata, "metadata-operations", "NFS requests of 4 KiB that a call sends besides READ, instead of those measured or modeled")
		f.DurationVar(&u.Lambda.Init, "init", cost.DefaultInit, "how long a new environment takes to start")
		c.response = cli.ByteSize(u.Extras.ResponseBytes)
		f.Var(&c.response, "response", "what a call answers, compressed if the caller accepts gzip; 0 leaves it out")
		f.Var((*cli.ByteSize)(&u.RequestBytes), "payload", "what API Gateway carries for a call")
		f.Var((*cli.ByteSize)(&u.EFS.StoredBytes), "stored", "what the file system holds")
		f.Var(&c.storedFiles, "stored-files", "files that hold this, each metered in steps of 4 KiB with 2 KiB of metadata; 0 if unknown")
		f.Var((*cli.ByteSize)(&u.EFS.ReclaimableBytes), "reclaimable", "how much of that duplicates hold")
	})
	cli.Flags(cmd, "Bill", func(f *pflag.FlagSet) {
		c.flags(f, cost.DefaultMemoryMB, "`MB` of the Lambda function")
		f.Int64Var(&u.EFS.ProvisionedMiBps, "provisioned-mibps", 0, "the `rate` of provisioned throughput, 1 to 3414; 0 for the average that the calls need")
		f.Var((*factor)(&u.EFS.PeakFactor), "peak-factor", "how many times the average rate provisioned throughput must carry")
		f.Int64Var(&u.Hours, "hours", u.Hours, "`hours` of the month, 672 to 744; AWS's calculator uses 730")
		f.Int64Var(&u.Lambda.EphemeralMB, "ephemeral-storage", 512, "`MB` of /tmp")
		f.Int64Var(&u.Lambda.Provisioned.Environments, "provisioned-concurrency", 0, "the `number` of environments that are kept ready all month, on which all calls are taken to run")
	})
	cli.Flags(cmd, "Output", func(f *pflag.FlagSet) {
		f.Var(cli.OneOf(&c.format, report.Text, report.JSON), "format", "the format of the bill")
	})
}

func (c *bill) run(ctx context.Context, f *pflag.FlagSet) error {
	if c.weigh && (len(c.reports) != 1 || f.Changed("bytes-read") || f.Changed("opens") || f.Changed("metadata-operations")) {
		return errors.New("--churn needs one --report, of a scan with --index, and takes what a call reads from there")
	}
	if len(c.reports) > 0 && c.usageFile != "" {
		return errors.New("--report and --usage both give the figures of a call: choose one")
	}
	if len(c.reports) == 0 {
		s, err := c.byHand(ctx, f)
		if err != nil {
			return err
		}
		p, err := c.project(ctx, s)
		if err != nil {
			return err
		}
		if err := report.WriteProjection(c.Out, c.format, &p, c.inColour()); err != nil {
			return err
		}
		return c.limit(c.Std, &p)
	}
	scans := make([]report.Comparison, len(c.reports))
	for i, path := range c.reports {
		var err error
		if scans[i].Saved, err = c.read(ctx, path); err == nil {
			err = c.reprice(ctx, &scans[i], f)
		}
		if err != nil {
			return fmt.Errorf("can't use the report %q: %w", path, err)
		}
	}
	if err := c.write(scans); err != nil {
		return err
	}
	for _, s := range scans {
		if err := c.limit(c.Std, &s.Projection); err != nil {
			return err
		}
	}
	return nil
}

// write writes the bills, as text beside each other.
func (c *bill) write(scans []report.Comparison) error {
	if len(scans) > 1 && c.format == report.Text {
		return report.WriteComparison(c.Out, scans, c.inColour())
	}
	for _, s := range scans {
		if err := report.WriteProjection(c.Out, c.format, &s.Projection, c.inColour()); err != nil {
			return err
		}
	}
	return nil
}

func (c *bill) inColour() bool { return c.format == report.Text && cli.UseColour(c.Out) }

func (c *bill) read(ctx context.Context, path string) (report.Saved, error) {
	in, err := openReport(ctx, path, c.In)
	if err != nil {
		return report.Saved{}, err
	}
	defer in.Close()
	return report.Read(in)
}

// byHand returns figures given by hand, or in a usage file that flags change.
func (c *bill) byHand(ctx context.Context, f *pflag.FlagSet) (report.Saved, error) {
	if c.usageFile != "" {
		u, err := c.readUsage(ctx)
		if err != nil {
			return report.Saved{}, err
		}
		return c.changed(report.Saved{Usage: u, Region: c.prices.Region, Complete: true}, f)
	}
	u, err := cost.ByHand(c.usage, int64(c.bytesRead), int64(c.opens))
	if err != nil {
		return report.Saved{}, err
	}
	c.usage = u
	c.settle(f)
	c.override(f)
	return report.Saved{Usage: c.usage, Region: c.prices.Region, Complete: true}, nil
}

func (c *bill) readUsage(ctx context.Context) (cost.Usage, error) {
	in, err := openReport(ctx, c.usageFile, c.In)
	if err != nil {
		return cost.Usage{}, fmt.Errorf("can't read the usage: %w", err)
	}
	defer in.Close()
	u, err := report.ReadUsage(in, c.usage.Calls)
	if err != nil {
		return cost.Usage{}, fmt.Errorf("can't use the usage %q: %w; usage.schema.json describes it", c.usageFile, err)
	}
	return u, nil
}

// override sets what the flags give in other units than the usage.
func (c *bill) override(f *pflag.FlagSet) {
	if f.Changed("metadata-operations") {
		c.usage = cost.WithMetadata(c.usage, int64(c.metadata))
	}
	if f.Changed("response") {
		c.usage.Extras.ResponseBytes = int64(c.response)
	}
	e := &c.usage.EFS
	if f.Changed("stored") || f.Changed("stored-files") || f.Changed("reclaimable") {
		e.Stored, e.Reclaimable = cost.ByHandStored(e.StoredBytes, e.ReclaimableBytes, int64(c.storedFiles))
	}
}

// reprice makes the bill of a report, changed by the flags that were given.
func (c *bill) reprice(ctx context.Context, scan *report.Comparison, f *pflag.FlagSet) error {
	if c.weigh && scan.Saved.Index == nil {
		return errors.New("its scan had no index, so it does not tell what one spares: scan with --index")
	}
	s, err := c.changed(scan.Saved, f)
	if err != nil {
		return err
	}
	scan.Projection, err = c.project(ctx, s)
	return err
}

// changed returns what was saved, changed by the flags that were given.
func (c *bill) changed(s report.Saved, f *pflag.FlagSet) (report.Saved, error) {
	given := make(map[*pflag.Flag]string)
	f.Visit(func(flag *pflag.Flag) { given[flag] = flag.Value.String() })
	u, err := c.reading(s, f)
	if err != nil {
		return report.Saved{}, err
	}
	c.usage, c.prices.Region = u, s.Region
	for flag, value := range given {
		if flag.Name == "report" {
			continue // a list, to which Set would add
		}
		if err := flag.Value.Set(value); err != nil {
			return report.Saved{}, err
		}
	}
	if f.Changed("api") {
		c.settle(f)
	}
	c.override(f)
	s.Usage, s.Region = c.usage, c.prices.Region
	return s, nil
}

// reading returns what was saved with what the flags say a call reads and opens. If they say
// only one of them, the other stays.
func (c *bill) reading(s report.Saved, f *pflag.FlagSet) (cost.Usage, error) {
	read, opened := f.Changed("bytes-read"), f.Changed("opens")
	if !read && !opened {
		return s.Usage, nil
	}
	opens := s.Stats.Opens
	if opened {
		opens = int64(c.opens)
	}
	u, err := cost.ByHand(s.Usage, int64(c.bytesRead), opens)
	if err != nil {
		return u, err
	}
	was, e := s.Usage.EFS, &u.EFS
	if !read {
		e.ReadBytes, e.AccessBytes = was.ReadBytes, was.AccessBytes
	}
	if !opened {
		e.MetadataOperations, e.MetadataBytes, e.WarmMetadata = was.MetadataOperations, was.MetadataBytes, was.WarmMetadata
		u.Index = s.Usage.Index
	}
	return u, nil
}

// project prices what was saved.
func (c *bill) project(ctx context.Context, s report.Saved) (cost.Projection, error) {
	c.prices.Region = s.Region
	book, err := c.prices.Book(ctx)
	if err != nil {
		return cost.Projection{}, err
	}
	p := cost.Project(book, cost.OnProvisioned(s.Usage))
	p.Index = s.Index
	c.weighed(&p, book)
	p.Warn(cost.Scan{PeakMemory: s.Stats.PeakMemory, Partial: !s.Complete})
	return p, cost.Explain(p.Err)
}
