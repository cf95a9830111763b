package dedupe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"efsdedupe/fixtures"
	"efsdedupe/fixtures/testkit"
)

// worker returns the command of a worker process: the test binary, see TestMain.
func worker() *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "DEDUPE_TEST_WORKER=hash", "GORACE=atexit_sleep_ms=0")
	return cmd
}

// options is a selection and an engine in one.
type options struct {
	Roots         []string
	Filter        Filter
	OneFileSystem bool
	Mode          Mode
	Workers       int
	HashAll       bool
	Within        *os.File
	MaxFiles      int64
	Worker        func() *exec.Cmd
	Hasher        Hasher
	Alone         func() bool
	Observe       func(Event)
}

func (o options) selection() Selection {
	return Selection{Roots: o.Roots, Filter: o.Filter, OneFileSystem: o.OneFileSystem}
}

func (o options) engine() Engine {
	return Engine{
		Mode: o.Mode, Workers: o.Workers, HashAll: o.HashAll, Within: o.Within, MaxFiles: o.MaxFiles,
		Worker: o.Worker, Hasher: o.Hasher, Alone: o.Alone, Observe: o.Observe,
	}
}

func scanContext(ctx context.Context, o options) (Report, error) {
	return Scan(ctx, o.selection(), o.engine())
}

func walk(ctx context.Context, o options) (Inventory, error) {
	v, _, err := Walk(ctx, o.selection(), nil, o.engine())
	return v, err
}

// errOf returns why a copy was not signed.
func errOf(s Signed) error {
	if s.Problem == nil {
		return nil
	}
	return s.Problem
}

// single hashes one whole file.
func single(ctx context.Context, h Hasher, f File) (Digest, Work, error) {
	s := h.Hash(ctx, Batch{Files: []File{f}, Want: StageWhole})[0]
	return s.Digest, s.Work, errOf(s)
}

