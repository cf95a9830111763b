package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"efsdedupe/dedupe/cost"
	"efsdedupe/dedupe/report"
)

// projection is the flags that scan and cost share: what a bill is made for,
// other than what a scan measures.
type projection struct {
	usage  cost.Usage
	region string
}

func (p *projection) flags(f *pflag.FlagSet, memory int64, memoryHelp string) {
	u := &p.usage
	*u = defaultUsage()
	f.Var((*quantity)(&u.Calls), "calls", "calls a month that the bill is for")
	f.StringVar(&p.region, "region", "us-east-1", "prices of this `region`: "+strings.Join(cost.Regions(), ", "))
	f.Int64Var(&u.Lambda.MemoryMB, "memory", memory, memoryHelp)
	f.Var(choice[cost.Arch]{&u.Lambda.Arch, []cost.Arch{cost.ARM, cost.X86}}, "arch", "instruction set of the Lambda function")
	f.Var(choice[cost.API]{&u.API, []cost.API{cost.HTTP, cost.REST, cost.NoAPI}}, "api", "kind of API Gateway in front of it")
	f.Var(choice[cost.Throughput]{&u.EFS.Throughput, []cost.Throughput{cost.Elastic, cost.Provisioned, cost.Bursting}}, "throughput", "throughput mode of the file system")
	f.Var(choice[cost.StorageClass]{&u.EFS.StorageClass, []cost.StorageClass{cost.Standard, cost.OneZone, cost.IA, cost.OneZoneIA, cost.Archive, cost.NoStorage}}, "storage-class", "where the files are stored; none leaves storage out")
	f.BoolVar(&u.FreeTier, "free-tier", false, "apply Lambda's monthly free tier")
}

// check finds out, before a scan, whether its bill can be made.
func (p *projection) check() error {
	u := p.usage
	u.Lambda.Duration = time.Second
	if u.Lambda.MemoryMB == 0 {
		u.Lambda.MemoryMB = report.DefaultMemoryMB
	}
	u = report.ByHand(u, 1<<20, 1)
	u.EFS.StoredBytes = 1
	return explain(report.Project(p.region, u).Err)
}

// explain adds to a price that is not known how to do without.
func explain(err error) error {
	if err != nil && strings.Contains(err.Error(), "no price for") {
		return fmt.Errorf("%w; --api none and --storage-class none leave those out of the bill", err)
	}
	return err
}

// bill is the flags of dedupe cost.
type bill struct {
	std
	projection
	report                      string
	bytesRead, stored, reclaims byteSize
	request                     byteSize
	opens                       quantity
	format                      report.Format
}

func costCommand(s std) *cobra.Command {
	c := bill{std: s, format: report.Text}
	cmd := &cobra.Command{
		Use:   "cost [flags]",
		Short: "Project what a month of calls costs, from figures or from a report",
		Long: `Project what a month of calls costs: Lambda, API Gateway, and what EFS charges
for reading and for storing. The figures of a call are given by hand, or are
those that a scan measured (--report); flags then change what they name.

EFS counts a read of a file in steps of at most 1 MiB, each at least 32 KiB, and
three metadata operations of 4 KiB for each open: look up, open and close.`,
		Example: `  dedupe cost --calls 50M --memory 1769 --arch arm64 --duration 300ms --bytes-read 100MiB --opens 100
  dedupe scan --format json --output report.json /mnt/efs
  dedupe cost --report report.json --throughput provisioned`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.run(cmd.Flags()) },
	}
	f := cmd.Flags()
	u := &c.usage
	c.flags(f, report.DefaultMemoryMB, "MB of the Lambda function")
	f.StringVar(&c.report, "report", "", "take the figures of a call from this `file`, a JSON report of dedupe scan")
	f.DurationVar(&u.Lambda.Duration, "duration", time.Second, "how long a call takes")
	f.Var(&c.bytesRead, "bytes-read", "what a call reads from EFS")
	f.Var(&c.opens, "opens", "files that a call opens, the bytes spread evenly over them")
	f.Var(&c.stored, "stored", "what the file system holds")
	f.Var(&c.reclaims, "reclaimable", "what of it duplicates hold")
	f.Var(&c.request, "payload", "what API Gateway carries for a call")
	f.Int64Var(&u.EFS.ProvisionedMiBps, "provisioned-mibps", 0, "with provisioned throughput, the rate; 0 for the average that the calls need")
	f.Int64Var(&u.Lambda.EphemeralMB, "ephemeral-storage", 512, "MB of /tmp")
	f.Int64Var(&u.Lambda.Provisioned.Environments, "provisioned-concurrency", 0, "environments kept ready all month")
	f.Var(choice[report.Format]{&c.format, []report.Format{report.Text, report.JSON}}, "format", "how to write the bill")
	return cmd
}

func (c *bill) run(f *pflag.FlagSet) error {
	if c.report != "" {
		if err := c.load(f); err != nil {
			return fmt.Errorf("can't use the report %q: %w", c.report, err)
		}
	}
	u := c.usage
	if c.report == "" || f.Changed("bytes-read") || f.Changed("opens") {
		u = report.ByHand(u, int64(c.bytesRead), int64(c.opens))
	}
	if c.report == "" || f.Changed("stored") {
		u.EFS.StoredBytes = int64(c.stored)
	}
	if c.report == "" || f.Changed("reclaimable") {
		u.EFS.ReclaimableBytes = int64(c.reclaims)
	}
	if c.report == "" || f.Changed("payload") {
		u.RequestBytes = int64(c.request)
	}
	if p := u.Lambda.Provisioned; p.Environments > 0 {
		u.Lambda.Provisioned.Calls = u.Calls // kept ready to be used
	}
	p := report.Project(c.region, u)
	if p.Err != nil {
		return explain(p.Err)
	}
	return report.WriteProjection(c.out, c.format, &p, isTerminal(c.out) && os.Getenv("NO_COLOR") == "")
}

// load replaces the usage by that of the report, then sets again the flags that
// were given.
func (c *bill) load(f *pflag.FlagSet) error {
	given := make(map[*pflag.Flag]string)
	f.Visit(func(flag *pflag.Flag) { given[flag] = flag.Value.String() })
	file, err := os.Open(c.report)
	if err != nil {
		return err
	}
	defer file.Close()
	c.usage, c.region, err = report.ReadUsage(file)
	for flag, value := range given {
		if err == nil {
			err = flag.Value.Set(value)
		}
	}
	return err
}
