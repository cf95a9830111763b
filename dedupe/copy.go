package dedupe

import (
	"bytes"
	"cmp"
	"iter"
	"math"
	"slices"
	"strings"
)

// Copy is one inode: all its names that were found, and what is known of its content
// without reading it. A scan of a million files holds a million of them, so each takes as
// few bytes as possible. Its files are put together when they are asked for.
type Copy struct {
	in    *folder
	next  *Copy  // the inode under its next name, in the order of paths; nil if there is none
	known *known // nil if nothing is known

	size, allocated     int64
	number              uint64 // of the inode
	modSec, changeSec   int64
	modNsec, changeNsec int32
	links               uint32
	name                uint16 // where its name begins in the names of the folder
	length              uint8  // of that name; 0 if the name is longer than fits here
	counted             bool   // the work that this knowledge took or saved is already counted
}

// folder is a directory and the names of a few of its files, each followed by a zero
// byte. The files are on one device.
type folder struct {
	path   string
	device uint64
	names  string
}

// known is what an index or an earlier stage learned about a file's content.
type known struct {
	ends   Ends   // zero if unknown
	digest Digest // zero if unknown
}

// CopyOf returns the inode that is behind a file and other paths. Paths must be sorted.
func CopyOf(f File, otherPaths ...string) *Copy {
	c := new(Copy)
	c.set(&f, &folder{path: f.Path, device: f.Device, names: "\x00"}, 0, 0)
	last := c
	for _, path := range otherPaths {
		other := *c
		other.in, other.next = &folder{path: path, device: f.Device, names: "\x00"}, nil
		last.next = &other
		last = &other
	}
	return c
}

// set makes c a file with a name in a folder: it has some length and begins at an index.
func (c *Copy) set(f *File, in *folder, name, length int) {
	if length > math.MaxUint8 {
		length = 0
	}
	*c = Copy{
		in: in, name: uint16(name), length: uint8(length), number: f.Inode, size: f.Size, allocated: f.Allocated, links: f.Links,
		modSec: f.ModTime.Sec, modNsec: f.ModTime.Nsec, changeSec: f.ChangeTime.Sec, changeNsec: f.ChangeTime.Nsec,
	}
}

// Size returns the bytes of the content.
func (c *Copy) Size() int64 { return c.size }

// Links counts the names of the inode, inside or outside the roots. It is 0 if unknown.
func (c *Copy) Links() uint32 { return c.links }

// File returns the file under its first name.
func (c *Copy) File() File { return c.file(c.path()) }

// file returns the file under one of its names.
func (c *Copy) file(path string) File {
	return File{
		Path: path, Size: c.size, Device: c.in.device, Inode: c.number, ModTime: Timestamp{c.modSec, c.modNsec},
		ChangeTime: Timestamp{c.changeSec, c.changeNsec}, Links: c.links, Allocated: c.allocated,
	}
}

// Files yields the file under each of its names.
func (c *Copy) Files() iter.Seq[File] {
	return func(yield func(File) bool) {
		for path := range c.paths() {
			if !yield(c.file(path)) {
				return
			}
		}
	}
}

// Known returns what is known of the content. The ends, the digest or both are zero if
// they are unknown.
func (c *Copy) Known() (Ends, Digest) {
	if c.known == nil {
		return 0, Digest{}
	}
	return c.known.ends, c.known.digest
}

// Learn records what an index knows of the content, so that Read need not read it.
func (c *Copy) Learn(ends Ends, digest Digest) { c.known = &known{ends, digest} }

// Restore records what reading the content revealed before, perhaps in another process.
// Unlike what an index knows, it saves no work.
func (c *Copy) Restore(ends Ends, digest Digest) {
	c.Learn(ends, digest)
	c.counted = true
}

func (c *Copy) ends() Ends {
	if c.known == nil {
		return 0
	}
	return c.known.ends
}

func (c *Copy) hasDigest() bool { return c.known != nil && c.known.digest != Digest{} }

