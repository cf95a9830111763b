// Command dedupe finds identical files, exactly, and says what finding them
// costs at 50 million calls a month, and what keeping them does.
//
//	main.go      exit codes, interruption, the commands and their help
//	scan.go      dedupe scan
//	cost.go      dedupe cost, and the flags of a projection
//	index.go     dedupe index, and the flags of an index
//	fixtures.go  dedupe fixtures
//	mount.go     dedupe fixtures mount
//	serve.go     dedupe serve
//	invoke.go    dedupe invoke: the Lambda function, here
//	bench.go     dedupe bench: the modes compared, as on Lambda
//	values.go    flags that are sizes and counts
//	output.go    where a report goes
//	progress.go  what a terminal shows meanwhile
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"efsdedupe/dedupe"
	"efsdedupe/dedupe/bench"
)

func main() {
	os.Exit(run(os.Args[1:], std{os.Stdin, os.Stdout, os.Stderr}))
}

// std is what a command reads and writes.
type std struct {
	in       io.Reader
	out, err io.Writer
}

// The exit codes. They are part of what scripts rely on; see the README.
const (
	exitIncomplete  = 1   // something could not be read, or changed
	exitNoAnswer    = 2   // bad use, a root that does not exist, a report that can't be written
	exitDuplicates  = 3   // with --fail-on-duplicates
	exitInterrupted = 130 // by SIGINT or SIGTERM
)

// exitCode ends a command that has said all there is to say.
type exitCode int

func (c exitCode) Error() string { return fmt.Sprintf("exit code %d", int(c)) }

// run runs the command that args name and returns its exit code.
func run(args []string, s std) int {
	if isWorker, err := dedupe.RunWorker(s.in, s.out); isWorker {
		return s.exit(err)
	}
	if isChild, err := bench.RunChild(args, s.in, s.out); isChild {
		return s.exit(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second ^C ends it at once
	defer stop()

	root := commands(s)
	root.SetArgs(args)
	return s.exit(root.ExecuteContext(ctx))
}

// exit says what is to be said of an error and returns its exit code.
func (s std) exit(err error) int {
	var code exitCode
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	case errors.Is(err, context.Canceled): // only a signal cancels a command
		return exitInterrupted
	}
	fmt.Fprintf(s.err, "dedupe: %s\n", oneLine(err.Error()))
	return exitNoAnswer
}

func oneLine(s string) string {
	newline := func(r rune) bool { return r == '\n' || r == '\r' }
	return strings.Join(strings.FieldsFunc(s, newline), "; ")
}

func commands(s std) *cobra.Command {
	root := &cobra.Command{
		Use:   "dedupe",
		Short: "Find identical files on Amazon EFS, and what finding and keeping them costs",
		Long: `dedupe finds groups of identical files, exactly: by size, then by the BLAKE3-256
digest of their content. It reads files in goroutines or in a pool of worker
processes, and projects what such a scan costs at 50 million calls a month.`,
		Example: `  dedupe scan /mnt/efs
  dedupe scan --mode processes --workers 100 --format json /mnt/efs
  dedupe cost --calls 50M --duration 300ms --bytes-read 100MiB --opens 100
  dedupe fixtures build/efs`,
		Version:            version(),
		Args:               cobra.NoArgs,
		SilenceErrors:      true,
		SilenceUsage:       true,
		DisableSuggestions: true,
		RunE:               func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetIn(s.in)
	root.SetOut(s.out)
	root.SetErr(s.err)
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w; see '%s --help'", err, cmd.CommandPath())
	})
	root.AddCommand(scanCommand(s), costCommand(s), fixturesCommand(s), indexCommand(s), serveCommand(s), invokeCommand(s), benchCommand(s), versionCommand(s))
	return root
}

func versionCommand(s std) *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version and the revision it was built from",
		Example: "  dedupe version",
		Args:    cobra.NoArgs,
		Run:     func(*cobra.Command, []string) { fmt.Fprintln(s.out, version()) },
	}
}

// version is what the build recorded: go build does, in a checkout.
func version() string {
	revision, dirty := "unknown", ""
	module := "(devel)"
	if build, ok := debug.ReadBuildInfo(); ok {
		module = build.Main.Version
		for _, setting := range build.Settings {
			switch {
			case setting.Key == "vcs.revision":
				revision = setting.Value
			case setting.Key == "vcs.modified" && setting.Value == "true":
				dirty = ", modified"
			}
		}
	}
	return fmt.Sprintf("dedupe %s, revision %s%s, %s %s/%s", module, revision, dirty, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
