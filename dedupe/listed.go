package dedupe

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"efsdedupe/dedupe/mount"
)

// statsAtOnce is how many listed files one goroutine looks at.
const statsAtOnce = 64

// resolveFiles looks at the files of a list, many at once. What is not a regular file is a
// root with a problem. It follows no symbolic links.
func (v *resolver) resolveFiles(ctx context.Context, paths []string, workers int) []root {
	roots := make([]root, len(paths))
	crew := newCrew(workers)
	at := 0
	for some := range slices.Chunk(paths, statsAtOnce) {
		into := roots[at : at+len(some)]
		at += len(some)
		crew.spawn(func() {
			for i, path := range some {
				if ctx.Err() == nil {
					into[i] = lookListed(path)
				}
			}
		})
	}
	crew.wait()
	for i := range roots {
		if ctx.Err() != nil {
			return roots[:i]
		}
		r := &roots[i]
		if r.err != nil {
			continue
		}
		real, err := v.realPath(r.path, false)
		if err != nil {
			r.err = &Problem{Op: "stat", Path: r.path, Err: cause(err)}
			continue
		}
		r.real = real
		v.locate(r)
	}
	return roots
}

// lookListed looks at a file of a list.
func lookListed(path string) root {
	r := root{given: path, path: mount.CleanPath(path), real: path, listed: true}
	st, err := statAt(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW)
	switch {
	case err != nil:
		err = cause(err)
	case st.isDirectory():
		err = errors.New("is a directory: name it as a ROOT, or list the files in it")
	case st.isLink():
		err = errors.New("is a symbolic link: list what it leads to")
	case !st.isFile():
		err = errors.New("is not a regular file: only regular files are opened")
	}
	r.stat = st
	if err != nil {
		r.err = &Problem{Op: "stat", Path: r.path, Err: err}
	}
	return r
}

// resolveCopiesOf looks at the file that copies are wanted of, and limits the filter to its
// size.
func resolveCopiesOf(look func(path string) (root, error), path string, f *Filter) (root, error) {
	r, err := look(path)
	switch {
	case err != nil:
		return r, err
	case r.err != nil:
		return r, r.err
	case !r.stat.isFile():
		return r, &RootError{path, "is not a file: name the file to find the copies of"}
	case !f.hasSize(r.stat.size):
		return r, &RootError{path, "has a size that the filters leave out: change --min-size or --max-size"}
	}
	f.MinSize, f.MaxSize, r.wanted = r.stat.size, r.stat.size, true
	return r, nil
}

// wanted returns the path of the root that copies are wanted of, or "".
func wanted(roots []root) string {
	if i := slices.IndexFunc(roots, func(r root) bool { return r.wanted }); i >= 0 {
		return roots[i].path
	}
	return ""
}

// passes reports whether a root that is a file passes the globs.
func (r *root) passes() bool {
	if r.wanted {
		return true
	}
	name := filepath.Base(r.path)
	if !r.listed {
		return !r.filter.excludes(name) && r.filter.includes(name)
	}
	absolute := r.filter.Absolute()
	given, real := strings.TrimPrefix(filepath.Clean(r.given), "/"), strings.TrimPrefix(r.real, "/")
	if r.filter.Excludes(given, nil) || absolute.Excludes(real, nil) {
		return false
	}
	return r.filter.includes(given) || len(absolute.Include) > 0 && absolute.includes(real)
}
