// Package cli holds what the commands share: how they start and end, the values
// of their flags, and the file that a report goes to.
//
//	cli.go      interruption, exit codes, the version
//	stream.go   standard output and error, and what a terminal must not see
//	help.go     help in groups of flags, hints for what was mistyped
//	man.go      the same as manual pages
//	values.go   flags that are sizes, counts, amounts or choices
//	prices.go   flags that choose a price book
//	output.go   where a report goes
//	pending.go  a file that appears only once it is complete
//	start*      which standard descriptors were closed, asked before the Go runtime starts
//
// Files named *_linux.go hold what only Linux can do.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"efsdedupe/dedupe/limits"
	"efsdedupe/dedupe/report"
)

// Std is what a program reads and writes.
type Std struct {
	In       io.Reader
	Out, Err io.Writer
}

// ExitCode is the error of a command that has printed everything there is to say.
type ExitCode int

// The exit codes. Scripts rely on them; see README.md.
const (
	ExitIncomplete  ExitCode = 1   // something could not be read, or changed
	ExitNoAnswer    ExitCode = 2   // bad use, a root that does not exist, a report that can't be written
	ExitDuplicates  ExitCode = 3   // with --fail-on-duplicates
	ExitLimit       ExitCode = 4   // a limit you set was exceeded, with --fail-above, or would be, with --max-cost
	ExitInterrupted ExitCode = 130 // by SIGINT, SIGTERM or SIGHUP
)

func (c ExitCode) Error() string { return fmt.Sprintf("exit code %d", int(c)) }

// Command is a command of a program. Build makes it; Run builds only what it needs,
// because making the flags and help of every command delays the start.
type Command struct {
	Name  string
	Build func(Std) *cobra.Command
}

// Run runs the command that args name, and returns the exit code of the program. Its
// commands are those given, version and, hidden, man.
func (s Std) Run(root *cobra.Command, commands []Command, args []string) int {
	out := newStream(s.Out)
	s.Out, s.Err = out, newStream(s.Err)
	if wasClosed(0) {
		s.In = closedInput{}
	}
	root.Args = OnlyCommands
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetUsageFunc(writeUsage)
	root.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	root.PersistentPreRunE = begin
	root.SetIn(s.In)
	root.SetOut(s.Out)
	root.SetErr(s.Err)
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w; see '%s --help'", err, cmd.CommandPath())
	})
	commands = append(commands, Command{"version", versionOf(root)}, Command{manName, manCommand})
	named := func(c Command) bool { return len(args) > 0 && c.Name == args[0] }
	if i := slices.IndexFunc(commands, named); i >= 0 && commands[i].Name != manName {
		commands = commands[i : i+1]
		root.CompletionOptions.DisableDefaultCmd = true
	} else {
		root.Version = Version(root.Name()) // for --version
	}
	for _, c := range commands {
		root.AddCommand(c.Build(s))
	}
	nameCompletion(root, args)
	if len(args) > 0 && strings.HasPrefix(args[0], cobra.ShellCompRequestCmd) {
		completeValues(root)
	}
	root.SetArgs(args)
	_, err := root.ExecuteC()
	return s.Exit(root.Name(), out.settle(err))
}

// settle returns the error of a command, or that its output was lost.
func (s *stream) settle(err error) error {
	var code ExitCode
	switch lost := s.failed(); {
	case err != nil && !errors.Is(err, lost) && (!errors.As(err, &code) || code == ExitInterrupted):
	case lost != nil:
		return fmt.Errorf("can't write to standard output: %w", lost)
	case wasClosed(1) && s.used:
		return errors.New("can't write to standard output: it is closed")
	}
	return err
}

// begin checks the flags of a command and makes it interruptible. An empty flag is mostly a
// variable that nobody set, and the command would do something else without a word.
func begin(cmd *cobra.Command, _ []string) (err error) {
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if f.Value.Type() == "string" && f.Value.String() == "" {
			err = fmt.Errorf("--%s is empty: give it a value, or leave it out; see '%s --help'", f.Name, cmd.CommandPath())
		}
	})
	interruptible(cmd)
	return err
}

// interruptible makes SIGINT, SIGTERM and SIGHUP cancel the context of a command. A second
// signal ends the program at once, but not another SIGHUP: a terminal that closes sends
// several. Under nohup, SIGHUP stays ignored.
func interruptible(cmd *cobra.Command) {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	hangUp := !signal.Ignored(syscall.SIGHUP)
	if hangUp {
		signals = append(signals, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), signals...)
	context.AfterFunc(ctx, func() {
		if hangUp {
			signal.Ignore(syscall.SIGHUP)
		}
		stop()
	})
	cmd.SetContext(ctx)
}

// Await is [limits.Await] without patience.
func Await[T any](ctx context.Context, f func() (T, error)) (T, error) {
	return limits.Await(ctx, 0, f)
}

// Finish is Await for an f that stops by itself when ctx ends, unless a file system does not
// answer: it gives f the time to stop.
func Finish[T any](ctx context.Context, f func() (T, error)) (T, error) {
	return limits.Await(ctx, patience, f)
}

// patience is more than a scan takes to stop, and less than a user waits after ^C.
const patience = 1500 * time.Millisecond

// versionOf returns how to make the command that prints the version of a program.
func versionOf(root *cobra.Command) func(Std) *cobra.Command {
	return func(s Std) *cobra.Command {
		return &cobra.Command{
			Use:     "version",
			Short:   "Print the version and the revision it was built from",
			Example: "  " + root.Name() + " version",
			Args:    Args(),
			// It does nothing, but begin, which it replaces, takes 0.2 ms.
			PersistentPreRun: func(*cobra.Command, []string) {},
			Run:              func(*cobra.Command, []string) { fmt.Fprintln(s.Out, Version(root.Name())) },
		}
	}
}

// Exit prints the error that ends a program, unless it is an [ExitCode], and
// returns the program's exit code.
func (s Std) Exit(program string, err error) int {
	var code ExitCode
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	case errors.Is(err, context.Canceled): // only a signal cancels a command
		return int(ExitInterrupted)
	}
	fmt.Fprintf(s.Err, "%s: %s\n", program, Visible(OneLine(err.Error())))
	return int(ExitNoAnswer)
}

// OneLine joins the lines of a message.
func OneLine(s string) string {
	newline := func(r rune) bool { return r == '\n' || r == '\r' }
	return strings.Join(strings.FieldsFunc(s, newline), "; ")
}

// Version names a program, its version and the revision it was built from, which
// go build records in a checkout.
func Version(program string) string {
	tool, dirty := report.ThisTool(program), ""
	if tool.Modified {
		dirty = ", modified"
	}
	return fmt.Sprintf("%s %s, revision %s%s, %s %s/%s", program, tool.Version, tool.Revision, dirty, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
