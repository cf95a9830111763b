package index

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"efsdedupe/dedupe"
	"efsdedupe/dedupe/mount/mounttest"
	"efsdedupe/fixtures/testkit"
)

// TestBeside checks that an index is replaced where its links lead, and that somebody
// else's file with the name of the replacement is not touched.
func TestBeside(t *testing.T) {
	dir := t.TempDir()
	path, link := filepath.Join(dir, "real"), filepath.Join(dir, "link")
	if err := os.Symlink("real", link); err != nil {
		t.Fatal(err)
	}
	grow := func() {
		t.Helper()
		l, err := OpenLog(link)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		for i := range 200 {
			if _, err := l.Update(t.Context(), []Key{keyOf(1)}, func(key Key, _ []byte) []byte { return number(key, uint64(i), 1<<15) }); err != nil {
				t.Fatal(err)
			}
		}
	}
	size := func(path string) int64 {
		t.Helper()
		st, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		return st.Size()
	}
	grow()
	if small := size(path); small > 3<<20 || size(link) != int64(len("real")) {
		t.Errorf("the file has %d bytes, the link %d", small, size(link))
	}
	testkit.Write(t, []byte("precious"), path+".new")
	grow()
	if b, err := os.ReadFile(path + ".new"); err != nil || string(b) != "precious" {
		t.Errorf("%q, %v", b, err)
	}
	testkit.Write(t, []byte(magic+"and what a killed process wrote"), path+".new")
	grow()
	if _, err := os.Stat(path + ".new"); err == nil || size(path) > 3<<20 {
		t.Errorf("what a killed process left stays, and the file has %d bytes", size(path))
	}
}

func keyOf(n uint64) (key Key) {
	copy(key[:], fmt.Sprintf("%016d", n))
	return key
}

// number is a block of the given size that encodes a number.
func number(key Key, n uint64, size int) []byte {
	return block{place: place{"test", strings.Repeat("x", size)}, written: dayOf(time.Now()), entries: []entry{{inode: n}}}.append(key)
}

// numberOf returns the number in a block, or 0 if there is none.
func numberOf(key Key, data []byte) uint64 {
	if b, ok := parseBlock(key, data); ok {
		return b.entries[0].inode
	}
	return 0
}

// TestTwoAtOnce has several users of one file, as processes would. No update may be lost,
// though the file is replaced many times.
func TestTwoAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "index")
	const users, rounds = 4, 30
	const size = 1 << 15 // so that the file is replaced
	keys := make([]Key, 20)
	for i := range keys {
		keys[i] = keyOf(uint64(i))
	}
	var group sync.WaitGroup
	for range users {
		group.Go(func() {
			l, err := OpenLog(path)
			if err != nil {
				t.Error(err)
				return
			}
			defer l.Close()
			for range rounds {
				_, err := l.Update(t.Context(), keys, func(key Key, old []byte) []byte { return number(key, numberOf(key, old)+1, size) })
				if err != nil {
					t.Error(err)
				}
				if blocks, _, err := l.Get(t.Context(), keys); err != nil || len(blocks) != len(keys) {
					t.Errorf("%d blocks, %v", len(blocks), err)
				}
			}
		})
	}
	group.Wait()
	l, err := OpenLog(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	blocks, _, err := l.Get(t.Context(), keys)
	for _, key := range keys {
		if n := numberOf(key, blocks[key]); err != nil || n != users*rounds {
			t.Errorf("%s is %d, want %d (%v)", key[:], n, users*rounds, err)
		}
	}
	if bytes := l.Size(); bytes > 4<<20 {
		t.Errorf("the file has %d bytes for %d of blocks", bytes, len(keys)*size)
	}
}

