package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"efsdedupe/cmd/internal/cli"
	"efsdedupe/dedupe/limits"
	"efsdedupe/dedupe/report"
)

// reread is the flags of dedupe report.
type reread struct {
	cli.Std
	format report.Format
	output string
	write  report.Options
	times
	speller *speller
}

func reportCommand(s cli.Std) *cobra.Command {
	c := reread{Std: s, format: report.Text}
	cmd := &cobra.Command{
		Use:   "report [flags] FILE [LATER]",
		Short: "Show a saved JSON report, or convert it",
		Long: `Show a JSON report that dedupe scan wrote, or convert it to another format. If
FILE is -, read standard input. This also reads reports of older versions;
--format json rewrites them as the current version.

--format html writes one page for a browser, with a map of the folders. Given a
LATER report of the same tree, the page shows what grew and what was reclaimed.

The rules under Choose apply to the report as it is: nothing is scanned again.

Memory does not grow with the report, except for the problems that --all lists.

Exit codes: 0 the report was written; 2 it could not be read or written.`,
		Example: `  dedupe report report.json
  dedupe report --top 50 report.json
  dedupe report --format csv --output report.csv report.json
  dedupe report --format html --output report.html report.json
  dedupe report --format html --output changes.html may.json june.json
  dedupe report --keep oldest --format sh --by delete -o clean.sh report.json
  zcat report.json.gz | dedupe report --summary --bill -`,
		Args: cli.Args("FILE", "[LATER]"),
		RunE: func(cmd *cobra.Command, args []string) error { return c.run(cmd.Context(), args) },
	}
	cli.Flags(cmd, "Choose", func(f *pflag.FlagSet) {
		ruleFlags(f, &c.write.Rules)
		c.times.flags(f)
	})
	cli.Flags(cmd, "Output", func(f *pflag.FlagSet) {
		formatFlags(f, &c.format, &c.write)
		f.StringVarP(&c.output, "output", "o", "", "write to this `file`, and replace it only once the report is complete")
		textFlags(f, &c.write)
	})
	return cmd
}

// answerFlags say where and how to write a report.
type answerFlags struct {
	format           report.Format
	output           string
	quiet            bool
	failOnDuplicates bool
	write            report.Options
}

func (a *answerFlags) flags(f *pflag.FlagSet) {
	formatFlags(f, &a.format, &a.write)
	f.StringVarP(&a.output, "output", "o", "", "write to this `file`, and replace it only once the report is complete; - is standard output")
	textFlags(f, &a.write)
	f.BoolVarP(&a.quiet, "quiet", "q", false, "show no progress")
	f.BoolVar(&a.failOnDuplicates, "fail-on-duplicates", false, "exit with 3 if there are duplicates")
}

// formatFlags are the flags that choose the format.
func formatFlags(f *pflag.FlagSet, format *report.Format, o *report.Options) {
	f.Var(cli.OneOf(format, report.Text, report.JSON, report.CSV, report.Fdupes, report.Print0, report.Script, report.HTML), "format", "the format of the report; html is a page for browsers; sh is a script to edit and run, which links or deletes copies")
	f.Var(cli.OneOf(&o.By, report.Hardlink, report.Delete), "by", "what the script does with copies: replace them with hard links (default), or delete them")
}

// textFlags are the flags that choose what the text format shows.
func textFlags(f *pflag.FlagSet, o *report.Options) {
	f.IntVar(&o.Top, "top", 0, fmt.Sprintf("in text, list this `number` of groups and folders; 0 for %d", report.DefaultTop))
	f.BoolVar(&o.Summary, "summary", false, "in text, list no groups and no folders")
	f.BoolVar(&o.All, "all", false, "in text, list all groups, files, folders and problems")
	f.BoolVar(&o.Bill, "bill", false, "in text, print the whole bill")
}

// checkText returns an error if these flags contradict each other.
func checkText(o report.Options) error {
	switch {
	case o.Top < 0:
		return fmt.Errorf("--top %d: choose 1 or more", o.Top)
	case o.Summary && o.All:
		return errors.New("--summary lists no groups, --all lists all of them: choose one")
	case o.Top > 0 && (o.Summary || o.All):
		return errors.New("--top says how many groups to list, and so do --summary and --all: choose one")
	}
	return nil
}

