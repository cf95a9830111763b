package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"efsdedupe/cmd/internal/cli"
	"efsdedupe/dedupe"
	"efsdedupe/dedupe/cost"
	"efsdedupe/dedupe/index"
	"efsdedupe/dedupe/index/dynamodb"
	"efsdedupe/dedupe/job"
	"efsdedupe/dedupe/limits"
	"efsdedupe/dedupe/mount"
	"efsdedupe/dedupe/report"
)

// indexFlags are the flags of commands that use an index.
type indexFlags struct {
	name       string
	fileSystem string
}

func (i *indexFlags) flags(f *pflag.FlagSet) {
	f.StringVar(&i.name, "index", "", "keep digests in this `index`, to read only what changes until the next scan: auto (a file of your own), FILE or dynamodb://TABLE")
	i.identity(f)
}

func (i *indexFlags) identity(f *pflag.FlagSet) {
	f.StringVar(&i.fileSystem, "index-id", "", "the `identity` of the file system, such as fs-0123abcd, if the mount does not reveal it")
}

// open opens the index, or makes it.
func (i *indexFlags) open(ctx context.Context) (*index.Index, error) {
	store, err := cli.Await(ctx, i.store)
	if err != nil {
		return nil, err
	}
	x := index.New(store)
	x.FileSystem = i.fileSystem
	return x, nil
}

// openJobIndex opens the index of a job in one of its processes.
func openJobIndex(of job.Index) (*index.Index, error) {
	i := indexFlags{name: of.Name, fileSystem: of.FileSystem}
	return i.open(context.Background())
}

// shared reports whether the index is in a table, which charges for its use.
func (i *indexFlags) shared() bool { return strings.HasPrefix(i.name, dynamodb.Scheme) }

func (i *indexFlags) store() (index.Store, error) {
	path, err := i.path()
	if err != nil {
		return nil, err
	}
	if i.name != "auto" {
		return dynamodb.OpenNamed(i.name)
	}
	return index.OpenLog(path)
}

// path returns the file of the index; empty if there is none.
func (i *indexFlags) path() (string, error) {
	if i.shared() {
		return "", nil
	}
	if i.name != "auto" {
		return i.name, nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("there is no place for an index of your own: %w; choose --index FILE", err)
	}
	return filepath.Join(cache, "dedupe", "index.db"), nil
}

// advise adds to an error of an index what to do on the command line.
func advise(err error) error {
	if tunnel := (*mount.TunnelError)(nil); errors.As(err, &tunnel) {
		return fmt.Errorf("%w with --index-id", err)
	}
	return err
}

func indexCommand(s cli.Std) *cobra.Command {
	cmd := &cobra.Command{
		Use:                   "index COMMAND",
		DisableFlagsInUseLine: true,
		Short:                 "Show, clean and check an index of digests",
		Long: `Show, clean and check an index. It holds the digests that 'dedupe scan --index'
keeps, so that the next scan need not read unchanged files again.

INDEX is what --index takes: auto (your own file), FILE or dynamodb://TABLE.`,
		Example: `  dedupe index stats auto
  dedupe index verify --sample 1% auto /mnt/efs`,
		Args: cli.OnlyCommands,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(indexStatsCommand(s), indexPruneCommand(s), indexVerifyCommand(s))
	return cmd
}

func indexStatsCommand(s cli.Std) *cobra.Command {
	return &cobra.Command{
		Use:     "stats INDEX",
		Short:   "Show index statistics",
		Long:    "Show how many entries an index has, their size, and their file systems.",
		Example: "  dedupe index stats auto",
		Args:    cli.Args("INDEX"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withIndex(cmd.Context(), indexFlags{name: args[0]}, func(x *index.Index) error {
				t, err := x.Stats(cmd.Context())
				if err != nil {
					return err
				}
				fmt.Fprintf(s.Out, "%s in %s, %s", report.Count(t.Entries, "entry", "entries"), report.Count(t.Blocks, "block", "blocks"), humanize.IBytes(uint64(t.Bytes)))
				if t.Entries > 0 {
					fmt.Fprintf(s.Out, ", %d bytes an entry; the oldest was last used on %s", t.Bytes/t.Entries, t.Oldest.Format("2006-01-02"))
				}
				fmt.Fprintln(s.Out)
				for _, id := range t.FileSystems {
					fmt.Fprintln(s.Out, " ", id)
				}
				if t.Damaged > 0 {
					fmt.Fprintf(s.Out, "%s damaged or of another version, and ignored\n", report.Count(t.Damaged, "block", "blocks"))
				}
				return nil
			})
		},
	}
}

// withIndex calls do with an index that is there.
func withIndex(ctx context.Context, i indexFlags, do func(*index.Index) error) error {
	if i.name != "auto" && !i.shared() { // a table says itself when it is not there
		if _, err := cli.Await(ctx, func() (os.FileInfo, error) { return os.Stat(i.name) }); err != nil {
			return fmt.Errorf("there is no index: %w", err)
		}
	}
	_, err := cli.Finish(ctx, func() (struct{}, error) {
		x, err := i.open(ctx)
		if err != nil {
			return struct{}{}, err
		}
		defer x.Store.Close()
		return struct{}{}, advise(do(x))
	})
	return err
}

func indexPruneCommand(s cli.Std) *cobra.Command {
	var i indexFlags
	var days int
	cmd := &cobra.Command{
		Use:   "prune [flags] INDEX [ROOT...]",
		Short: "Remove entries that are no longer needed",
		Long: `Remove entries that no scan has used for 90 days. If you name ROOTs, also list
them and remove the entries of files there that are gone or have changed.

A scan that writes to an index removes unused entries, too.`,
		Example: `  dedupe index prune auto
  dedupe index prune --unused 30 auto /mnt/efs`,
		Args: cli.Args("INDEX", "[ROOT...]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if days < 0 {
				return fmt.Errorf("--unused %d: choose 0 days or more", days)
			}
			i.name = args[0]
			return withIndex(cmd.Context(), i, func(x *index.Index) error {
				removed, err := x.Prune(cmd.Context(), args[1:], days)
				if err != nil {
					return err
				}
				fmt.Fprintf(s.Out, "%s removed\n", report.Count(removed, "entry", "entries"))
				return nil
			})
		},
	}
	cmd.Flags().IntVar(&days, "unused", 90, "remove entries that no scan has used for this many `days`")
	i.identity(cmd.Flags())
	return cmd
}