// TestLocked checks that a scan does not wait for a process that keeps the file locked:
// it continues without writing, and without an error of its own.
func TestLocked(t *testing.T) {
	root := tree(t)
	path := filepath.Join(t.TempDir(), "index")
	scan(t, open(t, path), options(root))
	holder, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Close()
	if err := unix.Flock(int(holder.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	x := open(t, path)
	same(t, x, options(root), 0, 8) // reading takes no lock

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := x.Store.Update(ctx, []Key{keyOf(1)}, func(key Key, _ []byte) []byte { return number(key, 1, 1) }); !errors.Is(err, context.Canceled) {
		t.Errorf("it writes to a locked file: %v", err)
	}
}

// TestKilled kills writing processes at random moments. The file must have everything
// that they reported as written, and nothing else.
func TestKilled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "index")
	written := make(map[uint64]uint64) // by key, at least
	for round := range 20 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKilledChild$", "-test.v")
		cmd.Env = append(os.Environ(), "INDEX_TEST_CHILD="+path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		for left, lines := 1+rand.IntN(40), bufio.NewScanner(out); lines.Scan(); left-- {
			var k, n uint64
			var whole string // not cut off when the process was killed
			if _, err := fmt.Sscanf(lines.Text(), "%d=%d %s", &k, &n, &whole); err == nil && whole == "written" {
				written[k] = n
			}
			if left == 0 {
				cmd.Process.Kill()
			}
		}
		cmd.Wait()
		l, err := OpenLog(path)
		if err != nil {
			t.Fatal(err)
		}
		for k, n := range written {
			key := keyOf(k)
			blocks, _, err := l.Get(t.Context(), []Key{key})
			if got := numberOf(key, blocks[key]); err != nil || got < n || got > n+1 {
				t.Errorf("round %d: %d is %d, want %d (%v)", round, k, got, n, err)
			}
		}
		l.Close()
	}
	if len(written) == 0 {
		t.Error("nobody wrote anything")
	}
}

// TestKilledChild is the process that TestKilled kills. It prints what it wrote.
func TestKilledChild(t *testing.T) {
	path := os.Getenv("INDEX_TEST_CHILD")
	if path == "" {
		return // not a test by itself
	}
	l, err := OpenLog(path)
	if err != nil {
		t.Fatal(err)
	}
	const size = 1 << 16 // so that it is also killed while it replaces the file
	for i := uint64(0); ; i++ {
		k := i % 16
		var n uint64
		_, err := l.Update(t.Context(), []Key{keyOf(k)}, func(key Key, old []byte) []byte {
			n = numberOf(key, old) + 1
			return number(key, n, size)
		})
		if err != nil {
			t.Fatal(err)
		}
		fmt.Printf("%d=%d written\n", k, n)
	}
}

// TestKilledScan kills scans. What they wrote before must not be read again.
func TestKilledScan(t *testing.T) {
	root := mounttest.TrustedDir(t, 32<<20)
	for i := range 300 {
		testkit.Write(t, unique(1000), filepath.Join(root, fmt.Sprint("f", i)))
	}
	path := filepath.Join(t.TempDir(), "index")
	known := int64(0)
	for range 5 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKilledScanChild$")
		cmd.Env = append(os.Environ(), "INDEX_TEST_CHILD="+path, "INDEX_TEST_ROOT="+root)
		stdin, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		before := known
		testkit.Eventually(t, fmt.Sprintf("more than %d known files", before), func() bool {
			c, err := open(t, path).Verify(t.Context(), options(root).Selection, options(root).Engine, 1)
			if err != nil || len(c.Wrong) > 0 || c.Known < before {
				t.Fatalf("%+v, %v: %d were known before", c, err, before)
			}
			known = c.Known
			return known > before
		})
		cmd.Process.Kill()
		cmd.Wait()
		stdin.Close()
	}
}

// TestKilledScanChild is the process that TestKilledScan kills. Its clock runs so fast
// that it writes soon; after reading some more it waits to be killed.
func TestKilledScanChild(t *testing.T) {
	root := os.Getenv("INDEX_TEST_ROOT")
	if root == "" {
		return // not a test by itself
	}
	x := open(t, os.Getenv("INDEX_TEST_CHILD"))
	var asked atomic.Int64
	x.Now = func() time.Time { return later().Add(time.Duration(asked.Add(1)) * time.Minute) }
	opts := options(root)
	opts.Workers = 1
	read := int64(0)
	opts.Observe = func(e dedupe.Event) {
		if read += e.Work.FilesHashed + e.Work.FilesCompared; read == 20 {
			os.Stdin.Read(make([]byte, 1))
		}
	}
	scan(t, x, opts)
}