func scan(t testing.TB, opts options) Report {
	t.Helper()
	opts.Worker = worker
	if opts.Mode == "" {
		opts.Mode = Goroutines
	}
	if opts.Workers == 0 {
		opts.Workers = 4
	}
	r, err := scanContext(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// answer is a report without the fields that differ between scans and modes. What a file
// occupies changes when the system writes it back.
func answer(r Report) string {
	r.Mode, r.Workers = "", 0
	r.Stats.Work = proven(r.Stats.Work)
	r.Stats.Elapsed, r.Stats.CPU, r.Stats.PeakMemory, r.Stats.WorkerProcesses = 0, 0, 0, 0
	var b strings.Builder
	fmt.Fprintf(&b, "%q complete=%v %+v\n", r.Roots, r.Complete, r.Stats)
	for _, g := range r.Groups {
		fmt.Fprintf(&b, "%d %v %d\n", g.Size, g.Digest, g.Reclaimable)
		for f := range g.Files() {
			f.Allocated = 0
			fmt.Fprintf(&b, "\t%+v\n", f)
		}
	}
	for _, p := range r.Problems {
		fmt.Fprintf(&b, "%v\n", p)
	}
	return b.String()
}

// TestAgainstBytes scans trees with every kind of trap, in both modes and with several
// numbers of workers. It compares the groups with those found by comparing every file
// with every other byte by byte, and with how the trees were made.
func TestAgainstBytes(t *testing.T) {
	for seed := range uint64(3) {
		dir := filepath.Join(t.TempDir(), "tree")
		made, err := fixtures.Make(t.Context(), dir, fixtures.Spec{Files: 400, Layout: fixtures.Tree, Seed: seed})
		if err != nil {
			t.Fatal(err)
		}
		want := oracle(t, dir)
		if diff := cmp.Diff(want, manifest(dir, made)); diff != "" {
			t.Fatalf("comparing bytes and the manifest disagree (-bytes +manifest):\n%s", diff)
		}
		var first string
		for _, mode := range []Mode{Goroutines, Processes} {
			for _, workers := range []int{1, 3, 16} {
				r := scan(t, options{Roots: []string{dir}, Mode: mode, Workers: workers})
				if !r.Complete {
					t.Errorf("seed %d, %s, %d workers: %v", seed, mode, workers, r.Problems)
				}
				if diff := cmp.Diff(want, groups(r)); diff != "" {
					t.Errorf("seed %d, %s, %d workers (-bytes +scan):\n%s", seed, mode, workers, diff)
				}
				if first == "" {
					first = answer(r)
				}
				if diff := cmp.Diff(first, answer(r)); diff != "" {
					t.Errorf("seed %d, %s, %d workers: the report differs:\n%s", seed, mode, workers, diff)
				}
			}
		}
	}
}

// group is a duplicate group in a comparable form: the paths, and the reclaimable bytes.
type group struct {
	Paths       string
	Reclaimable int64
}

func sorted(groups []group) []group {
	slices.SortFunc(groups, func(a, b group) int { return strings.Compare(a.Paths, b.Paths) })
	return groups
}

func groups(r Report) []group {
	var all []group
	for _, g := range r.Groups {
		var paths []string
		for f := range g.Files() {
			paths = append(paths, f.Path)
		}
		all = append(all, group{strings.Join(paths, "\x00"), g.Reclaimable})
	}
	return sorted(all)
}

// oracle reads every regular file below dir and compares it with a file of each content
// seen so far. It knows nothing of digests, inodes or workers.
func oracle(t *testing.T, dir string) []group {
	type class struct {
		content []byte
		paths   []string
		copies  []os.FileInfo
	}
	bySize := make(map[int][]*class)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		info, err := os.Lstat(path)
		if err != nil {
			return err
		}
		classes := bySize[len(content)]
		i := slices.IndexFunc(classes, func(c *class) bool { return bytes.Equal(c.content, content) })
		if i < 0 {
			i = len(classes)
			classes = append(classes, &class{content: content})
			bySize[len(content)] = classes
		}
		c := classes[i]
		c.paths = append(c.paths, path)
		if !slices.ContainsFunc(c.copies, func(other os.FileInfo) bool { return os.SameFile(info, other) }) {
			c.copies = append(c.copies, info)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var all []group
	for size, classes := range bySize {
		for _, c := range classes {
			if len(c.copies) > 1 {
				slices.Sort(c.paths)
				all = append(all, group{strings.Join(c.paths, "\x00"), int64(size) * int64(len(c.copies)-1)})
			}
		}
	}
	return sorted(all)
}

func manifest(dir string, m *fixtures.Manifest) []group {
	var all []group
	for _, g := range m.Groups {
		var paths []string
		for _, f := range g.Files {
			paths = append(paths, join(dir, string(f.Path)))
			for _, link := range f.Links {
				paths = append(paths, join(dir, string(link)))
			}
		}
		slices.Sort(paths)
		all = append(all, group{strings.Join(paths, "\x00"), g.Reclaimable})
	}
	return sorted(all)
}

// write makes files with the same content, then waits until a change would get a
// different time: a kernel's clock for files may tick only every few milliseconds.
func write(t *testing.T, content []byte, paths ...string) {
	t.Helper()
	testkit.Write(t, content, paths...)
	last := asFound(t, paths[len(paths)-1]).ChangeTime
	probe := filepath.Join(t.TempDir(), "probe")
	for {
		if err := os.WriteFile(probe, nil, 0o666); err != nil {
			t.Fatal(err)
		}
		if asFound(t, probe).ChangeTime.Compare(last) > 0 {
			return
		}
	}
}

func random(size int) []byte {
	b := make([]byte, size)
	rand.NewChaCha8([32]byte{byte(size)}).Read(b)
	return b
}

// TestWork checks how much is read, and that the counters agree.
func TestWork(t *testing.T) {
	const medium, large = smallMax + 1, mediumMax + 1
	differing := func(size, at int) []byte {
		content := random(size)
		content[at]++
		return content
	}
	early, middle, late := differing(large, 0), differing(large, endSize), differing(large, large-1)
	first, last := differing(medium, 0), differing(medium, medium-1)
	ends := int64(2 * 2 * endSize)
	type work struct{ opens, bytes, proven int64 } // proven: files hashed or compared as a whole
	tests := []struct {
		name     string
		contents [][]byte
		want     work
	}{
		{"unique sizes are not opened", [][]byte{random(1), random(2), random(3)}, work{}},
		{"small files are read once", [][]byte{random(10), random(10)}, work{2, 20, 2}},
		{"what is compared, too", [][]byte{random(9000), random(9000), random(9000)}, work{3, 27000, 3}},
		{"so are small files that differ", [][]byte{random(smallMax), differing(smallMax, 0)}, work{2, 2 * smallMax, 2}},
		{"medium files are opened once", [][]byte{random(medium), random(medium), random(medium)}, work{3, 3 * medium, 3}},
		{"a difference in their prefix ends it", [][]byte{random(medium), first}, work{2, 2 * endSize, 0}},
		{"a later one doesn't", [][]byte{random(medium), last}, work{2, 2 * medium, 2}},
		{"one in the suffix does, if it is no part of it", [][]byte{random(300_000), differing(300_000, 299_999)}, work{2, ends, 0}},
		{"one between them doesn't, too", [][]byte{random(300_000), differing(300_000, 150_000)}, work{2, 600_000, 2}},
		{"what is equal is read on, what differs is not", [][]byte{random(medium), first, random(medium)}, work{3, endSize + 2*medium, 2}},
		{"of large files, a difference in the prefix ends it", [][]byte{random(large), early}, work{2, ends, 0}},
		{"one in the suffix, too", [][]byte{random(large), late}, work{2, ends, 0}},
		{"one between them doesn't", [][]byte{random(large), middle}, work{4, ends + 2*large, 2}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			for i, content := range test.contents {
				path := filepath.Join(dir, fmt.Sprint(i))
				write(t, content, path)
				// Other names of the inode cost nothing.
				if err := os.Link(path, path+".link"); err != nil {
					t.Fatal(err)
				}
			}
			var all Work // with HashAll
			if len(test.contents[0]) == len(test.contents[1]) {
				for _, content := range test.contents {
					all.Add(Work{Opens: 1, BytesRead: int64(len(content)), FilesHashed: 1})
				}
			}
			for _, mode := range []Mode{Goroutines, Processes} {
				did := scan(t, options{Roots: []string{dir}, Mode: mode}).Stats.Work
				if got := (work{did.Opens, did.BytesRead, did.FilesHashed + did.FilesCompared}); got != test.want {
					t.Errorf("%s: %+v, want %+v", mode, got, test.want)
				}
				did = scan(t, options{Roots: []string{dir}, Mode: mode, HashAll: true}).Stats.Work
				if did != all {
					t.Errorf("%s, all hashed: %+v, want %+v", mode, did, all)
				}
			}
		})
	}
}

// TestReclaimableAllocated checks that the most possible is freed while one copy stays.
func TestReclaimableAllocated(t *testing.T) {
	copyOf := func(allocated int64, links uint32, names int) *Copy {
		return CopyOf(File{Allocated: allocated, Links: links}, make([]string, names-1)...)
	}
	for _, test := range []struct {
		name  string
		class []*Copy
		want  int64
	}{
		{"two alike", []*Copy{copyOf(4096, 1, 1), copyOf(4096, 1, 1)}, 4096},
		{"the sparse one stays", []*Copy{copyOf(1<<20, 1, 1), copyOf(0, 1, 1)}, 1 << 20},
		{"all names are here", []*Copy{copyOf(8192, 2, 2), copyOf(4096, 1, 1)}, 8192},
		{"a name elsewhere keeps it", []*Copy{copyOf(8192, 2, 1), copyOf(4096, 1, 1)}, 4096},
		{"names elsewhere keep both", []*Copy{copyOf(8192, 2, 1), copyOf(4096, 3, 2)}, 0},
	} {
		if got := groupOf(test.class).ReclaimableAllocated; got != test.want {
			t.Errorf("%s: %d bytes, want %d", test.name, got, test.want)
		}
	}
}

// TestNamesElsewhere scans copies with hard links outside the root, which free nothing.
func TestNamesElsewhere(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, random(5000), "in/a", "in/b", "in/c", "out/x")
	for i, test := range []struct {
		linked string
		want   int64
	}{{"", 10000}, {"in/a", 10000}, {"in/b", 5000}, {"in/c", 0}} {
		if test.linked != "" {
			if err := os.Link(test.linked, filepath.Join("out", fmt.Sprint(i))); err != nil {
				t.Fatal(err)
			}
		}
		r := scan(t, options{Roots: []string{"in"}})
		if len(r.Groups) != 1 || len(r.Groups[0].Copies) != 3 || r.Stats.ReclaimableBytes != test.want || r.Stats.DuplicateFiles != 2 {
			t.Errorf("%d linked elsewhere: %+v, want %d bytes", i, r.Stats, test.want)
		}
	}
}

// TestStored checks that every inode counts once, also one that no other file is like.
func TestStored(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, random(5000), "d/a", "d/b")
	write(t, random(6000), "d/alone")
	write(t, nil, "d/empty")
	for _, name := range []string{"d/a2", "d/a3"} {
		if err := os.Link("d/a", name); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Create("d/hole")
	if err == nil {
		err = errors.Join(f.Truncate(1<<30), f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	counts := make(map[int64]int64)
	holes := int64(0)
	o := options{Roots: []string{"."}, Mode: Goroutines, Workers: 4}
	eng := o.engine()
	eng.Stored = func(size, allocated, n int64) {
		counts[size] += n
		if size == 1<<30 {
			holes += allocated
		}
	}
	sel := o.selection()
	sel.Filter = Filter{}
	if _, err := Scan(t.Context(), sel, eng); err != nil {
		t.Fatal(err)
	}
	if want := map[int64]int64{0: 1, 5000: 2, 6000: 1, 1 << 30: 1}; !maps.Equal(counts, want) {
		t.Errorf("files by size: %v, want %v", counts, want)
	}
	if holes >= 1<<20 {
		t.Errorf("a hole of 1 GiB has %d bytes allocated", holes)
	}
}
