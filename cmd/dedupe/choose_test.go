package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"efsdedupe/fixtures/testkit"

	gocmp "github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// plantTree makes a tree of traps below ./t: folders copied with and without a change,
// hard links inside and between folders, links, pipes, empty files and folders, and names
// that shells and parsers get wrong.
func plantTree(t *testing.T, rnd *rand.Rand) {
	names := []string{"a", "b", "keep", "-rf", "it's", "x\ny", "$(touch pwned)", "\xff\xfe", " "}
	contents := []string{"", "", "1", "2", "22", "other", strings.Repeat("long", 20_000), strings.Repeat("lung", 20_000)}
	pick := func(all []string) string { return all[rnd.IntN(len(all))] }
	var files, dirs []string
	var fill func(dir string, depth int)
	fill = func(dir string, depth int) {
		testkit.Must(t, os.MkdirAll(dir, 0o777))
		dirs = append(dirs, dir)
		for range rnd.IntN(4) {
			path := dir + "/" + pick(names)
			if _, err := os.Lstat(path); err == nil {
				continue
			}
			switch n := rnd.IntN(20); {
			case n == 0:
				testkit.Must(t, os.Symlink(pick(names), path))
			case n == 1:
				testkit.Must(t, unix.Mkfifo(path, 0o666))
			case n < 5 && len(files) > 0:
				testkit.Must(t, os.Link(pick(files), path))
				files = append(files, path)
			case n < 9 && depth > 0:
				fill(path, depth-1)
			case n < 13 && depth > 0 && len(dirs) > 1:
				from := dirs[1+rnd.IntN(len(dirs)-1)]
				if strings.HasPrefix(path+"/", from+"/") {
					continue
				}
				out, err := exec.Command("cp", pick([]string{"-a", "-al"}), "--", from, path).CombinedOutput()
				if err != nil {
					t.Fatalf("cp: %v: %s", err, out)
				}
			default:
				testkit.Must(t, os.WriteFile(path, []byte(pick(contents)), 0o666))
				files = append(files, path)
			}
		}
	}
	for _, root := range []string{"t/one", "t/two", "t/three"} {
		fill(root, 3)
	}
	testkit.Must(t, filepath.WalkDir("t", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			return os.Chtimes(path, time.Time{}, time.Unix(1.7e9+int64(rnd.IntN(4))*1000, 0))
		}
		return err
	}))
}

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

func below(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }

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

// answer is what the tests look at in a JSON report.
type answer struct {
	Groups []struct {
		Reclaimable int64 `json:"reclaimable_bytes"`
		Files       []answerFile
	}
	Folders []struct {
		Files, Bytes int64
		Reclaimable  int64 `json:"reclaimable_bytes"`
		Paths        []answerFile
	} `json:"duplicate_folders"`
	Unique []answerFile
	Stats  struct {
		Groups      int   `json:"duplicate_groups"`
		Files       int   `json:"duplicate_files"`
		Reclaimable int64 `json:"reclaimable_bytes"`
	}
}

type answerFile struct {
	Path     string
	Base64   []byte `json:"path_base64"`
	Kept     bool
	HardLink bool `json:"hard_link"`
}

func (f answerFile) String() string {
	path := f.Path
	if f.Base64 != nil {
		path = string(f.Base64)
	}
	if f.Kept {
		return fmt.Sprintf("%q kept", path)
	}
	return fmt.Sprintf("%q", path)
}

// lines are the same as those of the oracle. They also check the totals and, if asked to, the
// order of groups: jobs and saved reports keep the one from before the rules.
func (a *answer) lines(t *testing.T, ordered bool) (groups, folders, unique []string) {
	files, reclaimable := 0, int64(0)
	for i, g := range a.Groups {
		line := fmt.Sprint(g.Reclaimable)
		for _, f := range g.Files {
			line += " " + f.String()
			if !f.HardLink {
				files++
			}
		}
		groups = append(groups, line)
		files--
		reclaimable += g.Reclaimable
		if ordered && i > 0 && a.Groups[i-1].Reclaimable < g.Reclaimable {
			t.Errorf("group %d is larger than the one before", i)
		}
	}
	if s := a.Stats; s.Groups != len(a.Groups) || s.Files != files || s.Reclaimable != reclaimable {
		t.Errorf("the totals are %+v, but there are %d files with %d bytes", s, files, reclaimable)
	}
	for _, set := range a.Folders {
		line := fmt.Sprint(set.Files, " ", set.Bytes, " ", set.Reclaimable)
		for _, f := range set.Paths {
			line += " " + f.String()
		}
		folders = append(folders, line)
	}
	for _, f := range a.Unique {
		path := f.Path
		if f.Base64 != nil {
			path = string(f.Base64)
		}
		unique = append(unique, path)
	}
	slices.Sort(groups)
	slices.Sort(folders)
	slices.Sort(unique)
	return groups, folders, unique
}

