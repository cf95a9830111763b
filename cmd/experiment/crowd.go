package main

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"

	"efsdedupe/cmd/internal/cli"
	engine "efsdedupe/dedupe" // dedupe is the program in the tests here
	"efsdedupe/dedupe/cost"
	"efsdedupe/dedupe/job"
	"efsdedupe/dedupe/report"
	"efsdedupe/fixtures"
	"efsdedupe/fixtures/efs"
	"efsdedupe/fixtures/lambda/box"
)

// crowd is the flags of experiment crowd.
type crowd struct {
	cli.Std
	boxes    []int
	spec     fixtures.Spec
	options  efs.Options
	workers  int
	dir      string // of everything that is written
	markdown string
}

func crowdCommand(s cli.Std) *cobra.Command {
	c := crowd{Std: s, spec: fixtures.Spec{Layout: fixtures.HalfUnique, Seed: 1}, options: efs.Options{Cold: true}}
	l := &c.options.Latency
	cmd := &cobra.Command{
		Use:   "crowd [flags]",
		Short: "Run a job in more and more boxes, until they are no faster",
		Long: `Run the same job in 1, 2, 4, … boxes, on a mount that limits all their reads
together, as EFS does. Each box has one core, as a Lambda function of 1,769 MB
does. More boxes are faster until they use all that the mount gives. Beyond
that, you pay for idle cores.

The bound is the time that follows from one box alone and from the limit of the
mount. Latencies are long, so that this machine is not the limit: the table says
how much of it was idle. This needs Linux, /dev/fuse and root.`,
		Example: `  experiment crowd
  experiment crowd --boxes 1,4 --files 400 --throughput 3MiB/s`,
		Args: cli.Args(),
		RunE: func(cmd *cobra.Command, _ []string) error { return c.run(cmd.Context()) },
	}
	f := cmd.Flags()
	f.IntSliceVar(&c.boxes, "boxes", []int{1, 2, 4, 8, 16}, "run the job in this many boxes at once, in turn; the bounds follow from the first")
	f.IntVar(&c.spec.Files, "files", 1200, "how many files are in the tree")
	f.Int64Var(&c.spec.Size, "size", 64<<10, "how many bytes each file has")
	f.IntVar(&c.workers, "workers", 3, "read at most this many files at once in each box")
	f.DurationVar(&l.Read, "read-latency", 60*time.Millisecond, "how long a READ takes")
	f.DurationVar(&l.Open, "open-latency", 60*time.Millisecond, "how long an open takes, and a close")
	c.options.Throughput = 6 << 20
	f.Var((*byteRate)(&c.options.Throughput), "throughput", "limit the reads of all boxes together to this rate")
	f.StringVar(&c.markdown, "markdown", "", "write the table for dedupe/job/README.md to this `file`")
	return cmd
}

// ran is a job in a number of boxes.
type ran struct {
	boxes int
	time  time.Duration
	cpu   time.Duration // of all boxes
	files int64         // duplicates that were found
}

func (c *crowd) run(ctx context.Context) (err error) {
	if len(c.boxes) == 0 || min(slices.Min(c.boxes), c.workers) < 1 || c.options.Throughput == 0 {
		return errors.New("--boxes, --workers and --throughput must be at least 1")
	}
	if err := box.Available(); err != nil {
		return err
	}
	if c.dir, err = os.MkdirTemp("/tmp", "dedupe-crowd-"); err != nil { // boxes can write nowhere else
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(c.dir)) }()
	tree, mnt := filepath.Join(c.dir, "tree"), filepath.Join(c.dir, "mnt")
	if _, err := fixtures.Make(ctx, tree, c.spec); err != nil {
		return err
	}
	if err := os.Mkdir(mnt, 0o777); err != nil {
		return err
	}
	fs, err := efs.Mount(tree, mnt, c.options)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, fs.Close()) }()
	var all []ran
	for _, n := range c.boxes {
		r, err := c.job(ctx, mnt, n)
		if ctx.Err() != nil {
			return cli.ExitInterrupted
		}
		if err != nil {
			return err
		}
		fmt.Fprintf(c.Err, "experiment: %s: %v\n", report.Count(int64(n), "box", "boxes"), r.time.Round(time.Millisecond))
		if all = append(all, r); r.files != all[0].files {
			return fmt.Errorf("%d boxes found %d duplicates, and others %d", n, r.files, all[0].files)
		}
	}
	table, err := c.table(all)
	if err != nil {
		return err
	}
	if c.markdown != "" {
		if err := renameio.WriteFile(c.markdown, []byte(table), 0o666); err != nil {
			return fmt.Errorf("can't write the table: %w; choose another --markdown", err)
		}
	}
	_, err = fmt.Fprint(c.Out, table)
	return err
}