func (c *reread) run(ctx context.Context, paths []string) error {
	if err := checkText(c.write); err != nil {
		return err
	}
	if len(paths) > 1 && c.format != report.HTML {
		return fmt.Errorf("%q is one argument too many: only --format html shows what changed between two reports", paths[1])
	}
	if err := checkRules(c.format, &c.write); err != nil {
		return err
	}
	rules := &c.write.Rules
	rules.Newer, rules.Older = c.newer.UTC(), c.older.UTC()
	if rules.Timed() && (rules.Unique || rules.Folders) {
		return errors.New("unique files and duplicate folders stay as the scan found them: give --newer and --older to the scan, or leave out --unique and --folders")
	}
	c.speller = newSpeller(ctx)
	c.write.Spell = c.speller.spell
	c.write.Spill = spill
	pagePrices{}.set(&c.write)
	path := paths[len(paths)-1]
	earlier, err := c.readEarlier(ctx, paths)
	if err != nil {
		return err
	}
	in, err := openReport(ctx, path, c.In)
	if err != nil {
		return fmt.Errorf("can't use the report %q: %w", path, err)
	}
	defer in.Close()
	out, err := cli.OpenOutput(ctx, c.output, c.Out)
	if err != nil {
		return err
	}
	defer out.Discard()
	c.write.Colour = c.format == report.Text && out.UseColour()
	disk := &watched{Writer: out}
	incomplete, err := cli.Finish(ctx, func() (string, error) { return c.convert(disk, earlier, in) })
	if err != nil {
		if disk.err != nil {
			return out.Failed(err)
		}
		return fmt.Errorf("can't use the report %q: %w", path, err)
	}
	if err := out.Commit(true); err != nil {
		return out.Failed(err)
	}
	if incomplete != "" && (!c.format.TellsProblems() || out.Path != "") {
		fmt.Fprintf(c.Err, "dedupe: the report is not complete: %s\n", incomplete)
	}
	return nil
}

// readEarlier reads the first of two reports, or returns nil if there is only one.
func (c *reread) readEarlier(ctx context.Context, paths []string) (*report.Earlier, error) {
	if len(paths) == 1 {
		return nil, nil
	}
	if paths[0] == "-" && paths[1] == "-" {
		return nil, errors.New("both reports can't come from standard input: name one of them")
	}
	in, err := openReport(ctx, paths[0], c.In)
	if err != nil {
		return nil, fmt.Errorf("can't use the report %q: %w", paths[0], err)
	}
	defer in.Close()
	earlier, err := report.ReadEarlier(in, c.write)
	if err != nil {
		return nil, fmt.Errorf("can't use the report %q: %w", paths[0], err)
	}
	return earlier, nil
}

// convert writes a report, or its changes since an earlier one.
func (c *reread) convert(w io.Writer, earlier *report.Earlier, in io.Reader) (incomplete string, err error) {
	if earlier != nil {
		incomplete, err = report.WriteChanges(w, earlier, in, c.write)
	} else {
		incomplete, err = report.Convert(w, c.format, in, c.write)
	}
	return incomplete, cmp.Or(err, c.speller.err)
}

// openReport opens the report at a path, or standard input for -. When ctx ends, neither
// opening nor reading it waits any longer.
func openReport(ctx context.Context, path string, stdin io.Reader) (io.ReadCloser, error) {
	if path == "-" {
		return interruptible{io.NopCloser(stdin), ctx}, nil
	}
	f, err := cli.Await(ctx, func() (*os.File, error) { return os.Open(path) })
	return interruptible{f, ctx}, err
}

// watched remembers that writing failed, to tell that from a failure of reading.
type watched struct {
	io.Writer
	err error
}

func (w *watched) Write(b []byte) (int, error) {
	n, err := w.Writer.Write(b)
	w.err = cmp.Or(w.err, err)
	return n, err
}

// interruptible is a reader that fails when its context is cancelled.
type interruptible struct {
	io.ReadCloser
	ctx context.Context
}

// Seek makes it possible to read a file again.
func (r interruptible) Seek(offset int64, whence int) (int64, error) {
	seeker, ok := r.ReadCloser.(io.Seeker)
	if !ok {
		return 0, errors.ErrUnsupported
	}
	return seeker.Seek(offset, whence)
}

func (r interruptible) Read(b []byte) (int, error) {
	return cli.Await(r.ctx, func() (int, error) { return r.ReadCloser.Read(b) })
}

// spill creates a file for a group that is too large for memory.
func spill() (io.ReadWriteSeeker, error) { return limits.TemporaryFile() }