// base returns its first name in its directory. It is empty if the path of the folder is
// the whole path.
func (c *Copy) base() string {
	rest := c.in.names[c.name:]
	if c.length > 0 {
		return rest[:c.length] // does not wait for the name to arrive from memory
	}
	return rest[:strings.IndexByte(rest, 0)]
}

// path returns the path of its first name.
func (c *Copy) path() string { return join(c.in.path, c.base()) }

// appendPath appends the path of its first name.
func (c *Copy) appendPath(b []byte) []byte {
	b = append(b, c.in.path...)
	if name := c.base(); name != "" {
		b = append(append(b, separator(c.in.path)...), name...)
	}
	return b
}

// paths yields all names of a copy.
func (c *Copy) paths() iter.Seq[string] {
	return func(yield func(string) bool) {
		for ; c != nil; c = c.next {
			if !yield(c.path()) {
				return
			}
		}
	}
}

// hasPath reports whether one of its names satisfies a condition.
func (c *Copy) hasPath(is func(path string) bool) bool {
	for path := range c.paths() {
		if is(path) {
			return true
		}
	}
	return false
}

// names counts the names of a copy.
func (c *Copy) names() (n int) {
	for ; c != nil; c = c.next {
		n++
	}
	return n
}

func (c *Copy) inode() inode {
	return inode{c.in.device, c.number, Timestamp{c.modSec, c.modNsec}, Timestamp{c.changeSec, c.changeNsec}}
}

// compareInodes orders copies by their inodes. It returns 0 for two names of one inode.
func compareInodes(a, b *Copy) int {
	if c := cmp.Compare(a.number, b.number); c != 0 {
		return c
	}
	return a.inode().compare(b.inode())
}

// comparePaths orders copies by the paths of their first names.
func comparePaths(a, b *Copy) int {
	if a.in == b.in {
		return strings.Compare(a.base(), b.base())
	}
	n := min(len(a.in.path), len(b.in.path))
	if x, y := a.in.path[:n], b.in.path[:n]; x != y {
		return strings.Compare(x, y)
	}
	var x, y [256]byte
	return bytes.Compare(a.appendPath(x[:0]), b.appendPath(y[:0]))
}

// compareNames orders copies by inode, then by name.
func compareNames(a, b *Copy) int {
	if c := compareInodes(a, b); c != 0 {
		return c
	}
	return comparePaths(a, b)
}

// merge returns a copy with the names of both.
func (c *Copy) merge(d *Copy) *Copy {
	var all []*Copy
	for _, of := range []*Copy{c, d} {
		for ; of != nil; of = of.next {
			name := *c
			name.in, name.name, name.length = of.in, of.name, of.length
			all = append(all, &name)
		}
	}
	slices.SortStableFunc(all, comparePaths)
	all = slices.CompactFunc(all, func(a, b *Copy) bool { return comparePaths(a, b) == 0 })
	for i := range all {
		all[i].next = nil
		if i > 0 {
			all[i-1].next = all[i]
		}
	}
	return all[0]
}

// paths makes paths as parts of larger strings, so that one allocation serves many.
type paths struct{ strings.Builder }

// pathsAtOnce is how many bytes of paths to allocate at once.
const pathsAtOnce = 4 << 10

// reserve makes room for the paths of the first names of some copies. Most copies and
// folders are not in the processor's cache, and a loop that does little else waits for
// several of them at once.
func (p *paths) reserve(copies []*Copy) {
	need := 0
	for _, c := range copies {
		need += len(c.in.path) + len("/") + int(c.length)
	}
	p.room(need)
}

// room makes room for so many bytes.
func (p *paths) room(need int) {
	if p.Cap()-p.Len() < need {
		grown := min(max(2*p.Cap(), need), max(need, pathsAtOnce))
		p.Reset()
		p.Grow(grown)
	}
}

// of returns the path of the first name of a copy.
func (p *paths) of(c *Copy) string {
	name := c.base()
	p.room(len(c.in.path) + len("/") + len(name))
	start := p.Len()
	p.WriteString(c.in.path)
	if name != "" {
		p.WriteString(separator(c.in.path))
		p.WriteString(name)
	}
	return p.String()[start:]
}
