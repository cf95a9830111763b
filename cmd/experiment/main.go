// Command experiment answers one question: goroutines or processes, and what does
// either cost on Lambda? It also has the tools that answering takes.
//
//	main.go    the commands and their help
//	run.go     experiment run: compare modes, memory sizes and languages
//	invoke.go  experiment invoke: call a Lambda function on this machine
//	mount.go   experiment mount: show a directory as EFS would
//	peers.go   experiment peers: compare dedupe with other duplicate finders
//	crowd.go   experiment crowd: run a job in many boxes on one mount
//
// and in packages of their own
//
//	bootstrap            the Lambda function that is measured
//	predictor            the same with ONNX Runtime, for predictions: a module of its own
//	internal/lab         how: boxes, mounts, calls in turn, true checksums
//	internal/task        what: the tasks, in goroutines and in processes
//	internal/contenders  the same tasks in Python and Rust
//	internal/predict     a model, images and ONNX Runtime, from public registries
//	internal/results     what came of it: statistics, prices, tables, charts
//	internal/peers       other duplicate finders, side by side with dedupe
package main

import (
	"os"

	"github.com/spf13/cobra"

	"efsdedupe/cmd/experiment/internal/lab"
	"efsdedupe/cmd/internal/cli"
	"efsdedupe/dedupe/job"
)

func main() {
	os.Exit(run(os.Args[1:], cli.Std{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
}

const program = "experiment"

// run runs the command that args name and returns its exit code.
func run(args []string, s cli.Std) int {
	if isChild, err := lab.RunChild(args, s.In, s.Out); isChild {
		return s.Exit(program, err)
	}
	if isWorker, err := job.RunWorker(s.In, s.Out, nil); isWorker {
		return s.Exit(program, err)
	}
	return s.Run(root(), []cli.Command{
		{Name: "run", Build: runCommand},
		{Name: "mount", Build: mountCommand},
		{Name: "invoke", Build: invokeCommand},
		{Name: "peers", Build: peersCommand},
		{Name: "crowd", Build: crowdCommand},
	}, args)
}

func root() *cobra.Command {
	return &cobra.Command{
		Use:                   program + " COMMAND",
		DisableFlagsInUseLine: true,
		Short:                 "Compare goroutines with processes, and dedupe with other programs",
		Long: `experiment compares goroutines with processes, as on Lambda and in dollars, and
dedupe with other duplicate finders. It also calls Lambda functions on this
machine, and shows directories as Amazon EFS would.`,
		Example: `  experiment run --memory 512,1769
  experiment peers --trees 1,7a
  experiment invoke --root build/efs deploy/events/http-api-scan.json
  experiment mount build/efs build/mnt`,
	}
}
