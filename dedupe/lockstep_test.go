package dedupe

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/zeebo/blake3"
)

// TestLockstep hashes files of one size, in both modes, that start to differ wherever
// that could go wrong. Each digest must be right, and each file read once.
func TestLockstep(t *testing.T) {
	pooled := testPool(t, "hasher")
	for seed := range uint64(12) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		size := []int{0, 1, bufferSize - 1, bufferSize, bufferSize + 1, 4*bufferSize + 7}[seed%6]
		places := []int{0, 1, bufferSize - 1, bufferSize, 2*bufferSize - 1, 2 * bufferSize, size / 2, size - 1}
		dir := t.TempDir()
		var files []File
		var want []Digest
		for i := range 1 + rnd.IntN(8) {
			content := random(size)
			for range rnd.IntN(3) { // none, one or two
				if at := places[rnd.IntN(len(places))]; at >= 0 && at < size {
					content[at] ^= byte(1 + rnd.IntN(2))
				}
			}
			path := filepath.Join(dir, fmt.Sprint(i))
			if err := os.WriteFile(path, content, 0o666); err != nil {
				t.Fatal(err)
			}
			files, want = append(files, asFound(t, path)), append(want, blake3.Sum256(content))
		}
		for _, h := range []Hasher{new(LocalHasher), pooled, &LocalHasher{HashAll: true}} {
			hashed := make(map[Digest]int64)
			for i, a := range h.Hash(t.Context(), Batch{Files: files, Want: StageWhole}) {
				hashed[a.Digest] += a.Work.FilesHashed
				if errOf(a) != nil || a.Digest != want[i] || proven(a.Work) != (Work{Opens: 1, BytesRead: int64(size), FilesHashed: 1}) {
					t.Errorf("seed %d, %T, file %d: %v, %+v, %v; want %v", seed, h, i, a.Digest, a.Work, errOf(a), want[i])
				}
			}
			if local, ok := h.(*LocalHasher); ok && local.HashAll {
				continue
			}
			for d, n := range hashed {
				if n != 1 {
					t.Errorf("seed %d, %T: %d files with the digest %v were hashed", seed, h, n, d)
				}
			}
		}
	}
}

// TestLockstepProblems has files among equal ones that fail at every point. The others
// must still get their digest.
func TestLockstepProblems(t *testing.T) {
	content := random(3 * bufferSize)
	for name, spoil := range map[string]func(path string) error{
		"vanished":  os.Remove,
		"shrunk":    func(path string) error { return os.Truncate(path, bufferSize) },
		"rewritten": func(path string) error { return os.WriteFile(path, content, 0o666) },
	} {
		for bad := range 3 {
			for _, after := range []int{0, 1, 5} { // number of context checks between two reads, with three files per round
				dir := t.TempDir()
				var files []File
				for i := range 3 {
					path := filepath.Join(dir, fmt.Sprint(i))
					write(t, content, path)
					files = append(files, asFound(t, path))
				}
				ctx := &midway{Context: t.Context(), looks: after, then: func() {
					if err := spoil(files[bad].Path); err != nil {
						t.Fatal(err)
					}
				}}
				if after == 0 {
					ctx.then()
				}
				h := new(LocalHasher)
				for i, a := range h.Hash(ctx, Batch{Files: files, Want: StageWhole}) {
					var p *Problem
					switch {
					case i != bad && (errOf(a) != nil || a.Digest != blake3.Sum256(content)):
						t.Errorf("%s, file %d after %d looks: file %d: %v, %v", name, bad, after, i, a.Digest, errOf(a))
					case i == bad && (!errors.As(errOf(a), &p) || p.Path != files[i].Path || !errors.Is(errOf(a), ErrChanged) || a.Work.FilesHashed+a.Work.FilesCompared != 0):
						t.Errorf("%s, file %d after %d looks: %+v", name, bad, after, a)
					}
				}
			}
		}
	}
}

// TestDeathOfSome checks that files are not listed as problems just because a worker died on another
// file of the same batch.
func TestDeathOfSome(t *testing.T) {
	dir := t.TempDir()
	var files, small []File
	for i, name := range []string{"a", deadly, "c"} {
		path := filepath.Join(dir, name)
		write(t, random(bufferSize), path)
		files = append(files, asFound(t, path))
		path = filepath.Join(dir, "small", name)
		write(t, random(i), path)
		small = append(small, asFound(t, path))
	}
	h := testPool(t, "dies of one")
	for _, b := range []Batch{
		{Files: files, Want: StageWhole},
		{Files: files, Want: StageEnds},
		{Files: small, Want: StageWhole, Apart: true},
	} {
		for i, a := range h.Hash(t.Context(), b) {
			var p *Problem
			if died := errors.As(errOf(a), &p); died != (i == 1) || died && (p.Path != b.Files[i].Path || p.Op != "hash") {
				t.Errorf("%v, apart %t: %s: %+v", b.Want, b.Apart, b.Files[i].Path, a)
			}
		}
	}
}

// TestLargeAlike scans more large files of one size than are read in lockstep, in both
// modes. It must find their groups and read each file once.
func TestLargeAlike(t *testing.T) {
	const size, copies, kinds = mediumMax + 1, 6, 3
	dir := t.TempDir()
	var want []group
	for kind := range kinds {
		content := random(size)
		content[size/2] = byte(kind)
		g := group{Reclaimable: (copies - 1) * size}
		for i := range copies {
			path := filepath.Join(dir, fmt.Sprintf("%d-%d", kind, i))
			write(t, content, path)
			if i > 0 {
				g.Paths += "\x00"
			}
			g.Paths += path
		}
		want = append(want, g)
	}
	for _, mode := range []Mode{Goroutines, Processes} {
		r := scan(t, options{Roots: []string{dir}, Mode: mode, Workers: 2})
		if got := groups(r); !r.Complete || !slices.Equal(got, want) {
			t.Errorf("%s: %v, %v", mode, got, r.Problems)
		}
		const files = copies * kinds
		w := r.Stats.Work
		if w.BytesRead != files*(2*endSize+size) || w.FilesHashed+w.FilesCompared != files || w.FilesCompared < files/2 {
			t.Errorf("%s: %+v", mode, w)
		}
	}
}

// BenchmarkLockstep reads eight large files that differ in their last byte.
func BenchmarkLockstep(b *testing.B) {
	const size, n = 8 << 20, 8
	dir := b.TempDir()
	var files []File
	for i := range n {
		content := random(size)
		content[size-1] = byte(i)
		path := filepath.Join(dir, fmt.Sprint(i))
		if err := os.WriteFile(path, content, 0o666); err != nil {
			b.Fatal(err)
		}
		files = append(files, asFound(b, path))
	}
	for _, hashAll := range []bool{true, false} {
		b.Run(fmt.Sprintf("hashAll=%t", hashAll), func(b *testing.B) {
			h := &LocalHasher{HashAll: hashAll}
			b.SetBytes(n * size)
			b.ReportAllocs()
			for b.Loop() {
				for _, a := range h.Hash(b.Context(), Batch{Files: files, Want: StageWhole}) {
					if errOf(a) != nil {
						b.Fatal(errOf(a))
					}
				}
			}
		})
	}
}
