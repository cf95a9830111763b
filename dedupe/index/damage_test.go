package index

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"efsdedupe/dedupe/mount/mounttest"
	"efsdedupe/fixtures/testkit"
)

// TestDamage flips every byte of an index, cuts it at every length and appends bytes. The
// scan must find the same as without an index, and the next one must know everything
// again.
func TestDamage(t *testing.T) {
	root := filepath.Join(mounttest.TrustedDir(t, 32<<20), "root")
	for _, dir := range []string{"a", "b"} {
		testkit.Write(t, []byte("same"), filepath.Join(root, dir, "1"), filepath.Join(root, dir, "2"))
	}
	opts := options(root)
	opts.Workers = 1
	path := filepath.Join(t.TempDir(), "index")
	want, _ := scan(t, open(t, path), opts)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	var damaged [][]byte
	for i := range whole {
		bit, all := slices.Clone(whole), slices.Clone(whole)
		bit[i] ^= 1 << random.IntN(8)
		all[i] ^= byte(1 + random.IntN(255))
		damaged = append(damaged, bit, all, whole[:i])
		if i%8 == 0 {
			damaged = append(damaged, slices.Concat(whole, whole[i:]))
		}
	}
	for i, b := range damaged {
		if err := os.WriteFile(path, b, 0o666); err != nil {
			t.Fatal(err)
		}
		for round := range 2 {
			l, err := OpenLog(path)
			if err != nil {
				t.Fatalf("damage %d: %v", i, err)
			}
			x := New(l)
			x.Now = later
			got, work := scan(t, x, opts)
			if diff := cmp.Diff(want, got); diff != "" || work.FilesKnown+work.FilesHashed+work.FilesCompared != 4 || round == 1 && work.Opens > 0 {
				t.Fatalf("damage %d, scan %d: %+v %s", i, round, work, diff)
			}
			l.Close()
		}
	}
}

// TestHead opens files whose head is not that of an index. An index with a lost head must
// start over; any other file must be refused and not changed.
func TestHead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "index")
	root := mounttest.TrustedDir(t, 32<<20)
	for i := range 600 { // more than one page, and more than one block
		testkit.Write(t, []byte("same"), filepath.Join(root, fmt.Sprint(i%3), fmt.Sprint(i)))
	}
	scan(t, open(t, path), options(root))
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	over := func(at int, b string) []byte {
		return append(append(slices.Clone(whole[:at]), b...), whole[at+len(b):]...)
	}
	zeros := func(n int) string { return strings.Repeat("\x00", n) }
	for name, test := range map[string]struct {
		content []byte
		index   bool
	}{
		"whole":                        {whole, true},
		"empty":                        {nil, true},
		"head zeroed":                  {over(0, zeros(16)), true},
		"head torn at its start":       {over(0, zeros(7)), true},
		"head torn at its end":         {over(7, zeros(9)), true},
		"head torn, no records":        {[]byte("dedupe i" + zeros(8)), true},
		"head cut":                     {[]byte("dedupe i"), true},
		"head overwritten":             {over(0, "something else.."), true},
		"a sector zeroed":              {over(0, zeros(512)), true},
		"head zeroed, end lost":        {over(0, zeros(16))[:len(whole)-10], true},
		"head flipped, end zeroed":     {append(over(0, "D")[:len(whole)-100], zeros(100)...), true},
		"a page zeroed":                {over(0, zeros(4096)), true},
		"all zeros":                    {make([]byte, 4096), true},
		"another version":              {[]byte("dedupe index 7\n\x00of which nothing is known"), true},
		"a letter":                     {[]byte("dear index, this is no file of yours"), false},
		"a letter about an index":      {[]byte("dedupe index 1\nis what I call my list of files"), false},
		"a short letter":               {[]byte("dedupe, I say"), false},
		"a disk image":                 {append(make([]byte, 1024), "superblock"...), false},
		"a large disk image":           {make([]byte, 4<<20), false},
		"a disk image with an index":   {slices.Concat(make([]byte, 4096), whole, make([]byte, 4096)), false},
		"an archive with an index":     {slices.Concat([]byte("archive"), make([]byte, 505), whole), false},
		"zeros, then half an index":    {slices.Concat(make([]byte, 16), whole[len(whole)/2:len(whole)-1]), false},
		"a zeroed page and a lost end": {over(0, zeros(4096))[:len(whole)-1], false},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "index")
			testkit.Write(t, test.content, path)
			if !test.index {
				refusesFile(t, path, test.content)
				return
			}
			x := open(t, path)
			scan(t, x, options(root))
			same(t, x, options(root), 0, 600)
		})
	}
}

// refusesFile checks that a file is not taken for an index, and not changed.
func refusesFile(t *testing.T, path string, content []byte) {
	t.Helper()
	l, err := OpenLog(path)
	if err == nil {
		l.Close()
	}
	if after, _ := os.ReadFile(path); err == nil || !strings.Contains(err.Error(), "is not an index: choose another file") || !bytes.Equal(after, content) {
		t.Errorf("%v; %d bytes of %d", err, len(after), len(content))
	}
}

// TestNoFile opens what is no file: a directory, and a path below a file.
func TestNoFile(t *testing.T) {
	dir := t.TempDir()
	testkit.Write(t, nil, filepath.Join(dir, "file"))
	for _, path := range []string{dir, filepath.Join(dir, "file", "index")} {
		if l, err := OpenLog(path); err == nil {
			l.Close()
			t.Errorf("%s is taken for an index", path)
		}
	}
}

// TestHuge has a file that claims more than it can contain. That must take no time and no
// memory.
func TestHuge(t *testing.T) {
	path := filepath.Join(t.TempDir(), "index")
	sized := func(size uint32) []byte {
		b := appendRecord(nil, keyOf(1), nil)[:headerSize-4]
		binary.LittleEndian.PutUint32(b, size)
		return binary.LittleEndian.AppendUint32(b, castagnoli(b))
	}
	testkit.Write(t, append([]byte(magic), sized(1500<<20)...), path)
	if err := os.Truncate(path, 2<<30); err != nil {
		t.Fatal(err)
	}
	l, err := OpenLog(path)
	if err != nil || len(l.at) > 0 {
		t.Fatalf("%v, a block of %d bytes", err, l.at[keyOf(1)].size)
	}
	l.Close()
	// Records of size 0 after a lost head, without end.
	testkit.Write(t, append(append(make([]byte, 17), bytes.Repeat(sized(0), 40_000)...), 'x'), path)
	if l, err := OpenLog(path); err == nil {
		l.Close()
		t.Error("it is taken for an index")
	}
}
