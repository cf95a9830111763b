package dedupe

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"efsdedupe/dedupe/mount"
)

// root is where a walk starts.
type root struct {
	given string
	path  string // as given, cleaned; empty for Engine.Within itself
	real  string // the same for all names of one place: absolute and without links; within a directory, path
	stat  status
	err   *Problem // why looking at it failed

	listed bool // a file from Selection.Files
	wanted bool // it is Selection.CopiesOf

	filter *Filter // with globs relative to the root
	location
	pseudo map[string]map[string]uint64 // the mounts not to enter; see mount.Table.Pseudo
}

// location says where a root is.
type location struct {
	fileSystem mount.FileSystem // empty within a directory
	place      string           // the root's path, absolute and without links; empty if unknown
	nfs        bool             // it, or something mounted below it, is on NFS
	remote     bool             // the same, or it may be on another machine in another way
}

// RootError is a root that cannot be scanned, because it does not exist or is neither a
// directory nor a regular file.
type RootError struct {
	Path string
	Why  string
}

func (e *RootError) Error() string { return fmt.Sprintf("%q %s", e.Path, e.Why) }

// resolve looks at the roots, in the order given, and then at listed files, until ctx
// ends.
func resolve(ctx context.Context, sel *Selection, eng Engine) ([]root, error) {
	r := resolver{at: confinedDir{within: eng.Within}, mounts: eng.mounts, real: make(map[string]string), located: make(map[string]location)}
	if eng.Within != nil {
		r.within, _ = pathOf(int(eng.Within.Fd())) // if this fails, no mounts are known
	}
	look := r.look
	if eng.Within != nil {
		look = r.lookWithin
	}
	roots := make([]root, 0, len(sel.Roots))
	for _, path := range sel.Roots {
		if ctx.Err() != nil {
			break
		}
		found, err := look(path)
		if err != nil {
			return nil, err
		}
		roots = append(roots, found)
	}
	if len(sel.Files) > 0 {
		roots = append(roots, r.resolveFiles(ctx, sel.Files, eng.Workers)...)
	}
	if sel.CopiesOf != "" && ctx.Err() == nil {
		found, err := resolveCopiesOf(look, sel.CopiesOf, &sel.Filter)
		if err != nil {
			return nil, err
		}
		roots = append(roots, found)
	}
	respell(roots)
	return roots, nil
}

// respell gives a file that was listed, or that copies are wanted of, the path that it has
// below the innermost root above it, so that one folder has one spelling.
func respell(roots []root) {
	dirs := make(map[string]*root)
	for i := range roots {
		r := &roots[i]
		if other := dirs[r.real]; r.err == nil && r.stat.isDirectory() && (other == nil || r.compareName(other) < 0) {
			dirs[r.real] = r
		}
	}
	for i := range roots {
		r := &roots[i]
		if !r.listed && !r.wanted || r.err != nil {
			continue
		}
		for dir := r.real; dir != "/" && dir != "."; {
			dir = filepath.Dir(dir)
			if above := dirs[dir]; above != nil {
				r.path = join(above.path, strings.TrimPrefix(r.real[len(dir):], "/"))
				break
			}
		}
	}
}

// distinct sorts roots and drops those that are the same place as another. It keeps a
// root inside another: see walker.claimed. Among the same place, what CopiesOf names comes
// first, then what is not from a list.
func distinct(roots []root) []root {
	slices.SortFunc(roots, func(a, b root) int { return cmp.Or(strings.Compare(a.real, b.real), a.compareName(&b)) })
	return slices.CompactFunc(roots, func(a, b root) bool { return a.real == b.real })
}

// compareName orders names of one place. The first one counts.
func (r *root) compareName(s *root) int {
	return cmp.Or(r.after(s), strings.Compare(strings.TrimPrefix(r.path, "./"), strings.TrimPrefix(s.path, "./")),
		cmp.Compare(len(r.path), len(s.path)), strings.Compare(r.given, s.given))
}

// after orders kinds of roots.
func (r *root) after(s *root) int {
	order := func(r *root) int {
		switch {
		case r.wanted:
			return 0
		case r.listed:
			return 2
		}
		return 1
	}
	return order(r) - order(s)
}

// setFilters gives each root the filter, with globs relative to the root.
func setFilters(roots []root, f Filter) error {
	plain, err := f.Plain()
	for i := range roots {
		if roots[i].listed || roots[i].wanted {
			roots[i].filter = &plain
		} else if err == nil {
			var below Filter
			below, err = plain.below(&roots[i])
			roots[i].filter = &below
		}
	}
	return err
}

// resolver looks at roots. It looks at each directory once, because there may be very
// many roots.
type resolver struct {
	at      confinedDir
	within  string // the absolute path of at; empty if it is unknown
	mounts  *mount.Table
	real    map[string]string   // of directories that hold roots
	located map[string]location // by real path
}

