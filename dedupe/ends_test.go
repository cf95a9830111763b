package dedupe

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/zeebo/blake3"
)

// variant returns content of a size. Variants differ in one byte: the first byte, the
// last of the first end, the one after it, or the last of the file.
func variant(size, kind int) []byte {
	content := random(size)
	if kind > 0 {
		at := []int{0, endSize - 1, endSize, size - 1}[kind%4]
		content[at] += byte(1 + kind/4)
	}
	return content
}

// TestHashEnds hashes files of one size together, in both modes. It checks which have
// equal ends, and how far each is read, against their bytes.
func TestHashEnds(t *testing.T) {
	pooled := testPool(t, "hasher")
	for seed := range uint64(20) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		size := []int{smallMax + 1, lastFrom, 3*bufferSize + 7, mediumMax, mediumMax + 1}[seed%5]
		batch := Batch{Want: StageEnds, More: seed%3 > 0}
		if known := variant(size, 0); seed%3 == 2 {
			batch.Peers = []Ends{1<<32 | 1, endsOf(firstEnd(known), lastEnd(known))}
		}
		dir := t.TempDir()
		var files []File
		var contents [][]byte
		for i := range 1 + rnd.IntN(8) {
			path := filepath.Join(dir, fmt.Sprint(i))
			contents = append(contents, variant(size, rnd.IntN(6)))
			write(t, contents[i], path)
			files = append(files, asFound(t, path))
		}
		ends, alike := endsByBytes(contents, batch.Peers)
		alone := 0
		for _, some := range alike {
			if !some {
				alone++
			}
		}
		for _, h := range []Hasher{new(LocalHasher), pooled} {
			batch.Files = files
			for i, a := range h.Hash(t.Context(), batch) {
				want := Signed{File: files[i], Ends: ends[i], Work: Work{Opens: 1, BytesRead: endSize}}
				if ends[i].last() != 0 {
					want.Work.BytesRead = 2 * endSize
				}
				if size <= mediumMax && (alike[i] || batch.More && 2*alone < len(files)) {
					want.Digest = blake3.Sum256(contents[i])
					want.Work = Work{Opens: 1, BytesRead: int64(size), FilesHashed: 1}
				}
				a.Work = proven(a.Work)
				if diff := cmp.Diff(want, a, cmpopts.IgnoreUnexported(Signed{})); diff != "" {
					t.Errorf("seed %d, %T, file %d of %d, %d alone, %+v:\n%s", seed, h, i, len(files), alone, batch, diff)
				}
			}
		}
	}
}

func firstEnd(content []byte) []byte { return content[:endSize] }

// lastEnd returns the last end, or nil if the file is too short to read it on its own.
func lastEnd(content []byte) []byte {
	if len(content) < lastFrom {
		return nil
	}
	return content[len(content)-endSize:]
}

// endsByBytes returns the ends of files that are hashed together, from their bytes, and
// which files are alike: as one of the others or a peer.
func endsByBytes(contents [][]byte, peers []Ends) (ends []Ends, alike []bool) {
	for i, content := range contents {
		e := endsOf(firstEnd(content), nil)
		known := slices.ContainsFunc(peers, e.Like)
		for j, other := range contents {
			known = known || j != i && bytes.Equal(firstEnd(content), firstEnd(other))
		}
		if known || len(content) > mediumMax {
			e = endsOf(firstEnd(content), lastEnd(content))
		}
		some := slices.ContainsFunc(peers, e.Like)
		for j, other := range contents {
			some = some || j != i && bytes.Equal(firstEnd(content), firstEnd(other)) && bytes.Equal(lastEnd(content), lastEnd(other))
		}
		ends, alike = append(ends, e), append(alike, some)
	}
	return ends, alike
}

// TestMediumAgainstBytes scans size classes around every threshold, with more files than
// are hashed together, and compares the groups with what was written. Both modes must
// open and read the same, with any number of workers.
func TestMediumAgainstBytes(t *testing.T) {
	dir := t.TempDir()
	rnd := rand.New(rand.NewPCG(1, 2))
	for i, size := range []int{smallMax, smallMax + 1, lastFrom - 1, lastFrom, bufferSize + 1, 300_000, mediumMax, mediumMax + 1} {
		for j := range []int{2, 8, 9, 20, 40, 30, 5, 11}[i] {
			write(t, variant(size, rnd.IntN(7)), filepath.Join(dir, fmt.Sprint(size), fmt.Sprint(j)))
		}
	}
	want, first := oracle(t, dir), ""
	for _, mode := range []Mode{Goroutines, Processes} {
		for _, workers := range []int{1, 3, 50} {
			r := scan(t, options{Roots: []string{dir}, Mode: mode, Workers: workers})
			if diff := cmp.Diff(want, groups(r)); diff != "" || !r.Complete || r.Stats.Opens > 2*r.Stats.Files {
				t.Errorf("%s, %d workers, %+v, %v (-bytes +scan):\n%s", mode, workers, r.Stats.Work, r.Problems, diff)
			}
			if first == "" {
				first = answer(r)
			}
			if diff := cmp.Diff(first, answer(r)); diff != "" {
				t.Errorf("%s, %d workers: the report differs:\n%s", mode, workers, diff)
			}
		}
	}
}

