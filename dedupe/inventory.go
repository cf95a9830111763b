package dedupe

import (
	"cmp"
	"context"
	"iter"
	"slices"
	"unsafe"
)

// Inventory is what walks found.
type Inventory struct {
	Files       int64 // regular files that pass the filter
	Bytes       int64 // their content; each inode counts once after Copies was called
	Directories int64 // directories listed
	Problems    []*Problem
	Skipped     []Skipped
	Interrupted bool // the context ended before the walk did

	stored func(size, allocated, n int64) // see Engine.Stored
	whole  bool                           // also keep the files that share their size with no other

	locations map[string]location // of the roots, by the path given
	wanted    string              // the path of Selection.CopiesOf

	table  table
	copies []*Copy // set by Copies, which empties the table
	alone  []*Copy // the others, if whole
}

// All yields all files, in no particular order. It yields none after Copies was called.
func (v *Inventory) All() iter.Seq[File] {
	return func(yield func(File) bool) {
		for c := range v.table.all() {
			if !yield(c.File()) {
				return
			}
		}
	}
}

// Copies yields the copies that may have a duplicate: those whose size at least two
// inodes have. The largest come first. The first call forgets all other files, so that
// they take no memory while copies are read. Every call yields the same pointers.
func (v *Inventory) Copies() iter.Seq[*Copy] {
	v.makeCopies(context.Background(), 0)
	return slices.Values(v.copies)
}

// makeCopies turns the table into copies and empties it. It returns false if that would
// take more than room bytes. A room of 0 means no limit. Once ctx has ended, nobody will
// read the copies: it counts the bytes, and makes none.
func (v *Inventory) makeCopies(ctx context.Context, room int64) bool {
	if v.copies != nil {
		return true
	}
	n, shared := v.table.shared()
	if room > 0 && v.table.bytes+int64(n)*int64(unsafe.Sizeof(sized{})) > room {
		return false
	}
	files := make([]sized, 0, n)
	for c := range shared {
		files = append(files, sized{c.size, c.number, c})
	}
	slices.SortFunc(files, compareSized)
	bytes, largest := v.table.countable(files)
	v.table.weigh(files, largest, v.stored)
	files = slices.DeleteFunc(files, func(f sized) bool { return f.size > largest })
	files, inodes := dropUnique(files)
	if v.whole && !v.makeAlone(files, largest, room) {
		return false
	}
	if ctx.Err() != nil && inodes > 0 {
		v.Interrupted = true
		files, inodes, v.alone = nil, 0, nil
	}
	v.Bytes = bytes
	v.Problems = append(v.Problems, v.table.uncountable(largest)...)
	if !v.whole {
		v.table.move(files, room)
	}
	v.copies, v.table = linkCopies(files, inodes), table{bytes: v.table.bytes}
	return true
}

// makeAlone makes copies of the files, up to a size, that share it with none of those
// given. It returns false if that would take more than room bytes, if there is a limit.
func (v *Inventory) makeAlone(shared []sized, largest, room int64) bool {
	sizes := make(map[int64]bool)
	for i := range shared {
		sizes[shared[i].size] = true
	}
	need := v.Files * int64(unsafe.Sizeof(sized{}))
	if room > 0 && v.table.bytes+need > room {
		return false
	}
	var files []sized
	for c := range v.table.all() {
		if !sizes[c.size] && c.size <= largest {
			files = append(files, sized{c.size, c.number, c})
		}
	}
	slices.SortFunc(files, compareSized)
	v.table.bytes += need
	v.alone = linkCopies(files, len(files))
	return true
}

// unique returns the copies, by path, that are in none of the groups and no problem.
func (v *Inventory) unique(groups []Group, problems []*Problem) []*Copy {
	grouped := make(map[*Copy]bool, len(v.copies))
	for _, g := range groups {
		for _, c := range g.Copies {
			grouped[c] = true
		}
	}
	failed := make(map[string]bool, len(problems))
	for _, p := range problems {
		failed[p.Path] = true
	}
	all := v.alone
	for _, c := range v.copies {
		if !grouped[c] && !c.hasPath(func(path string) bool { return failed[path] }) {
			all = append(all, c)
		}
	}
	slices.SortFunc(all, comparePaths)
	return all
}

// split yields the copies larger than size bytes, and the others.
func (v *Inventory) split(size int64) (larger, others iter.Seq[*Copy]) {
	n, _ := slices.BinarySearchFunc(v.copies, size, func(c *Copy, size int64) int { return cmp.Compare(size, c.size) })
	return slices.Values(v.copies[:n]), slices.Values(v.copies[n:])
}

// Merge adds what another walk of the same selection found, and empties its inventory.
// Call it before Copies.
func (v *Inventory) Merge(other *Inventory) {
	v.Files += other.Files
	v.Bytes += other.Bytes
	v.Directories += other.Directories
	v.Problems = append(v.Problems, other.Problems...)
	v.Skipped = append(v.Skipped, other.Skipped...)
	v.Interrupted = v.Interrupted || other.Interrupted
	v.table.chunks = append(v.table.chunks, other.table.chunks...)
	v.table.bytes += other.table.bytes
	other.table = table{}
}

