package peers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/dustin/go-humanize"
	"github.com/google/renameio/v2"

	"efsdedupe/fixtures"
)

// tree is one that programs run on.
type tree struct {
	id        string
	title     string
	shape     shape
	cold      bool // the page cache is dropped before each run
	efs       bool // it is seen through the EFS-like mount
	processes bool // dedupe's process mode runs, too
}

// shape says how a tree is made. The seed says the rest.
type shape struct {
	name  string // of its directory
	files int    // how many, or how large it is in another way
	make  func(ctx context.Context, dir string, s shape, seed uint64) ([]file, error)
}

// trees returns the trees of the side-by-side comparison. The fourth is cut down from 2,000 files
// of up to 64 MiB, 36 GiB, to what most disks have room for.
func trees(scale float64) []tree {
	standard := shape{"standard", scaled(100, scale), ofFixtures(fixtures.TwoSets, 1<<20)}
	small := func(n int) shape { return shape{"small", scaled(n, scale), ofFixtures(fixtures.Tree, 64<<10)} }
	large := shape{"large", scaled(400, scale), ofPlan(planLarge)}
	many := manyFiles(1_000_000, scale)
	oneSize := shape{"one-size", scaled(200_000, scale), ofPlan(planOneSize)}
	medium := func(n int) shape { return shape{"medium", scaled(n, scale), ofPlan(planMedium)} }
	goroot := shape{"goroot", 2, copyGoroot}
	title := func(format string, s shape) string { return fmt.Sprintf(format, humanize.Comma(int64(s.files))) }
	return []tree{
		{id: "1", title: title("standard set: %s files of 1 MiB, page cache warm", standard), shape: standard, processes: true},
		{id: "2", title: title("standard set: %s files of 1 MiB, page cache dropped", standard), shape: standard, cold: true},
		{id: "3", title: title("%s small files of up to 64 KiB, a third copies, and all traps", small(100_000)), shape: small(100_000), processes: true},
		{id: "4", title: title("%s files of 1 to 16 MiB, a third copies, the rest different late", large), shape: large},
		{id: "5", title: title("%s files, most of a size of their own", many), shape: many},
		{id: "6", title: title("%s files of one size in one directory, a twentieth copies", oneSize), shape: oneSize},
		{id: "7a", title: title("standard set: %s files of 1 MiB, EFS-like mount", standard), shape: standard, efs: true},
		{id: "7b", title: title("%s small files of up to 64 KiB, EFS-like mount", small(20_000)), shape: small(20_000), efs: true},
		{id: "8", title: "Go's source tree, twice", shape: goroot},
		{id: "9a", title: title("%s files of 64 KiB to 2 MiB, five of a size, of which two are copies", medium(2000)), shape: medium(2000)},
		{id: "9b", title: title("%s files of 64 KiB to 2 MiB, five of a size, EFS-like mount", medium(500)), shape: medium(500), efs: true},
	}
}

// manyFiles is the shape of tree 5, and of those that show how dedupe grows.
func manyFiles(files int, scale float64) shape {
	return shape{"many", scaled(files, scale), ofPlan(planMany)}
}

// scaled returns n times scale, but enough files for copies to exist.
func scaled(n int, scale float64) int { return max(int(float64(n)*scale), min(n, 100)) }

// file is a file of which it is known which others have its content: those of
// the same size and content.
type file struct {
	path    string // below the directory
	size    int64
	content content
}

// set is a tree as it is on disk.
type set struct {
	dir   string
	files []file
}

// makeSet makes the tree, or finds it made.
func (s shape) makeSet(ctx context.Context, dir string, seed uint64) (set, error) {
	dir, err := filepath.Abs(filepath.Join(dir, fmt.Sprintf("%s-%d-%d", s.name, s.files, seed)))
	if err != nil {
		return set{}, err
	}
	files, err := s.make(ctx, dir, s, seed)
	return set{dir, files}, err
}

// kind is what only copies have in common.
type kind struct {
	size    int64
	content content
}

// groups returns the names below root of all copies, as a program should find
// them: files that are not empty, of which there is more than one.
func (s set) groups(root string) [][]string {
	first := make(map[kind]int) // index of the first file, then -1-index of the group
	var all [][]string
	for i, f := range s.files {
		k := kind{f.size, f.content}
		at, seen := first[k]
		switch {
		case f.size == 0:
		case !seen:
			first[k] = i
		case at >= 0:
			first[k] = -1 - len(all)
			all = append(all, []string{root + "/" + s.files[at].path, root + "/" + f.path})
		default:
			all[-1-at] = append(all[-1-at], root+"/"+f.path)
		}
	}
	return all
}

// mustRead returns the names below root of the files that can't be told apart
// without reading them: those whose size another has.
func (s set) mustRead(root string) []string {
	sizes := make(map[int64]int)
	for _, f := range s.files {
		sizes[f.size]++
	}
	var names []string
	for _, f := range s.files {
		if f.size > 0 && sizes[f.size] > 1 {
			names = append(names, root+"/"+f.path)
		}
	}
	return names
}

// ofFixtures makes trees of package fixtures.
func ofFixtures(layout fixtures.Layout, size int64) func(context.Context, string, shape, uint64) ([]file, error) {
	return func(ctx context.Context, dir string, s shape, seed uint64) ([]file, error) {
		spec := fixtures.Spec{Files: s.files, Size: size, Layout: layout, Seed: seed}
		path, err := fixtures.ManifestPath(dir)
		if err != nil {
			return nil, err
		}
		_, missing := os.Lstat(dir)
		m, err := fixtures.ReadManifest(path)
		if err == nil && missing == nil && m.Complete && m.Spec == spec {
			return listed(m), nil
		}
		if m, err = fixtures.Make(ctx, dir, spec); err != nil {
			return nil, err
		}
		return listed(m), nil
	}
}

// listed returns the files of a manifest: those of each group have a content
// of its number, the others one of their own.
func listed(m *fixtures.Manifest) []file {
	var files []file
	number := uint64(0)
	add := func(same ...fixtures.File) {
		for _, f := range same {
			files = append(files, file{string(f.Path), f.Size, content{stream: number}})
		}
		number++
	}
	for _, g := range m.Groups {
		add(g.Files...)
	}
	for _, f := range m.Unique {
		add(f)
	}
	return files
}

// mark is what lies beside a directory that this program made.
type mark struct {
	Generator int    `json:"generator"` // other ones make other trees
	Shape     string `json:"shape"`
	Files     int    `json:"files"`
	Seed      uint64 `json:"seed"`
	Source    string `json:"source,omitempty"`
	Complete  bool   `json:"complete"`
}

// once has fill make what m says in the directory dir, unless it is there. It
// replaces nothing that has no mark beside it.
func once(dir string, m mark, fill func() error) error {
	path := dir + ".mark.json"
	m.Generator, m.Complete = 1, true
	var old mark
	b, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(b, &old)
	}
	_, missing := os.Lstat(dir)
	if err == nil && old == m && missing == nil {
		return nil
	}
	if err != nil && !errors.Is(missing, fs.ErrNotExist) {
		return fmt.Errorf("%s was not made by this program: %w; remove it, or choose another --dir", dir, err)
	}
	m.Complete = false
	if err := m.write(path); err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := fill(); err != nil {
		return err
	}
	m.Complete = true
	return m.write(path)
}

func (m mark) write(path string) error {
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return renameio.WriteFile(path, append(b, '\n'), 0o644)
}
