package index

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"efsdedupe/dedupe"
	"efsdedupe/dedupe/mount/mounttest"
	"efsdedupe/fixtures/testkit"
)

// unique returns content that no other file has.
func unique(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

// later is a clock for which every file is old.
func later() time.Time { return time.Now().Add(time.Hour) }

// open opens the index in a file, with a clock that trusts all files.
func open(t testing.TB, path string) *Index {
	t.Helper()
	l, err := OpenLog(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	x := New(l)
	x.Now = later
	return x
}

// job is a selection and an engine for one scan.
type job struct {
	dedupe.Selection
	dedupe.Engine
}

func options(roots ...string) job {
	return job{dedupe.Selection{Roots: roots}, dedupe.Engine{Mode: dedupe.Goroutines, Workers: 8}}
}

// inside confines a scan to a directory that paths cannot leave.
func inside(t *testing.T, root string) job {
	t.Helper()
	dir, err := os.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dir.Close() })
	within := options(".")
	within.Within = dir
	return within
}

func timestampOf(t time.Time) dedupe.Timestamp {
	return dedupe.Timestamp{Sec: t.Unix(), Nsec: int32(t.Nanosecond())}
}

// copiesOf returns a copy of each file.
func copiesOf(files ...dedupe.File) (copies []*dedupe.Copy) {
	for _, f := range files {
		copies = append(copies, dedupe.CopyOf(f))
	}
	return copies
}

// scan scans with an index, or without one if nil, and returns the results that do not
// depend on what the index knows, and the work.
func scan(t testing.TB, x *Index, opts job) (groups []string, work dedupe.Work) {
	t.Helper()
	if x != nil {
		use := x.Attach(opts.Selection, &opts.Engine)
		defer func() {
			t.Helper()
			if err := use.Flush(t.Context()); err != nil {
				t.Error(err)
			}
		}()
	}
	r, err := dedupe.Scan(t.Context(), opts.Selection, opts.Engine)
	if err != nil {
		t.Fatal(err)
	}
	if !r.Complete {
		t.Errorf("problems: %v", r.Problems)
	}
	return groupsOf(r), r.Stats.Work
}

func groupsOf(r dedupe.Report) (groups []string) {
	for _, g := range r.Groups {
		line := g.Digest.String()
		for f := range g.Files() {
			line += " " + f.Path
		}
		groups = append(groups, line)
	}
	return groups
}

// same scans with and without the index. It checks that both find the same, and how much
// the scan with the index read.
func same(t *testing.T, x *Index, opts job, opens, known int64) {
	t.Helper()
	want, _ := scan(t, nil, opts)
	got, work := scan(t, x, opts)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if work.Opens != opens || work.FilesKnown != known {
		t.Errorf("%+v, want %d opens and %d files known", work, opens, known)
	}
}

// tree makes four pairs of files, one pair for each way of reading ends, and one file
// with unique ends.
func tree(t *testing.T) (root string) {
	root = filepath.Join(mounttest.TrustedDir(t, 32<<20), "root")
	for i, size := range []int{10, 5000, 2 << 20, 2<<20 + 1} {
		testkit.Write(t, unique(size), filepath.Join(root, fmt.Sprint("a", i)), filepath.Join(root, "below", fmt.Sprint("b", i)))
	}
	testkit.Write(t, unique(2<<20), filepath.Join(root, "other"))
	return root
}

func TestScan(t *testing.T) {
	root := tree(t)
	opts := options(root)
	path := filepath.Join(t.TempDir(), "index")
	same(t, open(t, path), opts, 8+1+2, 0) // the large ones twice
	x := open(t, path)
	same(t, x, opts, 0, 8)

	// In the other mode, by another name of the root, and below it.
	same(t, x, options(root+"/."), 0, 8)
	same(t, x, options(root, filepath.Join(root, "below")), 0, 8)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(root, link); err != nil {
		t.Fatal(err)
	}
	same(t, x, options(link), 0, 8)
	t.Chdir(root)
	same(t, x, options("."), 0, 8)
	same(t, x, options("a0", "below/b0", filepath.Join(link, "below", "b0")), 0, 2)

	// Within a directory that paths cannot leave.
	same(t, x, inside(t, root), 0, 8)

	// If one file changes, only that one is read.
	testkit.Write(t, unique(5000), "a1")
	same(t, x, opts, 1, 7)
	same(t, x, opts, 0, 8)
}