// ofSizes returns n copies of each size.
func ofSizes(n int, sizes ...int64) (copies []*Copy) {
	for _, size := range sizes {
		for i := range n {
			copies = append(copies, CopyOf(File{Size: size, Inode: uint64(i)}))
		}
	}
	return copies
}

// TestBatches checks which files of a size are compared by their ends: all if they are
// few; otherwise each with its counterpart in a copied directory, whose inodes come in
// the same order. Together the workers take every file once.
func TestBatches(t *testing.T) {
	for n := range 100 {
		if n < 2 {
			continue
		}
		copies := ofSizes(n, smallMax+2, smallMax+1)
		s := newStage(slices.Values(copies), StageEnds, Engine{Workers: 1 + n%7})
		batch := make(map[*Copy]int)
		var next claimed
		for batches := 0; s.claim(&next); batches++ {
			claims := next.copies
			if len(claims) > 8 || n <= 8 && len(claims) != n || n > 8 && len(claims) < 3 {
				t.Errorf("%d of %d files in a batch", len(claims), n)
			}
			for _, c := range claims {
				if _, twice := batch[c]; twice {
					t.Errorf("file %d of %d twice", c.number, n)
				}
				batch[c] = batches
			}
		}
		if len(batch) != 2*n {
			t.Errorf("%d files of %d", len(batch), 2*n)
		}
		for i := range n / 2 {
			if n%8 == 0 && batch[copies[i]] != batch[copies[i+n/2]] {
				t.Errorf("files %d and %d of %d in batches %d and %d", i, i+n/2, n, batch[copies[i]], batch[copies[i+n/2]])
			}
		}
	}
}

// TestHashEndsProblems has files among equal ones that fail before or after their ends
// were read. The others must still get their digest.
func TestHashEndsProblems(t *testing.T) {
	content := random(2 * bufferSize)
	for name, spoil := range map[string]func(path string) error{
		"vanished":  os.Remove,
		"shrunk":    func(path string) error { return os.Truncate(path, endSize/2) },
		"rewritten": func(path string) error { return os.WriteFile(path, content, 0o666) },
	} {
		for bad := range 4 {
			for after := range 6 { // number of context checks between two reads
				dir := t.TempDir()
				var files []File
				for i := range 4 {
					path := filepath.Join(dir, fmt.Sprint(i))
					write(t, content, path)
					files = append(files, asFound(t, path))
				}
				spoiled := false
				ctx := &midway{Context: t.Context(), looks: after, then: func() {
					spoiled = true
					if err := spoil(files[bad].Path); err != nil {
						t.Fatal(err)
					}
				}}
				if after == 0 {
					ctx.then()
				}
				for i, a := range new(LocalHasher).Hash(ctx, Batch{Files: files, Want: StageEnds}) {
					var p *Problem
					changed := errors.As(errOf(a), &p) && p.Path == files[i].Path && errors.Is(errOf(a), ErrChanged) && a.Digest == Digest{} && a.Work.FilesHashed+a.Work.FilesCompared == 0
					right := errOf(a) == nil && a.Digest == blake3.Sum256(content)
					if i != bad && !right || i == bad && !changed && !right || after == 0 && i == bad && !changed {
						t.Errorf("%s, file %d after %d looks: file %d: %+v", name, bad, after, i, a)
					}
				}
				if !spoiled {
					t.Errorf("%s, file %d: there were no %d looks", name, bad, after)
				}
			}
		}
	}
}

// TestKnownTakesNoShare checks that files that are fully known do not reduce the number
// of workers for the others.
func TestKnownTakesNoShare(t *testing.T) {
	copies := ofSizes(8, mediumMax+1)
	for _, c := range ofSizes(1000, mediumMax+1) {
		c.Learn(0, Digest{1})
		c.number += 1000
		copies = append(copies, c)
	}
	s := newStage(slices.Values(copies), StageWhole, Engine{Workers: 2})
	s.workers = 2
	var taken []int
	for next := new(claimed); s.claim(next); {
		taken = append(taken, len(next.copies))
	}
	if want := []int{4, 2, 1, 1}; !slices.Equal(taken, want) {
		t.Errorf("%v files are read in step, want %v", taken, want)
	}
}

// BenchmarkEnds scans files of one size that differ in their first bytes, and pairs of
// equal files.
func BenchmarkEnds(b *testing.B) {
	const files, size = 200, 300 << 10
	for name, kinds := range map[string]int{"differ": files, "pairs": files / 2} {
		b.Run(name, func(b *testing.B) {
			dir := b.TempDir()
			for i := range files {
				content := random(size)
				content[0], content[1] = byte(i%kinds), byte(i%kinds>>8)
				if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), content, 0o666); err != nil {
					b.Fatal(err)
				}
			}
			b.SetBytes(files * size)
			b.ReportAllocs()
			for b.Loop() {
				scan(b, options{Roots: []string{dir}, Mode: Goroutines, Workers: DefaultWorkers})
			}
		})
	}
}
