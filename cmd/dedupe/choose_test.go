package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

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
