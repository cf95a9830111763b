// Command dedupe finds identical files on Amazon EFS. It shows what the copies cost, and
// what finding them costs at 50 million calls a month.
//
//	main.go        the commands and their help
//	scan.go        dedupe scan
//	selection.go   what to scan
//	choose.go      rules about the groups, and lists of files
//	job.go         dedupe job
//	plan.go        dedupe job plan
//	report.go      dedupe report, and the flags of text
//	cost.go        dedupe cost, and the flags of a projection
//	billvalues.go  flags of a bill that are shares, factors or choices
//	advise.go      dedupe cost advise
//	prices.go      dedupe cost import-prices
//	index.go       dedupe index, and the flags of an index
//	fixtures.go    dedupe fixtures
//	serve.go       dedupe serve
//	servejobs.go   its jobs
//	doctor.go      dedupe doctor
//	diagnosis.go   what dedupe doctor advises
//	moved.go       commands that other programs have now
//	progress.go    what a terminal shows meanwhile
package main

import (
	"os"
	"runtime"

	"github.com/spf13/cobra"

	"efsdedupe/cmd/internal/cli"
	"efsdedupe/dedupe"
	"efsdedupe/dedupe/job"
	"efsdedupe/dedupe/mount"
)

// main keeps the first thread idle. Linux gives ^C to that thread, which would not notice
// while it waits for an NFS server that is gone.
func main() {
	runtime.LockOSThread()
	code := make(chan int)
	go func() { code <- run(os.Args[1:], cli.Std{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}) }()
	os.Exit(<-code)
}

const program = "dedupe"

// run runs the command that args name and returns its exit code.
func run(args []string, s cli.Std) int {
	if isWorker, err := dedupe.RunWorker(s.In, s.Out); isWorker {
		return s.Exit(program, err)
	}
	if isWorker, err := job.RunWorker(s.In, s.Out, openJobIndex); isWorker {
		return s.Exit(program, err)
	}
	code := s.Run(root(), commands(), args)
	if code != 0 {
		mount.LetGo() // of files whose server may not answer
	}
	return code
}

func root() *cobra.Command {
	return &cobra.Command{
		Use:                   program + " COMMAND",
		DisableFlagsInUseLine: true,
		Short:                 "Find identical files on Amazon EFS, and show what they cost",
		Long: `dedupe finds identical files on Amazon EFS. It shows what the copies cost, and
what finding them costs at 50 million calls a month.`,
		Example: `  dedupe scan /mnt/efs
  dedupe scan --index auto --format json --output report.json /mnt/efs
  dedupe report report.json
  dedupe cost --calls 50M --duration 300ms --bytes-read 100MiB --opens 100
  dedupe fixtures build/efs`,
	}
}

func commands() []cli.Command {
	return []cli.Command{
		{Name: "scan", Build: scanCommand},
		{Name: "report", Build: reportCommand},
		{Name: "cost", Build: costCommand},
		{Name: "fixtures", Build: fixturesCommand},
		{Name: "index", Build: indexCommand},
		{Name: "job", Build: jobCommand},
		{Name: "serve", Build: serveCommand},
		{Name: "doctor", Build: doctorCommand},
		{Name: "bench", Build: moved("dedupe bench", "run")},
		{Name: "invoke", Build: moved("dedupe invoke", "invoke")},
	}
}
