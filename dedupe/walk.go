package dedupe

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// entriesAtOnce is how many entries of a directory one goroutine looks at: few,
// so that the round trips of a large directory run side by side.
const entriesAtOnce = 16

// Walk lists every directory below the roots, many at once, and returns the
// size classes: one group for each size that at least two inodes have.
// It follows no symbolic link but a root that is one, and opens nothing but
// directories.
//
// A root that does not exist, or is neither directory nor regular file, is an
// error, and so are more files than opts allow; what can't be read below a root
// is a problem in the report.
func Walk(ctx context.Context, opts Options) (Report, error) {
	roots, err := resolve(opts)
	if err != nil {
		return Report{}, err
	}
	var report Report
	classes := make(map[int64][]File)
	linked := make(map[inode]bool)
	walking, stop := context.WithCancel(ctx)
	defer stop()
	w := walker{opts: opts, at: place{opts.Within}, roots: roots}
	run := func(emit func(found)) { w.run(walking, emit) }
	gather(walking, run, func(f found) {
		report.Stats.Directories += f.directories
		report.Problems = append(report.Problems, f.problems...)
		for _, e := range f.files {
			report.Stats.Files++
			if !e.linked || !linked[e.inode()] {
				report.Stats.Bytes += e.Size
			}
			if e.linked {
				linked[e.inode()] = true
			}
			classes[e.Size] = append(classes[e.Size], e.File)
		}
		opts.observe(Event{Stage: StageWalk, Files: int64(len(f.files))})
		if opts.MaxFiles > 0 && report.Stats.Files > opts.MaxFiles {
			stop()
		}
	})
	if opts.MaxFiles > 0 && report.Stats.Files > opts.MaxFiles {
		return Report{}, fmt.Errorf("%w: the limit is %d; choose a smaller directory, or filters", ErrTooManyFiles, opts.MaxFiles)
	}
	for size, files := range classes {
		if len(files) < 2 || len(byInode(files)) < 2 {
			continue
		}
		slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
		report.Groups = append(report.Groups, Group{Size: size, Files: files})
	}
	report.Complete = ctx.Err() == nil && len(report.Problems) == 0
	return report, nil
}

// ErrTooManyFiles is that of a walk that found more files than Options.MaxFiles.
var ErrTooManyFiles = errors.New("too many files")

// root is where a walk starts.
type root struct {
	path string // as given, cleaned; empty for the directory that a scan is within
	real string // the same for all names of one place: absolute and without links, or as path
	stat unix.Stat_t
	err  *Problem // what kept it from being looked at
}

// RootError is a root that can't be scanned, because it does not exist or is
// neither a directory nor a regular file.
type RootError struct {
	Path string
	Why  string
}

func (e *RootError) Error() string { return fmt.Sprintf("%q %s", e.Path, e.Why) }

// resolve looks at the roots and drops those that are the same place as
// another. A root inside another stays: see walker.claimed.
func resolve(opts Options) ([]root, error) {
	look := newRoot
	if opts.Within != nil {
		look = func(path string) (root, error) { return newRootWithin(place{opts.Within}, path) }
	}
	roots := make([]root, 0, len(opts.Roots))
	for _, path := range opts.Roots {
		r, err := look(path)
		if err != nil {
			return nil, err
		}
		roots = append(roots, r)
	}
	slices.SortFunc(roots, func(a, b root) int {
		return cmp.Or(strings.Compare(a.real, b.real), strings.Compare(a.path, b.path))
	})
	return slices.CompactFunc(roots, func(a, b root) bool { return a.real == b.real }), nil
}

// newRoot looks at a root, which may be a symbolic link: its user named it.
func newRoot(path string) (root, error) {
	r := root{path: filepath.Clean(path)}
	err := retry(func() error { return unix.Stat(r.path, &r.stat) })
	if err == nil {
		r.real, err = filepath.Abs(r.path)
	}
	if err == nil {
		r.real, err = filepath.EvalSymlinks(r.real)
	}
	if err == nil && r.stat.Mode&unix.S_IFMT == unix.S_IFREG {
		if st, err := os.Lstat(r.path); err == nil && st.Mode()&os.ModeSymlink != 0 {
			r.path = r.real // no link is followed when files are read
		}
	}
	return r.check(path, err)
}

// newRootWithin looks at a root that whoever named it must not leave.
func newRootWithin(at place, path string) (root, error) {
	r := root{path: path, real: path}
	if path == "." {
		r.path = ""
	}
	return r.check(path, at.lstat(path, &r.stat))
}

// check tells a root that is bad use from one that is a problem.
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
		return root{}, &RootError{given, "is neither a directory nor a regular file, and nothing else is ever opened"}
	}
	return r, nil
}

// cause strips the path that os puts into its errors: a Problem has its own.
func cause(err error) error {
	var errno unix.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}

// found is what one step of a walk saw.
type found struct {
	files       []entry
	directories int64
	problems    []*Problem
}

type entry struct {
	File
	linked bool // the inode has other names
}

