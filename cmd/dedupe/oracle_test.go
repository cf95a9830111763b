package main

import (
	"cmp"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"efsdedupe/fixtures/testkit"
)

// rules are what the oracle knows of the flags.
type rules struct {
	roots             []string
	keep              string
	priority, protect []string // folders
	isolate           bool
	minCopies         int
	minSize           int64
	newer, older      int64 // seconds; 0 for none
	listed            []string
}

func (r *rules) args() []string {
	args := []string{"--min-size", fmt.Sprint(r.minSize)}
	if r.keep != "" {
		args = append(args, "--keep", r.keep)
	}
	for _, dir := range r.priority {
		args = append(args, "--priority", dir)
	}
	for _, dir := range r.protect {
		args = append(args, "--protect", dir)
	}
	if r.isolate {
		args = append(args, "--isolate")
	}
	if r.minCopies > 0 {
		args = append(args, "--min-copies", fmt.Sprint(r.minCopies))
	}
	return args
}

// filters returns the flags that choose files.
func (r *rules) filters() []string {
	var args []string
	if r.newer != 0 {
		args = append(args, "--newer", time.Unix(r.newer, 0).UTC().Format(time.RFC3339))
	}
	if r.older != 0 {
		args = append(args, "--older", time.Unix(r.older, 0).Format(time.RFC3339))
	}
	return args
}

func (r *rules) keeps() bool { return r.keep != "" || len(r.priority)+len(r.protect) > 0 }

// compared reports whether the rules compare what is at a path.
func (r *rules) compared(t *testing.T, path string, st fs.FileInfo) bool {
	seconds := st.ModTime().Unix()
	return st.Mode().IsRegular() && st.Size() >= r.minSize && (r.newer == 0 || seconds > r.newer) && (r.older == 0 || seconds < r.older)
}

// look returns the files that the rules compare, by path, and all folders.
func (r *rules) look(t *testing.T) (files []seen, folders []string) {
	for _, root := range r.roots {
		testkit.Must(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			testkit.Must(t, err)
			if d.IsDir() {
				folders = append(folders, path)
				return nil
			}
			st, err := d.Info()
			testkit.Must(t, err)
			if r.compared(t, path, st) {
				files = append(files, see(t, path))
			}
			return nil
		}))
	}
	for _, path := range r.listed {
		st, err := os.Lstat(path)
		testkit.Must(t, err)
		if !slices.ContainsFunc(files, func(f seen) bool { return f.path == path }) && r.compared(t, path, st) {
			files = append(files, see(t, path))
		}
	}
	slices.SortFunc(files, func(a, b seen) int { return cmp.Compare(a.path, b.path) })
	return files, folders
}

func (r *rules) rootOf(path string) string {
	for _, root := range r.roots {
		if below(path, root) {
			return root
		}
	}
	return path
}

func (r *rules) protects(path string) bool {
	return slices.ContainsFunc(r.protect, func(dir string) bool { return below(path, dir) })
}

// better reports whether to keep a rather than b.
func (r *rules) better(a, b string, editedA, editedB time.Time) bool {
	if x, y := r.protects(a), r.protects(b); x != y {
		return x
	}
	for _, dir := range r.priority {
		if x, y := below(a, dir), below(b, dir); x != y {
			return x
		}
	}
	switch {
	case r.keep == "oldest" && !editedA.Equal(editedB):
		return editedA.Before(editedB)
	case r.keep == "newest" && !editedA.Equal(editedB):
		return editedB.Before(editedA)
	case r.keep == "shortest" && len(a) != len(b):
		return len(a) < len(b)
	}
	return a < b
}

// groups returns a line for each group that is to be reported, and one for all unique
// files.
func (r *rules) groups(files []seen) (lines []string, unique []string) {
	same := make(map[string][]seen)
	for _, f := range files {
		same[f.content] = append(same[f.content], f)
	}
	for _, group := range same {
		inodes, roots := make(map[uint64]int), make(map[string]bool)
		for _, f := range group {
			inodes[f.inode]++
			roots[r.rootOf(f.path)] = true
		}
		switch {
		case len(inodes) == 1, r.isolate && len(roots) == 1:
			for _, f := range group {
				unique = append(unique, f.path)
			}
		case len(inodes) >= r.minCopies:
			lines = append(lines, r.line(group, inodes))
		}
	}
	slices.Sort(lines)
	slices.Sort(unique)
	return lines, unique
}

func (r *rules) line(group []seen, names map[uint64]int) string {
	kept := make(map[uint64]bool)
	best := group[0]
	for _, f := range group {
		if r.better(f.path, best.path, f.edited, best.edited) {
			best = f
		}
		if r.protects(f.path) {
			kept[f.inode] = true
		}
	}
	kept[best.inode] = true
	var first, rest []string
	reclaimable, seenInode := 0, make(map[uint64]bool)
	free, all := 0, 0
	for _, f := range group {
		frees := uint64(names[f.inode]) >= f.links
		if !seenInode[f.inode] {
			if seenInode[f.inode] = true; frees {
				free++
			}
			all++
			if r.keeps() && !kept[f.inode] && frees {
				reclaimable += len(f.content)
			}
		}
		if !r.keeps() {
			rest = append(rest, fmt.Sprintf("%q", f.path))
		} else if f.path == best.path {
			first = slices.Insert(first, 0, fmt.Sprintf("%q kept", f.path))
		} else if kept[f.inode] {
			first = append(first, fmt.Sprintf("%q kept", f.path))
		} else {
			rest = append(rest, fmt.Sprintf("%q", f.path))
		}
	}
	if !r.keeps() {
		reclaimable = min(free, all-1) * len(best.content)
	}
	return fmt.Sprint(reclaimable, " ", strings.Join(append(first, rest...), " "))
}

