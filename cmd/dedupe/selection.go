package main

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
	"github.com/spf13/pflag"

	"efsdedupe/cmd/internal/cli"
	"efsdedupe/dedupe"
	"efsdedupe/dedupe/choose"
	"efsdedupe/dedupe/report"
)

// selection is the flags and arguments that say what to scan.
type selection struct {
	sel              dedupe.Selection
	minSize, maxSize cli.ByteSize
	times
}

// times are the flags that choose files by the time of their modification.
type times struct{ newer, older moment }

func (t *times) flags(f *pflag.FlagSet) {
	f.Var(&t.newer, "newer", "take only files modified after this `time`: a date, 2026-01-31T12:00:00Z, an age such as 90d, or a file modified then")
	f.Var(&t.older, "older", "take only files modified before this `time`")
}

func newSelection() selection { return selection{minSize: 1} }

func (c *selection) flags(f *pflag.FlagSet) {
	f.Var(&c.minSize, "min-size", "leave out smaller files; 0 includes empty files")
	f.Var(&c.maxSize, "max-size", "leave out larger files; 0 for no limit")
	f.StringArrayVar(&c.sel.Filter.Include, "include", nil, "take only files that match this `glob` (may repeat)")
	f.StringArrayVar(&c.sel.Filter.Exclude, "exclude", nil, "leave out files and directories that match this `glob` (may repeat)")
	c.times.flags(f)
	f.BoolVar(&c.sel.OneFileSystem, "one-file-system", false, "do not enter other file systems below a ROOT")
}

// settle completes the selection, and returns why it is bad.
func (c *selection) settle() error {
	c.sel.Filter.MinSize, c.sel.Filter.MaxSize = int64(c.minSize), int64(c.maxSize)
	c.sel.Filter.Newer, c.sel.Filter.Older = c.newer.UTC(), c.older.UTC()
	return c.sel.Validate()
}

// adviseGlobs returns advice about globs, those of --protect included, that match less than
// they seem to. Some begin with a path from here to something below a ROOT. Others have a **
// that means *.
func (c *selection) adviseGlobs(protect []string) (advice []string) {
	for _, g := range slices.Concat(c.sel.Filter.Include, c.sel.Filter.Exclude, protect) {
		if shallow(g) {
			advice = append(advice, fmt.Sprintf("the glob %q has a ** that stands for one name only: for any number of directories, put it alone between slashes, as in \"dir/**/*.txt\"", g))
		}
		_, err := os.Lstat(g)
		exists := err == nil
		dir, rest := doublestar.SplitPattern(strings.TrimSuffix(g, "/"))
		if _, err := os.Lstat(dir); err != nil || dir == "." || filepath.IsAbs(g) || !exists && !choose.HasMeta(g) || exists && slices.Contains(protect, g) {
			continue
		}
		for _, root := range c.sel.Roots {
			below, err := rel(root, dir)
			_, err2 := os.Lstat(filepath.Join(root, dir))
			if err == nil && err2 != nil && filepath.IsLocal(below) && below != filepath.Clean(dir) {
				advice = append(advice, fmt.Sprintf("the glob %q is a path below the ROOT, and not from here: %q is what leads to %s", g, path.Join("/", below, rest), report.Printable(g)))
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
func rel(dir, file string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if file, err = filepath.Abs(file); err != nil {
		return "", err
	}
	return filepath.Rel(dir, file)
}