// add adds files of one directory. The names of their folder, and of the directory if it
// is new, take some bytes more.
func (v *Inventory) add(files []Copy, bytes int) {
	v.Files += int64(len(files))
	for i := range files {
		v.Bytes += files[i].size
	}
	v.table.bytes += int64(bytes)
	v.table.add(files)
}

// fewFiles and manyFiles are the number of files in the first chunk of a table, and in
// later ones.
const fewFiles, manyFiles = 64, 4 << 10

// table holds the files that a walk found, each name by itself. It grows without copying.
type table struct {
	chunks [][]Copy
	bytes  int64 // of memory that all this takes
}

func (t *table) add(files []Copy) {
	for len(files) > 0 {
		last := len(t.chunks) - 1
		if last < 0 || len(t.chunks[last]) == cap(t.chunks[last]) {
			n := fewFiles
			if last >= 0 {
				n = min(2*cap(t.chunks[last]), manyFiles)
			}
			t.chunks = append(t.chunks, make([]Copy, 0, n))
			t.bytes += int64(n) * copyMemory
			continue
		}
		n := min(len(files), cap(t.chunks[last])-len(t.chunks[last]))
		t.chunks[last] = append(t.chunks[last], files[:n]...)
		files = files[n:]
	}
}

func (t *table) all() iter.Seq[*Copy] {
	return func(yield func(*Copy) bool) {
		for _, chunk := range t.chunks {
			for i := range chunk {
				if !yield(&chunk[i]) {
					return
				}
			}
		}
	}
}

// shared yields all files that share their size with another, and a few others. There are
// n.
func (t *table) shared() (n int, files iter.Seq[*Copy]) {
	all := 0
	for _, chunk := range t.chunks {
		all += len(chunk)
	}
	sizes := newMaybeDuplicated(all)
	for c := range t.all() {
		sizes.add(uint64(c.size))
	}
	for c := range t.all() {
		if sizes.twice(uint64(c.size)) {
			n++
		}
	}
	return n, func(yield func(*Copy) bool) {
		for c := range t.all() {
			if sizes.twice(uint64(c.size)) && !yield(c) {
				return
			}
		}
	}
}

// move moves files out of the table, so that they lie in memory in the order in which they
// will be read, and the others in the table take none. It moves none if they are most of the
// table: it would take more memory than it frees. It needs room bytes, unless room is 0; if
// there is less, it moves none either.
func (t *table) move(files []sized, room int64) {
	found := 0
	for _, chunk := range t.chunks {
		found += len(chunk)
	}
	if len(files) > found*3/4 {
		return
	}
	need := int64(len(files)) * copyMemory
	if room > 0 && t.bytes+need+int64(len(files))*int64(unsafe.Sizeof(sized{})) > room {
		return
	}
	moved := make([]Copy, len(files))
	for i := range files {
		moved[i] = *files[i].Copy
		files[i].Copy = &moved[i]
	}
	t.bytes += need
	for _, chunk := range t.chunks {
		t.bytes -= int64(cap(chunk)) * copyMemory
	}
	t.chunks = nil
}

// sized is a file, with the keys that compareSized compares first.
type sized struct {
	size   int64
	number uint64 // of the inode
	*Copy
}

// compareSized orders files: largest first, files of one size by inode and name.
func compareSized(a, b sized) int {
	switch {
	case a.size != b.size:
		return cmp.Compare(b.size, a.size)
	case a.number != b.number:
		return cmp.Compare(a.number, b.number)
	}
	return compareNames(a.Copy, b.Copy)
}

// isSame reports whether two files are names of one inode.
func isSame(a, b sized) bool {
	return a.number == b.number && a.size == b.size && compareInodes(a.Copy, b.Copy) == 0
}

// dropUnique keeps the files of each size that at least two inodes have, and counts those
// inodes. The files must be sorted.
func dropUnique(files []sized) (kept []sized, inodes int) {
	kept = files[:0]
	for len(files) > 0 {
		n, same := 1, 1
		for ; n < len(files) && files[n].size == files[0].size; n++ {
			if !isSame(files[n], files[n-1]) {
				same++
			}
		}
		if same > 1 {
			kept = append(kept, files[:n]...)
			inodes += same
		}
		files = files[n:]
	}
	return kept, inodes
}

// linkCopies makes one copy of all names of an inode. The files must be sorted. They have
// the given number of inodes.
func linkCopies(files []sized, inodes int) []*Copy {
	copies := make([]*Copy, 0, inodes)
	for i, f := range files {
		if i > 0 && isSame(f, files[i-1]) {
			files[i-1].next = f.Copy
		} else {
			copies = append(copies, f.Copy)
		}
	}
	return copies
}