// TestReplaced has the changes that fool tools that trust size and mtime.
func TestReplaced(t *testing.T) {
	root := tree(t)
	opts := options(root)
	x := open(t, filepath.Join(t.TempDir(), "index"))
	same(t, x, opts, 11, 0)

	a := filepath.Join(root, "a1")
	before, err := os.Stat(a)
	if err != nil {
		t.Fatal(err)
	}
	testkit.Write(t, unique(5000), a)
	if err := os.Chtimes(a, before.ModTime(), before.ModTime()); err != nil { // touch -r
		t.Fatal(err)
	}
	same(t, x, opts, 1, 7)

	testkit.Write(t, unique(5000), a+".new")
	if err := os.Chtimes(a+".new", before.ModTime(), before.ModTime()); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(a+".new", a); err != nil {
		t.Fatal(err)
	}
	same(t, x, opts, 1, 7)

	// A restored tree: everything is the same except the inodes and the times that nobody
	// can set.
	restored := root + ".restored"
	if err := os.CopyFS(restored, os.DirFS(root)); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(root); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(restored, root); err != nil {
		t.Fatal(err)
	}
	same(t, x, opts, 11, 0)
	same(t, x, opts, 0, 8)
}

// TestRacy reads a file at moments around its last change, and again after another change
// in the same tick, which none of its times shows.
func TestRacy(t *testing.T) {
	dir := mounttest.TrustedDir(t, 32<<20)
	const fraction = 5e8
	at := time.Now().Truncate(time.Second)
	for _, test := range []struct {
		name     string
		mod, chg time.Duration // after at
		clock    time.Duration // of the reading
		remote   bool
		trusted  bool
	}{
		{"long ago", fraction, fraction, time.Hour, false, true},
		{"in the tick before", fraction, fraction, fraction + fineTick + 1, false, true},
		{"in the same tick", fraction, fraction, fraction + fineTick, false, false},
		{"whole seconds", 0, 0, coarseTick, false, false},
		{"whole seconds, later", 0, 0, coarseTick + 1, false, true},
		{"whole seconds of mtime", 0, fraction, fraction + fineTick + 1, false, true},
		{"whole seconds of a server", 0, 0, coarseTick + clockSkew, true, false},
		{"whole seconds of a server, later", 0, 0, coarseTick + clockSkew + 1, true, true},
		{"mtime alone is old", -time.Hour, fraction, fraction + 1, false, false},
		{"mtime in the future", time.Hour, fraction, fraction + fineTick + 1, false, true},
		{"ctime in the future", -time.Hour, fraction + time.Hour, fraction, false, false},
		{"a clock that went back", fraction, fraction, -time.Hour, false, false},
		{"the clock of another machine", fraction, fraction, time.Minute, true, false},
		{"is trusted to the minute", fraction, fraction, fraction + fineTick + clockSkew + 1, true, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			x := open(t, filepath.Join(t.TempDir(), "index"))
			x.Now = func() time.Time { return at.Add(test.clock) }
			f := dedupe.File{Path: dir + "/f", Size: 1, Inode: 1, ModTime: timestampOf(at.Add(test.mod)), ChangeTime: timestampOf(at.Add(test.chg))}
			ask := func(content byte) (digest dedupe.Digest, known bool) {
				s := x.scan([]string{dir}, nil)
				copies := copiesOf(f)
				s.recall(t.Context(), slices.Values(copies)) // creates the directory
				for _, d := range s.dirs {
					d.device, d.remote, d.wholeSeconds = f.Device, test.remote, true
				}
				s.recall(t.Context(), slices.Values(copies))
				c := copies[0]
				_, digest = c.Known()
				if known = digest != (dedupe.Digest{}); !known {
					digest = dedupe.Digest{content}
					s.Remember(t.Context(), x.Now(), []dedupe.Signed{{File: c.File(), Digest: digest}})
				}
				if err := s.Flush(t.Context()); err != nil {
					t.Fatal(err)
				}
				return digest, known
			}
			ask(1)
			d, known := ask(2)
			if known != test.trusted || known != (d[0] == 1) {
				t.Errorf("known: %v, digest of content %d", known, d[0])
			}
		})
	}
}

