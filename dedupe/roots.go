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
	stat  unix.Stat_t
	err   *Problem // why looking at it failed

	filter     Filter // with globs relative to the root
	fileSystem fileSystem
	pseudo     map[string]map[string]uint64 // the mounts not to enter; see mount.Table.Pseudo
}

// fileSystem is what a root is on.
type fileSystem struct {
	mount.FileSystem        // empty within a directory
	place            string // the root's path, absolute and without links; empty if unknown
}

// RootError is a root that cannot be scanned, because it does not exist or is neither a
// directory nor a regular file.
type RootError struct {
	Path string
	Why  string
}

func (e *RootError) Error() string { return fmt.Sprintf("%q %s", e.Path, e.Why) }

// resolve looks at the roots, in the order given, until ctx ends.
func resolve(ctx context.Context, sel Selection, eng Engine) ([]root, error) {
	r := resolver{at: confinedDir{within: eng.Within}, mounts: eng.mounts, real: make(map[string]string), fileSystems: make(map[string]mount.FileSystem)}
	if r.mounts == nil {
		r.mounts = mount.Read()
	}
	if eng.Within != nil {
		r.within, _ = pathOf(int(eng.Within.Fd())) // if this fails, no mounts are known
	}
	roots := make([]root, 0, len(sel.Roots))
	for _, path := range sel.Roots {
		if ctx.Err() != nil {
			break
		}
		look := r.look
		if eng.Within != nil {
			look = r.lookWithin
		}
		found, err := look(path)
		if err != nil {
			return nil, err
		}
		roots = append(roots, found)
	}
	return roots, nil
}

// distinct sorts roots and drops those that are the same place as another. It keeps a
// root inside another: see walker.claimed.
func distinct(roots []root) []root {
	slices.SortFunc(roots, func(a, b root) int {
		return cmp.Or(strings.Compare(a.real, b.real), strings.Compare(strings.TrimPrefix(a.path, "./"), strings.TrimPrefix(b.path, "./")),
			cmp.Compare(len(a.path), len(b.path)), strings.Compare(a.given, b.given))
	})
	return slices.CompactFunc(roots, func(a, b root) bool { return a.real == b.real })
}

// setFilters gives each root the filter, with globs relative to the root.
func setFilters(roots []root, f Filter) error {
	plain, err := f.plain()
	for i := range roots {
		if err == nil {
			roots[i].filter, err = plain.below(&roots[i])
		}
	}
	return err
}

// resolver looks at roots. It looks at each directory once, because there may be very
// many roots.
type resolver struct {
	at          confinedDir
	within      string // the absolute path of at; empty if it is unknown
	mounts      *mount.Table
	real        map[string]string           // of directories that hold roots
	fileSystems map[string]mount.FileSystem // by real path
}

// look looks at a root. It follows a symbolic link, because the user named it.
func (v *resolver) look(path string) (root, error) {
	r := root{given: path, path: path}
	err := r.stats(path, unix.AT_SYMLINK_NOFOLLOW)
	link := r.stat.Mode&unix.S_IFMT == unix.S_IFLNK
	if err == nil && link {
		err = r.stats(path, 0)
	}
	if err == nil {
		r.path = mount.CleanPath(path)
		r.real, err = v.realPath(path, link)
	}
	switch {
	case err == unix.ENOTDIR && v.isFile(strings.TrimRight(path, "/")):
		return root{}, &RootError{path, "is a file, not a directory: remove the / at the end"}
	case err == nil && link && r.isFile():
		r.path = r.real // reading files follows no link
	}
	if r, err = r.check(path, err); err == nil && r.err == nil {
		v.locate(&r)
	}
	return r, err
}

func (r *root) stats(path string, flags int) error {
	return retry(func() error { return unix.Fstatat(unix.AT_FDCWD, path, &r.stat, flags) })
}

func (r *root) isFile() bool { return r.stat.Mode&unix.S_IFMT == unix.S_IFREG }

func (*resolver) isFile(path string) bool {
	var r root
	return r.stats(path, 0) == nil && r.isFile()
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
	r, err := r.check(path, v.at.lstat(path, &r.stat))
	if err == nil && v.within != "" {
		r.fileSystem.place = filepath.Join(v.within, r.path)
		r.pseudo = v.mounts.Pseudo(r.fileSystem.place)
	}
	return r, err
}

// locate finds the file system of a root, and the mounts below it not to enter. What it
// cannot find stays empty.
func (v *resolver) locate(r *root) {
	dir := r.real
	if parent := filepath.Dir(r.real); r.isFile() && !v.mounts.Covers(parent) {
		dir = parent
	}
	on, known := v.fileSystems[dir]
	if !known {
		if m, _, err := v.mounts.Of(dir); err == nil {
			on.Type = m.Kind
			on.Identity, _ = m.Identity()
		}
		v.fileSystems[dir] = on
	}
	r.fileSystem = fileSystem{on, r.real}
	if !r.isFile() {
		r.pseudo = v.mounts.Pseudo(r.real)
	}
}

// fileSystems returns the file systems of the roots, by the path given.
func fileSystems(roots []root) map[string]fileSystem {
	all := make(map[string]fileSystem, len(roots))
	for i := range roots {
		all[roots[i].given] = roots[i].fileSystem
	}
	return all
}

// places returns the paths of the roots, absolute and without links.
func (v *Inventory) places() (all []string) {
	for _, on := range v.fileSystems {
		if on.place != "" {
			all = append(all, on.place)
		}
	}
	return all
}

// check decides whether a bad root is a user error or a problem for the report.
func (r root) check(given string, err error) (root, error) {
	kind := r.stat.Mode & unix.S_IFMT
	switch {
	case given == "":
		return root{}, &RootError{given, "is an empty path; the current directory is \".\""}
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP), errors.Is(err, unix.EINVAL):
		return root{}, &RootError{given, "does not exist; name a directory or a file to scan"}
	case err != nil:
		r.real, r.err = r.path, &Problem{Op: "stat", Path: r.path, Err: cause(err)}
	case kind != unix.S_IFDIR && kind != unix.S_IFREG:
		return root{}, &RootError{given, "is neither a directory nor a regular file; nothing else is ever opened"}
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