// TestSize checks that an entry takes at most 100 bytes of the file, even if many
// directories come in an order that rewrites each many times.
func TestSize(t *testing.T) {
	const directories, each = 1000, 100
	path := filepath.Join(t.TempDir(), "index")
	x := open(t, path)
	opts := options(mounttest.TrustedDir(t, 32<<20))
	random := rand.New(rand.NewPCG(3, 4))
	now := time.Now().UnixNano()
	var device unix.Stat_t
	if err := unix.Stat(opts.Roots[0], &device); err != nil {
		t.Fatal(err)
	}
	var files []dedupe.File
	for i := range directories * each {
		dir := filepath.Join(opts.Roots[0], fmt.Sprintf("a directory of usual length/%d", i%directories))
		if err := os.MkdirAll(dir, 0o777); err != nil {
			t.Fatal(err)
		}
		files = append(files, dedupe.File{
			Path:       filepath.Join(dir, fmt.Sprint("f", i)),
			Device:     uint64(device.Dev),
			Size:       random.Int64N(1 << 24),
			Inode:      random.Uint64(), // as on EFS
			ModTime:    timestampOf(time.Unix(0, now-random.Int64N(1e17))),
			ChangeTime: timestampOf(time.Unix(0, now-random.Int64N(1e17))),
		})
	}
	for part := range slices.Chunk(files, len(files)/10) {
		s := x.scan(opts.Roots, nil)
		copies := copiesOf(part...)
		s.recall(t.Context(), slices.Values(copies))
		for _, c := range copies {
			s.Remember(t.Context(), x.Now(), []dedupe.Signed{{File: c.File(), Digest: dedupe.Digest{1}}})
		}
		if err := s.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	stats, err := x.Stats(t.Context())
	if err != nil || stats.Entries != directories*each {
		t.Errorf("%+v, %v", stats, err)
	}
	if size := float64(st.Size()) / float64(stats.Entries); size > 100 {
		t.Errorf("%.1f bytes an entry", size)
	}
}

// TestExpire checks that a file does not grow without bound if nobody prunes it.
func TestExpire(t *testing.T) {
	path := filepath.Join(t.TempDir(), "index")
	root := mounttest.TrustedDir(t, 32<<20)
	x := open(t, path)
	x.Now = func() time.Time { return time.Now().AddDate(0, 0, -100) }
	old := make(map[Key]block)
	for i := range 1000 {
		p := place{"test", fmt.Sprint("/", i)}
		old[p.key(0, 0)] = block{place: p, entries: []entry{{inode: 1, knowledge: knowledge{ends: 1}}}}
	}
	var keys []Key
	for key := range old {
		keys = append(keys, key)
	}
	today := dayOf(x.Now())
	_, err := x.Store.Update(t.Context(), keys, func(key Key, _ []byte) []byte {
		b := old[key]
		b.written, b.entries[0].seen = today, today
		return b.append(key)
	})
	if err != nil {
		t.Fatal(err)
	}
	x.Now = later
	for i := range 2000 {
		p := place{"test", fmt.Sprint(root, i)}
		_, err := x.Store.Update(t.Context(), []Key{p.key(0, 0)}, func(key Key, _ []byte) []byte {
			return block{place: p, written: dayOf(time.Now()), entries: []entry{{inode: 1, seen: dayOf(time.Now()), knowledge: knowledge{ends: 1}}}}.append(key)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	s, err := x.Stats(t.Context())
	if err != nil || s.Blocks < 2000 || s.Blocks > 2500 {
		t.Errorf("%+v, %v: want the 2,000 that are new, and few of the others", s, err)
	}
}
