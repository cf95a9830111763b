package index

import (
	"encoding/binary"
	"fmt"
	"math"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"efsdedupe/dedupe"
	"efsdedupe/dedupe/mount/mounttest"
	"efsdedupe/fixtures/testkit"
)

// TestBlock checks that blocks survive encoding, and that damaged ones are rejected.
func TestBlock(t *testing.T) {
	p := place{"ext4:1", "/some/where"}
	b := block{place: p, level: 3, written: 20000, entries: []entry{
		{inode: 1, state: state{0, dedupe.Timestamp{Sec: -1}, dedupe.Timestamp{Sec: 1 << 62, Nsec: 999_999_999}}, seen: 20000, knowledge: knowledge{digest: dedupe.Digest{1}}},
		{inode: 1 << 63, state: state{1 << 50, dedupe.Timestamp{Sec: 1 << 62}, dedupe.Timestamp{Sec: -1 << 62}}, seen: 1, knowledge: knowledge{ends: 2}},
		{inode: 1<<64 - 1, state: state{1, dedupe.Timestamp{Sec: 1, Nsec: 1}, dedupe.Timestamp{Sec: 1, Nsec: 2}}, knowledge: knowledge{1<<64 - 1, dedupe.Digest{4}}},
	}}
	key := p.key(3, 5)
	data := b.append(key)
	got, ok := parseBlock(key, data)
	if diff := cmp.Diff(b, got, cmp.AllowUnexported(block{}, place{}, entry{}, state{}, knowledge{})); !ok || diff != "" {
		t.Error(diff)
	}
	if _, ok := parseBlock(p.key(3, 4), data); ok {
		t.Error("a block is taken under the key of another")
	}
	for i := range data {
		for bit := range 8 {
			damaged := slices.Clone(data)
			damaged[i] ^= 1 << bit
			if _, ok := parseBlock(key, damaged); ok {
				t.Errorf("byte %d, bit %d: not noticed", i, bit)
			}
		}
		if _, ok := parseBlock(key, data[:i]); ok {
			t.Errorf("cut to %d bytes: not noticed", i)
		}
	}
}

// TestMaliciousBlock uses a store with malicious blocks, because other machines can write
// to a shared one: their checksums are right, but they claim impossible numbers. They
// must be rejected, or take no more memory than the scanned files do.
func TestMaliciousBlock(t *testing.T) {
	p := place{"nfs:fs-1.efs:/", "/"}
	key := p.key(0, 0)
	sealed := func(written, level, entries uint64, rest ...byte) []byte {
		b := append(make([]byte, 1+sumSize), key[:]...)
		b = binary.AppendUvarint(binary.AppendUvarint(b, written), level)
		for _, s := range []string{p.fileSystem, p.path} {
			b = append(binary.AppendUvarint(b, uint64(len(s))), s...)
		}
		return seal(append(binary.AppendUvarint(b, entries), rest...))
	}
	entry := func(size, seen, flags uint64) []byte {
		b := make([]byte, 8+1+4+2)
		for _, v := range []uint64{size, seen, flags} {
			b = binary.AppendUvarint(b, v)
		}
		return b
	}
	if _, ok := parseBlock(key, sealed(1, 0, 1, entry(1, 1, 0)...)); !ok {
		t.Fatal("this is how a block is made, and it is none")
	}
	for name, b := range map[string][]byte{
		"a negative level":       sealed(1, 1<<63, 0),
		"a level too high":       sealed(1, maxLevel+1, 0),
		"a negative day":         sealed(1<<63, 0, 0),
		"a negative count":       sealed(1, 0, 1<<63),
		"more entries than room": sealed(1, 0, 1000, make([]byte, 1000)...),
		"a negative size":        sealed(1, 0, 1, entry(1<<63, 1, 0)...),
		"a negative day of use":  sealed(1, 0, 1, entry(1, 1<<63, 0)...),
	} {
		if got, ok := parseBlock(key, b); ok {
			t.Errorf("%s: %+v", name, got)
		}
	}

	root := mounttest.TrustedDir(t, 32<<20)
	for i := range 10 {
		testkit.Write(t, []byte("same"), filepath.Join(root, fmt.Sprint(i)))
	}
	x := open(t, filepath.Join(t.TempDir(), "index"))
	at := newLocator([]string{root}, nil, "").of(root + "/").place
	_, err := x.Store.Update(t.Context(), []Key{at.key(0, 0)}, func(key Key, _ []byte) []byte {
		return block{place: at, level: maxLevel, written: dayOf(time.Now())}.append(key)
	})
	if err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	same(t, x, options(root), 10, 0)
	same(t, x, options(root), 0, 10)
	if runtime.ReadMemStats(&after); after.TotalAlloc-before.TotalAlloc > 64<<20 {
		t.Errorf("a level of %d takes %d MiB", maxLevel, (after.TotalAlloc-before.TotalAlloc)>>20)
	}
}

// TestWrongShare compares the confidence of samples with published bounds.
func TestWrongShare(t *testing.T) {
	for _, test := range []struct {
		read, wrong int
		want        float64
	}{
		{0, 0, 1},
		{1, 0, 0.95},
		{300, 0, 0.009936}, // the rule of three: 3 of 300
		{59, 0, 0.0495},    // 59 for 95% of 95%: a table of non-parametric tolerance limits
		{93, 1, 0.0500},    // 93 with one: the same table
		{10, 1, 0.3942},    // Clopper and Pearson, one-sided
		{1000, 1000, 1},
	} {
		c := Checked{Known: 5000, Read: int64(test.read), Wrong: make([]dedupe.File, test.wrong)}
		if got := c.WrongShare(); math.Abs(got-test.want) > 1e-4 {
			t.Errorf("%d wrong of %d: %v, want %v", test.wrong, test.read, got, test.want)
		}
	}
	if got := (Checked{Known: 4, Read: 4, Wrong: make([]dedupe.File, 1)}).WrongShare(); got != 0.25 {
		t.Errorf("1 wrong of all 4: %v", got)
	}
}

// FuzzBlock checks that the parser, behind the checksum, survives any bytes.
func FuzzBlock(f *testing.F) {
	p := place{"nfs:fs-1.efs:/", "/"}
	f.Add(block{place: p, entries: []entry{{inode: 1, knowledge: knowledge{ends: 1}}}}.append(p.key(0, 0))[1+sumSize:])
	f.Fuzz(func(t *testing.T, content []byte) {
		if len(content) < 16 {
			return
		}
		key := Key(content)
		b, ok := parseBlock(key, seal(append(make([]byte, 1+sumSize), content...)))
		if !ok || len(b.entries) == 0 {
			return
		}
		again, ok := parseBlock(key, b.append(key))
		if diff := cmp.Diff(b, again, cmp.AllowUnexported(block{}, place{}, entry{}, state{}, knowledge{})); !ok || diff != "" {
			t.Error(diff)
		}
	})
}
