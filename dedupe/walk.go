package dedupe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cespare/xxhash/v2"
	"golang.org/x/sys/unix"

	"efsdedupe/dedupe/mount"
)

// entriesAtOnce is how many entries of a directory one goroutine handles. It is small, so
// that the round trips for a large directory run in parallel.
const entriesAtOnce = 16

// Frontier is where a walk starts or continues: a root, or a directory below one. It
// survives JSON with any bytes in its names.
type Frontier struct {
	Root string // one of Selection.Roots
	Dir  string // relative to the root; empty for the root itself

	// Part and Of split one huge directory: a hash of its name puts each entry of Dir
	// into one of Of parts, and the walk takes the part numbered Part, from 0. If Of is 0
	// or 1, the walk takes all entries.
	Part, Of int
}

// takes reports whether an entry of the frontier's directory belongs to its part.
func (f Frontier) takes(name []byte) bool {
	return f.Of <= 1 || int(xxhash.Sum64(name)%uint64(f.Of)) == f.Part
}

func (f Frontier) validate() error {
	if f.Part < 0 || f.Of < 0 || f.Part >= max(f.Of, 1) {
		return fmt.Errorf("part %d of %d: parts count from 0", f.Part, f.Of)
	}
	return nil
}

// Walk lists every directory below the frontiers, many at once, and returns the files it
// found. Without frontiers it starts at the roots. It opens only directories. It follows
// a symbolic link only if a root is one.
//
// Any frontiers that together cover everything below the roots give the same inventory,
// once merged. When a walk reaches Engine.Budget, it returns the frontiers that are left,
// with large directories in parts. The inventory has none of the files there.
//
// A root that does not exist, or is neither a directory nor a regular file, is an error.
// So are more files than Engine.MaxFiles. Anything below a root that cannot be read is a
// problem in the inventory.
func Walk(ctx context.Context, sel Selection, frontiers []Frontier, eng Engine) (Inventory, []Frontier, error) {
	if err := eng.Abandoned.admit(); err != nil {
		return Inventory{}, nil, err
	}
	if eng.mounts == nil {
		eng.mounts = mount.Read()
	}
	if eng.Within != nil && len(sel.Files) > 0 {
		return Inventory{}, nil, errors.New("lists of files are not for scans within a directory")
	}
	if room := eng.roomForFiles(); room > 0 && int64(len(sel.Files))*listedMemory > room {
		return Inventory{}, nil, eng.outOfMemory(int64(len(sel.Files)))
	}
	var given []root
	var err error
	if !eng.Abandoned.await(ctx, one, func() { given, err = resolve(ctx, &sel, eng) }) {
		return Inventory{Interrupted: true}, nil, nil
	}
	if err != nil {
		return Inventory{}, nil, err
	}
	eng.remote = slices.ContainsFunc(given, func(r root) bool { return r.remote })
	defer eng.overlap(eng.Workers)()
	walking, stop := context.WithCancel(ctx)
	defer stop()
	w := &walker{sel: sel, eng: eng, at: confinedDir{eng.Within, new(atomic.Bool)}, ctx: walking, stop: stop, crew: newCrew(eng.Workers), room: eng.roomForFiles()}
	w.found.locations, w.found.wanted = locations(given), wanted(given)
	w.skipped.Store(len(given) < len(sel.Roots)+len(sel.Files))
	w.roots = distinct(given)
	if err := setFilters(w.roots, sel.Filter); err != nil {
		return Inventory{}, nil, err
	}
	starts, err := w.starts(frontiers)
	if err != nil {
		return Inventory{}, nil, err
	}
	ended := eng.Abandoned.await(walking, w.crew.calls, func() { w.run(starts) })
	w.mu.Lock()
	defer w.mu.Unlock()
	w.abandoned = true
	if w.noRoom() {
		return Inventory{}, nil, eng.outOfMemory(w.found.Files)
	}
	if w.tooMany() {
		return Inventory{}, nil, fmt.Errorf("%w: the limit is %d; choose a smaller directory, or filters", ErrTooManyFiles, eng.MaxFiles)
	}
	w.found.Interrupted = !ended || w.skipped.Load()
	return w.found, w.left, nil
}

// start is where a walk begins, and the root above it.
type start struct {
	root *root
	Frontier
}

