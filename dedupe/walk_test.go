package dedupe

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"efsdedupe/fixtures"
)

// TestOverlap scans overlapping roots, in any order and spelling. Each file must be found
// once, by the innermost root.
func TestOverlap(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, random(10), "a/1", "a/b/2", "a/b/c/3", "d/4")
	if err := os.Symlink("a/b", "link"); err != nil {
		t.Fatal(err)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		roots []string
		want  string
	}{
		{[]string{"a"}, "a/1 a/b/2 a/b/c/3"},
		{[]string{"a", "a"}, "a/1 a/b/2 a/b/c/3"},
		{[]string{"a/b/", "a"}, "a/1 a/b/2 a/b/c/3"},
		{[]string{"a", "a/b/../b"}, "a/1 a/b/2 a/b/c/3"},
		{[]string{"a", "a/b/c/3", "a/b/c/3"}, "a/1 a/b/2 a/b/c/3"},
		{[]string{"a/b", "d", "a/b/c"}, "a/b/2 a/b/c/3 d/4"},
		{[]string{"link", "a"}, "a/1 link/2 link/c/3"},
		{[]string{"link", "a/b", "a/1"}, "a/1 a/b/2 a/b/c/3"},
		{[]string{filepath.Join(here, "a"), "a/b"}, here + "/a/1 a/b/2 a/b/c/3"},
		{[]string{"."}, "./a/1 ./a/b/2 ./a/b/c/3 ./d/4"},
	} {
		for range 2 {
			r := scan(t, options{Roots: test.roots})
			got := strings.ReplaceAll(groups(r)[0].Paths, "\x00", " ")
			if got != test.want || int(r.Stats.Files) != len(strings.Fields(test.want)) {
				t.Errorf("%q: %s (%d files), want %s", test.roots, got, r.Stats.Files, test.want)
			}
			test.roots[0], test.roots[len(test.roots)-1] = test.roots[len(test.roots)-1], test.roots[0]
		}
	}
}

// TestManyEntries lists a directory that takes many reads and has more subdirectories
// than there are workers.
func TestManyEntries(t *testing.T) {
	dir := t.TempDir()
	const n = 5*entriesAtOnce + 1
	for i := range n {
		sub := filepath.Join(dir, fmt.Sprintf("d%04d", i))
		if err := os.Mkdir(sub, 0o777); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{filepath.Join(sub, "f"), filepath.Join(dir, fmt.Sprintf("f%04d", i))} {
			if err := os.WriteFile(path, []byte("x"), 0o666); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, workers := range []int{1, 2, 64} {
		r := scan(t, options{Roots: []string{dir}, Workers: workers})
		if r.Stats.Files != 2*n || r.Stats.Directories != n+1 || len(r.Groups) != 1 || r.Groups[0].Names() != 2*n {
			t.Errorf("%d workers: %+v", workers, r.Stats)
		}
	}
}

// TestDeep walks 3,900 bytes deep, and reports what lies deeper than a path can reach.
func TestDeep(t *testing.T) {
	t.Chdir(t.TempDir())
	name := strings.Repeat("d", 99)
	deep := "x"
	for range 39 {
		deep += "/" + name
	}
	write(t, random(10), "x/top", deep+"/bottom")
	r := scan(t, options{Roots: []string{"x"}, Workers: 2})
	if len(r.Groups) != 1 || r.Groups[0].Copies[0].path() != deep+"/bottom" || !r.Complete {
		t.Errorf("%+v %v", r.Stats, r.Problems)
	}

	t.Chdir(deep)
	if err := os.MkdirAll(name+"/"+name+"/"+name, 0o777); err != nil {
		t.Fatal(err)
	}
	t.Chdir(strings.Repeat("../", 40))
	r = scan(t, options{Roots: []string{"x"}, Workers: 2})
	if r.Complete || len(r.Problems) != 1 || !strings.Contains(r.Problems[0].Error(), "file name too long") {
		t.Errorf("too deep, but %v", r.Problems)
	}
}

func TestFilter(t *testing.T) {
	for _, test := range []struct {
		glob, rel string
		want      bool
	}{
		{"*.tmp", "a.tmp", true},
		{"*.tmp", "x/y/a.tmp", true},
		{"*.tmp", "a.tmpx", false},
		{"cache", "x/cache", true},
		{"x/*.tmp", "x/a.tmp", true},
		{"x/*.tmp", "x/y/a.tmp", false},
		{"/a.tmp", "a.tmp", true},
		{"/a.tmp", "x/a.tmp", false},
		{"x/**/a", "x/a", true},
		{"x/**/a", "x/y/z/a", true},
		{"**/y/**", "x/y/z/a", true},
		{"{a,b}.txt", "b.txt", true},
		{"[!a]", "b", true},
		{`\*`, "*", true},
		{`\*`, "a", false},
		{"?", "\xff", true},
	} {
		if got := (Filter{Exclude: []string{test.glob}}).excludes(test.rel); got != test.want {
			t.Errorf("%q matches %q: %v", test.glob, test.rel, got)
		}
	}
}

func FuzzFilter(f *testing.F) {
	f.Add("**/*.{jpg,png}", "a/b.jpg")
	f.Add("[a-", "a")
	f.Add("\\", "\xff\xfe")
	f.Fuzz(func(t *testing.T, glob, rel string) {
		filter := Filter{Include: []string{glob}, Exclude: []string{glob}}
		if filter.validate() == nil && filter.includes(rel) != filter.excludes(rel) {
			t.Errorf("%q both includes and does not exclude %q", glob, rel)
		}
	})
}

func BenchmarkWalk(b *testing.B) {
	dir := filepath.Join(b.TempDir(), "tree")
	if _, err := fixtures.Make(b.Context(), dir, fixtures.Spec{Files: 10000, Size: 512, Layout: fixtures.Tree}); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		r, err := walk(b.Context(), options{Roots: []string{dir}, Workers: DefaultWorkers})
		if err != nil || r.Files == 0 {
			b.Fatal(err, cmp.Diff(nil, r.Problems))
		}
	}
}

// BenchmarkScan scans the standard set in both modes, including the start of worker
// processes.
func BenchmarkScan(b *testing.B) {
	dir := filepath.Join(b.TempDir(), "efs")
	if _, err := fixtures.Make(b.Context(), dir, fixtures.Spec{Files: 100, Size: 1 << 20}); err != nil {
		b.Fatal(err)
	}
	for _, mode := range []Mode{Goroutines, Processes} {
		b.Run(string(mode), func(b *testing.B) {
			b.SetBytes(100 << 20)
			b.ReportAllocs()
			for b.Loop() {
				scan(b, options{Roots: []string{dir}, Mode: mode, Workers: DefaultWorkers})
			}
		})
	}
}