// packs is how many units read, so that 16 boxes end at about the same time.
const packs = 96

// job runs the job in n boxes.
func (c *crowd) job(ctx context.Context, root string, n int) (r ran, err error) {
	self, err := os.Executable()
	if err != nil {
		return r, err
	}
	boxes, remove, err := c.make(n, root)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, remove()) }()
	limits := job.DefaultLimits()
	limits.Copies = int64(max(c.spec.Files/packs, 1))
	j, err := job.Open(filepath.Join(c.dir, "store"), job.Spec{Selection: engine.Selection{Roots: []string{root}}, Workers: c.workers, HashAll: true, Limits: limits})
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, j.Remove(), j.Close()) }()
	var started atomic.Int64
	local := job.Local{Command: func() *exec.Cmd { return boxes[int(started.Add(1)-1)%n].Command(self) }}
	start := time.Now()
	if err := local.Run(ctx, j, job.Options{Concurrency: n}); err != nil {
		return r, err
	}
	r = ran{boxes: n, time: time.Since(start)}
	for _, b := range boxes {
		used, err := b.Usage()
		if err != nil {
			return r, err
		}
		r.cpu += used.CPU
	}
	found, _, failed := j.Answer()
	r.files = found.Stats.DuplicateFiles
	if *failed == nil && !found.Complete {
		err = errors.New("the job is not complete")
	}
	return r, errors.Join(err, *failed)
}

// make makes n boxes in which a directory is visible, and returns how to remove them.
func (c *crowd) make(n int, visible string) (boxes []*box.Box, remove func() error, err error) {
	group := fmt.Sprintf("dedupe-crowd-%d", os.Getpid())
	remove = func() error { return box.Sweep(group) }
	for range n {
		b, err := box.New(group, box.Options{MemoryMB: 1769, Tmp: "/tmp", Visible: []string{visible}})
		if err != nil {
			return nil, nil, errors.Join(err, remove())
		}
		boxes = append(boxes, b)
	}
	return boxes, remove, nil
}

// table is the runs as a table in Markdown, and as a chart.
func (c *crowd) table(all []ran) (string, error) {
	book, err := cost.Prices("us-east-1")
	if err != nil {
		return "", err
	}
	var b, bars strings.Builder
	b.WriteString("| boxes | time | bound | time / bound | idle | functions, USD per 1,000 jobs | of this machine idle |\n|---|---|---|---|---|---|---|\n")
	alone := all[0].time * time.Duration(all[0].boxes)
	limit := time.Duration(float64(c.spec.Files) * float64(c.spec.Size) / float64(c.options.Throughput) * float64(time.Second))
	for _, r := range all {
		bound := max(alone/time.Duration(r.boxes), limit)
		idle := max(1-alone.Seconds()/(r.time.Seconds()*float64(r.boxes)), 0)
		bill, err := book.Fanout(cost.Fanout{Time: 1000 * time.Duration(r.boxes) * r.time})
		if err != nil {
			return "", err
		}
		dollars, _ := new(big.Rat).Set(bill.Total).Float64()
		fmt.Fprintf(&b, "| %d | %.1f s | %.1f s | %.2f | %.0f%% | %.2f | %.0f%% |\n", r.boxes, r.time.Seconds(), bound.Seconds(), r.time.Seconds()/bound.Seconds(),
			100*idle, dollars, 100*(1-r.cpu.Seconds()/(r.time.Seconds()*float64(runtime.NumCPU()))))
		width := int(50 * r.time.Seconds() / all[0].time.Seconds())
		fmt.Fprintf(&bars, "    %3d %-50s %6.1f s  %5.2f USD  %2.0f%% idle\n", r.boxes, strings.Repeat("#", max(width, 1)), r.time.Seconds(), dollars, 100*idle)
	}
	return b.String() + "\n" + bars.String(), nil
}