// look looks at a root. It follows a symbolic link, because the user named it.
func (v *resolver) look(path string) (root, error) {
	r := root{given: path, path: path}
	var err error
	r.stat, err = statAt(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW)
	link := r.stat.isLink()
	if err == nil && link {
		r.stat, err = statAt(unix.AT_FDCWD, path, 0)
	}
	if err == nil {
		r.path = mount.CleanPath(path)
		r.real, err = v.realPath(path, link)
	}
	switch {
	case err == unix.ENOTDIR && isFile(strings.TrimRight(path, "/")):
		return root{}, &RootError{path, "is a file, not a directory: remove the / at the end"}
	case err == nil && link && r.stat.isFile():
		r.path = r.real // reading files follows no link
	}
	if r, err = r.check(path, err); err == nil && r.err == nil {
		v.locate(&r)
	}
	return r, err
}

// isFile reports whether a path leads to a file.
func isFile(path string) bool {
	st, err := statAt(unix.AT_FDCWD, path, 0)
	return err == nil && st.isFile()
}

// realPath returns the real path of a root. It resolves a directory once, even if it
// holds many roots.
func (v *resolver) realPath(path string, link bool) (string, error) {
	dir, name := filepath.Split(path)
	if link || name == "" || name == "." || name == ".." {
		return mount.RealPath(path)
	}
	real, known := v.real[dir]
	if !known {
		var err error
		if real, err = mount.RealPath(cmp.Or(dir, ".")); err != nil {
			return "", err
		}
		v.real[dir] = real
	}
	return join(real, name), nil
}

// lookWithin looks at a root inside Engine.Within, which it cannot leave.
func (v *resolver) lookWithin(path string) (root, error) {
	r := root{given: path, path: path, real: path}
	if path == "." {
		r.path = ""
	}
	var err error
	r.stat, err = v.at.lstat(path, 0)
	r.nfs, r.remote = true, true // unless the mounts say otherwise
	if r, err = r.check(path, err); err == nil && v.within != "" {
		r.place = filepath.Join(v.within, r.path)
		m, _, err := v.mounts.Of(r.place)
		r.pseudo, r.nfs = v.mounts.Pseudo(r.place), v.mounts.HasNFS(r.place)
		r.remote = r.nfs || err != nil || m.IsRemote()
	}
	return r, err
}

// locate finds the file system of a root, and the mounts below it not to enter. What it
// cannot find stays empty.
func (v *resolver) locate(r *root) {
	dir := r.real
	if parent := filepath.Dir(r.real); r.stat.isFile() && !v.mounts.Covers(parent) {
		dir = parent
	}
	at, known := v.located[dir]
	if !known {
		m, _, err := v.mounts.Of(dir)
		if err == nil {
			at.fileSystem.Type = m.Kind
			at.fileSystem.Identity, _ = m.Identity()
		}
		at.nfs = v.mounts.HasNFS(dir)
		at.remote = at.nfs || err != nil || m.IsRemote()
		v.located[dir] = at
	}
	r.location = at
	r.place = r.real
	if !r.stat.isFile() {
		r.pseudo = v.mounts.Pseudo(r.real)
	}
}

// locations returns where the roots are, by the path given.
func locations(roots []root) map[string]location {
	all := make(map[string]location, len(roots))
	for i := range roots {
		if key := roots[i].given; !roots[i].listed {
			all[key] = roots[i].location
		} else if key, _ = splitPath(key); all[key] == (location{}) { // one of the directory is enough
			all[key] = roots[i].location
		}
	}
	return all
}

// FileSystems returns the file systems of the roots, in their order. That of a root which
// the walk did not look at is empty.
func (v *Inventory) FileSystems(roots []string) []mount.FileSystem {
	all := make([]mount.FileSystem, len(roots))
	for i, root := range roots {
		all[i] = v.locations[root].fileSystem
	}
	return all
}

// NFS reports whether any root, or anything mounted below it, is on NFS.
func (v *Inventory) NFS() bool {
	for _, at := range v.locations {
		if at.nfs {
			return true
		}
	}
	return false
}

// remote reports whether any root is, or may be, on another machine.
func (v *Inventory) remote() bool {
	for _, at := range v.locations {
		if at.remote {
			return true
		}
	}
	return false
}

// places returns the paths of the roots, absolute and without links.
func (v *Inventory) places() (all []string) {
	for _, on := range v.locations {
		if on.place != "" {
			all = append(all, on.place)
		}
	}
	return all
}

// check decides whether a bad root is a user error or a problem for the report.
func (r root) check(given string, err error) (root, error) {
	switch {
	case given == "":
		return root{}, &RootError{given, "is an empty path; the current directory is \".\""}
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP), errors.Is(err, unix.EINVAL):
		return root{}, &RootError{given, "does not exist; name a directory or a file to scan"}
	case err != nil:
		r.real, r.err = r.path, &Problem{Op: "stat", Path: r.path, Err: cause(err)}
	case !r.stat.isDirectory() && !r.stat.isFile():
		return root{}, &RootError{given, "is neither a directory nor a regular file; only regular files are opened"}
	}
	return r, nil
}

// cause strips the path that os puts into its errors, because a Problem has its own.
func cause(err error) error {
	var errno unix.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}
