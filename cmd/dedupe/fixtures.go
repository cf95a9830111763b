package main

import (
	"fmt"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"efsdedupe/cmd/internal/cli"
	"efsdedupe/fixtures"
)

func fixturesCommand(s cli.Std) *cobra.Command {
	spec := fixtures.Spec{Layout: fixtures.TwoSets}
	files, size := cli.Quantity(100), cli.ByteSize(1<<20)
	cmd := &cobra.Command{
		Use:   "fixtures [flags] DIR",
		Short: "Create a set of files with known answers",
		Long: `Create a set of files in DIR, and list the true groups in DIR.manifest.json.
The same flags create the same files everywhere.

  two-sets     two sets of half the files each, all files of a set identical
  half-unique  half of the files identical, the other half all different
  tree         many sizes and names in nested directories, and traps

This refuses a directory that is not empty, unless it filled it before.`,
		Example: `  dedupe fixtures build/efs
  dedupe fixtures --layout tree --files 100000 --seed 7 build/tree`,
		Args: cli.Args("DIR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			spec.Files = int(files)
			if spec.Size = int64(size); spec.Layout == fixtures.Tree && !cmd.Flags().Changed("size") {
				spec.Size = 0 // the layout's own
			}
			m, err := cli.Await(cmd.Context(), func() (*fixtures.Manifest, error) { return fixtures.Make(cmd.Context(), args[0], spec) })
			if err != nil {
				return err
			}
			path, err := fixtures.ManifestPath(args[0])
			if err != nil {
				return err
			}
			fmt.Fprintf(s.Out, "%s files, %s, in %s; %d groups of identical files in %s\n",
				humanize.Comma(int64(m.Counts.Files)), humanize.IBytes(uint64(m.Counts.Bytes)), args[0], m.Counts.Groups, path)
			return nil
		},
	}
	f := cmd.Flags()
	f.Var(&files, "files", "how many files; a tree also has its traps")
	f.Var(&size, "size", "the size of each file (default 1MiB); in a tree, of the largest (default 64KiB)")
	f.Lookup("size").DefValue = "" // which depends on the layout
	f.Var(cli.OneOf(&spec.Layout, fixtures.TwoSets, fixtures.HalfUnique, fixtures.Tree), "layout", "which files are identical")
	f.Uint64Var(&spec.Seed, "seed", 1, "another `number` creates other contents")
	cmd.AddCommand(moved("dedupe fixtures mount", "mount")(s))
	return cmd
}
