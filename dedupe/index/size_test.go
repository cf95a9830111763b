package index

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"efsdedupe/dedupe"
	"efsdedupe/dedupe/mount/mounttest"
	"efsdedupe/fixtures/testkit"
)

// TestSpared checks that an index saves exactly what a scan without it reads, except for
// changed files.
func TestSpared(t *testing.T) {
	root := tree(t)
	_, all := scan(t, nil, options(root))
	x := open(t, filepath.Join(t.TempDir(), "index"))
	check := func(opens int64) {
		t.Helper()
		_, work := scan(t, x, options(root))
		if work.Opens != opens || work.Opens+work.OpensSpared != all.Opens || work.BytesRead+work.BytesSpared != all.BytesRead {
			t.Errorf("%+v, want %d opens, and with what is spared %+v", work, opens, all)
		}
	}
	check(all.Opens)
	check(0)
	testkit.Write(t, unique(5000), filepath.Join(root, "a1"))
	check(1)
}

// blocks returns the bytes of a scan's blocks and the files in them, sorted, and the
// bytes of the blocks in its index.
func blocks(t *testing.T, x *Index, opts job) (got, want []int64, files int64) {
	t.Helper()
	use := x.Attach(opts.Selection, &opts.Engine)
	if _, err := dedupe.Scan(t.Context(), opts.Selection, opts.Engine); err != nil {
		t.Fatal(err)
	}
	if err := use.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	for bytes, n := range use.Blocks() {
		got = append(got, bytes)
		files += n
	}
	err := x.Store.All(t.Context(), func(key Key, block []byte) bool {
		want = append(want, int64(len(block)))
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(got)
	slices.Sort(want)
	return got, want, files
}

// TestBlocks compares block sizes with those in the store, for a directory that splits as
// it grows: when they are written, and when they are only read. A part counts as at least
// an eighth of the 1,000 files; how many it has depends on their inodes.
func TestBlocks(t *testing.T) {
	root := mounttest.TrustedDir(t, 32<<20)
	x := open(t, filepath.Join(t.TempDir(), "index"))
	for i := range 100 {
		testkit.Write(t, []byte("same"), filepath.Join(root, fmt.Sprint("f", i)), filepath.Join(root, "below", fmt.Sprint("f", i)))
	}
	for range 2 {
		got, want, files := blocks(t, x, options(root))
		if !slices.Equal(got, want) || len(got) != 2 || files != 200 {
			t.Errorf("blocks of %d bytes with %d files, want %d", got, files, want)
		}
	}
	for i := range 1000 {
		testkit.Write(t, []byte("same"), filepath.Join(root, fmt.Sprint("f", i)))
	}
	for range 2 {
		got, want, files := blocks(t, x, options(root))
		for i := 2; i < len(want); i++ {
			want[i] = max(want[i], want[0]+entrySize*1000/8)
		}
		slices.Sort(want)
		if !slices.Equal(got, want) || len(got) != 2+8 || files < 1100 || files >= 1100+8 {
			t.Errorf("blocks of %d bytes with %d files, want %d", got, files, want)
		}
	}
	few := options(root) // the parts without these are not requested
	few.Filter.Include = []string{"f90?"}
	if got, _, files := blocks(t, x, few); len(got) < 2 || len(got) > 9 || files < 10 {
		t.Errorf("blocks of %d bytes with %d files", got, files)
	}
}

func sum(sizes []int64) (n float64) {
	for _, size := range sizes {
		n += float64(size)
	}
	return n
}

// TestBlocksToCome checks that blocks that do not exist yet count about as much as if they
// did. How files spread over the parts depends on their inodes.
func TestBlocksToCome(t *testing.T) {
	root := mounttest.TrustedDir(t, 32<<20)
	for i := range 300 {
		testkit.Write(t, []byte("same"), filepath.Join(root, fmt.Sprint("f", i)))
	}
	x := open(t, filepath.Join(t.TempDir(), "index"))
	x.Now = func() time.Time { return time.Unix(0, 0) } // trusts nothing
	expected, none, files := blocks(t, x, options(root))
	x.Now = later
	_, there, _ := blocks(t, x, options(root))
	if len(none) > 0 || len(expected) != len(there) || files < 300 {
		t.Fatalf("blocks of %d bytes expected, with %d files, %d there", expected, files, there)
	}
	if ratio := sum(expected) / sum(there); ratio < 0.8 || ratio > 1.2 {
		t.Errorf("%.2f times the bytes were expected: %d, are %d", ratio, expected, there)
	}
}

// TestBlocksStop checks that iteration stops when the caller has seen enough.
func TestBlocksStop(t *testing.T) {
	root := tree(t)
	use := open(t, filepath.Join(t.TempDir(), "index")).scan([]string{root}, nil)
	use.recall(t.Context(), slices.Values(copiesOf(dedupe.File{Path: root + "/a0"}, dedupe.File{Path: root + "/below/b0"})))
	n := 0
	for range use.Blocks() {
		n++
		break
	}
	if n != 1 {
		t.Errorf("%d blocks", n)
	}
}