// starts returns where to begin: at the frontiers, or at all roots if there are none.
func (w *walker) starts(frontiers []Frontier) (starts []start, err error) {
	if frontiers == nil {
		for i := range w.roots {
			starts = append(starts, start{&w.roots[i], Frontier{Root: w.roots[i].given}})
		}
		return starts, nil
	}
	for _, f := range frontiers {
		i := slices.IndexFunc(w.roots, func(r root) bool { return r.given == f.Root })
		switch {
		case f.validate() != nil:
			return nil, f.validate()
		case i >= 0:
			starts = append(starts, start{&w.roots[i], f})
		case !slices.Contains(w.sel.Roots, f.Root):
			return nil, &RootError{f.Root, "is the root of a frontier but not a root of the selection"}
		} // else it is the same place as another root, which has its own frontiers
	}
	return starts, nil
}

// ErrTooManyFiles is the error of a walk that finds more files than Engine.MaxFiles, or
// more than memory holds.
var ErrTooManyFiles = errors.New("too many files")

type walker struct {
	sel   Selection
	eng   Engine
	at    confinedDir
	roots []root
	ctx   context.Context
	stop  context.CancelFunc
	crew  *crew // at most as many directories are open

	listings sync.Pool // of *listing

	mu        sync.Mutex
	found     Inventory
	left      []Frontier
	taken     int64 // entries of the directories that were or are being listed, if there is a budget
	room      int64 // bytes for what is found; 0 means no limit
	abandoned bool  // the caller stopped waiting; drop further results

	skipped atomic.Bool // ctx ended before everything was looked at
}

// over reports whether to stop although there is more to look at.
func (w *walker) over() bool {
	if w.ctx.Err() == nil {
		return false
	}
	w.skipped.Store(true)
	return true
}

// run walks from all starts.
func (w *walker) run(starts []start) {
	var files []*root
	for _, from := range starts {
		if r := from.root; r.err == nil && !r.stat.isDirectory() {
			files = append(files, r)
			continue
		}
		w.crew.spawn(func() { w.walk(from) })
	}
	for some := range slices.Chunk(files, entriesAtOnce) {
		w.crew.spawn(func() { w.files(some) })
	}
	w.crew.wait()
}

// files adds roots that are files. One folder holds the paths of all, unless they are long.
func (w *walker) files(roots []*root) {
	for len(roots) > 0 && !w.over() {
		n, names := 0, ""
		for n < len(roots) && (n == 0 || len(names)+len(roots[n].path) < math.MaxUint16) {
			names += roots[n].path + "\x00"
			n++
		}
		b, at := batch{names: names}, 0
		for _, r := range roots[:n] {
			if b.anyTime = r.wanted; r.passes() {
				b.add(w, "", at, len(r.path), &r.stat)
			}
			at += len(r.path) + 1
		}
		w.add(new(directory), &b)
		roots = roots[n:]
	}
}

func (w *walker) walk(from start) {
	if err := from.root.err; err != nil {
		w.problem(err)
		return
	}
	w.directory(from)
}

// claimed reports whether the path rel below r is itself a root. A file below both is
// found once, by the innermost root, however the roots are spelled or ordered.
func (w *walker) claimed(r *root, rel string) bool {
	if len(w.roots) == 1 {
		return false
	}
	return w.rootAt(r, rel) != nil
}

// rootAt returns the root at the path rel below r, or nil.
func (w *walker) rootAt(r *root, rel string) *root {
	i, found := slices.BinarySearchFunc(w.roots, filepath.Join(r.real, rel), func(r root, real string) int {
		return strings.Compare(r.real, real)
	})
	if !found {
		return nil
	}
	return &w.roots[i]
}

// directory is an open directory.
type directory struct {
	fd      int
	path    string
	looking sync.WaitGroup // goroutines that use fd
	moved   sync.Once      // to report once that it was moved out of Engine.Within
	counted bool           // the memory of its path is
	partial atomic.Bool    // something in it is left out
}

// directory lists a directory, then the directories in it.
func (w *walker) directory(from start) {
	if w.spent(from.Frontier) {
		return
	}
	r := from.root
	d := &directory{path: join(r.path, from.Dir)}
	open := d.path
	if from.Dir == "" {
		open = r.real // r.path may be a symbolic link
	}
	var err error
	if d.fd, err = w.at.openDirectory(open); err != nil {
		w.problem(problem("open", d.path, err))
		return
	}
	below := w.list(from, d)
	w.listed(d)
	for _, name := range below {
		if w.over() {
			return
		}
		w.crew.spawn(func() { w.directory(start{r, Frontier{Root: r.given, Dir: join(from.Dir, name)}}) })
	}
}

// listed tells about a directory whose files have all been looked at.
func (w *walker) listed(d *directory) {
	if w.eng.Folder == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.abandoned {
		w.eng.Folder(d.path, !d.partial.Load())
	}
}

