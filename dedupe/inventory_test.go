package dedupe

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unsafe"
)

// TestTable fills tables with files of few sizes and inodes on several devices, and
// compares the size classes with those from a map. Some tables have several chunks.
func TestTable(t *testing.T) {
	for seed, n := range []int{0, 1, 2, 50, 1000, 3*manyFiles + 1} {
		rnd := rand.New(rand.NewPCG(uint64(seed), 0))
		var table table
		bySize := make(map[int64][]File)
		for i := range n {
			f := File{
				Path: fmt.Sprintf("%s%d", strings.Repeat("x", rnd.IntN(200)), i), Size: rnd.Int64N(int64(3 * n)),
				Device: rnd.Uint64N(3), Inode: rnd.Uint64N(uint64(n)), ModTime: Timestamp{rnd.Int64N(2), 0}, ChangeTime: Timestamp{0, rnd.Int32N(2)},
			}
			directory := fmt.Sprint("d", i/7)
			var c Copy
			c.set(&f, &folder{directory, f.Device, "x\x00" + f.Path + "\x00"}, 2, len(f.Path))
			table.add([]Copy{c})
			f.Path = directory + "/" + f.Path
			bySize[f.Size] = append(bySize[f.Size], f)
		}
		for _, class := range classesOf(slices.Collect((&Inventory{table: table}).Copies())) {
			size, files := class[0].size, flat(class)
			want := bySize[size]
			if n := int64(len(class)); n != inodes(want) {
				t.Errorf("%d files, size %d: %d copies of %d inodes: names of one inode are not together", n, size, n, inodes(want))
			}
			if !slices.IsSortedFunc(files, func(a, b File) int { return a.inode().compare(b.inode()) }) {
				t.Errorf("%d files, size %d: not in the order in which Read reads: %v", n, size, files)
			}
			for _, files := range [][]File{files, want} {
				slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
			}
			if !slices.Equal(files, want) {
				t.Errorf("%d files, size %d: %v, want %v", n, size, files, want)
			}
			delete(bySize, size)
		}
		for size, files := range bySize {
			if inodes(files) > 1 {
				t.Errorf("%d files: no class of size %d, which has %d inodes", n, size, inodes(files))
			}
		}
	}
}

// classesOf splits copies that are sorted by size.
func classesOf(copies []*Copy) (classes [][]*Copy) {
	for len(copies) > 0 {
		n := 1
		for n < len(copies) && copies[n].size == copies[0].size {
			n++
		}
		classes, copies = append(classes, copies[:n]), copies[n:]
	}
	return classes
}

// flat returns a file for each name of each copy.
func flat(copies []*Copy) (files []File) {
	for _, c := range copies {
		files = slices.AppendSeq(files, c.Files())
	}
	return files
}

func inodes(files []File) int64 {
	seen := make(map[inode]bool)
	for _, f := range files {
		seen[f.inode()] = true
	}
	return int64(len(seen))
}

// TestRecordSize pins the sizes that decide how much memory a scan of a million files
// takes.
func TestRecordSize(t *testing.T) {
	if size := unsafe.Sizeof(Copy{}); size > 80 {
		t.Errorf("a file found takes %d bytes beside its name", size)
	}
	if size := unsafe.Sizeof(Copy{}) + unsafe.Sizeof(known{}); size > 120 {
		t.Errorf("an inode that was read takes %d bytes", size)
	}
}

// TestCopyOf makes a copy with several names, which must be all it has.
func TestCopyOf(t *testing.T) {
	var got []string
	for f := range CopyOf(File{Path: "a", Inode: 7}, "b", "c", "d").Files() {
		if got = append(got, f.Path); f.Inode != 7 || len(got) > 4 {
			break
		}
	}
	if want := []string{"a", "b", "c", "d"}; !slices.Equal(got, want) {
		t.Errorf("names %q, want %q", got, want)
	}
}