func indexVerifyCommand(s cli.Std) *cobra.Command {
	var i indexFlags
	sample := share(10_000)
	var sel dedupe.Selection
	eng := dedupe.Engine{Mode: dedupe.Goroutines}
	cmd := &cobra.Command{
		Use:   "verify [flags] INDEX ROOT...",
		Short: "Read a sample of files again, and list wrong entries",
		Long: `Read a sample of the known files below each ROOT again, at least one, and name
every file whose content is not what the index says. The last line says how many
of the known files may be wrong at most, with 95% confidence: at most 1% if a
sample of 300 has no wrong file.

Exit codes: 0 everything that was read is right; 1 an entry is wrong: remove the
index; or no known file can be read; 2 wrong usage, or an index that cannot be
read; 130 interrupted.`,
		Example: "  dedupe index verify --sample 1% auto /mnt/efs",
		Args:    cli.Args("INDEX", "ROOT..."),
		RunE: func(cmd *cobra.Command, args []string) error {
			i.name, sel.Roots = args[0], args[1:]
			if !cmd.Flags().Changed("workers") {
				eng.Workers = eng.FittingWorkers()
			}
			return withIndex(cmd.Context(), i, func(x *index.Index) error { return verify(cmd.Context(), s, x, sel, eng, float64(sample)/1e6) })
		},
	}
	f := cmd.Flags()
	f.Var(&sample, "sample", "how many of the known files to read")
	f.IntVar(&eng.Workers, "workers", dedupe.DefaultWorkers, fmt.Sprintf("read at most this many files at once, 1 to %d", dedupe.MaxWorkers))
	i.identity(f)
	return cmd
}

func verify(ctx context.Context, s cli.Std, x *index.Index, sel dedupe.Selection, eng dedupe.Engine, share float64) error {
	if err := cmp.Or(eng.Validate(), sel.Validate()); err != nil {
		return err
	}
	eng.Memory = limits.RespectMemory(os.Getenv)
	c, err := x.Verify(ctx, sel, eng, share)
	switch {
	case err != nil:
		return err
	case c.Known == 0 && c.Refused != nil:
		return c.Refused
	}
	for _, f := range c.Wrong {
		fmt.Fprintf(s.Out, "wrong: %s\n", report.Printable(f.Path))
	}
	for _, p := range c.Unread {
		fmt.Fprintf(s.Err, "dedupe: not checked: %s\n", report.ProblemLine(p))
	}
	if c.Refused != nil {
		fmt.Fprintf(s.Err, "dedupe: %s\n", cli.OneLine(advise(c.Refused).Error()))
	}
	fmt.Fprintf(s.Out, "%s known, %s read again, %s wrong%s\n", report.Count(c.Known, "file", "files"), humanize.Comma(c.Read), humanize.Comma(int64(len(c.Wrong))), confidence(c))
	switch {
	case c.Interrupted:
		return cli.ExitInterrupted
	case len(c.Wrong) > 0, c.Read == 0 && c.Known > 0:
		return cli.ExitIncomplete
	}
	return nil
}

// confidence says what a sample proves of the files that were not in it.
func confidence(c index.Checked) string {
	switch {
	case c.Read == 0 || c.Read == c.Known:
		return ""
	case c.WrongShare() > 0.99:
		return ": too few to tell about the others"
	}
	return fmt.Sprintf(": with 95%% confidence, at most %s of the known files are wrong", humanize.FtoaWithDigits(math.Ceil(c.WrongShare()*1e4)/1e2, 2)+"%")
}

// share is a flag such as 1%, in millionths.
type share int64

func (p *share) Set(s string) error {
	v, err := strconv.ParseFloat(strings.TrimSuffix(s, "%"), 64)
	millionths := math.Round(v * 1e4)
	if err != nil || !strings.HasSuffix(s, "%") || !(v >= 0 && v <= 100) || v > 0 && millionths == 0 {
		return errors.New("not a share: write 0% to 100%, such as 1% or 0.0001%")
	}
	*p = share(millionths)
	return nil
}

func (p *share) String() string { return cost.Percent(int64(*p)) }

func (*share) Type() string { return "percent" }
