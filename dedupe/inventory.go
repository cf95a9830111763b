package dedupe

import (
	"cmp"
	"context"
	"iter"
	"slices"
	"strings"
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

	locations map[string]location // of the roots, by the path given

	table  table
	copies []*Copy // set by Copies, which empties the table
}

// All yields all files, in no particular order. It yields none after Copies was called.
func (v *Inventory) All() iter.Seq[File] {
	return func(yield func(File) bool) {
		var paths paths
		for i := range v.table.files {
			if !yield(v.table.file(uint32(i), &paths)) {
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

// makeCopies turns the table into copies and empties it. It returns false if that, or a
// scan of the copies, would take more than room bytes. A room of 0 means no limit. Once ctx
// has ended, nobody will read the copies: it counts the bytes, and makes none.
func (v *Inventory) makeCopies(ctx context.Context, room int64) bool {
	if v.copies != nil {
		return true
	}
	files := v.table.shared()
	if room > 0 && v.table.bytes()+int64(len(files))*int64(unsafe.Sizeof(sized{})) > room {
		return false
	}
	v.table.sort(files)
	bytes, largest := v.table.countable(files)
	v.table.weigh(files, largest, v.stored)
	files = slices.DeleteFunc(files, func(f sized) bool { return f.size > largest })
	files, inodes := v.table.dropUnique(files)
	if ctx.Err() != nil && inodes > 0 {
		v.Interrupted = true
		files, inodes = nil, 0
	}
	if room > 0 && v.table.bytes()+v.table.copyBytes(files) > room {
		return false
	}
	v.Bytes = bytes
	v.Problems = append(v.Problems, v.table.uncountable(largest)...)
	v.copies, v.table = v.table.copies(files, inodes), table{}
	return true
}

// split yields the copies larger than size bytes, and the others.
func (v *Inventory) split(size int64) (larger, others iter.Seq[*Copy]) {
	n, _ := slices.BinarySearchFunc(v.copies, size, func(c *Copy, size int64) int { return cmp.Compare(size, c.Size) })
	return slices.Values(v.copies[:n]), slices.Values(v.copies[n:])
}

// Merge adds what another walk of the same selection found. Call it before Copies.
func (v *Inventory) Merge(other *Inventory) {
	v.Directories += other.Directories
	v.Problems = append(v.Problems, other.Problems...)
	v.Skipped = append(v.Skipped, other.Skipped...)
	v.Interrupted = v.Interrupted || other.Interrupted
	indexes := make(map[uint32]uint32) // from the other table's directories to this one's
	t := &other.table
	var room paths
	for i := range t.files {
		r := t.at(uint32(i))
		d := &t.directories[r.directory]
		at, known := indexes[r.directory]
		if !known {
			at = v.table.addDirectory(d.path, d.device)
			indexes[r.directory] = at
		}
		f := t.file(uint32(i), &room)
		f.Path = string(t.name(r))
		v.add(at, &f)
	}
}

// add adds a file to a directory of the table. Its path is its name there.
func (v *Inventory) add(directory uint32, f *File) {
	v.Files++
	v.Bytes += f.Size
	v.table.add(directory, f)
}

const (
	recordsAtOnce = 4 << 10
	namesAtOnce   = 64 << 10
	pathsAtOnce   = 64 << 10
)

// table holds the files that a walk found, in a few bytes each: most of a million files
// do not matter later, because no other file has their size. It grows without copying,
// and holds few pointers for the garbage collector to follow.
type table struct {
	records     [][]record // each has recordsAtOnce, except the last
	names       [][]byte   // each has at most namesAtOnce
	directories []directoryRecord
	files       int
	pathBytes   int64 // total length of the paths of directories
}

// bytes returns how much memory the table takes.
func (t *table) bytes() int64 {
	return int64(len(t.records))*recordsAtOnce*int64(unsafe.Sizeof(record{})) +
		int64(len(t.names))*namesAtOnce + int64(len(t.directories))*int64(unsafe.Sizeof(directoryRecord{})) + t.pathBytes
}

// copyBytes returns how much memory it takes to make copies of the files, besides the
// table.
func (t *table) copyBytes(files []sized) int64 {
	const each = copyMemory + int64(unsafe.Sizeof(sized{})+unsafe.Sizeof(&Copy{}))
	bytes := int64(len(files)) * each
	for _, f := range files {
		r := t.at(f.at)
		bytes += int64(len(t.directories[r.directory].path)) + 1 + int64(r.length)
	}
	return bytes
}

// directoryRecord is a directory with files in the table, and the device they are on. If
// another file system is mounted over a directory's files, the directory has one record
// per device.
type directoryRecord struct {
	path   string
	device uint64
}

// record is a file in 64 bytes.
type record struct {
	size       int64
	inode      uint64
	modSec     int64
	changeSec  int64
	allocated  int64
	modNsec    int32
	changeNsec int32
	links      uint32
	directory  uint32 // index in table.directories
	chunk      uint32 // index in table.names
	offset     uint16 // of the name in the chunk
	length     uint16
}

func (r *record) modTime() Timestamp    { return Timestamp{r.modSec, r.modNsec} }
func (r *record) changeTime() Timestamp { return Timestamp{r.changeSec, r.changeNsec} }

// addDirectory adds a directory with files on a device, and returns its index.
func (t *table) addDirectory(path string, device uint64) uint32 {
	t.directories = append(t.directories, directoryRecord{path, device})
	t.pathBytes += int64(len(path))
	return uint32(len(t.directories) - 1)
}

// add adds a file to a directory record with the file's device. The file's path is its
// name in the directory.
func (t *table) add(directory uint32, f *File) {
	if t.files%recordsAtOnce == 0 {
		t.records = append(t.records, make([]record, 0, recordsAtOnce))
	}
	t.files++
	r := record{
		size: f.Size, inode: f.Inode, modSec: f.ModTime.Sec, modNsec: f.ModTime.Nsec,
		changeSec: f.ChangeTime.Sec, changeNsec: f.ChangeTime.Nsec,
		allocated: f.Allocated, links: f.Links, directory: directory,
	}
	r.chunk, r.offset, r.length = t.store(f.Path)
	last := &t.records[len(t.records)-1]
	*last = append(*last, r)
}

func (t *table) store(name string) (chunk uint32, offset, length uint16) {
	last := len(t.names) - 1
	if last < 0 || len(t.names[last])+len(name) > namesAtOnce {
		t.names = append(t.names, make([]byte, 0, namesAtOnce))
		last++
	}
	at := len(t.names[last])
	t.names[last] = append(t.names[last], name...)
	return uint32(last), uint16(at), uint16(len(name))
}

func (t *table) at(i uint32) *record { return &t.records[i/recordsAtOnce][i%recordsAtOnce] }

func (t *table) name(r *record) []byte { return t.names[r.chunk][r.offset:][:r.length] }

func (t *table) path(i uint32) string {
	r := t.at(i)
	return join(t.directories[r.directory].path, string(t.name(r)))
}

// sized is a file, with the keys that sort compares first.
type sized struct {
	size  int64
	inode uint64
	at    uint32
}

// sort sorts files: largest first, files of one size by inode.
func (t *table) sort(files []sized) {
	slices.SortFunc(files, func(a, b sized) int {
		if a.size != b.size {
			return cmp.Compare(b.size, a.size)
		}
		if a.inode != b.inode {
			return cmp.Compare(a.inode, b.inode)
		}
		if c := t.compareInodes(a.at, b.at); c != 0 {
			return c
		}
		return strings.Compare(t.path(a.at), t.path(b.at)) // names of one inode
	})
}

// copies turns sorted files, which are names of the given number of inodes, into copies.
// They and their paths lie in memory in the order in which they will be read.
func (t *table) copies(files []sized, inodes int) []*Copy {
	room := make([]Copy, inodes)
	copies := make([]*Copy, 0, inodes)
	var paths paths
	for i, f := range files {
		file := t.file(f.at, &paths)
		if i > 0 && t.isSame(f, files[i-1]) {
			last := copies[len(copies)-1]
			last.OtherPaths = append(last.OtherPaths, file.Path)
			continue
		}
		c := &room[len(copies)]
		c.File = file
		copies = append(copies, c)
	}
	return copies
}

// dropUnique keeps the files of each size that at least two inodes have, and counts those
// inodes. The files must be sorted.
func (t *table) dropUnique(files []sized) (kept []sized, inodes int) {
	kept = files[:0]
	for len(files) > 0 {
		n, same := 1, 1
		for ; n < len(files) && files[n].size == files[0].size; n++ {
			if !t.isSame(files[n], files[n-1]) {
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

// isSame reports whether two files of one size are names of one inode.
func (t *table) isSame(a, b sized) bool {
	return a.inode == b.inode && t.compareInodes(a.at, b.at) == 0
}

// compareInodes orders files by their inodes.
func (t *table) compareInodes(a, b uint32) int {
	return t.inode(t.at(a)).compare(t.inode(t.at(b)))
}

func (t *table) inode(r *record) inode {
	return inode{t.directories[r.directory].device, r.inode, r.modTime(), r.changeTime()}
}

func (t *table) file(i uint32, paths *paths) File {
	r := t.at(i)
	d := &t.directories[r.directory]
	return File{
		Path: paths.join(d.path, t.name(r)), Size: r.size,
		Device: d.device, Inode: r.inode, ModTime: r.modTime(), ChangeTime: r.changeTime(),
		Links: r.links, Allocated: r.allocated,
	}
}

// paths makes paths as parts of larger strings, so that one allocation serves many.
type paths struct{ strings.Builder }

// join does the same as the function join, for a name that is not empty.
func (p *paths) join(dir string, name []byte) string {
	if need := len(dir) + len("/") + len(name); p.Cap()-p.Len() < need {
		p.Reset()
		p.Grow(max(need, pathsAtOnce))
	}
	start := p.Len()
	p.WriteString(dir)
	p.WriteString(separator(dir))
	p.Write(name)
	return p.String()[start:]
}

// shared returns all files that share their size with another, and a few others.
func (t *table) shared() []sized {
	sizes := newMaybeDuplicated(t.files)
	for _, records := range t.records {
		for i := range records {
			sizes.add(uint64(records[i].size))
		}
	}
	n := 0
	for _, records := range t.records {
		for i := range records {
			if sizes.twice(uint64(records[i].size)) {
				n++
			}
		}
	}
	files := make([]sized, 0, n)
	for k, records := range t.records {
		for i := range records {
			if r := &records[i]; sizes.twice(uint64(r.size)) {
				files = append(files, sized{r.size, r.inode, uint32(k*recordsAtOnce + i)})
			}
		}
	}
	return files
}