// spent reports whether the budget is used up. If so, it adds the frontier to those left.
func (w *walker) spent(f Frontier) bool {
	if w.eng.Budget == 0 {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.taken < w.eng.Budget {
		return false
	}
	w.left = append(w.left, f)
	return true
}

// affords counts the entries of an open directory, takes them out of the budget, and
// reports whether they fit. If not, the directory is left for another walk: in parts if it
// would not fit there either.
func (w *walker) affords(f Frontier, d *directory, entries *listing) bool {
	budget := w.eng.Budget
	if budget == 0 {
		return true
	}
	n := int64(0)
	for !w.over() {
		name, _, err := entries.next()
		if err != nil {
			break // list meets the error, too
		}
		if f.takes(name) {
			n++
		}
	}
	if err := entries.rewind(); err != nil {
		w.problem(problem("readdir", d.path, err))
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if n <= budget && (w.taken == 0 || w.taken+n <= budget) {
		w.taken += max(n, 1)
		return true
	}
	of, parts := max(f.Of, 1), 1
	if n > budget {
		parts = int((n+n/64)/budget) + 1 // some parts get more than others
	}
	for i := range parts {
		part := f
		part.Part += i * of
		if parts > 1 {
			part.Of = of * parts
		}
		w.left = append(w.left, part)
	}
	return false
}

// list adds the files of an open directory, closes it, and returns the names of its
// directories to enter.
func (w *walker) list(from start, d *directory) (below []string) {
	entries, _ := w.listings.Get().(*listing)
	if entries == nil {
		entries = new(listing)
	}
	entries.open(d.fd, from.root.nfs)
	defer func() {
		entries.close()
		w.listings.Put(entries)
	}()
	if w.sel.OneFileSystem && from.Dir != "" {
		if st, err := statOpen(d.fd, from.root.nfs); err == nil && st.device != from.root.stat.device {
			if from.Part == 0 {
				w.skip(Skipped{d.path, "one_file_system"})
			}
			return nil
		}
	}
	if !w.affords(from.Frontier, d, entries) {
		return nil
	}
	if from.Part == 0 { // a directory in parts counts once
		w.add(d, &batch{directories: 1})
	}
	defer d.looking.Wait()
	for !w.over() {
		names, err := w.some(from, d, entries, &below)
		if names != "" {
			d.looking.Add(1)
			w.crew.spawn(func() {
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
	if !w.holds(d) {
		return nil
	}
	return below
}

// some returns the names of the next few files to look at, each followed by a zero byte,
// and adds the names of directories to below.
func (w *walker) some(from start, d *directory, entries *listing, below *[]string) (string, error) {
	var space [entriesAtOnce * 64]byte
	names := space[:0]
	pseudo := from.root.pseudo[from.Dir]
	filtered := len(w.sel.Filter.Exclude)+len(w.sel.Filter.Include) > 0
	for n := 0; n < entriesAtOnce && !(filtered && w.over()); {
		name, kind, err := entries.next()
		if err != nil {
			return string(names), err
		}
		if kind == unix.DT_UNKNOWN {
			kind = d.kind(string(name))
		}
		switch {
		case kind != unix.DT_REG && kind != unix.DT_DIR, !from.takes(name):
			d.partial.Store(true)
		case !w.wants(from, name, kind):
			if w.eng.Folder != nil {
				w.leave(from, d, string(name))
			}
		case pseudo != nil && d.isPseudo(string(name), pseudo):
			w.skip(Skipped{join(d.path, string(name)), "pseudo_file_system"})
		case kind == unix.DT_DIR:
			*below = append(*below, string(name))
		default:
			names = append(append(names, name...), 0)
			n++
		}
	}
	return string(names), nil
}

// wants reports whether an entry passes the globs and is not itself a root.
func (w *walker) wants(from start, name []byte, kind uint8) bool {
	f := from.root.filter
	if len(f.Exclude) == 0 && len(f.Include) == 0 && len(w.roots) == 1 {
		return true
	}
	path := join(from.Dir, string(name))
	if kind == unix.DT_DIR {
		return !f.excludesDirectory(path) && !w.claimed(from.root, path)
	}
	return !f.excludes(path) && !w.claimed(from.root, path) && f.includes(path)
}

// leave records that a directory is partial, unless the entry that was left out is a root
// of its own with the same path as here, and the filter takes it there.
func (w *walker) leave(from start, d *directory, name string) {
	if r := w.rootAt(from.root, join(from.Dir, name)); r == nil || r.path != join(d.path, name) || !w.takes(r) {
		d.partial.Store(true)
	}
}

// takes reports whether the filter takes a root.
func (w *walker) takes(r *root) bool {
	f := &w.sel.Filter
	return r.stat.isDirectory() || r.passes() && f.hasSize(r.stat.size) && (r.wanted || f.HasTime(r.stat.modTime))
}

// kind returns the kind of an entry on file systems whose listings do not include it. If
// lstat fails, the entry counts as a file, so that look reports the error.
func (d *directory) kind(name string) uint8 {
	st, err := d.lstat(name)
	switch {
	case err != nil, st.isFile():
		return unix.DT_REG
	case st.isDirectory():
		return unix.DT_DIR
	}
	return unix.DT_FIFO // or another kind that is never opened
}

// isPseudo reports whether an entry is one of the mounts not to enter. Lstat does not
// trigger an automount; opening would.
func (d *directory) isPseudo(name string, pseudo map[string]uint64) bool {
	device, mounted := pseudo[name]
	if !mounted {
		return false
	}
	st, err := d.lstat(name)
	return err != nil || st.device == device
}

func (d *directory) lstat(name string) (status, error) {
	return statAt(d.fd, name, unix.AT_SYMLINK_NOFOLLOW)
}

// holds reports whether d is still inside Engine.Within. If it was moved out, entries may
// have been added to it outside, and the report must not show them.
func (w *walker) holds(d *directory) bool {
	if w.at.holds(d.fd) {
		return true
	}
	d.moved.Do(func() { w.problem(problem("readdir", d.path, unix.ENOENT)) })
	return false
}

// look finds the sizes and inodes of files in d.
func (w *walker) look(d *directory, names string) {
	b := batch{names: names}
	var problems []*Problem
	for at := 0; at < len(names) && !w.over(); {
		name, _, _ := strings.Cut(names[at:], "\x00")
		begin := at
		at += len(name) + 1
		st, err := d.lstat(name)
		if err != nil {
			problems = append(problems, problem("stat", join(d.path, name), err))
			continue
		}
		b.add(w, d.path, begin, len(name), &st)
	}
	if !w.holds(d) {
		return
	}
	if b.left {
		d.partial.Store(true)
	}
	for _, p := range problems {
		w.problem(p)
	}
	w.add(d, &b)
}

// batch is a few files of a directory.
type batch struct {
	names       string // of these and some other files, each followed by a zero byte
	in          *folder
	files       [entriesAtOnce]Copy
	n           int
	folders     int
	directories int64    // listed
	own         []string // paths of ignored files
	anyTime     bool     // whatever the filter says
	left        bool     // something is left out
}

// add adds the file whose name has some length and begins at an index of names, unless it
// has become something else or the filter excludes its size.
func (b *batch) add(w *walker, dir string, name, length int, st *status) {
	device := w.eng.mounts.Device(st.device)
	switch {
	case !st.isFile() || !w.sel.Filter.hasSize(st.size) || !b.anyTime && !w.sel.Filter.HasTime(st.modTime):
		b.left = true
		return
	case b.in == nil || b.in.device != device:
		b.in = &folder{dir, device, b.names}
		b.folders++
	}
	c := &b.files[b.n]
	f := st.file("")
	c.set(&f, b.in, name, length)
	if w.eng.ignores(st) {
		b.own, b.left = append(b.own, c.path()), true
		return
	}
	b.n++
}

// memory returns how many bytes the files take besides themselves.
func (b *batch) memory() int { return len(b.names) + b.folders*folderMemory }

// add records what was found in a directory.
func (w *walker) add(d *directory, b *batch) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.abandoned {
		return
	}
	v := &w.found
	v.Directories += b.directories
	if b.n > 0 {
		bytes := b.memory()
		if !d.counted {
			bytes, d.counted = bytes+len(d.path), true
		}
		v.add(b.files[:b.n], bytes)
	}
	for _, path := range b.own {
		v.Skipped = append(v.Skipped, Skipped{path, "own_output"})
	}
	w.eng.observe(Event{Stage: StageWalk, Files: int64(b.n)})
	if w.tooMany() || w.noRoom() {
		w.stop()
	}
}

func (w *walker) tooMany() bool { return w.eng.MaxFiles > 0 && w.found.Files > w.eng.MaxFiles }

func (w *walker) noRoom() bool { return w.room > 0 && w.found.table.bytes > w.room }

func (w *walker) skip(s Skipped) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.abandoned {
		w.found.Skipped = append(w.found.Skipped, s)
	}
}

func (w *walker) problem(p *Problem) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.abandoned {
		w.found.Problems = append(w.found.Problems, p)
	}
}

// join is filepath.Join without the cleaning, which would take longer than everything
// else done with a path.
func join(dir, name string) string {
	if name == "" {
		return dir
	}
	return dir + separator(dir) + name
}

// separator returns what belongs between a directory and a name in it.
func separator(dir string) string {
	if dir == "" || dir[len(dir)-1] == '/' {
		return ""
	}
	return "/"
}
