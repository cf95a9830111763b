package dedupe

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unsafe"
)

// TestTable fills tables with files of few sizes and inodes, on several devices,
// and compares the size classes with those that a map gives; some tables are
// longer than what is kept at once.
func TestTable(t *testing.T) {
	for seed, n := range []int{0, 1, 2, 50, 1000, 3*recordsAtOnce + 1} {
		rnd := rand.New(rand.NewPCG(uint64(seed), 0))
		var table table
		bySize := make(map[int64][]File)
		for i := range n {
			f := File{
				Path: fmt.Sprintf("%s%d", strings.Repeat("x", rnd.IntN(200)), i), Size: rnd.Int64N(int64(3 * n)),
				Device: rnd.Uint64N(3), Inode: rnd.Uint64N(uint64(n)), ModTime: Timestamp{rnd.Int64N(2), 0}, ChangeTime: Timestamp{0, rnd.Int32N(2)},
			}
			directory := fmt.Sprint("d", i/7)
			table.add(table.addDirectory(directory, f.Device), &f)
			f.Path = directory + "/" + f.Path
			bySize[f.Size] = append(bySize[f.Size], f)
		}
		groups := table.classes()
		for _, g := range groups {
			want := bySize[g.Size]
			if n := runs(g.Files); n != inodes(want) {
				t.Errorf("%d files, size %d: names of one inode are not together: %v", n, g.Size, g.Files)
			}
			if !slices.IsSortedFunc(g.Files, compareInodes) {
				t.Errorf("%d files, size %d: not in the order in which Refine reads: %v", n, g.Size, g.Files)
			}
			for _, files := range [][]File{g.Files, want} {
				slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
			}
			if !slices.Equal(g.Files, want) || g.Copies() != inodes(want) {
				t.Errorf("%d files, size %d: %d copies of %v, want %d of %v", n, g.Size, g.Copies(), g.Files, inodes(want), want)
			}
			delete(bySize, g.Size)
		}
		for size, files := range bySize {
			if inodes(files) > 1 {
				t.Errorf("%d files: no class of size %d, which has %d inodes", n, size, inodes(files))
			}
		}
	}
}

// runs counts the inodes of files of which those with one inode follow each other.
func runs(files []File) int64 {
	n := int64(0)
	for i, f := range files {
		if i == 0 || f.inode() != files[i-1].inode() {
			n++
		}
	}
	return n
}

func inodes(files []File) int64 {
	seen := make(map[inode]bool)
	for _, f := range files {
		seen[f.inode()] = true
	}
	return int64(len(seen))
}

// TestRecordSize holds what decides the memory of a scan of a million files.
func TestRecordSize(t *testing.T) {
	if size := unsafe.Sizeof(record{}); size > 64 {
		t.Errorf("a file found takes %d bytes beside its name", size)
	}
	if size := unsafe.Sizeof(job{}); size > 48 {
		t.Errorf("an inode to be read takes %d bytes", size)
	}
}
