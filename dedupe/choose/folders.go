package choose

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strings"

	"efsdedupe/dedupe"
)

// Found collects the folders of a scan. Its method Add is for dedupe.Engine.Folder.
type Found struct {
	folders map[string]*folder // by path
}

// Add records a folder that was listed, and whether everything in it is compared.
func (f *Found) Add(path string, whole bool) {
	if f.folders == nil {
		f.folders = make(map[string]*folder)
	}
	f.folders[path] = &folder{path: path, partial: !whole}
}

// folder is a folder of a scan, with what is directly in it.
type folder struct {
	path    string
	partial bool // something in it, at any depth, is not compared
	files   []content
	folders []*folder
	parent  *folder // nil if it was not listed
	class   *class
	extra   bool // it, or a folder above it, is a duplicate that is not kept
}

// content is a file in a folder.
type content struct {
	name    string
	content int          // equal if the bytes are
	inode   *dedupe.Copy // the same for all names of an inode
	edited  dedupe.Timestamp
}

// class is folders with identical content.
type class struct {
	number  int
	height  int // folders above each other in it
	files   int64
	members []*folder
}

// Duplicates returns the sets of identical folders, most reclaimable first. Folders are
// identical if they hold the same files and folders under the same names, with equal
// content. A folder with anything that was not compared has no duplicate, and neither has
// one without files. A folder is left out if a folder above it is a duplicate that is not
// kept. The report must be as the scan returned it, with Unique. If ctx ends meanwhile, the
// error is its cause.
func (f *Found) Duplicates(ctx context.Context, r *dedupe.Report, c *Chooser) ([]Folders, error) {
	if r.Interrupted {
		return nil, nil
	}
	f.spoil(r)
	for i := range r.Groups {
		for _, copy := range r.Groups[i].Copies {
			f.place(copy, i)
		}
	}
	for i, copy := range r.Unique {
		f.place(copy, len(r.Groups)+i)
	}
	var sets []Folders
	for _, of := range f.classes() {
		if set, ok := c.folders(ctx, of); ok {
			sets = append(sets, set)
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
	}
	slices.SortFunc(sets, func(a, b Folders) int {
		return cmp.Or(cmp.Compare(b.Reclaimable, a.Reclaimable), cmp.Compare(b.Bytes, a.Bytes), strings.Compare(a.Paths[0].Path, b.Paths[0].Path))
	})
	return sets, nil
}

// spoil marks the folders with something that was skipped or is a problem.
func (f *Found) spoil(r *dedupe.Report) {
	spoil := func(path string) {
		for ; path != ""; path, _ = split(path) {
			if in := f.folders[path]; in != nil {
				in.partial = true
			}
		}
	}
	for _, p := range r.Problems {
		spoil(p.Path)
	}
	for _, s := range r.Skipped {
		spoil(s.Path)
	}
}

// place puts the names of an inode into their folders.
func (f *Found) place(inode *dedupe.Copy, number int) {
	for file := range inode.Files() {
		dir, name := split(file.Path)
		if in := f.folders[dir]; in != nil {
			in.files = append(in.files, content{name, number, inode, file.ModTime})
		}
	}
}

// split returns the folder of a path, and the name in it. The folder of a path without a
// slash is the current one; that has none.
func split(path string) (dir, name string) {
	i := strings.LastIndexByte(path, '/')
	switch {
	case path == "." || path == "/":
		return "", path
	case i < 0:
		return ".", path
	case i == 0:
		return "/", path[1:]
	}
	return path[:i], path[i+1:]
}

// classes returns the classes with several folders. A folder comes before those in it.
func (f *Found) classes() (all []*class) {
	deepest := make([]*folder, 0, len(f.folders))
	for _, in := range f.folders {
		deepest = append(deepest, in)
	}
	slices.SortFunc(deepest, func(a, b *folder) int {
		return cmp.Or(cmp.Compare(strings.Count(b.path, "/"), strings.Count(a.path, "/")), cmp.Compare(len(b.path), len(a.path)), strings.Compare(a.path, b.path))
	})
	known := make(map[[sha256.Size]byte]*class)
	for _, in := range deepest {
		dir, _ := split(in.path)
		in.parent = f.folders[dir]
		if !in.partial {
			key := in.key()
			of := known[key]
			if of == nil {
				of = in.newClass(len(known))
				known[key] = of
			}
			of.members = append(of.members, in)
			in.class = of
		}
		if in.parent != nil {
			in.parent.partial = in.parent.partial || in.partial
			in.parent.folders = append(in.parent.folders, in)
		}
	}
	for _, of := range known {
		if len(of.members) > 1 && of.files > 0 {
			all = append(all, of)
		}
	}
	slices.SortFunc(all, func(a, b *class) int { return cmp.Or(cmp.Compare(b.height, a.height), cmp.Compare(a.number, b.number)) })
	return all
}

// key is the same for folders with identical content.
func (f *folder) key() [sha256.Size]byte {
	entries := make([]string, 0, len(f.files)+len(f.folders))
	for _, file := range f.files {
		entries = append(entries, string(binary.AppendUvarint([]byte(file.name+"\x00f"), uint64(file.content))))
	}
	for _, in := range f.folders {
		_, name := split(in.path)
		entries = append(entries, string(binary.AppendUvarint([]byte(name+"\x00d"), uint64(in.class.number))))
	}
	slices.Sort(entries)
	h := sha256.New()
	for _, entry := range entries {
		h.Write(binary.AppendUvarint(nil, uint64(len(entry))))
		h.Write([]byte(entry))
	}
	return [sha256.Size]byte(h.Sum(nil))
}

func (f *folder) newClass(number int) *class {
	c := &class{number: number, files: int64(len(f.files))}
	for _, in := range f.folders {
		c.height = max(c.height, in.class.height+1)
		c.files += in.class.files
	}
	return c
}

// all yields the files in a folder, at any depth.
func (f *folder) all(yield func(in *folder, file content) bool) bool {
	for _, file := range f.files {
		if !yield(f, file) {
			return false
		}
	}
	for _, in := range f.folders {
		if !in.all(yield) {
			return false
		}
	}
	return true
}

// covered reports whether a folder above is a duplicate that is not kept.
func (f *folder) covered() bool {
	for in := f.parent; in != nil; in = in.parent {
		if in.extra {
			return true
		}
	}
	return false
}

// folders makes a set of a class, and reports whether the rules want it.
func (c *Chooser) folders(ctx context.Context, of *class) (set Folders, ok bool) {
	members := slices.DeleteFunc(of.members, (*folder).covered)
	roots := make(map[string]bool)
	for _, in := range members {
		roots[c.locate(in.path).root] = true
	}
	if len(members) < max(2, c.MinCopies) || c.Isolate && len(roots) < 2 {
		return Folders{}, false
	}
	ranks := make(map[*folder]rank, len(members))
	for _, in := range members {
		ranks[in] = c.rankFolder(ctx, in)
	}
	slices.SortFunc(members, func(a, b *folder) int { return ranks[a].compare(ranks[b]) })
	set = Folders{Files: of.files, Bytes: bytesOf(members[0])}
	var kept, extra []Folder
	for i, in := range members {
		if in.extra = i > 0 && (!c.Kept() || ranks[in].unprotected); in.extra {
			extra = append(extra, Folder{Path: in.path})
		} else {
			kept = append(kept, Folder{in.path, c.Kept()})
		}
	}
	byPath := func(a, b Folder) int { return strings.Compare(a.Path, b.Path) }
	slices.SortFunc(kept[1:], byPath)
	slices.SortFunc(extra, byPath)
	set.Paths, set.Reclaimable = append(kept, extra...), reclaimable(members)
	return set, true
}

// rankFolder ranks a folder as a file that was modified when the last file in it was. A
// folder with a protected file is protected. The rank is of no use if ctx ends meanwhile.
func (c *Chooser) rankFolder(ctx context.Context, in *folder) rank {
	f := File{File: dedupe.File{Path: in.path}}
	first, protected, files := true, false, 0
	in.all(func(in *folder, file content) bool {
		if first || file.edited.Compare(f.ModTime) > 0 {
			f.ModTime, first = file.edited, false
		}
		protected = protected || c.spared() && c.protects(c.locate(in.path+"/"+file.name))
		files++
		return files%checkEach != 0 || ctx.Err() == nil
	})
	r := c.rank(&f, c.locate(in.path))
	r.unprotected = r.unprotected && !protected
	return r
}

// bytesOf returns the bytes of the files in a folder, each inode once.
func bytesOf(in *folder) (bytes int64) {
	seen := make(map[*dedupe.Copy]bool)
	in.all(func(_ *folder, f content) bool {
		if !seen[f.inode] {
			seen[f.inode] = true
			bytes += f.inode.Size()
		}
		return true
	})
	return bytes
}

// reclaimable returns what removing the extra folders frees: the inodes without other
// names.
func reclaimable(members []*folder) (bytes int64) {
	names := make(map[*dedupe.Copy]uint32)
	for _, in := range members {
		if in.extra {
			in.all(func(_ *folder, f content) bool {
				names[f.inode]++
				return true
			})
		}
	}
	for inode, n := range names {
		if n >= inode.Links() {
			bytes += inode.Size()
		}
	}
	return bytes
}
