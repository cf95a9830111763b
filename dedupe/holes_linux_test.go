package dedupe

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"efsdedupe/fixtures/testkit"

	"github.com/zeebo/blake3"
	"golang.org/x/sys/unix"
)

// sparse writes content to a file. If sparse is set, it leaves holes for zeros.
func sparse(t *testing.T, path string, content []byte, sparse bool) {
	t.Helper()
	write(t, nil, path)
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(int64(len(content))); err != nil {
		t.Fatal(err)
	}
	const page = 4 << 10
	for pos := 0; pos < len(content); pos += page {
		b := content[pos:min(pos+page, len(content))]
		if sparse && len(bytes.Trim(b, "\x00")) == 0 {
			continue
		}
		if _, err := f.WriteAt(b, int64(pos)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestHoles hashes sparse and dense files of one size, together and alone. The digests
// must be those of the content, and holes must not be read.
func TestHoles(t *testing.T) {
	for seed := range uint64(12) {
		size := []int{smallMax + 5, 700_000, mediumMax + 1, 5<<20 + 77}[seed%4]
		dir := t.TempDir()
		var files []File
		var contents [][]byte
		data := int64(0)
		for i := range 5 {
			content := make([]byte, size)
			pages := rand.New(rand.NewPCG(seed, uint64(i/3))) // the first three are equal
			for range 4 {
				at := pages.IntN(size/4096) * 4096
				copy(content[at:at+4096], random(4096))
			}
			path := filepath.Join(dir, fmt.Sprint(i))
			sparse(t, path, content, i > 0)
			files, contents = append(files, asFound(t, path)), append(contents, content)
			if i > 0 {
				data += files[i].Allocated
			}
		}
		if files[1].Allocated >= int64(size)/2 {
			t.Skip("this file system keeps no holes: set TMPDIR to one that does, such as ext4")
		}
		hash := func(h *LocalHasher, files []File) (read int64) {
			for i, s := range h.Hash(t.Context(), Batch{Files: files, Want: StageWhole}) {
				if s.Problem != nil || s.Digest != blake3.Sum256(contents[i+len(contents)-len(files)]) {
					t.Errorf("seed %d, %d files of %d bytes, file %d: %v %v", seed, len(files), size, i, s.Digest, s.Problem)
				}
				read += s.Work.BytesRead
			}
			return read
		}
		for n := range files {
			for _, h := range []*LocalHasher{{}, {HashAll: true}} {
				most := data
				if n == 0 {
					most += int64(size)
				}
				if got := hash(h, files[n:]); got > most {
					t.Errorf("seed %d: %d bytes read of files that have %d: %d", seed, size, most, got)
				}
			}
		}
	}
}

// TestHugeHoles scans files whose holes would take days or years to hash. They must
// become problems at once, and so must files too large to add up.
func TestHugeHoles(t *testing.T) {
	t.Chdir(t.TempDir())
	testkit.MountTmpfs(t, "in", "size=1m")
	for path, size := range map[string]int64{
		"in/4EiB-a": 4 << 60, "in/4EiB-b": 4 << 60, "in/1TiB-a": 1 << 40, "in/1TiB-b": 1 << 40, "in/4MiB-a": 4 << 20, "in/4MiB-b": 4 << 20,
	} {
		write(t, nil, path)
		if err := os.Truncate(path, size); err != nil {
			t.Skip("this file system holds no file of that size: set TMPDIR to one that does, such as xfs: ", err)
		}
	}
	for _, mode := range []Mode{Goroutines, Processes} {
		r := scan(t, options{Roots: []string{"in"}, Mode: mode})
		why := make(map[string]string)
		for _, p := range r.Problems {
			why[filepath.Base(p.Path)] = p.Err.Error()
		}
		for name, want := range map[string]string{"4EiB-a": "2^63-1", "4EiB-b": "2^63-1", "1TiB-a": "GiB of holes", "1TiB-b": "GiB of holes"} {
			if !strings.Contains(why[name], want) {
				t.Errorf("%s, %s: %q, want %q", mode, name, why[name], want)
			}
		}
		if got := groups(r); len(got) != 1 || got[0].Reclaimable != 4<<20 || r.Stats.Bytes != 2<<40+8<<20 || len(why) != 4 {
			t.Errorf("%s: %v, %d bytes, %v", mode, got, r.Stats.Bytes, why)
		}
	}
}

// TestEmptyWithContent scans files in /proc, which have content but size 0.
func TestEmptyWithContent(t *testing.T) {
	dir := t.TempDir()
	write(t, nil, filepath.Join(dir, "a"), filepath.Join(dir, "b"))
	for _, mode := range []Mode{Goroutines, Processes} {
		r := scan(t, options{Roots: []string{dir, "/proc/sys/kernel/ostype", "/proc/sys/kernel/osrelease"}, Mode: mode})
		if len(r.Groups) != 1 || r.Groups[0].Names() != 2 || len(r.Problems) != 2 {
			t.Errorf("%s: %+v %v", mode, r.Groups, r.Problems)
		}
	}
}

// TestOldAndFarTimes scans files that differ only in times that 64 bits of nanoseconds
// cannot hold.
func TestOldAndFarTimes(t *testing.T) {
	t.Chdir(t.TempDir())
	testkit.MountTmpfs(t, "in", "size=1m")
	for path, seconds := range map[string]int64{"in/a": -11_000_000_000, "in/b": 11_000_000_000} {
		write(t, random(200<<10), path)
		times := []unix.Timespec{{Sec: seconds, Nsec: 5}, {Sec: seconds, Nsec: 5}}
		if err := unix.UtimesNanoAt(unix.AT_FDCWD, path, times, 0); err != nil {
			t.Fatal(err)
		}
		if got := asFound(t, path).ModTime; got != (Timestamp{seconds, 5}) {
			t.Skip("this file system keeps no such times: set TMPDIR to one that does, such as xfs: ", got)
		}
	}
	for _, mode := range []Mode{Goroutines, Processes} {
		r := scan(t, options{Roots: []string{"in"}, Mode: mode})
		if !r.Complete || len(r.Groups) != 1 || r.Groups[0].Copies[0].File().ModTime.Time().Year() != 1621 || r.Groups[0].Copies[1].File().ModTime.Time().Year() != 2318 {
			t.Errorf("%s: %+v %v", mode, r.Groups, r.Problems)
		}
	}
}
