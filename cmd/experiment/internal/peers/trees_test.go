package peers

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"efsdedupe/fixtures"
)

// byBytes returns the groups of equal files below dir, and the files whose size
// another has, by reading all of them. Hard links and empty files do not count.
func byBytes(t *testing.T, dir string) (groups [][]string, sameSize []string) {
	t.Helper()
	byContent := make(map[string][]string)
	bySize := make(map[int][]string)
	seen := make(map[uint64]bool)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		inode := info.Sys().(*syscall.Stat_t).Ino
		if info.Size() == 0 || seen[inode] {
			return nil
		}
		seen[inode] = true
		b, err := os.ReadFile(path)
		byContent[string(b)] = append(byContent[string(b)], path)
		bySize[len(b)] = append(bySize[len(b)], path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, names := range byContent {
		if len(names) > 1 {
			groups = append(groups, names)
		}
	}
	for _, names := range bySize {
		if len(names) > 1 {
			sameSize = append(sameSize, names...)
		}
	}
	return sorted(groups), slices.Sorted(slices.Values(sameSize))
}

func sorted(groups [][]string) [][]string {
	for _, g := range groups {
		slices.Sort(g)
	}
	slices.SortFunc(groups, slices.Compare)
	return groups
}

// TestShapes makes each kind of tree, small, and compares what is said of it
// with what is in it.
func TestShapes(t *testing.T) {
	for _, test := range []struct {
		shape        shape
		files, group int // how many at least
	}{
		{shape{"standard", 5, ofFixtures(fixtures.TwoSets, 1<<20)}, 5, 2},
		{shape{"small", 30, ofFixtures(fixtures.Tree, 64<<10)}, 30, 20},
		{shape{"large", 22, ofPlan(planLarge)}, 22, 5},
		{shape{"medium", 22, ofPlan(planMedium)}, 22, 5},
		{shape{"many", 1000, ofPlan(planMany)}, 1000, 5},
		{shape{"one-size", 200, ofPlan(planOneSize)}, 200, 10},
	} {
		dir := t.TempDir()
		s, err := test.shape.makeSet(t.Context(), dir, 7)
		if err != nil {
			t.Fatal(err)
		}
		groups, sameSize := byBytes(t, s.dir)
		if d := cmp.Diff(groups, sorted(s.groups(s.dir))); d != "" {
			t.Errorf("%s: groups: %s", test.shape.name, d)
		}
		if d := cmp.Diff(sameSize, slices.Sorted(slices.Values(s.mustRead(s.dir)))); d != "" {
			t.Errorf("%s: to be read: %s", test.shape.name, d)
		}
		if len(s.files) < test.files || len(groups) < test.group {
			t.Errorf("%s: %d files, %d groups", test.shape.name, len(s.files), len(groups))
		}
		before := made(t, s.dir)
		again, err := test.shape.makeSet(t.Context(), dir, 7)
		if err != nil || !cmp.Equal(s, again, cmp.AllowUnexported(set{}, file{}, content{})) || made(t, s.dir) != before {
			t.Errorf("%s: it was made again: %v", test.shape.name, err)
		}
	}
}

// made tells two directories apart, also of the same name and contents.
func made(t *testing.T, dir string) string {
	t.Helper()
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(info.Sys().(*syscall.Stat_t).Ino, info.ModTime())
}

// TestSeeds checks that another seed makes other bytes of the same shape.
func TestSeeds(t *testing.T) {
	shape := shape{"one-size", 40, ofPlan(planOneSize)}
	dir := t.TempDir()
	a, err := shape.makeSet(t.Context(), dir, 1)
	if err != nil {
		t.Fatal(err)
	}
	b, err := shape.makeSet(t.Context(), dir, 2)
	if err != nil {
		t.Fatal(err)
	}
	for i := range a.files {
		one, err1 := os.ReadFile(filepath.Join(a.dir, a.files[i].path))
		two, err2 := os.ReadFile(filepath.Join(b.dir, b.files[i].path))
		if err1 != nil || err2 != nil || string(one) == string(two) {
			t.Errorf("%s: equal, %v, %v", a.files[i].path, err1, err2)
		}
	}
}

// TestCopies checks the tree whose answers come from hashing.
func TestCopies(t *testing.T) {
	src, dir := t.TempDir(), filepath.Join(t.TempDir(), "dir")
	for name, content := range map[string]string{"a": "x", "b": "x", "c": "other", "empty": "", "sub/a": "y"} {
		path := filepath.Join(src, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if err := copies(src, dir, 2); err != nil {
		t.Fatal(err)
	}
	files, err := hashed(dir)
	if err != nil {
		t.Fatal(err)
	}
	s := set{dir, files}
	groups, _ := byBytes(t, dir)
	if d := cmp.Diff(groups, sorted(s.groups(dir))); d != "" || len(groups) != 3 || len(files) != 10 {
		t.Errorf("%d files: %s", len(files), d)
	}
}

// TestOnce checks what is replaced and what is not.
func TestOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tree")
	path := filepath.Join(dir, "file")
	made := 0
	fill := func() error {
		made++
		return os.WriteFile(path, nil, 0o666)
	}
	m := mark{Shape: "x", Files: 1}
	check := func(want int) {
		t.Helper()
		if err := once(dir, m, fill); err != nil || made != want {
			t.Errorf("%v, made %d times, want %d", err, made, want)
		}
	}
	check(1)
	check(1)
	m.Seed = 2
	check(2)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	check(3)
	m.Seed = 3
	if err := once(dir, m, func() error { return context.Canceled }); err != context.Canceled {
		t.Error(err)
	}
	check(4) // what was interrupted

	if err := os.Remove(dir + ".mark.json"); err != nil {
		t.Fatal(err)
	}
	if err := once(dir, m, fill); err == nil || !strings.Contains(err.Error(), "was not made by this program") {
		t.Error(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Error("what is not ours was removed:", err)
	}
}

// TestTrees checks that each tree has an id of its own, however small all are.
func TestTrees(t *testing.T) {
	for _, scale := range []float64{1, 0.001} {
		ids := make(map[string]bool)
		for _, tree := range trees(scale) {
			if ids[tree.id] || tree.shape.files < 2 || tree.title == "" {
				t.Errorf("%+v", tree)
			}
			ids[tree.id] = true
		}
	}
}
