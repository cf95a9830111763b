package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"efsdedupe/cmd/internal/cli"
	"efsdedupe/dedupe"
	"efsdedupe/dedupe/report"
)

// selection is the flags and arguments that say what to scan.
type selection struct {
	sel              dedupe.Selection
	minSize, maxSize cli.ByteSize
	newer, older     moment
}

func newSelection() selection { return selection{minSize: 1} }

func (c *selection) flags(f *pflag.FlagSet) {
	f.Var(&c.minSize, "min-size", "leave out smaller files; 0 includes empty files")
	f.Var(&c.maxSize, "max-size", "leave out larger files; 0 for no limit")
	f.StringArrayVar(&c.sel.Filter.Include, "include", nil, "take only files that match this `glob` (may repeat)")
	f.StringArrayVar(&c.sel.Filter.Exclude, "exclude", nil, "leave out files and directories that match this `glob` (may repeat)")
	f.Var(&c.newer, "newer", "take only files modified after this `time`: a date, 2026-01-31T12:00:00Z, an age such as 90d, or a file modified then")
	f.Var(&c.older, "older", "take only files modified before this `time`")
	f.BoolVar(&c.sel.OneFileSystem, "one-file-system", false, "stay on the file system of each ROOT")
}

// settle completes the selection, and returns why it is bad.
func (c *selection) settle() error {
	c.sel.Filter.MinSize, c.sel.Filter.MaxSize = int64(c.minSize), int64(c.maxSize)
	c.sel.Filter.Newer, c.sel.Filter.Older = c.newer.UTC(), c.older.UTC()
	return c.sel.Validate()
}

// adviseGlobs returns advice about globs that match less than they seem to. Some are paths
// from here to something below a ROOT. Others have a ** that means *.
func (c *selection) adviseGlobs() (advice []string) {
	for _, g := range slices.Concat(c.sel.Filter.Include, c.sel.Filter.Exclude) {
		if shallow(g) {
			advice = append(advice, fmt.Sprintf("the glob %q has a ** that stands for one name only: for any number of directories, put it alone between slashes, as in \"dir/**/*.txt\"", g))
		}
		if !strings.Contains(strings.Trim(g, "/"), "/") || filepath.IsAbs(g) {
			continue
		}
		if _, err := os.Lstat(g); err != nil {
			continue
		}
		for _, root := range c.sel.Roots {
			if below, err := rel(root, g); err == nil && filepath.IsLocal(below) && below != filepath.Clean(g) {
				advice = append(advice, fmt.Sprintf("the glob %q is a path below the ROOT, and not from here: %q is what leads to %s", g, "/"+below, report.Printable(g)))
			}
		}
	}
	return advice
}

// shallow reports whether a glob that matches paths has a ** next to other characters,
// where it means *.
func shallow(glob string) bool {
	names := strings.FieldsFunc(glob, func(r rune) bool { return strings.ContainsRune("/{,}", r) })
	return strings.Contains(glob, "/") && slices.ContainsFunc(names, func(name string) bool { return strings.Contains(name, "**") && name != "**" })
}

// rel returns a path as it is below a directory.
func rel(dir, path string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if path, err = filepath.Abs(path); err != nil {
		return "", err
	}
	return filepath.Rel(dir, path)
}
