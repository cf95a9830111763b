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
	"sync/atomic"

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
	walking, stop := context.WithCancel(ctx)
	defer stop()
	w := &walker{opts: opts, at: confinedDir{opts.Within}, roots: roots, ctx: walking, stop: stop, linked: make(map[inode]bool)}
	ended := await(walking, w.run)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.abandoned = true
	if w.tooMany() {
		return Report{}, fmt.Errorf("%w: the limit is %d; choose a smaller directory, or filters", ErrTooManyFiles, opts.MaxFiles)
	}
	interrupted := !ended || w.skipped.Load()
	return Report{
		Groups:      w.table.classes(),
		Problems:    w.problems,
		Stats:       w.stats,
		Complete:    !interrupted && len(w.problems) == 0,
		Interrupted: interrupted,
	}, nil
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
		look = func(path string) (root, error) { return newRootWithin(confinedDir{opts.Within}, path) }
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
func newRootWithin(at confinedDir, path string) (root, error) {
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

type walker struct {
	opts  Options
	at    confinedDir
	roots []root
	ctx   context.Context
	stop  context.CancelFunc
	group errgroup.Group

	listings sync.Pool // of *listing

	mu        sync.Mutex
	table     table
	linked    map[inode]bool // inodes that have more names, and were found
	stats     Stats
	problems  []*Problem
	abandoned bool // nobody waits for what is found now

	skipped atomic.Bool // something was not looked at, because ctx had ended
}

// over reports whether to stop, where something is left to be looked at.
func (w *walker) over() bool {
	if w.ctx.Err() == nil {
		return false
	}
	w.skipped.Store(true)
	return true
}

// run walks all roots.
func (w *walker) run() {
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
		w.problem(r.err)
	case r.stat.Mode&unix.S_IFMT == unix.S_IFDIR:
		w.directory(r, "")
	default:
		name := filepath.Base(r.path)
		if w.opts.Filter.excludes(name) || !w.opts.Filter.includes(name) {
			return
		}
		var b batch
		b.add(&w.opts, r.path, &r.stat)
		w.found(new(directory), &b)
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

// directory is an open directory.
type directory struct {
	fd      int
	path    string
	looking sync.WaitGroup // those who use fd

	index  uint32 // of its record in the walker's table, if it has one
	known  bool
	device uint64 // of that record
}

// directory lists the directory at rel below r, then those within it.
func (w *walker) directory(r *root, rel string) {
	d := &directory{path: join(r.path, rel)}
	open := d.path
	if rel == "" {
		open = r.real // r.path may be a symbolic link
	}
	var err error
	if d.fd, err = w.at.open(open, unix.O_DIRECTORY); err != nil {
		w.problem(problem("open", d.path, err))
		return
	}
	below := w.list(r, rel, d)
	for _, name := range below {
		if w.over() {
			return
		}
		w.spawn(func() { w.directory(r, join(rel, name)) })
	}
}

// list adds the files of an open directory, closes it, and returns the names of
// the directories in it that are to be entered.
func (w *walker) list(r *root, rel string, d *directory) (below []string) {
	entries, _ := w.listings.Get().(*listing)
	if entries == nil {
		entries = new(listing)
	}
	entries.open(d.fd)
	defer func() {
		entries.close()
		w.listings.Put(entries)
	}()
	if w.opts.OneFileSystem && rel != "" {
		var st unix.Stat_t
		if err := unix.Fstat(d.fd, &st); err == nil && st.Dev != r.stat.Dev {
			return nil
		}
	}
	w.found(d, &batch{directories: 1})
	defer d.looking.Wait()
	for !w.over() {
		names, err := w.some(r, rel, d, entries, &below)
		if names != "" {
			d.looking.Add(1)
			w.spawn(func() {
				defer d.looking.Done()
				w.look(d, names)
			})
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			w.problem(problem("readdir", d.path, err))
			break
		}
	}
	return below
}

// some returns the names of the next few files that are to be looked at, each with
// a zero behind it, and adds the names of directories to below.
func (w *walker) some(r *root, rel string, d *directory, entries *listing, below *[]string) (string, error) {
	var space [entriesAtOnce * 64]byte
	names := space[:0]
	for n := 0; n < entriesAtOnce; {
		name, kind, err := entries.next()
		if err != nil {
			return string(names), err
		}
		if kind == unix.DT_UNKNOWN {
			kind = d.kind(string(name))
		}
		switch {
		case kind != unix.DT_REG && kind != unix.DT_DIR, !w.wants(r, rel, name, kind):
		case kind == unix.DT_DIR:
			*below = append(*below, string(name))
		default:
			names = append(append(names, name...), 0)
			n++
		}
	}
	return string(names), nil
}

// wants tells whether an entry passes the globs and belongs to r.
func (w *walker) wants(r *root, rel string, name []byte, kind uint8) bool {
	f := &w.opts.Filter
	if len(f.Exclude) == 0 && len(f.Include) == 0 && len(w.roots) == 1 {
		return true
	}
	path := join(rel, string(name))
	return !f.excludes(path) && !w.claimed(r, path) && (kind == unix.DT_DIR || f.includes(path))
}

// kind is for file systems that don't tell it in their listings. What can't be
// looked at counts as a file: look says why it can't.
func (d *directory) kind(name string) uint8 {
	var st unix.Stat_t
	if d.lstat(name, &st) != nil {
		return unix.DT_REG
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return unix.DT_REG
	case unix.S_IFDIR:
		return unix.DT_DIR
	}
	return unix.DT_FIFO // or what else is never opened
}

func (d *directory) lstat(name string, st *unix.Stat_t) error {
	return retry(func() error { return unix.Fstatat(d.fd, name, st, unix.AT_SYMLINK_NOFOLLOW) })
}

// look finds out the size and the inode of files in d.
func (w *walker) look(d *directory, names string) {
	var b batch
	for names != "" && !w.over() {
		var name string
		name, names, _ = strings.Cut(names, "\x00")
		var st unix.Stat_t
		if err := d.lstat(name, &st); err != nil {
			w.problem(problem("stat", join(d.path, name), err))
			continue
		}
		b.add(&w.opts, name, &st)
	}
	w.found(d, &b)
}

// batch is a few files of a directory, whose paths are their names in it.
type batch struct {
	files       [entriesAtOnce]File
	linked      [entriesAtOnce]bool // the inode has other names
	n           int
	directories int64 // listed
}

// add adds a file, unless it has become something else or a size that does not
// count.
func (b *batch) add(opts *Options, name string, st *unix.Stat_t) {
	if st.Mode&unix.S_IFMT == unix.S_IFREG && opts.Filter.hasSize(st.Size) && !opts.ignores(st) {
		b.files[b.n], b.linked[b.n] = newFile(name, st), st.Nlink > 1
		b.n++
	}
}

// found takes what was seen in a directory.
func (w *walker) found(d *directory, b *batch) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.abandoned {
		return
	}
	w.stats.Directories += b.directories
	for i := range b.n {
		f := &b.files[i]
		if !d.known || d.device != f.Device {
			d.index, d.known, d.device = w.table.addDirectory(d.path, f.Device), true, f.Device
		}
		if !b.linked[i] || !w.linked[f.inode()] {
			w.stats.Bytes += f.Size
		}
		if b.linked[i] {
			w.linked[f.inode()] = true
		}
		w.table.add(d.index, f)
	}
	w.stats.Files += int64(b.n)
	w.opts.observe(Event{Stage: StageWalk, Files: int64(b.n)})
	if w.tooMany() {
		w.stop()
	}
}

func (w *walker) tooMany() bool { return w.opts.MaxFiles > 0 && w.stats.Files > w.opts.MaxFiles }

func (w *walker) problem(p *Problem) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.abandoned {
		w.problems = append(w.problems, p)
	}
}

// join is filepath.Join without its cleaning, which would cost more than the
// rest of a path's way.
func join(dir, name string) string {
	if name == "" {
		return dir
	}
	return dir + separator(dir) + name
}

// separator is what is to be between a directory and a name in it.
func separator(dir string) string {
	if dir == "" || dir[len(dir)-1] == '/' {
		return ""
	}
	return "/"
}