// identical compares two folders byte by byte. It is false if anything in them is not
// compared.
func (r *rules) identical(t *testing.T, a, b string) bool {
	x, err := os.ReadDir(a)
	testkit.Must(t, err)
	y, err := os.ReadDir(b)
	testkit.Must(t, err)
	if len(x) != len(y) {
		return false
	}
	for i := range x {
		if x[i].Name() != y[i].Name() {
			return false
		}
		p, q := a+"/"+x[i].Name(), b+"/"+y[i].Name()
		if x[i].IsDir() && y[i].IsDir() {
			if !r.identical(t, p, q) {
				return false
			}
			continue
		}
		s, err := x[i].Info()
		testkit.Must(t, err)
		u, err := y[i].Info()
		testkit.Must(t, err)
		if !r.compared(t, p, s) || !r.compared(t, q, u) || see(t, p).content != see(t, q).content {
			return false
		}
	}
	return true
}

// seen is a file as the oracle sees it.
type seen struct {
	path, content string
	inode         uint64
	links         uint64
	edited        time.Time
}

func see(t *testing.T, path string) seen {
	t.Helper()
	content, err := os.ReadFile(path)
	testkit.Must(t, err)
	st, err := os.Lstat(path)
	testkit.Must(t, err)
	sys := st.Sys().(*syscall.Stat_t)
	return seen{path, string(content), sys.Ino, uint64(sys.Nlink), st.ModTime()}
}

func below(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }

// folderOracle finds duplicate folders in the most naive way.
type folderOracle struct {
	*rules
	t       *testing.T
	folders []string
	sets    map[string][]string // by folder, kept ones first
}

// filesIn returns the files in a folder, at any depth.
func (o *folderOracle) filesIn(dir string) (files []seen) {
	filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		testkit.Must(o.t, err)
		if d.Type().IsRegular() {
			files = append(files, see(o.t, path))
		}
		return nil
	})
	return files
}

// covered reports whether a folder above is a duplicate that is not kept.
func (o *folderOracle) covered(dir string) bool {
	for _, above := range o.folders {
		if above != dir && below(dir, above) {
			if set := o.set(above); len(set) > 0 && slices.Contains(set, above+" extra") {
				return true
			}
		}
	}
	return false
}

// set returns the reported set with a folder, or nil.
func (o *folderOracle) set(dir string) []string {
	if set, known := o.sets[dir]; known {
		return set
	}
	var set []string
	roots := make(map[string]bool)
	for _, other := range o.folders {
		if o.identical(o.t, dir, other) && !o.covered(other) {
			set = append(set, other)
			roots[o.rootOf(other)] = true
		}
	}
	if len(set) < max(2, o.minCopies) || o.isolate && len(roots) < 2 || !slices.Contains(set, dir) || len(o.filesIn(dir)) == 0 {
		o.sets[dir] = nil
		return nil
	}
	edited := func(dir string) (latest time.Time) {
		for _, f := range o.filesIn(dir) {
			if f.edited.After(latest) {
				latest = f.edited
			}
		}
		return latest
	}
	safe := func(dir string) bool {
		return o.protects(dir) || slices.ContainsFunc(o.filesIn(dir), func(f seen) bool { return o.protects(f.path) })
	}
	slices.SortFunc(set, func(a, b string) int {
		if x, y := safe(a), safe(b); x != y {
			if x {
				return -1
			}
			return 1
		}
		unprotected := *o.rules
		unprotected.protect = nil
		if unprotected.better(a, b, edited(a), edited(b)) {
			return -1
		}
		return 1
	})
	var kept, extra []string
	for i, dir := range set {
		switch {
		case i == 0 || safe(dir) && o.keeps():
			kept = append(kept, dir)
		default:
			extra = append(extra, dir+" extra")
		}
	}
	slices.Sort(kept[1:])
	slices.Sort(extra)
	o.sets[dir] = append(kept, extra...)
	return o.sets[dir]
}

// lines returns a line for each set.
func (o *folderOracle) lines() (lines []string) {
	for _, dir := range o.folders {
		set := o.set(dir)
		if len(set) == 0 || set[0] != dir {
			continue
		}
		files := o.filesIn(dir)
		inodes := make(map[uint64]int)
		for _, f := range files {
			inodes[f.inode] = len(f.content)
		}
		bytes, freed := 0, 0
		for _, size := range inodes {
			bytes += size
		}
		names, of := make(map[uint64]uint64), make(map[uint64]seen)
		for _, other := range set {
			if other, extra := strings.CutSuffix(other, " extra"); extra {
				for _, f := range o.filesIn(other) {
					names[f.inode]++
					of[f.inode] = f
				}
			}
		}
		for inode, n := range names {
			if n >= of[inode].links {
				freed += len(of[inode].content)
			}
		}
		line := fmt.Sprint(len(files), " ", bytes, " ", freed)
		for _, other := range set {
			other, extra := strings.CutSuffix(other, " extra")
			line += fmt.Sprintf(" %q", other)
			if !extra && o.keeps() {
				line += " kept"
			}
		}
		lines = append(lines, line)
	}
	slices.Sort(lines)
	return lines
}
