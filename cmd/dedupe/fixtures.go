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
		Short: "Make a set of files of which it is known which are identical",
		Long: `Make a set of files with known answers in DIR, and a manifest of the true groups
beside it, at DIR.manifest.json. The same flags give the same files, everywhere.

  two-sets     two sets of half the files each, all files of a set identical
  half-unique  half of the files identical, the other half all different
  tree         many sizes and names below nested directories, and traps

A directory that is not empty is refused, unless what is in it was made so.`,
		Example: `  dedupe fixtures build/efs
  dedupe fixtures build/tree --layout tree --files 100000 --size 64KiB --seed 7`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			spec.Files = int(files)
			if spec.Size = int64(size); spec.Layout == fixtures.Tree && !cmd.Flags().Changed("size") {
				spec.Size = 0 // the layout's own
			}
			m, err := fixtures.Make(cmd.Context(), args[0], spec)
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
	f.Var(&files, "files", "how many files; a tree's traps come on top")
	f.Var(&size, "size", "of each file; of the largest in a tree, where 64KiB is the default")
	f.Var(cli.OneOf(&spec.Layout, fixtures.TwoSets, fixtures.HalfUnique, fixtures.Tree), "layout", "which files are identical")
	f.Uint64Var(&spec.Seed, "seed", 1, "other seeds give other contents")
	cmd.AddCommand(moved("dedupe fixtures mount", "mount")(s))
	return cmd
}
