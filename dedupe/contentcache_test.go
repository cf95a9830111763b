package dedupe

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/zeebo/blake3"
)

// TestComparing hashes many files at once, more than the cache remembers, that differ
// wherever comparing could go wrong. Each digest must be right, and each file read once.
func TestComparing(t *testing.T) {
	sizes := []int{
		cachedMin - 1, cachedMin, cachedMin + 1, bufferSize - 1, bufferSize, bufferSize + 1,
		3 * bufferSize, 3*bufferSize + 1, cachedMax - 1, cachedMax, cachedMax + 1,
	}
	for seed := range uint64(4) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		dir := t.TempDir()
		var files []File
		digests := make(map[string]Digest)
		var bytesRead int64
		for i := range 120 {
			size := sizes[rnd.IntN(len(sizes))]
			content := random(size) // the same for each size
			if at := []int{0, size / 2, size - 1, bufferSize - 1, bufferSize, 2 * bufferSize, -1, -1}[rnd.IntN(8)]; at >= 0 && at < size {
				content[at] ^= byte(1 + rnd.IntN(4))
			}
			path := filepath.Join(dir, fmt.Sprint(i))
			if err := os.WriteFile(path, content, 0o666); err != nil {
				t.Fatal(err)
			}
			files = append(files, asFound(t, path))
			digests[path] = blake3.Sum256(content)
			bytesRead += int64(size)
		}
		slices.SortStableFunc(files, func(a, b File) int { return int(b.Size - a.Size) })
		for _, goroutines := range []int{1, 3, 40} {
			for _, sparing := range []bool{false, true} {
				h := &LocalHasher{cache: contentCache{sparing: sparing}}
				did := hashEach(t, h, files, goroutines, digests)
				if n := int64(len(files)); did.Opens != n || did.BytesRead != bytesRead || did.FilesHashed+did.FilesCompared != n {
					t.Errorf("%d goroutines: %+v for %d files of %d bytes", goroutines, did, n, bytesRead)
				}
				if goroutines == 1 && did.FilesCompared < 20 {
					t.Errorf("only %d of %d files were compared", did.FilesCompared, len(files))
				}
				checkCache(t, &h.cache, goroutines)
			}
		}
	}
}

// TestComparingPut has the ends of a file put, not read, as for files that share a size. They
// differ from a remembered content anywhere, and reads are short.
func TestComparingPut(t *testing.T) {
	const size = 3*bufferSize - 1000
	content := random(size)
	digestOf := func(cache *contentCache, b []byte, most int) (Digest, bool) {
		in := cache.begin(size, false)
		in.put(0, b[:endSize])
		for pos := int64(endSize); pos < size-endSize; {
			n := copy(in.space(pos), b[pos:min(pos+int64(most), size-endSize)])
			in.add(pos, n)
			pos += int64(n)
		}
		in.put(size-endSize, b[size-endSize:])
		d, hashed := in.digest()
		cache.end(in, d, true)
		return d, hashed
	}
	for _, most := range []int{bufferSize, 5000, endSize, 1 << 20} {
		for _, at := range []int{-1, 0, endSize - 1, endSize, endSize + 5000, bufferSize - 1, bufferSize, 2*bufferSize + 7, size - endSize - 1, size - endSize, size - 1} {
			var cache contentCache
			digestOf(&cache, content, most)
			b := bytes.Clone(content)
			if at >= 0 {
				b[at] ^= 1
			}
			for again := range 2 { // the second time it equals what was remembered
				if d, hashed := digestOf(&cache, b, most); d != blake3.Sum256(b) || hashed != (at >= 0 && again == 0) {
					t.Errorf("reads of %d, difference at %d: %v, hashed %v; want %v", most, at, d, hashed, Digest(blake3.Sum256(b)))
				}
			}
		}
	}
}

