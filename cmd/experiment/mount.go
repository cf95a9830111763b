package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/dustin/go-humanize"
	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"

	"efsdedupe/cmd/internal/cli"
	"efsdedupe/fixtures/efs"
)

// mount is the flags of experiment mount.
type mount struct {
	cli.Std
	options  efs.Options
	counters string
}

func mountCommand(s cli.Std) *cobra.Command {
	c := mount{Std: s, options: efs.Elastic()}
	cmd := &cobra.Command{
		Use:   "mount [flags] SRC DST",
		Short: "Show a directory as if it were on Amazon EFS: as slow, as cached, as metered",
		Long: `Show the directory SRC at DST, read-only, with the latency, throughput and
caching that one client of Amazon EFS sees, and count what EFS would count. This
needs Linux and /dev/fuse, and root or fusermount3.

SIGINT or SIGTERM unmounts DST and ends the program. If the program is killed,
the mount stays until the next mount at DST removes it.`,
		Example: `  experiment mount build/efs build/mnt
  experiment mount build/efs build/mnt --read-latency 2ms --cold
  experiment mount build/efs build/mnt --counters build/counters.json`,
		Args: cli.Args("SRC", "DST"),
		RunE: func(cmd *cobra.Command, args []string) error { return c.run(cmd.Context(), args[0], args[1]) },
	}
	f := cmd.Flags()
	l := &c.options.Latency
	f.DurationVar(&l.Read, "read-latency", l.Read, "how long a READ of up to 1 MiB takes")
	f.DurationVar(&l.Open, "open-latency", l.Open, "how long an open takes, and a close")
	f.DurationVar(&l.Metadata, "metadata-latency", l.Metadata, "how long a lookup or stat takes, unless a listing, an open or a close has brought the answer")
	f.DurationVar(&l.Readdir, "readdir-latency", l.Readdir, "how long each 100 entries of a directory listing take")
	f.Var((*byteRate)(&c.options.Throughput), "throughput", "limit all reads together to this rate; 0 for no limit")
	f.BoolVar(&c.options.Cold, "cold", false, "forget the cached data of a file each time it is opened")
	f.StringVar(&c.counters, "counters", "", "write the counters to this `file` as JSON: at the start, on SIGUSR1 and at the end")
	return cmd
}

func (c *mount) run(ctx context.Context, src, dst string) (err error) {
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGUSR1)
	defer signal.Stop(asked)
	fs, err := efs.Mount(src, dst, c.options)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, fs.Close()) }()
	if err := c.write(fs); err != nil {
		return err
	}
	if fs.ReadAhead() < 1<<20 {
		fmt.Fprintf(c.Err, "experiment: READs are at most %s here, not 1 MiB: only root can set the read-ahead\n", humanize.IBytes(uint64(fs.ReadAhead())))
	}
	fmt.Fprintf(c.Out, "%s is mounted at %s\n", src, dst)
	for {
		select {
		case <-asked:
			if err := c.write(fs); err != nil {
				return err
			}
		case <-ctx.Done():
			return errors.Join(fs.Close(), c.write(fs))
		case <-fs.Done(): // somebody else unmounted it
			return c.write(fs)
		}
	}
}

// write replaces the file of counters in one step.
func (c *mount) write(fs *efs.FileSystem) error {
	if c.counters == "" {
		return nil
	}
	b, err := json.Marshal(fs.Counters())
	if err == nil {
		err = renameio.WriteFile(c.counters, append(b, '\n'), 0o666)
	}
	if err != nil {
		return fmt.Errorf("can't write the counters: %w; choose another --counters", err)
	}
	return nil
}

// byteRate is a flag that takes bytes a second, such as 500MiB/s.
type byteRate int64

func (r *byteRate) Set(s string) error {
	var b cli.ByteSize
	if b.Set(strings.TrimSuffix(s, "/s")) != nil {
		return errors.New("not a rate: write bytes a second such as 500MiB/s, or 0 for no limit")
	}
	*r = byteRate(b)
	return nil
}

func (r *byteRate) String() string {
	return strings.ReplaceAll(humanize.IBytes(uint64(*r)), " ", "") + "/s"
}

func (*byteRate) Type() string { return "rate" }
