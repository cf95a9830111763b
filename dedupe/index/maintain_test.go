package index

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"efsdedupe/dedupe"
	"efsdedupe/dedupe/mount/mounttest"
	"efsdedupe/fixtures/testkit"
)

// TestKeep checks that an index that keeps blocks in memory asks the store only for
// missing ones, and sees what others wrote.
func TestKeep(t *testing.T) {
	root := tree(t)
	path := filepath.Join(t.TempDir(), "index")
	scan(t, open(t, path), options(root))
	asked := 0
	x := open(t, path)
	x.Store, x.KeepBytes = counted{x.Store, &asked}, 1<<20
	for _, want := range []int{2, 0, 0} {
		asked = 0
		same(t, x, options(root), 0, 8)
		if asked != want {
			t.Errorf("%d blocks asked for, want %d", asked, want)
		}
	}
	testkit.Write(t, unique(5000), filepath.Join(root, "a1"))
	other := open(t, path)
	same(t, other, options(root), 1, 7)
	if err := x.Store.(counted).Store.(*Log).load(); err != nil { // it is not a shared store
		t.Fatal(err)
	}
	asked = 0
	same(t, x, options(root), 0, 8)
	if asked != 1 {
		t.Errorf("%d blocks asked for, want that of the one directory", asked)
	}
	x.KeepBytes = 1 // too little for anything, but still correct
	same(t, x, options(root), 0, 8)

	// Blocks not kept are requested once; kept ones are known even if the store fails.
	x = open(t, filepath.Join(t.TempDir(), "index"))
	asked, x.Store, x.KeepBytes = 0, counted{x.Store, &asked}, 1<<20
	if scan(t, x, options(root)); asked != 2 {
		t.Errorf("%d blocks asked for, of two directories", asked)
	}
	testkit.Write(t, unique(5000), filepath.Join(root, "a1"))
	gone := errors.New("the table is gone")
	x.fail(gone)
	opts := options(root)
	use := x.Attach(opts.Selection, &opts.Engine)
	if r, err := dedupe.Scan(t.Context(), opts.Selection, opts.Engine); err != nil || r.Stats.FilesKnown != 7 {
		t.Errorf("%+v, %v", r.Stats, err)
	}
	if err := use.Flush(t.Context()); !errors.Is(err, gone) {
		t.Errorf("it is not told: %v", err)
	}
}

func TestPrune(t *testing.T) {
	root := tree(t)
	path := filepath.Join(t.TempDir(), "index")
	x := open(t, path)
	same(t, x, options(root), 11, 0)
	elsewhere := tree(t)
	same(t, x, options(elsewhere), 11, 0)
	if n, err := x.Prune(t.Context(), []string{root}, 90); n != 0 || err != nil {
		t.Errorf("%d removed, %v: all is there", n, err)
	}
	for _, gone := range []string{filepath.Join(root, "a0"), filepath.Join(root, "below"), elsewhere} {
		if err := os.RemoveAll(gone); err != nil {
			t.Fatal(err)
		}
	}
	testkit.Write(t, unique(5000), filepath.Join(root, "a1"))
	if n, err := x.Prune(t.Context(), []string{root}, 90); n != 2+4 || err != nil {
		t.Errorf("%d removed, %v; want 2 files of the root and 4 below", n, err)
	}
	if s, err := x.Stats(t.Context()); s.Entries != 3+9 || s.Blocks != 1+2 || len(s.FileSystems) != 1 {
		t.Errorf("%+v, %v", s, err)
	}
	x.Now = func() time.Time { return later().AddDate(0, 0, 31) }
	if n, err := x.Prune(t.Context(), nil, 30); n != 12 || err != nil {
		t.Errorf("%d removed, %v; want all", n, err)
	}
	if s, err := open(t, path).Stats(t.Context()); s.Entries+s.Blocks != 0 || err != nil {
		t.Errorf("%+v, %v", s, err)
	}
	var wrong *dedupe.RootError
	if _, err := x.Prune(t.Context(), []string{filepath.Join(root, "other")}, 1); !errors.As(err, &wrong) {
		t.Errorf("a file: %v", err)
	}
}

// TestVerify simulates files that change without a trace, as through a shared map, by
// making the index's entries wrong.
func TestVerify(t *testing.T) {
	root := tree(t)
	x := open(t, filepath.Join(t.TempDir(), "index"))
	same(t, x, options(root), 11, 0)
	c, err := x.Verify(t.Context(), options(root).Selection, options(root).Engine, 1)
	if err != nil || c.Known != 9 || c.Read != 9 || len(c.Wrong)+len(c.Unread) != 0 {
		t.Errorf("%+v, %v", c, err)
	}
	if share := c.WrongShare(); share != 0 {
		t.Errorf("%v may be wrong, though all were read", share)
	}
	for share, want := range map[float64]int64{0: 1, 0.01: 1, 0.2: 2, 0.99: 9} {
		if c, err := x.Verify(t.Context(), options(root).Selection, options(root).Engine, share); err != nil || c.Known != 9 || c.Read != want || len(c.Wrong) > 0 {
			t.Errorf("a share of %v: %+v, %v", share, c, err)
		}
	}
	wrong := []string{filepath.Join(root, "a1"), filepath.Join(root, "below", "b3"), filepath.Join(root, "other")}
	spoil(t, x, wrong)
	c, err = x.Verify(t.Context(), options(root).Selection, options(root).Engine, 1)
	var named []string
	for _, f := range c.Wrong {
		named = append(named, f.Path)
	}
	slices.Sort(named)
	if diff := cmp.Diff(wrong, named); err != nil || c.Read != 9 || diff != "" {
		t.Errorf("%+v, %v\n%s", c, err, diff)
	}
}