// hashEach hashes files, many at once, and checks their digests.
func hashEach(t *testing.T, h Hasher, files []File, goroutines int, want map[string]Digest) (did Work) {
	t.Helper()
	todo := make(chan File, len(files))
	for _, f := range files {
		todo <- f
	}
	close(todo)
	var mu sync.Mutex
	var all sync.WaitGroup
	for range goroutines {
		all.Go(func() {
			for f := range todo {
				d, w, err := single(t.Context(), h, f)
				if err != nil || d != want[f.Path] {
					t.Errorf("%s, %d bytes: %v, %v; want %v", f.Path, f.Size, d, err, want[f.Path])
				}
				mu.Lock()
				did.Add(w)
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return did
}

// checkCache checks that each block is free or in a content, exactly once, and that each
// content has the right digest.
func checkCache(t *testing.T, r *contentCache, readings int) {
	t.Helper()
	seen := make(map[*byte]bool)
	use := func(b []byte) {
		if seen[&b[0]] {
			t.Error("a block is used twice")
		}
		seen[&b[0]] = true
	}
	for _, b := range r.free {
		use(b)
	}
	for _, in := range r.idle {
		use(in.buffer)
	}
	for _, c := range r.contents {
		var content []byte
		for _, b := range c.blocks {
			use(b)
			content = append(content, b...)
		}
		if c.users != 0 || blake3.Sum256(content[:c.size]) != c.digest {
			t.Errorf("%d bytes are remembered wrongly; %d users", c.size, c.users)
		}
	}
	if r.blocks > cachedBlocks || len(r.idle) > readings || len(seen) != r.blocks+len(r.idle) {
		t.Errorf("%d blocks of %d, and %d for %d readings", len(seen), r.blocks, len(r.idle), readings)
	}
}

// TestComparingSparing checks that a process that reads one file of a size remembers
// nothing.
func TestComparingSparing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	write(t, random(bufferSize), path)
	h := &LocalHasher{cache: contentCache{sparing: true}}
	for i, want := range []Work{{Opens: 1, BytesRead: bufferSize, FilesHashed: 1}, {Opens: 1, BytesRead: bufferSize, FilesHashed: 1}, {Opens: 1, BytesRead: bufferSize, FilesCompared: 1}} {
		if _, w, err := single(t.Context(), h, asFound(t, path)); err != nil || w != want {
			t.Errorf("time %d: %+v, %v; want %+v", i, w, err, want)
		}
		if i == 0 && h.cache.blocks > 0 {
			t.Error("it remembers a size that it met once")
		}
	}
}

// TestChangedWhileCompared changes a file between two reads that matched another's
// content.
func TestChangedWhileCompared(t *testing.T) {
	dir := t.TempDir()
	path, other := filepath.Join(dir, "file"), filepath.Join(dir, "other")
	content := random(3 * bufferSize)
	write(t, content, other, path)
	h := new(LocalHasher)
	if _, _, err := single(t.Context(), h, asFound(t, other)); err != nil {
		t.Fatal(err)
	}
	ctx := &midway{Context: t.Context(), looks: 2, then: func() {
		if err := os.WriteFile(path, bytes.Clone(content), 0o666); err != nil { // the same bytes, but written again
			t.Fatal(err)
		}
	}}
	_, w, err := single(ctx, h, asFound(t, path))
	if !errors.Is(err, ErrChanged) || w.FilesCompared+w.FilesHashed != 0 {
		t.Errorf("%+v, %v", w, err)
	}
	checkCache(t, &h.cache, 1)
}

// BenchmarkComparing reads files that all have an equal, as in a group.
func BenchmarkComparing(b *testing.B) {
	for _, size := range []int{512, cachedMin, 4 << 10, 32 << 10, 1 << 20} {
		for _, hashAll := range []bool{true, false} {
			name := fmt.Sprintf("size=%d/hashAll=%t", size, hashAll)
			b.Run(name, func(b *testing.B) {
				path := filepath.Join(b.TempDir(), "file")
				if err := os.WriteFile(path, random(size), 0o666); err != nil {
					b.Fatal(err)
				}
				f := asFound(b, path)
				h := &LocalHasher{HashAll: hashAll}
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					if _, _, err := single(b.Context(), h, f); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkRemembering reads files of one size that all differ. It shows the cost of
// remembering them in vain.
func BenchmarkRemembering(b *testing.B) {
	for _, size := range []int{cachedMin, 4 << 10, 32 << 10, 1 << 20} {
		for _, hashAll := range []bool{true, false} {
			b.Run(fmt.Sprintf("size=%d/hashAll=%t", size, hashAll), func(b *testing.B) {
				dir := b.TempDir()
				var files []File
				for i := range 20 {
					path := filepath.Join(dir, fmt.Sprint(i))
					content := random(size)
					content[0] = byte(i)
					if err := os.WriteFile(path, content, 0o666); err != nil {
						b.Fatal(err)
					}
					files = append(files, asFound(b, path))
				}
				h := &LocalHasher{HashAll: hashAll}
				b.SetBytes(int64(size))
				for i := 0; b.Loop(); i++ {
					if _, _, err := single(b.Context(), h, files[i%len(files)]); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
