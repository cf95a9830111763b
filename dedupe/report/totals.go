package report

import (
	"cmp"
	"math/bits"
	"slices"
	"strings"
)

// totals counts duplicates by size and by folder, in bounded memory.
type totals struct {
	sizes [64]sizeJSON // by the number of bits in the size

	folders map[string]*folder
	room    int   // bytes that folders may still take
	least   int64 // no forgotten folder has more reclaimable bytes

	last    string // folder of the last file; usually the next file's, too
	current *folder
	size    int64 // of the files of this group
	copies  int64 // of this group so far
	left    int64 // reclaimable bytes of this group not yet assigned to a folder
}

type folder struct {
	path        string
	files       int64 // that are copies of another
	reclaimable int64 // bytes
}

const (
	foldersRoom = 12 << 20 // bytes, for a few hundred thousand folders
	folderCost  = 160      // approximate bytes that a folder takes besides its path

	// foldersKept is how many folders a JSON report lists.
	foldersKept = 100
)

func newTotals() *totals {
	return &totals{folders: make(map[string]*folder), room: foldersRoom}
}

func (t *totals) group(g group) { t.size, t.copies, t.left = g.size, 0, g.reclaimable }

// file counts a copy in its folder.
func (t *totals) file(f file) {
	if bytes, extra := t.count(f); extra {
		in := t.folder(folderOf(f.path))
		in.files++
		in.reclaimable += bytes
	}
}

// count counts a copy, and reports whether it is extra and which bytes of it are
// reclaimable. Those of all copies but the kept ones are, or fewer if some copies have
// names elsewhere. If no rule keeps any, the first is kept.
func (t *totals) count(f file) (bytes int64, extra bool) {
	if f.hardLink {
		return 0, false
	}
	if t.copies++; t.copies == 1 || f.kept {
		return 0, false
	}
	bytes = min(t.size, t.left)
	t.left -= bytes
	return bytes, true
}

// folderOf returns the folder of a path, spelled as in the path.
func folderOf(path string) string {
	switch slash := strings.LastIndexByte(path, '/'); slash {
	case -1:
		return "."
	case 0:
		return "/"
	default:
		return path[:slash]
	}
}

func (t *totals) endGroup(g group) {
	class := &t.sizes[bits.Len64(uint64(max(g.size, 0)))]
	class.Count += t.copies
	class.Bytes += t.copies * g.size
	class.Reclaimable += g.reclaimable
}

// add counts a whole group.
func (t *totals) add(g pageGroup) {
	t.group(g.group)
	for f := range g.files {
		t.file(f)
	}
	t.endGroup(g.group)
}

func (t *totals) folder(name string) *folder {
	if t.current != nil && t.last == name {
		return t.current
	}
	in := t.folders[name]
	if in == nil {
		if t.room < folderCost+len(name) {
			t.forget()
		}
		name = strings.Clone(name) // without the rest of the path
		in = &folder{path: name}
		t.folders[name] = in
		t.room -= folderCost + len(name)
	}
	t.last, t.current = in.path, in
	return in
}

// forget drops the half of the folders with the least to reclaim.
func (t *totals) forget() {
	all := t.sorted()
	for _, in := range all[len(all)/2:] {
		t.least = max(t.least, in.reclaimable)
		t.room += folderCost + len(in.path)
		delete(t.folders, in.path)
	}
}

// sorted returns the folders, most reclaimable first.
func (t *totals) sorted() []*folder {
	all := make([]*folder, 0, len(t.folders))
	for _, in := range t.folders {
		all = append(all, in)
	}
	slices.SortFunc(all, func(a, b *folder) int {
		return cmp.Or(cmp.Compare(b.reclaimable, a.reclaimable), strings.Compare(a.path, b.path))
	})
	return all
}

// top returns the n folders with the most to reclaim, for JSON.
func (t *totals) top(n int) []folderJSON {
	all := t.sorted()
	out := make([]folderJSON, 0, min(n, len(all)))
	for _, in := range all[:min(n, len(all))] {
		out = append(out, folderJSON{pathOf(in.path), in.files, in.reclaimable})
	}
	return out
}

// histogram returns the size classes that have files.
func (t *totals) histogram() []sizeJSON {
	out := []sizeJSON{}
	for i, class := range t.sizes {
		if class.Count == 0 {
			continue
		}
		if i > 0 {
			class.Min = 1 << (i - 1)
			class.Max = class.Min - 1 + class.Min
		}
		out = append(out, class)
	}
	return out
}