// TestVerifyInterrupted checks that files not read in time are neither wrong nor
// problems, and that an interruption is not an error.
func TestVerifyInterrupted(t *testing.T) {
	root := tree(t)
	x := open(t, filepath.Join(t.TempDir(), "index"))
	same(t, x, options(root), 11, 0)
	if c, err := x.Verify(t.Context(), options(root).Selection, options(root).Engine, 1); err != nil || c.Interrupted {
		t.Errorf("nobody interrupted it: %+v, %v", c, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if c, err := x.Verify(ctx, options(root).Selection, options(root).Engine, 1); err != nil || !c.Interrupted || len(c.Wrong)+len(c.Unread) != 0 {
		t.Errorf("%+v, %v", c, err)
	}
	if _, err := x.Prune(ctx, []string{root}, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("pruned with a listing that was interrupted: %v", err)
	}
}

// TestVerifyUnreadable checks that other files are read in place of unreadable ones.
func TestVerifyUnreadable(t *testing.T) {
	root := mounttest.TrustedDir(t, 32<<20)
	for i := range 20 {
		testkit.Write(t, []byte("same"), filepath.Join(root, fmt.Sprint(i)))
	}
	x := open(t, filepath.Join(t.TempDir(), "index"))
	scan(t, x, options(root))
	opts := options(root)
	found, _, err := dedupe.Walk(t.Context(), opts.Selection, nil, opts.Engine)
	if err != nil {
		t.Fatal(err)
	}
	use := x.scan(opts.Selection.Roots, nil)
	use.Recall(t.Context(), &found)
	files := use.knownOf(found.Copies())
	for i := range files[:19] {
		if err := os.Remove(files[i].Path); err != nil {
			t.Fatal(err)
		}
	}
	var c Checked
	check(t.Context(), &dedupe.LocalHasher{}, files, 4, &c)
	if c.Read != 1 || len(c.Unread) != 19 {
		t.Errorf("%d read, %d not", c.Read, len(c.Unread))
	}
}

// TestVerifyMemory checks that verifying more files than fit in memory says so.
func TestVerifyMemory(t *testing.T) {
	root := tree(t)
	x := open(t, filepath.Join(t.TempDir(), "index"))
	scan(t, x, options(root))
	opts := options(root)
	opts.Engine.Memory = 1 << 20
	if _, err := x.Verify(t.Context(), opts.Selection, opts.Engine, 1); !errors.Is(err, dedupe.ErrTooManyFiles) {
		t.Errorf("verified in 1 MiB: %v", err)
	}
}

// TestReused checks that a directory whose files are replaced many times in one day is
// still known.
func TestReused(t *testing.T) {
	today := dayOf(time.Now())
	var all []entry
	for i := range 3 * maxEntries {
		all = append(all, entry{inode: uint64(i), state: state{1, dedupe.Timestamp{}, dedupe.Timestamp{Sec: int64(i)}}, seen: today, knowledge: knowledge{ends: 1}})
	}
	merged := block{}.merge(block{entries: all}, today, nil)
	if n := len(merged.entries); n != maxEntries || merged.entries[n-1].inode != 3*maxEntries-1 || merged.entries[0].inode != 2*maxEntries {
		t.Errorf("%d entries are kept, from inode %d", n, merged.entries[0].inode)
	}
}

// spoil makes the entries of files wrong.
func spoil(t *testing.T, x *Index, paths []string) {
	t.Helper()
	inodes := make(map[uint64]bool)
	for _, path := range paths {
		var st unix.Stat_t
		if err := unix.Stat(path, &st); err != nil {
			t.Fatal(err)
		}
		inodes[st.Ino] = true
	}
	blocks := make(map[Key]block)
	err := x.Store.All(t.Context(), func(key Key, data []byte) bool {
		b, _ := parseBlock(key, data)
		for i := range b.entries {
			if e := &b.entries[i]; inodes[e.inode] {
				e.digest[0] ^= 1
				if e.ends != 0 {
					e.ends ^= 1 << 63
				}
			}
		}
		blocks[key] = b
		return true
	})
	if err == nil {
		_, err = x.Store.Update(t.Context(), slices.Collect(maps.Keys(blocks)), func(key Key, _ []byte) []byte { return blocks[key].append(key) })
	}
	if err != nil {
		t.Fatal(err)
	}
}
