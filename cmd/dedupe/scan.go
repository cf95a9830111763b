package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"efsdedupe/cmd/internal/cli"
	"efsdedupe/dedupe"
	"efsdedupe/dedupe/choose"
	"efsdedupe/dedupe/cost"
	"efsdedupe/dedupe/index"
	"efsdedupe/dedupe/index/dynamodb"
	"efsdedupe/dedupe/limits"
	"efsdedupe/dedupe/report"
)

// scan is the command's flags.
type scan struct {
	cli.Std
	selection
	lists
	answerFlags
	eng     dedupe.Engine
	index   indexFlags
	bill    projection
	speller *speller
}

const scanHelp = `Find groups of identical files below each ROOT, a directory or a file.

Hard links to one file count as one copy. The scan follows a symbolic link only
if it is a ROOT, and never opens FIFOs, sockets and devices. It lists files that
it cannot read or that change meanwhile as problems, and never groups them.

Globs support * ? [a-z] {a,b} and ** for any number of directories. A glob
without a slash matches the name, one with a slash the path below the ROOT. An
absolute glob that leads below a ROOT matches absolute paths. A slash at the end
matches directories only. The scan does not enter an excluded directory.

The scan leaves out its own report and index.

The rules under Choose put the file to keep first in its group. They keep all
names of an inode, or none. They keep every protected file. In a group without
one, they keep one file: from the first --priority folder that has any, the one
that --keep names, else the first by path. With --isolate, a file is unique if
all its copies are below one ROOT.

Two folders are duplicates if they hold the same files and folders under the
same names, with equal content. A folder has no duplicate if it holds anything
that was not compared: a link, a problem, or a file that a filter or --min-size
left out.

Exit codes: 0 everything was read; 1 there were problems; 2 no answer: wrong
usage, a ROOT that does not exist, or output that is lost; 3 there are
duplicates, and you gave --fail-on-duplicates; 4 a month costs more than
--fail-above; 130 interrupted.`

func scanCommand(s cli.Std) *cobra.Command {
	c := scan{
		Std:         s,
		selection:   newSelection(),
		eng:         dedupe.Engine{Mode: dedupe.Goroutines},
		answerFlags: answerFlags{format: report.Text},
		bill:        projection{usage: cost.DefaultUsage()},
	}
	cmd := &cobra.Command{
		Use:   "scan [flags] ROOT...",
		Short: "Find identical files",
		Long:  scanHelp,
		Example: `  dedupe scan /mnt/efs
  dedupe scan --min-size 1MiB --exclude '**/cache/**' /mnt/efs
  dedupe scan --mode processes --workers 100 /mnt/efs
  dedupe scan --index auto /mnt/efs
  dedupe scan --format json --output report.json /mnt/efs
  dedupe scan --format html --output report.html /mnt/efs
  dedupe scan --keep oldest --protect /mnt/efs/archive --folders /mnt/efs
  dedupe scan --format sh --by hardlink --output link.sh /mnt/efs
  find /mnt/efs -name '*.jpg' -print0 | dedupe scan --files0-from -
  dedupe scan --bill --region eu-west-1 /mnt/efs`,
		Args: func(cmd *cobra.Command, roots []string) error {
			if c.lists != (lists{}) {
				return nil
			}
			return cli.Args("ROOT...")(cmd, roots)
		},
		RunE: func(cmd *cobra.Command, roots []string) error {
			c.sel.Roots = roots
			c.bill.weigh = cmd.Flags().Changed("churn")
			c.bill.settle(cmd.Flags())
			if !cmd.Flags().Changed("workers") {
				c.eng.Workers = c.eng.FittingWorkers()
			}
			return c.run(cmd.Context())
		},
	}
	cli.Flags(cmd, "Select", func(f *pflag.FlagSet) {
		c.selection.flags(f)
		c.lists.flags(f)
	})
	cli.Flags(cmd, "Choose", func(f *pflag.FlagSet) { ruleFlags(f, &c.write.Rules) })
	cli.Flags(cmd, "Read", func(f *pflag.FlagSet) {
		f.Var(cli.OneOf(&c.eng.Mode, dedupe.Goroutines, dedupe.Processes), "mode", "hash files in goroutines, or in a pool of worker processes")
		f.IntVar(&c.eng.Workers, "workers", dedupe.DefaultWorkers, fmt.Sprintf("read at most this many files at once, 1 to %d; the default suits a network mount", dedupe.MaxWorkers))
		f.BoolVar(&c.eng.HashAll, "hash-all", false, "hash every file that shares its size from start to end, without reading ends first or comparing files")
	})
	cli.Flags(cmd, "Index", func(f *pflag.FlagSet) { c.index.flags(f) })
	cli.Flags(cmd, "Output", c.answerFlags.flags)
	cli.Flags(cmd, "Bill", func(f *pflag.FlagSet) {
		c.bill.flags(f, 0, scanMemoryHelp)
	})
	return cmd
}

