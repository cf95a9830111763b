package main

import (
	"github.com/spf13/cobra"

	"efsdedupe/cmd/experiment/internal/peers"
	"efsdedupe/cmd/internal/cli"
)

func peersCommand(s cli.Std) *cobra.Command {
	o := peers.Defaults()
	cmd := &cobra.Command{
		Use:   "peers [flags]",
		Short: "Compare dedupe with the other duplicate finders that are installed",
		Long: `Run dedupe and every other installed duplicate finder in turn, as whole
processes, on trees with known answers. Check what each one found. Print what it
took, and the ratio of dedupe to it: below 1, dedupe takes less.

Run this in a checkout: it builds small programs with go. Some trees need Linux
and root.

Exit codes: 0 everything was compared; 2 something was not, or dedupe was wrong;
130 interrupted.`,
		Example: `  experiment peers
  experiment peers --trees 1,3,7a --runs 5
  experiment peers --trees 7b --runs 1
  experiment peers --markdown build/peers.md --json build/peers.json`,
		Args: cli.Args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			err := peers.Run(cmd.Context(), o, s.Out, s.Err)
			if cmd.Context().Err() != nil {
				return cli.ExitInterrupted
			}
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.Trees, "trees", o.Trees, "what to compare, such as 1,3,7a,start; empty for all")
	f.IntVar(&o.Runs, "runs", o.Runs, "run each program on each tree this many times")
	f.Uint64Var(&o.Seed, "seed", o.Seed, "another `number` creates other contents")
	f.Float64Var(&o.Scale, "scale", o.Scale, "put this many times as many files in each tree")
	f.DurationVar(&o.Budget, "budget", o.Budget, "once a program has used this much time on a tree, stop repeating it there")
	f.DurationVar(&o.Limit, "limit", o.Limit, "kill a program that runs this long")
	f.StringVar(&o.Dir, "dir", o.Dir, "write the trees and everything else to this `directory`")
	f.StringVar(&o.Dedupe, "dedupe", o.Dedupe, "the `program` to compare")
	f.StringVar(&o.Markdown, "markdown", o.Markdown, "write the table for README.md to this `file`")
	f.StringVar(&o.JSON, "json", o.JSON, "write all samples to this `file`")
	return cmd
}
