// Command dedupe finds identical files, exactly, and says what finding them
// costs at 50 million calls a month, and what keeping them does.
//
//	main.go      the commands and their help
//	scan.go      dedupe scan
//	report.go    dedupe report, and the flags of text
//	cost.go      dedupe cost, and the flags of a projection
//	index.go     dedupe index, and the flags of an index
//	fixtures.go  dedupe fixtures
//	serve.go     dedupe serve
//	moved.go     commands that other programs have now
//	progress.go  what a terminal shows meanwhile
package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"efsdedupe/cmd/internal/cli"
	"efsdedupe/dedupe"
)

func main() {
	os.Exit(run(os.Args[1:], cli.Std{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
}

const program = "dedupe"

// run runs the command that args name and returns its exit code.
func run(args []string, s cli.Std) int {
	if isWorker, err := dedupe.RunWorker(s.In, s.Out); isWorker {
		return s.Exit(program, err)
	}
	return s.Run(commands(s), args)
}

func commands(s cli.Std) *cobra.Command {
	root := &cobra.Command{
		Use:   program,
		Short: "Find identical files on Amazon EFS, and what finding and keeping them costs",
		Long: `dedupe finds groups of identical files, exactly: by size, then by the BLAKE3-256
digest of their content. It reads files in goroutines or in a pool of worker
processes, and projects what such a scan costs at 50 million calls a month.`,
		Example: `  dedupe scan /mnt/efs
  dedupe scan --mode processes --workers 100 --format json /mnt/efs
  dedupe report report.json
  dedupe cost --calls 50M --duration 300ms --bytes-read 100MiB --opens 100
  dedupe fixtures build/efs`,
	}
	root.AddCommand(scanCommand(s), reportCommand(s), costCommand(s), fixturesCommand(s), indexCommand(s), serveCommand(s), versionCommand(s))
	root.AddCommand(movedCommand("dedupe bench", "run"), movedCommand("dedupe invoke", "invoke"))
	return root
}

func versionCommand(s cli.Std) *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version and the revision it was built from",
		Example: "  dedupe version",
		Args:    cobra.NoArgs,
		Run:     func(*cobra.Command, []string) { fmt.Fprintln(s.Out, cli.Version(program)) },
	}
}
