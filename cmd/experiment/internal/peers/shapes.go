package peers

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
)

// content stands for the bytes of a file. Among files of one size two contents
// are equal exactly when their bytes are: streams differ in the first bytes, if
// there are eight of them, and of one stream a byte is inverted, at flip-1.
type content struct {
	stream uint64
	flip   int64 // 0 for none
}

// hole is the stream of zeros that take no room on disk.
const hole = math.MaxUint64

// planLarge is sizes of 1, 2, 4, 8 and 16 MiB in turn. The files of one size
// begin alike, and differ in one byte of the last MiB, but every third is a copy
// of the one before.
func planLarge(n int) []file {
	const sizes, apart = 5, 997
	files := make([]file, n)
	for i := range files {
		nth := i / sizes // of its size
		if nth%3 == 2 {
			nth--
		}
		size := int64(1<<20) << (i % sizes)
		flip := size - int64(nth*apart)%(1<<20)
		files[i] = file{fmt.Sprintf("large-%04d", i), size, content{flip: flip}}
	}
	return files
}

// planMedium is five files of each of many sizes, from above 64 KiB to 2 MiB: one, a
// copy, one that differs from them in the last byte, and two that do in the first
// ones, as photos and recordings of one size do.
func planMedium(n int) []file {
	const alike, least, most = 5, 64<<10 + 1, 2 << 20
	sizes := (n + alike - 1) / alike
	files := make([]file, n)
	for i := range files {
		size := int64(least + i/alike*(most-least)/sizes)
		c := [alike]content{{}, {}, {flip: size}, {stream: 1}, {stream: 2}}[i%alike]
		files[i] = file{fmt.Sprintf("d%02d/medium-%04d", i%17, i), size, c}
	}
	return files
}

// planMany is a file in a hundred, at most 10,000, with another of its size,
// every other one of them a copy, and the others different in the last byte.
// Those are of 1 to 10,000 bytes, however many there are; all other files are
// larger, of a size of their own, and holes.
func planMany(n int) []file {
	const every, largest = 100, 10_000
	pairs := min(max(n/every, 1), largest)
	files := make([]file, n)
	for i := range files {
		f := &files[i]
		f.path = fmt.Sprintf("d%04d/f%07d", i/1000, i)
		f.size, f.content = largest+1+int64(i), content{stream: hole}
		if pair := i / every; pair < pairs && i%(every/2) == 0 {
			f.size, f.content = 1+int64(pair)*largest/int64(pairs), content{}
			if second := i%every != 0; second && pair%2 == 1 {
				f.content.flip = f.size
			}
		}
	}
	return files
}

// planOneSize is files of 1,000 bytes, of which every twentieth is a copy.
func planOneSize(n int) []file {
	files := make([]file, n)
	for i := range files {
		stream := uint64(i)
		if i%20 == 19 {
			stream -= 10
		}
		files[i] = file{fmt.Sprintf("same-size-%06d", i), 1000, content{stream: stream}}
	}
	return files
}

// ofPlan makes trees whose files follow from how many there are.
func ofPlan(plan func(n int) []file) func(context.Context, string, shape, uint64) ([]file, error) {
	return func(ctx context.Context, dir string, s shape, seed uint64) ([]file, error) {
		files := plan(s.files)
		m := mark{Shape: s.name, Files: s.files, Seed: seed}
		return files, once(dir, m, func() error { return writeFiles(ctx, dir, files, seed) })
	}
}

func writeFiles(ctx context.Context, dir string, files []file, seed uint64) error {
	for _, f := range files {
		if parent := filepath.Dir(f.path); parent != "." {
			if err := os.MkdirAll(filepath.Join(dir, parent), 0o755); err != nil {
				return err
			}
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	var next atomic.Int64
	for range 4 {
		g.Go(func() error {
			buf := make([]byte, 128<<10)
			for i := next.Add(1) - 1; i < int64(len(files)); i = next.Add(1) - 1 {
				if err := ctx.Err(); err != nil {
					return err
				}
				if err := writeFile(dir, files[i], seed, buf); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

func writeFile(dir string, f file, seed uint64, buf []byte) error {
	w, err := os.Create(filepath.Join(dir, f.path))
	if err != nil {
		return err
	}
	if f.content.stream == hole {
		return errors.Join(w.Truncate(f.size), w.Close())
	}
	var key [32]byte
	binary.LittleEndian.PutUint64(key[0:], seed)
	binary.LittleEndian.PutUint64(key[8:], uint64(f.size))
	binary.LittleEndian.PutUint64(key[16:], f.content.stream)
	random := rand.NewChaCha8(key)
	for off := int64(0); off < f.size; off += int64(len(buf)) {
		b := buf[:min(int64(len(buf)), f.size-off)]
		random.Read(b)
		if off == 0 && len(b) >= 8 {
			binary.LittleEndian.PutUint64(b, seed+f.content.stream)
		}
		if at := f.content.flip - 1 - off; at >= 0 && at < int64(len(b)) {
			b[at] ^= 0xff
		}
		if _, err := w.Write(b); err != nil {
			return errors.Join(err, w.Close())
		}
	}
	return w.Close()
}

// copyGoroot copies the files of the Go installation, s.files times.
func copyGoroot(ctx context.Context, dir string, s shape, _ uint64) ([]file, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOROOT", "GOVERSION").Output()
	if err != nil {
		return nil, fmt.Errorf("go env: %w; have go in PATH", err)
	}
	goroot, version, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	m := mark{Shape: s.name, Files: s.files, Source: goroot + " of " + version}
	err = once(dir, m, func() error { return copies(goroot, dir, s.files) })
	if err != nil {
		return nil, err
	}
	return hashed(dir)
}

func copies(src, dir string, n int) error {
	for i := range n {
		if err := os.CopyFS(filepath.Join(dir, fmt.Sprintf("copy-%d", i+1)), os.DirFS(src)); err != nil {
			return err
		}
	}
	return nil
}

// hashed returns the files below dir, told apart by the SHA-256 of all that is in
// them: nobody has made this tree so that the answer is known.
func hashed(dir string) ([]file, error) {
	var files []file
	streams := make(map[[sha256.Size]byte]uint64)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		sum, size, err := sumOf(path)
		if err != nil {
			return err
		}
		if _, known := streams[sum]; !known {
			streams[sum] = uint64(len(streams))
		}
		files = append(files, file{strings.TrimPrefix(path, dir+"/"), size, content{stream: streams[sum]}})
		return nil
	})
	return files, err
}

func sumOf(path string) (sum [sha256.Size]byte, size int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return sum, 0, err
	}
	defer f.Close()
	h := sha256.New()
	size, err = io.Copy(h, f)
	return [sha256.Size]byte(h.Sum(nil)), size, err
}