// TestSplit grows a directory through the levels at which it is split.
func TestSplit(t *testing.T) {
	root := mounttest.TrustedDir(t, 32<<20)
	x := open(t, filepath.Join(t.TempDir(), "index"))
	files := 0
	for _, n := range []int{2, partEntries, partEntries + 1, 1000, 1001} {
		for ; files < n; files++ {
			testkit.Write(t, []byte("same"), filepath.Join(root, fmt.Sprint("f", files)))
		}
		before := int64(0)
		if n > 2 {
			before = map[int]int64{partEntries: 2, partEntries + 1: partEntries, 1000: partEntries + 1, 1001: 1000}[n]
		}
		same(t, x, options(root), int64(n)-before, before)
		same(t, x, options(root), 0, int64(n))
	}
	few := options(root)
	few.Filter.Include = []string{"f10?"}
	same(t, x, few, 0, 10)
	s, err := x.Stats(t.Context())
	if err != nil || s.Entries < 1001 || s.Blocks < 9 || s.Damaged != 0 {
		t.Errorf("%+v, %v", s, err)
	}
	// Before they expire, the first block and the entries are written again.
	x.Now = func() time.Time { return later().AddDate(0, 0, 60) }
	same(t, x, options(root), 0, 1001)
	x.Now = func() time.Time { return later().AddDate(0, 0, 120) }
	same(t, x, options(root), 0, 1001)
	if removed, err := x.Prune(t.Context(), nil, 90); err != nil || removed != s.Entries-1001 {
		t.Errorf("%d removed, %v; want what is left of earlier levels, %d", removed, err, s.Entries-1001)
	}
	same(t, x, options(root), 0, 1001)
}

// TestResume interrupts a scan. The next scan must not read again what it read.
func TestResume(t *testing.T) {
	root := mounttest.TrustedDir(t, 32<<20)
	for i := range 100 {
		testkit.Write(t, unique(1000), filepath.Join(root, fmt.Sprint("f", i)))
	}
	x := open(t, filepath.Join(t.TempDir(), "index"))
	ctx, cancel := context.WithCancel(t.Context())
	opts := options(root)
	opts.Workers = 1
	use := x.Attach(opts.Selection, &opts.Engine)
	read := int64(0)
	opts.Observe = func(e dedupe.Event) {
		if read += e.Work.FilesHashed + e.Work.FilesCompared; read == 40 {
			cancel()
		}
	}
	r, err := dedupe.Scan(ctx, opts.Selection, opts.Engine)
	if err != nil || r.Complete || r.Stats.FilesHashed+r.Stats.FilesCompared < 40 || r.Stats.FilesHashed+r.Stats.FilesCompared == 100 {
		t.Fatalf("%+v, %v", r.Stats, err)
	}
	if err := use.Flush(context.WithoutCancel(ctx)); err != nil {
		t.Error(err)
	}
	_, work := scan(t, x, options(root))
	if work.FilesKnown < r.Stats.FilesHashed+r.Stats.FilesCompared || work.FilesKnown+work.FilesHashed+work.FilesCompared != 100 {
		t.Errorf("%+v, after %+v", work, r.Stats.Work)
	}
}

// flaky is a Store that fails.
type flaky struct {
	Store
	get, update func() error
}

func (f flaky) Get(ctx context.Context, keys []Key) (map[Key][]byte, Units, error) {
	if err := f.get(); err != nil {
		return nil, Units{}, err
	}
	return f.Store.Get(ctx, keys)
}

func (f flaky) Update(ctx context.Context, keys []Key, change func(Key, []byte) []byte) (Units, error) {
	if err := f.update(); err != nil {
		return Units{}, err
	}
	return f.Store.Update(ctx, keys, change)
}