// output runs the program here and returns its standard output.
func output(t *testing.T, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(binary, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("dedupe %q: %v: %s", args, err, &stderr)
	}
	return out
}

func randomRules(rnd *rand.Rand) rules {
	some := func(of ...string) []string {
		if rnd.IntN(2) == 0 {
			return nil
		}
		rnd.Shuffle(len(of), func(i, j int) { of[i], of[j] = of[j], of[i] })
		return of[:1+rnd.IntN(2)]
	}
	r := rules{roots: []string{"t/one", "t/three", "t/two"}, keep: []string{"", "oldest", "newest", "shortest", "first"}[rnd.IntN(5)], minSize: int64(rnd.IntN(2))}
	r.priority, r.protect = some("t/one", "t/two", "t/three"), some("t/one", "t/two/a", "t/three")
	for _, dir := range r.protect { // what does not exist is an error
		if _, err := os.Stat(dir); err != nil {
			r.protect = nil
		}
	}
	r.isolate = rnd.IntN(3) == 0
	r.minCopies = []int{0, 0, 2, 3}[rnd.IntN(4)]
	switch rnd.IntN(4) {
	case 0:
		r.newer = 1.7e9 + 1000
	case 1:
		r.older = 1.7e9 + 2000
	}
	return r
}

// onRandomTrees runs a test in random trees of traps, each in an empty directory. Its name has
// the seed.
func onRandomTrees(t *testing.T, test func(t *testing.T, rnd *rand.Rand)) {
	seed := rand.Uint64()
	for round := range 12 {
		rnd := rand.New(rand.NewPCG(seed, uint64(round)))
		t.Run(fmt.Sprintf("%d-%d", seed, round), func(t *testing.T) {
			t.Chdir(t.TempDir())
			plantTree(t, rnd)
			test(t, rnd)
		})
	}
}

