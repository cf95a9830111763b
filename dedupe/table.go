package dedupe

import (
	"cmp"
	"slices"
	"strings"
)

const (
	recordsAtOnce = 4 << 10
	namesAtOnce   = 64 << 10
	pathsAtOnce   = 64 << 10
)

// table is the files that a walk found, in few bytes each: most of a million
// files are of no further interest, because no other has their size. It grows
// without copying, and holds little that the garbage collector has to follow.
type table struct {
	records     [][]record // each of recordsAtOnce, but for the last
	names       [][]byte   // each of namesAtOnce at most
	directories []directoryRecord
	files       int
}

// directoryRecord is a directory of which the table has files, and the device that
// these are on. A directory with files on several devices, because one is mounted over
// another, has several records.
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
	offset     uint16 // of its name in the chunk
	length     uint16
}

func (r *record) modTime() Timestamp    { return Timestamp{r.modSec, r.modNsec} }
func (r *record) changeTime() Timestamp { return Timestamp{r.changeSec, r.changeNsec} }

// addDirectory adds a directory with files on a device, and returns its index.
func (t *table) addDirectory(path string, device uint64) uint32 {
	t.directories = append(t.directories, directoryRecord{path, device})
	return uint32(len(t.directories) - 1)
}

// add adds a file to a directory that holds files on its device. The file's path is its
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

// sized is a file by what classes sorts them by.
type sized struct {
	size  int64
	inode uint64
	at    uint32
}

// classes returns the files of each size that at least two inodes have, the largest
// first.
func (t *table) classes() []Group {
	files := t.shared()
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
	var groups []Group
	var paths paths
	for len(files) > 0 {
		n, inodes := 1, 1
		for ; n < len(files) && files[n].size == files[0].size; n++ {
			if files[n].inode != files[n-1].inode || t.compareInodes(files[n].at, files[n-1].at) != 0 {
				inodes++
			}
		}
		if inodes > 1 {
			groups = append(groups, t.group(files[:n], inodes, &paths))
		}
		files = files[n:]
	}
	return groups
}

// compareInodes orders files by their inodes.
func (t *table) compareInodes(a, b uint32) int {
	return t.inode(t.at(a)).compare(t.inode(t.at(b)))
}

func (t *table) inode(r *record) inode {
	return inode{t.directories[r.directory].device, r.inode, r.modTime(), r.changeTime()}
}

func (t *table) group(files []sized, inodes int, paths *paths) Group {
	g := Group{Size: files[0].size, Files: make([]File, len(files)), inodes: inodes}
	for i, f := range files {
		r := t.at(f.at)
		d := &t.directories[r.directory]
		g.Files[i] = File{
			Path: paths.join(d.path, t.name(r)), Size: r.size,
			Device: d.device, Inode: r.inode, ModTime: r.modTime(), ChangeTime: r.changeTime(),
			Links: r.links, Allocated: r.allocated,
		}
	}
	return g
}

// paths makes paths that are parts of larger strings, so that memory is taken for
// many at once.
type paths struct{ strings.Builder }

// join is the function join, of a name that is not empty.
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

// shared returns all files of a size that another has, and a few more.
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
