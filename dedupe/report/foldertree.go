package report

import (
	"cmp"
	"slices"
	"strings"
)

// folderTree sums what is reclaimable over folders and the folders above them, for one
// report or for two. It takes bounded memory: the folders with the least are merged into
// the folder above them, so that sums stay exact.
type folderTree struct {
	root  *treeFolder // above all paths; it has no name
	nodes map[treeKey]*treeFolder
	room  int // bytes that folders may still take

	merged bool // folders that were in the tree

	last    string // folder of the last file; usually the next file's, too
	current *treeFolder
}

type treeKey struct {
	above *treeFolder
	name  string
}

type treeFolder struct {
	treeKey
	depth  int
	own    [2]extraCopies // directly in the folder, by report
	merged [2]extraCopies // in folders below that are not in the tree
	total  [2]extraCopies // in the folder and below, see sum
	below  []*treeFolder  // most reclaimable first, see sum
}

// extraCopies counts copies besides the one of each group to keep.
type extraCopies struct{ files, bytes int64 }

func (e *extraCopies) add(o extraCopies) {
	e.files += o.files
	e.bytes += o.bytes
}

const (
	treeRoom  = 8 << 20 // bytes, for some 30,000 folders
	treeCost  = 256     // approximate bytes that a folder takes besides its name
	treeDepth = 100     // folders further down are merged
)

func newFolderTree() *folderTree {
	return &folderTree{root: new(treeFolder), nodes: make(map[treeKey]*treeFolder), room: treeRoom}
}

// add counts an extra copy of one of two reports.
func (t *folderTree) add(path string, report int, bytes int64) {
	folder := folderOf(path)
	if t.current == nil || t.last != folder {
		if t.room < 0 {
			t.merge(len(t.nodes) / 4)
		}
		t.last, t.current = strings.Clone(folder), t.find(folder)
	}
	if t.current.depth < treeDepth {
		t.current.own[report].add(extraCopies{1, bytes})
	} else {
		t.current.merged[report].add(extraCopies{1, bytes})
	}
}

// find returns the folder with a path, or the one above it at which the tree ends.
func (t *folderTree) find(path string) *treeFolder {
	in := t.root
	if strings.HasPrefix(path, "/") {
		in = t.child(in, "/")
	}
	for name := range strings.SplitSeq(path, "/") {
		if name != "" && in.depth < treeDepth {
			in = t.child(in, name)
		}
	}
	return in
}

func (t *folderTree) child(in *treeFolder, name string) *treeFolder {
	key := treeKey{in, name}
	child := t.nodes[key]
	if child == nil {
		key.name = strings.Clone(name) // without the rest of the path
		child = &treeFolder{treeKey: key, depth: in.depth + 1}
		t.nodes[key] = child
		t.room -= treeCost + len(name)
	}
	return child
}

// path returns the path of a folder; that of the root is empty.
func (f *treeFolder) path() string {
	if f.above == nil || f.above.above == nil {
		return f.name
	}
	return strings.TrimSuffix(f.above.path(), "/") + "/" + f.name
}

// most is the larger of the totals of both reports.
func (f *treeFolder) most() int64 { return max(f.total[0].bytes, f.total[1].bytes) }

// all returns the folders, each after those above it, with their sums.
func (t *folderTree) all() []*treeFolder {
	all := make([]*treeFolder, 0, len(t.nodes)+1)
	all = append(all, t.root)
	for _, f := range t.nodes {
		all = append(all, f)
	}
	slices.SortFunc(all, func(a, b *treeFolder) int { return cmp.Compare(a.depth, b.depth) })
	for _, f := range all {
		f.total, f.below = f.own, nil
	}
	for _, f := range slices.Backward(all) {
		for i := range f.total {
			f.total[i].add(f.merged[i])
			if f.above != nil {
				f.above.total[i].add(f.total[i])
			}
		}
	}
	return all
}

// merge merges all but so many folders into those above them, and reports whether there
// were more.
func (t *folderTree) merge(keep int) bool {
	all := t.all()[1:]
	if len(all) <= keep {
		return false
	}
	// A folder has no more than the one above it, so it comes after it.
	slices.SortFunc(all, func(a, b *treeFolder) int {
		return cmp.Or(cmp.Compare(b.most(), a.most()), cmp.Compare(a.depth, b.depth))
	})
	for _, f := range slices.Backward(all[keep:]) {
		for i := range f.own {
			f.above.merged[i].add(f.own[i])
			f.above.merged[i].add(f.merged[i])
		}
		t.room += treeCost + len(f.name)
		delete(t.nodes, f.treeKey)
	}
	t.current, t.merged = nil, true
	return true
}

// sum computes the totals of all folders, and what is below each. It returns the folder
// that all extra copies are in.
func (t *folderTree) sum() *treeFolder {
	for _, f := range t.all()[1:] {
		f.above.below = append(f.above.below, f)
	}
	for _, f := range t.nodes {
		f.sortBelow()
	}
	t.root.sortBelow()
	top := t.root
	for top.passes() {
		top = top.below[0]
	}
	return top
}

func (f *treeFolder) sortBelow() {
	slices.SortFunc(f.below, func(a, b *treeFolder) int {
		return cmp.Or(cmp.Compare(b.most(), a.most()), strings.Compare(a.name, b.name))
	})
}

// holdsNothing reports whether all extra copies are in the folders below.
func (f *treeFolder) holdsNothing() bool {
	return f.own == [2]extraCopies{} && f.merged == [2]extraCopies{}
}

// passes reports whether a folder only leads to one other.
func (f *treeFolder) passes() bool { return len(f.below) == 1 && f.holdsNothing() }

// largestFirst returns the folder and all below it, each after those above it.
func (f *treeFolder) largestFirst() []*treeFolder {
	all := []*treeFolder{f}
	for i := 0; i < len(all); i++ {
		all = append(all, all[i].below...)
	}
	slices.SortStableFunc(all, func(a, b *treeFolder) int { return cmp.Compare(b.most(), a.most()) })
	return all
}

// first returns the folder to clean first: the largest one below the folder that holds
// everything, or one further down that holds more than half of that.
func (f *treeFolder) first() *treeFolder {
	at := f
	for len(at.below) > 0 {
		next := at.below[0]
		if at != f && next.total[0].bytes <= at.total[0].bytes/2 || next.total[0].bytes <= at.own[0].bytes {
			break
		}
		at = next
	}
	return at
}