// sameLines reports how what a command found differs from what the oracle did.
func sameLines(t *testing.T, what string, want, got []string) {
	t.Helper()
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// TestRulesAgainstOracle compares scans of random trees of traps with an implementation
// that reads and compares everything.
func TestRulesAgainstOracle(t *testing.T) {
	onRandomTrees(t, func(t *testing.T, rnd *rand.Rand) {
		for range 4 {
			r := randomRules(rnd)
			checkRulesOf(t, &r, rnd)
		}
	})
}

func checkRulesOf(t *testing.T, r *rules, rnd *rand.Rand) {
	files, folders := r.look(t)
	groups, unique := r.groups(files)
	sets := (&folderOracle{r, t, folders, make(map[string][]string)}).lines()
	filters, args := r.filters(), r.args()
	check := func(what string, out []byte, all bool) {
		t.Helper()
		var got answer
		testkit.Must(t, json.Unmarshal(out, &got))
		gotGroups, gotSets, gotUnique := got.lines(t, all)
		sameLines(t, fmt.Sprintf("%s, %+v: groups", what, *r), groups, gotGroups)
		if !all {
			return
		}
		sameLines(t, fmt.Sprintf("%s, %+v: folders", what, *r), sets, gotSets)
		sameLines(t, fmt.Sprintf("%s, %+v: unique", what, *r), unique, gotUnique)
	}
	scan := func(more ...string) []byte {
		return output(t, slices.Concat([]string{"scan", "--format", "json"}, more, args, filters, r.roots)...)
	}
	check("scan", scan("--unique", "--folders"), true)
	check("processes", scan("--unique", "--folders", "--mode", "processes", "--workers", "3"), true)
	index := filepath.Join(t.TempDir(), "index")
	scan("--index", index)
	check("index", scan("--unique", "--folders", "--index", index), true)
	check("job", output(t, slices.Concat([]string{"job", "run", "-q", "--format", "json", "--store", t.TempDir()}, args, filters, r.roots)...), false)

	plain := output(t, slices.Concat([]string{"scan", "--format", "json", "--output", "r.json"}, args[:2], r.roots)...)
	if len(plain) > 0 {
		t.Errorf("to a file, and to standard output: %s", plain)
	}
	checkSaved(t, r, groups, slices.Concat(args[2:], filters))
}

// checkSaved applies the rules to a saved report, which may have been written with other
// rules before. The order of groups is that of the report.
func checkSaved(t *testing.T, r *rules, groups, args []string) {
	if len(args) == 0 {
		return
	}
	os.WriteFile("other.json", output(t, "report", "--format", "json", "--keep", "newest", "--protect", "t/two", "r.json"), 0o666)
	for _, saved := range []string{"r.json", "other.json"} {
		if !r.keeps() && saved == "other.json" {
			continue // it keeps its marks
		}
		var got answer
		testkit.Must(t, json.Unmarshal(output(t, slices.Concat([]string{"report", "--format", "json"}, args, []string{saved})...), &got))
		gotGroups, _, _ := got.lines(t, false)
		sameLines(t, fmt.Sprintf("%s, %+v", saved, *r), groups, gotGroups)
	}
	os.Remove("r.json")
	os.Remove("other.json")
}

// TestServiceFindsTheSame asks a server to find and keep files in random trees of traps, in a
// scan and in a job. Both must find what the command finds, in pages.
func TestServiceFindsTheSame(t *testing.T) {
	onRandomTrees(t, func(t *testing.T, rnd *rand.Rand) {
		_, url := serveJobs(t, ".", t.TempDir())
		for range 3 {
			args, request := serviceRules(t, rnd)
			find := func(more ...string) (p foundPage) {
				testkit.Must(t, json.Unmarshal(output(t, slices.Concat([]string{"scan", "--format", "json"}, args, more, []string{"t"})...), &p))
				return p
			}
			lines := linesOf(find().Groups) // a job has another order
			slices.Sort(lines)
			got := jobGroups(t, url, request)
			slices.Sort(got)
			sameLines(t, fmt.Sprintf("job %q, %v", args, request), lines, got)

			request["limit"] = 1 + rnd.IntN(5)
			want := find(serviceFinds(rnd, request)...)
			found := scanPages(t, url, request)
			what := fmt.Sprintf("scan %q, %v: ", args, request)
			sameLines(t, what+"groups", linesOf(want.Groups), linesOf(found.Groups))
			sameLines(t, what+"folders", linesOf(want.Folders), linesOf(found.Folders))
			sameLines(t, what+"unique", linesOf(want.Unique), linesOf(found.Unique))
		}
	})
}

// foundPage is a report, or a page of one.
type foundPage struct {
	Groups  []json.RawMessage
	Folders []json.RawMessage `json:"duplicate_folders"`
	Unique  []json.RawMessage
	Next    string
}

// serviceFinds adds to a request what jobs do not know, and returns it as flags.
func serviceFinds(rnd *rand.Rand, request map[string]any) (args []string) {
	var files []string
	filepath.WalkDir("t", func(path string, d fs.DirEntry, err error) error {
		if st, failed := d.Info(); failed == nil && d.Type().IsRegular() && st.Size() > 0 {
			files = append(files, path)
		}
		return err
	})
	if len(files) > 0 && rnd.IntN(4) == 0 {
		path := files[rnd.IntN(len(files))]
		request["copies_of_base64"] = []byte(path)
		return []string{"--copies-of", path}
	}
	for _, flag := range []string{"unique", "folders"} {
		if rnd.IntN(3) > 0 {
			request[flag] = true
			args = append(args, "--"+flag)
		}
	}
	return args
}

func linesOf(groups []json.RawMessage) (lines []string) {
	for _, g := range groups {
		lines = append(lines, string(g))
	}
	return lines
}

// serviceRules returns random rules, as flags and as a request.
func serviceRules(t *testing.T, rnd *rand.Rand) (args []string, request map[string]any) {
	var paths, dirs []string
	testkit.Must(t, filepath.WalkDir("t", func(path string, d fs.DirEntry, err error) error {
		if d.IsDir() {
			dirs = append(dirs, path)
		}
		if d.IsDir() || d.Type().IsRegular() {
			paths = append(paths, path)
		}
		return err
	}))
	request = map[string]any{"path": "t"}
	list := func(flag string, from []string) {
		var some []string
		full := [][]byte{}
		text := true
		for range rnd.IntN(3) {
			path := from[rnd.IntN(len(from))]
			if slices.Contains(some, path) {
				continue
			}
			some, full, text = append(some, path), append(full, []byte(path)), text && utf8.ValidString(path)
			args = append(args, "--"+flag, path)
		}
		if text && rnd.IntN(2) == 0 {
			request[flag] = append([]string{}, some...)
		} else {
			request[flag+"_base64"] = full
		}
	}
	list("priority", append(dirs, "."))
	list("protect", slices.Concat(paths, []string{"keep", "a/", "*/b", "**/keep/**", "[!a]", "{a,b}", "one/*"}))
	if keep := []string{"", "oldest", "newest", "shortest", "first"}[rnd.IntN(5)]; keep != "" {
		args, request["keep"] = append(args, "--keep", keep), keep
	}
	if n := []int{0, 2, 3}[rnd.IntN(3)]; n > 0 {
		args, request["min_copies"] = append(args, "--min-copies", fmt.Sprint(n)), n
	}
	if rnd.IntN(2) == 0 {
		edited := time.Unix(1.7e9+1000, 0).UTC().Format(time.RFC3339)
		args, request["newer"] = append(args, "--newer", edited), edited
	}
	return args, request
}

// send posts a request and returns the answer.
func send(t *testing.T, url string, request map[string]any) []byte {
	t.Helper()
	body, err := json.Marshal(request)
	testkit.Must(t, err)
	response, err := http.Post(url, "application/json", bytes.NewReader(body))
	testkit.Must(t, err)
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode > 299 {
		t.Fatalf("%s: %d %v: %s", body, response.StatusCode, err, answer)
	}
	return answer
}

// scanPages returns what is on all pages of a scan.
func scanPages(t *testing.T, url string, request map[string]any) (all foundPage) {
	for {
		var page foundPage
		testkit.Must(t, json.Unmarshal(send(t, url+"/v1/scans", request), &page))
		all.Groups, all.Folders, all.Unique = append(all.Groups, page.Groups...), append(all.Folders, page.Folders...), append(all.Unique, page.Unique...)
		if n := len(page.Groups) + len(page.Unique); n > request["limit"].(int) {
			t.Errorf("%v: a page of %d groups and files", request, n)
		}
		if page.Next == "" {
			delete(request, "next")
			return all
		}
		request["next"] = page.Next
	}
}

// jobGroups returns the groups that a job finds.
func jobGroups(t *testing.T, url string, request map[string]any) []string {
	var job struct{ ID string }
	testkit.Must(t, json.Unmarshal(send(t, url+"/v1/jobs", request), &job))
	testkit.Eventually(t, "the job to end", func() bool {
		_, body := get(t, url+"/v1/jobs/"+job.ID, nil)
		return strings.Contains(string(body), `"done":true`)
	})
	var report struct{ Groups []json.RawMessage }
	_, body := get(t, url+"/v1/jobs/"+job.ID+"/report?limit=10000", nil)
	testkit.Must(t, json.Unmarshal(body, &report))
	return linesOf(report.Groups)
}

// TestListsAgainstOracle scans files that lists name, besides a folder.
func TestListsAgainstOracle(t *testing.T) {
	onRandomTrees(t, func(t *testing.T, rnd *rand.Rand) {
		all := rules{roots: []string{"t"}}
		files, _ := all.look(t)
		var zeros, lines bytes.Buffer
		r := rules{keep: "first", minSize: int64(rnd.IntN(2))}
		if rnd.IntN(2) == 0 {
			r.roots = []string{"t/one"}
		}
		for _, f := range files {
			switch rnd.IntN(3) {
			case 0:
				continue
			case 1:
				if !strings.Contains(f.path, "\n") {
					r.listed = append(r.listed, f.path)
					lines.WriteString(f.path + "\n")
					continue
				}
			}
			r.listed = append(r.listed, f.path)
			zeros.WriteString(f.path + "\x00")
		}
		testkit.Must(t, os.WriteFile("lines", lines.Bytes(), 0o666))
		testkit.Must(t, os.WriteFile("zeros", zeros.Bytes(), 0o666))
		files, _ = r.look(t)
		groups, unique := r.groups(files)
		var got answer
		args := slices.Concat([]string{"scan", "--format", "json", "--unique", "--files-from", "lines", "--files0-from", "zeros"}, r.args(), r.roots)
		testkit.Must(t, json.Unmarshal(output(t, args...), &got))
		gotGroups, _, gotUnique := got.lines(t, true)
		sameLines(t, "groups", groups, gotGroups)
		sameLines(t, "unique", unique, gotUnique)
	})
}

// TestScriptLosesNothing runs scripts in copies of random trees of traps, with each shell
// that is there: every content still exists, and protected files are as they were.
func TestScriptLosesNothing(t *testing.T) {
	var shells [][]string
	for _, shell := range [][]string{{"dash"}, {"bash"}, {"busybox", "sh"}, {"sh"}} {
		if _, err := exec.LookPath(shell[0]); err == nil {
			shells = append(shells, shell)
		}
	}
	onRandomTrees(t, func(t *testing.T, rnd *rand.Rand) {
		r := randomRules(rnd)
		by := []string{"hardlink", "delete"}[rnd.IntN(2)]
		script := output(t, slices.Concat([]string{"scan", "--format", "sh", "--by", by}, r.args(), r.filters(), r.roots)...)
		before, _ := r.look(t)
		wanted, _ := r.groups(before)
		all := rules{roots: []string{"t"}}
		whole, _ := all.look(t)
		shell := shells[rnd.IntN(len(shells))]

		testkit.Must(t, os.WriteFile("s.sh", script, 0o666))
		err := exec.Command(shell[0], append(shell[1:], "s.sh")...).Run()
		if code := (*exec.ExitError)(nil); !errors.As(err, &code) || code.ExitCode() != 2 {
			t.Errorf("before its first line is edited, the script ends with %v", err)
		}
		if after, _ := all.look(t); !slices.Equal(whole, after) {
			t.Error("the script acts before its first line is edited")
		}
		_, edited, _ := bytes.Cut(script, []byte("\n"))
		testkit.Must(t, os.WriteFile("s.sh", edited, 0o666))
		changed := disturbTree(t, rnd, before)
		whole, _ = all.look(t)
		out, err := exec.Command(shell[0], append(shell[1:], "s.sh")...).CombinedOutput()
		if err != nil && !changed {
			t.Errorf("%q: %v: %s", shell, err, out)
		}
		checkAfterScript(t, &r, whole, by, changed, wanted)
	})
}

// disturbTree sometimes changes some files after the scan.
func disturbTree(t *testing.T, rnd *rand.Rand, files []seen) bool {
	if rnd.IntN(2) == 0 || len(files) == 0 {
		return false
	}
	for range 3 {
		path := files[rnd.IntN(len(files))].path
		switch rnd.IntN(3) {
		case 0:
			testkit.Must(t, os.WriteFile(path, []byte("changed"), 0o666))
		case 1:
			os.Remove(path)
		case 2:
			os.Remove(path)
			testkit.Must(t, os.Symlink("/etc/passwd", path))
		}
	}
	return true
}

func checkAfterScript(t *testing.T, r *rules, before []seen, by string, changed bool, groups []string) {
	all := rules{roots: []string{"t"}}
	after, _ := all.look(t)
	contents, paths := make(map[string]bool), make(map[string]seen)
	for _, f := range after {
		contents[f.content] = true
		paths[f.path] = f
	}
	for _, f := range before {
		now, there := paths[f.path]
		switch {
		case !contents[f.content]:
			t.Errorf("the content of %q is lost", f.path)
		case r.protects(f.path) && (now.inode != f.inode || !now.edited.Equal(f.edited)):
			t.Errorf("%q is protected, and was touched", f.path)
		case there && now.content != f.content:
			t.Errorf("%q has another content", f.path)
		case by == "hardlink" && !there:
			t.Errorf("%q is gone", f.path)
		}
	}
	for path := range maps.Keys(paths) {
		if !slices.ContainsFunc(before, func(f seen) bool { return f.path == path }) {
			t.Errorf("%q is left over", path)
		}
	}
	if _, err := os.Lstat("pwned"); err == nil {
		t.Error("a file name was run as a command")
	}
	if changed {
		return
	}
	files, _ := r.look(t)
	inodes := make(map[string]map[uint64]bool)
	for _, f := range files {
		if inodes[f.content] == nil {
			inodes[f.content] = make(map[uint64]bool)
		}
		inodes[f.content][f.inode] = true
	}
	if len(r.protect) == 0 && !r.isolate && r.minCopies == 0 && r.newer == 0 && r.older == 0 {
		for content, of := range inodes {
			if len(of) > 1 {
				t.Errorf("%d bytes still have %d copies; the groups were %q", len(content), len(of), groups)
			}
		}
	}
}

// FuzzParseList reads lists of any bytes: names that were listed come back.
func FuzzParseList(f *testing.F) {
	for _, seed := range []string{"", "a\nb\n", "a\x00b", "\n\n", "a\r\n", "\xff\n -rf\x00", strings.Repeat("x", longestPath+1)} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, list []byte) {
		for _, end := range []byte{0, '\n'} {
			got, err := parseList(bytes.NewReader(list), end, nil)
			var want []string
			for _, name := range strings.Split(string(list), string(end)) {
				if name != "" {
					want = append(want, name)
				}
			}
			bad := slices.ContainsFunc(want, func(name string) bool { return len(name) >= longestPath || strings.Contains(name, "\x00") })
			if (err != nil) != bad || err == nil && !slices.Equal(got, want) {
				t.Errorf("%q, %q: %q, %v", end, list, got, err)
			}
		}
	})
}