type walker struct {
	opts  Options
	at    place
	roots []root
	ctx   context.Context
	group *errgroup.Group
	emit  func(found)
}

// run walks all roots; what they hold comes out of emit as it is found.
func (w *walker) run(ctx context.Context, emit func(found)) {
	w.ctx, w.emit = ctx, emit
	w.group = new(errgroup.Group)
	w.group.SetLimit(w.opts.Workers)
	for i := range w.roots {
		w.spawn(func() { w.root(&w.roots[i]) })
	}
	w.group.Wait()
}

// spawn runs f beside the caller if a worker is free, else now: no queue, no
// deadlock, and at most Workers directories open at once.
func (w *walker) spawn(f func()) {
	run := func() error { f(); return nil }
	if !w.group.TryGo(run) {
		run()
	}
}

func (w *walker) root(r *root) {
	switch {
	case r.err != nil:
		w.emit(found{problems: []*Problem{r.err}})
	case r.stat.Mode&unix.S_IFMT == unix.S_IFDIR:
		w.directory(r, "")
	default:
		name := filepath.Base(r.path)
		if w.opts.Filter.excludes(name) || !w.opts.Filter.includes(name) {
			return
		}
		var f found
		f.file(&w.opts, r.path, &r.stat)
		w.emit(f)
	}
}

// claimed reports whether a path below r is a root of its own: a file in both
// is found once, by the innermost of them, however they are spelled or ordered.
func (w *walker) claimed(r *root, rel string) bool {
	if len(w.roots) == 1 {
		return false
	}
	real := filepath.Join(r.real, rel)
	_, found := slices.BinarySearchFunc(w.roots, real, func(r root, real string) int {
		return strings.Compare(r.real, real)
	})
	return found
}

// directory lists the directory at rel below r, then those within it.
func (w *walker) directory(r *root, rel string) {
	path := join(r.path, rel)
	open := path
	if rel == "" {
		open = r.real // r.path may be a symbolic link
	}
	fd, err := w.at.open(open, unix.O_DIRECTORY)
	if err != nil {
		w.emit(found{problems: []*Problem{problem("open", path, err)}})
		return
	}
	dir := os.NewFile(uintptr(fd), path)
	below := w.list(r, rel, dir)
	dir.Close()
	for _, name := range below {
		if w.ctx.Err() != nil {
			return
		}
		w.spawn(func() { w.directory(r, join(rel, name)) })
	}
}

// list emits the files of an open directory and returns the names of the
// directories in it that are to be entered.
func (w *walker) list(r *root, rel string, dir *os.File) (below []string) {
	if w.opts.OneFileSystem && rel != "" {
		var st unix.Stat_t
		if err := unix.Fstat(int(dir.Fd()), &st); err == nil && st.Dev != r.stat.Dev {
			return nil
		}
	}
	var looking sync.WaitGroup
	defer looking.Wait() // they use dir
	for directories := int64(1); w.ctx.Err() == nil; directories = 0 {
		entries, err := dir.ReadDir(entriesAtOnce)
		files := entries[:0]
		for _, e := range entries {
			switch name := join(rel, e.Name()); {
			case !e.Type().IsRegular() && !e.IsDir(), w.opts.Filter.excludes(name), w.claimed(r, name):
			case e.IsDir():
				below = append(below, e.Name())
			case w.opts.Filter.includes(name):
				files = append(files, e)
			}
		}
		looking.Add(1)
		w.spawn(func() {
			defer looking.Done()
			w.look(dir, directories, files)
		})
		if err == io.EOF {
			break
		}
		if err != nil {
			w.emit(found{problems: []*Problem{problem("readdir", dir.Name(), cause(err))}})
			break
		}
	}
	return below
}

// look finds out the size and the inode of files in dir.
func (w *walker) look(dir *os.File, directories int64, files []os.DirEntry) {
	f := found{directories: directories, files: make([]entry, 0, len(files))}
	for _, e := range files {
		if w.ctx.Err() != nil {
			break
		}
		var st unix.Stat_t
		path := join(dir.Name(), e.Name())
		err := retry(func() error {
			return unix.Fstatat(int(dir.Fd()), e.Name(), &st, unix.AT_SYMLINK_NOFOLLOW)
		})
		if err != nil {
			f.problems = append(f.problems, problem("stat", path, err))
			continue
		}
		f.file(&w.opts, path, &st)
	}
	w.emit(f)
}

// file adds a file, unless it has become something else or a size that does
// not count.
func (f *found) file(opts *Options, path string, st *unix.Stat_t) {
	if st.Mode&unix.S_IFMT == unix.S_IFREG && opts.Filter.hasSize(st.Size) && !opts.ignores(st) {
		f.files = append(f.files, entry{newFile(path, st), st.Nlink > 1})
	}
}

// join is filepath.Join without its cleaning, which would cost more than the
// rest of a path's way.
func join(dir, name string) string {
	switch {
	case dir == "":
		return name
	case name == "":
		return dir
	case dir[len(dir)-1] == '/':
		return dir + name
	}
	return dir + "/" + name
}