// TestStoreFails checks that a failing store causes misses and an error, and is not used
// again.
func TestStoreFails(t *testing.T) {
	root := tree(t)
	gone := errors.New("the table is gone")
	well := func() error { return nil }
	for name, test := range map[string]struct {
		get, update func() error
		known       int64
	}{
		"get":    {func() error { return gone }, func() error { t.Error("it is asked again"); return nil }, 0},
		"update": {well, func() error { return gone }, 7},
	} {
		x := open(t, filepath.Join(t.TempDir(), "index"))
		scan(t, x, options(root))
		testkit.Write(t, []byte("changed..."), filepath.Join(root, "a0"))
		testkit.Write(t, []byte("changed..."), filepath.Join(root, "below", "b0"))
		want, _ := scan(t, nil, options(root))
		x.Store = flaky{x.Store, test.get, test.update}
		opts := options(root)
		use := x.Attach(opts.Selection, &opts.Engine)
		r, err := dedupe.Scan(t.Context(), opts.Selection, opts.Engine)
		if err != nil || !r.Complete || r.Stats.FilesKnown > test.known || (r.Stats.FilesKnown > 0) != (test.known > 0) {
			t.Errorf("%s: %+v, %v", name, r.Stats, err)
		}
		if diff := cmp.Diff(want, groupsOf(r)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if err := use.Flush(t.Context()); !errors.Is(err, gone) {
			t.Errorf("%s: it is not told: %v", name, err)
		}
	}
}

// counted counts the requested blocks.
type counted struct {
	Store
	asked *int
}

func (c counted) Get(ctx context.Context, keys []Key) (map[Key][]byte, Units, error) {
	*c.asked += len(keys)
	return c.Store.Get(ctx, keys)
}

// TestRest checks that scans avoid a failed store for a minute and each report its error,
// and that it is used again after that.
func TestRest(t *testing.T) {
	root := tree(t)
	x := open(t, filepath.Join(t.TempDir(), "index"))
	scan(t, x, options(root))
	now := later()
	x.Now = func() time.Time { return now }
	well, gone, asked := x.Store, errors.New("the table is gone"), 0
	x.Store = flaky{well, func() error { asked++; return gone }, func() error { t.Error("it is asked to write"); return nil }}
	use := func() error {
		opts := options(root)
		use := x.Attach(opts.Selection, &opts.Engine)
		if r, err := dedupe.Scan(t.Context(), opts.Selection, opts.Engine); err != nil || !r.Complete || r.Stats.FilesKnown > 0 {
			t.Errorf("%+v, %v", r.Stats, err)
		}
		return use.Flush(t.Context())
	}
	for i := range 3 {
		if err := use(); !errors.Is(err, gone) || asked != 1 {
			t.Errorf("scan %d: asked %d times, %v", i, asked, err)
		}
		now = now.Add(rest / 3)
	}
	if err := use(); !errors.Is(err, gone) || asked != 2 {
		t.Errorf("after a minute: asked %d times, %v", asked, err)
	}
	now, x.Store = now.Add(rest), well
	same(t, x, options(root), 0, 8)
}

// TestPatience checks that the store gets at most a quarter of a scan's time, and that
// the scan reads whatever the store has not answered by then.
func TestPatience(t *testing.T) {
	x := open(t, filepath.Join(t.TempDir(), "index"))
	root := tree(t)
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		x.Store = silent{x.Store, func(store context.Context) {
			start := time.Now()
			end, _ := ctx.Deadline()
			if <-store.Done(); time.Since(start) != end.Sub(start)/4 {
				t.Errorf("it waits %v, and the scan ends in %v", time.Since(start), end.Sub(start))
			}
		}}
		opts := options(root)
		use := x.Attach(opts.Selection, &opts.Engine)
		if r, err := dedupe.Scan(ctx, opts.Selection, opts.Engine); err != nil || !r.Complete || len(r.Groups) == 0 {
			t.Errorf("%+v, %v", r, err)
		}
		if err := use.Flush(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("it is not told: %v", err)
		}
	})
}

// silent is a Store that does not answer in time.
type silent struct {
	Store
	waits func(context.Context)
}

func (s silent) Get(ctx context.Context, _ []Key) (map[Key][]byte, Units, error) {
	s.waits(ctx)
	return nil, Units{}, context.DeadlineExceeded
}

// TestFlushEnds checks that Flush waits for a running flush only as long as its context
// allows.
func TestFlushEnds(t *testing.T) {
	x := open(t, filepath.Join(t.TempDir(), "index"))
	use := x.scan(options(tree(t)).Roots, nil)
	use.writing <- struct{}{}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := use.Flush(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	<-use.writing
	if err := x.scan(options().Roots, nil).Flush(t.Context()); err != nil {
		t.Errorf("the index is blamed: %v", err)
	}
}
