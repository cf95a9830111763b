package peers

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// view is a directory as a program sees it that looks for duplicates. The files may
// be elsewhere for this program: below a mount, it asks the directory that is mounted.
type view struct {
	root string
	// inode returns the number of the file with a name below root, if there is one.
	inode func(name string) (uint64, bool)
}

// viewOf returns the view root of the directory dir.
func viewOf(root, dir string) view {
	return view{root, func(name string) (uint64, bool) {
		var st syscall.Stat_t
		if err := syscall.Lstat(dir+"/"+name, &st); err != nil {
			return 0, false
		}
		return st.Ino, true
	}}
}

// maxPieces is into how many pieces newlines may cut a name.
const maxPieces = 16

// identify returns the inodes that a group names, sorted, and the names that
// are of none. A name that was cut at its newlines is put together again.
func (v view) identify(names []string) (inodes []uint64, unknown []string) {
	for len(names) > 0 {
		used := 0
		for n := 1; n <= min(maxPieces, len(names)); n++ {
			whole := strings.Join(names[:n], "\n")
			below, inside := strings.CutPrefix(whole, v.root+"/")
			if !inside {
				break
			}
			if inode, ok := v.inode(below); ok {
				inodes = append(inodes, inode)
				used = n
				break
			}
		}
		if used == 0 {
			unknown = append(unknown, names[0])
			used = 1
		}
		names = names[used:]
	}
	slices.Sort(inodes)
	return slices.Compact(inodes), unknown
}

// grouping is what a program found, or the truth, whatever the names: hard links
// are one file, and groups of one are none.
type grouping struct {
	groups  map[string][]uint64 // by their inodes as text
	of      map[uint64]string   // the group of each inode
	unknown []string            // names of no file
}

func (v view) grouping(all [][]string) grouping {
	g := grouping{groups: make(map[string][]uint64), of: make(map[uint64]string)}
	for _, names := range all {
		inodes, unknown := v.identify(names)
		g.unknown = append(g.unknown, unknown...)
		if len(inodes) < 2 {
			continue
		}
		key := fmt.Sprint(inodes)
		g.groups[key] = inodes
		for _, inode := range inodes {
			g.of[inode] = key
		}
	}
	return g
}

// differences says how what was found differs from the truth, or nothing. The
// truth is right: it is known from how the files were made, or from all bytes.
func differences(found, truth grouping) string {
	var missing, extra int // groups
	for key := range truth.groups {
		if found.groups[key] == nil {
			missing++
		}
	}
	wrong := 0
	for key, inodes := range found.groups {
		if truth.groups[key] != nil {
			continue
		}
		extra++
		// The files that differ from the first.
		for _, inode := range inodes[1:] {
			if of := truth.of[inode]; of == "" || of != truth.of[inodes[0]] {
				wrong++
			}
		}
	}
	missed := 0
	for inode := range truth.of {
		if found.of[inode] == "" {
			missed++
		}
	}
	if missing+extra+len(found.unknown) == 0 {
		return ""
	}
	text := fmt.Sprintf("%d of %d groups not as they are, %d files missed, %d files called copies that are none", missing, len(truth.groups), missed, wrong)
	if len(found.unknown) > 0 {
		text += fmt.Sprintf(", %d names of no file such as %s", len(found.unknown), abridged(found.unknown[0]))
	}
	return text
}

// abridged is a name, quoted, and of a long one the end.
func abridged(name string) string {
	const most = 60
	if len(name) > most {
		return "…" + strconv.Quote(name[len(name)-most:])
	}
	return strconv.Quote(name)
}