const scanMemoryHelp = "`MB` of the Lambda function; 0 for 1769, or more if the scan took more"

func (c *scan) run(ctx context.Context) error {
	chooser, err := c.choose(ctx)
	if err != nil {
		return err
	}
	if c.eng.HashAll && c.index.name != "" {
		return errors.New("--hash-all reads every file, and --index avoids that: choose one")
	}
	if c.bill.weigh && c.index.name == "" {
		return errors.New("--churn prices an index: give --index too")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	book := sync.OnceValues(func() (*cost.Book, error) { return c.book(ctx) })
	go func() { // half a millisecond, in which the scan finds its first files
		if _, err := book(); err != nil {
			cancel()
		}
	}()
	err = c.answer(ctx, chooser, book)
	cancel()
	if _, wrong := book(); wrong != nil && !errors.Is(wrong, context.Canceled) {
		return wrong // the cause of err
	}
	return err
}

// book returns the prices, once it has checked that they are enough for a bill.
func (c *scan) book(ctx context.Context) (*cost.Book, error) {
	usage := c.bill.usage
	if c.index.shared() {
		usage.DynamoDB = cost.DynamoDB{ReadUnits: 1, WriteUnits: 1, StoredBytes: 1}
	}
	book, err := c.bill.prices.Book(ctx)
	if err != nil {
		return nil, err
	}
	return book, cost.CheckBill(book, usage)
}

// answer scans and writes the report. It does not open an index or write a report without
// a price book.
func (c *scan) answer(ctx context.Context, chooser *choose.Chooser, prices func() (*cost.Book, error)) error {
	out, err := cli.OpenOutput(ctx, c.output, c.Out)
	if err != nil {
		return err
	}
	defer out.Discard()
	advice, err := cli.Await(ctx, func() ([]string, error) { return c.adviseGlobs(c.write.Rules.Protect), c.index.apart(out) })
	if err != nil {
		return err
	}
	for _, line := range advice {
		fmt.Fprintf(c.Err, "dedupe: %s\n", line)
	}
	c.eng.Ignore = append(out.Own, cli.RegularFiles(c.Out, c.Err)...)

	c.eng.Memory = limits.RespectMemory(os.Getenv)
	collectLater()
	if c.index.name != "" {
		if _, err := prices(); err != nil {
			return err
		}
	}
	bar := newProgress(c.Err, c.quiet)
	m := c.meter(bar)
	r, use, err := c.selected(ctx, chooser)
	bar.end()
	book, wrong := prices()
	if err := cmp.Or(wrong, err); err != nil {
		return err
	}
	p := c.project(book, r, m, use)
	c.write.Colour, c.write.Tool = c.format == report.Text && out.UseColour(), report.ThisTool(program)
	c.write.Dir, _ = os.Getwd() // without it, a report has no absolute roots
	c.write.Bill = c.write.Bill || c.bill.weigh
	pagePrices{book}.set(&c.write)
	if err := report.Write(out, c.format, r, &p, c.write); err != nil {
		return out.Failed(err)
	}
	if err := out.Commit(!r.Interrupted); err != nil {
		return out.Failed(err)
	}
	c.tell(r, out)
	return c.exit(r, &p)
}

// choose checks the flags of what to scan and what to report, and returns what applies the
// rules.
func (c *scan) choose(ctx context.Context) (*choose.Chooser, error) {
	if err := cmp.Or(checkText(c.write), checkRules(c.format, &c.write)); err != nil {
		return nil, err
	}
	chooser, err := cli.Await(ctx, func() (*choose.Chooser, error) { return c.chooser(ctx) })
	if err != nil {
		return nil, err
	}
	return chooser, cmp.Or(c.eng.Validate(), c.settle())
}

// chooser reads the lists and returns what applies the rules.
func (c *scan) chooser(ctx context.Context) (*choose.Chooser, error) {
	files, err := c.lists.read(ctx, c.In)
	if err != nil {
		return nil, err
	}
	rules := &c.write.Rules
	rules.FilesFrom, rules.Files0From = c.lists.lines, c.lists.zeros
	c.sel.Files, c.sel.CopiesOf, c.sel.Unique = files, rules.CopiesOf, rules.Unique
	c.speller = newSpeller(ctx)
	c.write.Spell = c.speller.spell
	if err := checkPaths(rules, c.write.Spell); err != nil {
		return nil, err
	}
	var roots []choose.Root
	if rules.Change() || rules.Folders {
		for _, root := range c.sel.Roots {
			names, _ := c.write.Spell(root)
			roots = append(roots, choose.Root{Path: root, Names: names})
		}
	}
	return choose.New(*rules, roots, c.write.Spell)
}

// apart returns an error if the report would be written over the index.
func (i *indexFlags) apart(out *cli.Output) error {
	path, err := i.path()
	if err != nil || path == "" {
		return err
	}
	same := out.Path != "" && sameTarget(path, out.Path)
	if st, err := os.Stat(path); err == nil {
		same = same || slices.ContainsFunc(out.Own, func(own os.FileInfo) bool { return os.SameFile(own, st) })
	}
	if same {
		return fmt.Errorf("the report would be written over the index %q: choose another --output or --index", path)
	}
	return nil
}

// sameTarget reports whether two paths lead to one place, where perhaps nothing is yet.
func sameTarget(a, b string) bool {
	a, err := cli.Follow(a)
	b, err2 := cli.Follow(b)
	if err != nil || err2 != nil || filepath.Base(a) != filepath.Base(b) {
		return false
	}
	in, err := os.Stat(filepath.Dir(a))
	in2, err2 := os.Stat(filepath.Dir(b))
	return err == nil && err2 == nil && os.SameFile(in, in2)
}

// collectLater has the garbage collector begin at 18 MiB, instead of 4: most scans are
// over by then, and collections cost them up to a tenth of their time. From the first one
// on, which frees an object that nobody needs, it collects whenever the heap has grown by
// three quarters: a scan keeps most of what it allocates, so that costs little and saves
// memory.
func collectLater() {
	if os.Getenv("GOGC") != "" {
		return // somebody knows better
	}
	debug.SetGCPercent(450)
	object := new(*int) // a pointer: what has none may share its memory, and stay
	runtime.AddCleanup(object, func(percent int) { debug.SetGCPercent(percent) }, 75)
}

// metered is what a scan counts for its bill.
type metered struct {
	reads  cost.Reads
	stored cost.Objects
}

// meter has the engine tell the bill and the progress bar what it does.
func (c *scan) meter(bar *progress) *metered {
	m := new(metered)
	c.eng.Stored = m.stored.Add
	c.eng.Observe = func(e dedupe.Event) {
		m.reads.Add(e.Work.BytesRead, e.Work.BytesSpared)
		bar.observe(e)
	}
	if bar != nil {
		c.eng.Read = bar.read
	}
	return m
}

// project prices such scans, and what the index that was used charges for them.
func (c *scan) project(book *cost.Book, r dedupe.Report, m *metered, use *index.Scan) cost.Projection {
	took := report.Took(r)
	took.Stored = m.stored
	u := cost.Measured(c.bill.usage, took, m.reads)
	var items cost.Items
	if c.index.shared() {
		items = cost.ItemsOf(dynamodb.Items(use.Blocks()))
		charged := use.Units()
		u = cost.Charged(u, charged.Read, charged.Write)
		u.DynamoDB.StoredBytes = items.Bytes
	}
	p := cost.Project(book, u)
	if use != nil {
		p.Index = cost.NewUnindexed(took, m.reads, items)
		c.bill.weighed(&p, book)
	}
	p.Warn(took)
	return p
}

// selected scans, and returns what the rules select.
func (c *scan) selected(ctx context.Context, chooser *choose.Chooser) (dedupe.Report, *index.Scan, error) {
	var folders choose.Found
	if c.write.Rules.Folders {
		c.eng.Folder = folders.Add
	}
	r, use, err := c.scan(ctx)
	if err != nil {
		return r, use, err
	}
	ctx = context.WithoutCancel(ctx) // what was found is reported, whatever happens
	if c.write.Rules.Folders {
		c.write.Folders, err = folders.Duplicates(ctx, &r, chooser)
	}
	if err = cmp.Or(err, chooser.Report(ctx, &r), c.speller.err); err != nil {
		return r, use, err
	}
	if !c.write.Rules.Unique {
		r.Unique = nil
	}
	return r, use, nil
}

// scan scans, with the index if there is one, and returns how it was used. An index
// that fails only makes the scan read more.
func (c *scan) scan(ctx context.Context) (dedupe.Report, *index.Scan, error) {
	if c.index.name == "" {
		r, err := dedupe.Scan(ctx, c.sel, c.eng)
		return r, nil, err
	}
	x, err := c.index.open(ctx)
	if err != nil {
		return dedupe.Report{}, nil, err
	}
	defer x.Store.Close()
	use := x.Attach(c.sel, &c.eng)
	r, err := dedupe.Scan(ctx, c.sel, c.eng)
	why := ""
	if failed := use.Flush(context.WithoutCancel(ctx)); failed != nil && err == nil {
		why = cli.OneLine(advise(failed).Error())
		fmt.Fprintf(c.Err, "dedupe: %s; what it did not answer was read\n", why)
	}
	use.Describe(&r, why)
	return r, use, err
}

// tell says on standard error what the reader of the report may not see.
func (c *scan) tell(r dedupe.Report, out *cli.Output) {
	switch {
	case out.Partial != "":
		fmt.Fprintf(c.Err, "dedupe: interrupted: %s is unchanged; the partial report is %s\n", report.Printable(out.Path), report.Printable(out.Partial))
	case out.Dropped:
		fmt.Fprintf(c.Err, "dedupe: interrupted: %s is unchanged; there is no partial report, because nothing can be created beside it\n", report.Printable(out.Path))
	}
	if r.Complete || c.format == report.Text && out.Path == "" {
		return
	}
	if !c.format.TellsProblems() {
		for _, p := range r.Problems {
			fmt.Fprintf(c.Err, "dedupe: %s\n", report.ProblemLine(p))
		}
	}
	if r.Interrupted {
		fmt.Fprintln(c.Err, "dedupe: the report is not complete: the scan was interrupted before it had read all files")
	}
	if n := len(r.Problems); n > 0 {
		fmt.Fprintf(c.Err, "dedupe: the report is not complete: %s\n", report.Count(int64(n), "problem", "problems"))
	}
}

func (c *scan) exit(r dedupe.Report, p *cost.Projection) error {
	limit := c.bill.limit(c.Std, p)
	switch {
	case r.Interrupted:
		return cli.ExitInterrupted
	case c.failOnDuplicates && len(r.Groups) > 0:
		return cli.ExitDuplicates
	case limit != nil:
		return limit
	case !r.Complete:
		return cli.ExitIncomplete
	}
	return nil
}
