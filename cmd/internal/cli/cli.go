// Package cli holds what the commands share: how they start and end, the values
// of their flags, and the file that a report goes to.
//
//	cli.go     streams, interruption, exit codes, the version
//	values.go  flags that are sizes, counts or choices
//	output.go  where a report goes
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

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
	ExitInterrupted ExitCode = 130 // by SIGINT or SIGTERM
)

func (c ExitCode) Error() string { return fmt.Sprintf("exit code %d", int(c)) }

// Run runs the command below root that args name, and returns the exit code of the
// program. SIGINT and SIGTERM cancel the context of the command; a second one ends
// the program at once.
func (s Std) Run(root *cobra.Command, args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	defer stop()

	root.Version = Version(root.Name())
	root.Args = cobra.NoArgs
	root.SilenceErrors, root.SilenceUsage, root.DisableSuggestions = true, true, true
	root.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	root.SetIn(s.In)
	root.SetOut(s.Out)
	root.SetErr(s.Err)
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w; see '%s --help'", err, cmd.CommandPath())
	})
	root.SetArgs(args)
	return s.Exit(root.Name(), root.ExecuteContext(ctx))
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
	fmt.Fprintf(s.Err, "%s: %s\n", program, OneLine(err.Error()))
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
