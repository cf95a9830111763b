package dedupe

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"efsdedupe/dedupe/mount"
)

// Hasher signs batches of files. It must be safe for concurrent use.
//
// A digest is that of the file as the walk found it. If the file changed, shrank, grew,
// vanished or was replaced before reading ended, its problem wraps ErrChanged.
type Hasher interface {
	// Hash returns the result for each file of a batch, in order. It must not modify the
	// files.
	Hash(context.Context, Batch) []Signed
}

// Batch is files of one size, each the first name of a copy. If Apart is set, it is small
// files of any sizes, to be read one by one.
type Batch struct {
	Files []File

	// Want is StageEnds or StageWhole. With StageEnds, no file is small; a file whose
	// ends match another's also gets its digest, unless it is large, so that each is
	// opened once.
	Want Stage

	Apart bool
	More  bool   // other files of this size exist outside the batch
	Peers []Ends // the known ends of some of those files

	// NFS says that the files are, or may be, on an NFS mount. Then the hasher also
	// checks after closing a file that no other machine has changed it.
	NFS bool

	room []Signed // reused for the answer if it is long enough
}

// ErrChanged is wrapped by the Problem of a file that changed between the walk and the
// end of reading it.
var ErrChanged = errors.New("changed during the scan")

// LocalHasher reads and hashes files in this process. Its zero value is ready to use.
type LocalHasher struct {
	// Read, if set, is called after each read with the number of bytes, from many
	// goroutines.
	Read func(bytes int64)

	// Within, if set, is the open directory that paths are relative to and cannot leave.
	Within *os.File

	// HashAll hashes every file. Otherwise a file byte-identical to one already hashed is
	// not hashed again.
	HashAll bool

	cache      contentCache
	blocks     sync.Pool // of *block, for reading in lockstep
	candidates sync.Pool // of *candidate
	trials     trials
	refused    atomic.Bool // see confinedDir

	workers int64        // the most files to read at once; 0 unless files may be on another machine
	busy    atomic.Int64 // calls of Hash, and goroutines that help them
}

// Hash implements Hasher. It reads whole large files in lockstep, which is cheaper when
// several may be equal.
func (h *LocalHasher) Hash(ctx context.Context, b Batch) []Signed {
	h.busy.Add(1)
	defer h.busy.Add(-1)
	signed := slices.Grow(b.room[:0], len(b.Files))[:len(b.Files)]
	for i, f := range b.Files {
		signed[i] = Signed{File: f}
	}
	switch {
	case b.Want == StageEnds:
		h.hashEnds(ctx, b, signed)
	case len(signed) > 1 && !h.HashAll && !b.Apart:
		h.hashInLockstep(ctx, signed, b.NFS)
	case signed[0].Large():
		for i := range signed {
			h.hashInLockstep(ctx, signed[i:i+1], b.NFS)
		}
	default:
		for i := range signed {
			h.hashWhole(ctx, &signed[i], b.NFS)
		}
	}
	return signed
}

// spawn runs f in its own goroutine if a worker is free, else at once in this one. Only
// where files may be on another machine is it worth a goroutine.
func (h *LocalHasher) spawn(f func()) {
	if h.busy.Add(1) > h.workers {
		h.busy.Add(-1)
		f()
		return
	}
	go func() {
		defer h.busy.Add(-1)
		f()
	}()
}

// hashWhole opens a file once and reads each byte once.
//
// If the file is longer than one buffer, it first checks that the file has not changed. A
// shorter file costs hardly more to read than to check, so it is checked only afterwards.
func (h *LocalHasher) hashWhole(ctx context.Context, s *Signed, nfs bool) {
	o, err := h.open(s.File, nfs, &s.Work)
	if err != nil {
		s.fail(err)
		return
	}
	defer o.done(s)

	op := "open"
	if s.Size > bufferSize {
		if err := o.stayed(op); err != nil {
			s.fail(err)
			return
		}
		op = "read"
	}
	s.Digest, err = h.digest(ctx, o, nil, nil, op, &s.Work)
	s.fail(err)
}

// digest reads a file between its first and last bytes, which the caller has, and returns
// the digest of the whole. If the file has changed, the problem names op as the operation
// that failed.
func (h *LocalHasher) digest(ctx context.Context, o opened, first, last []byte, op string, w *Work) (d Digest, err error) {
	in := h.cache.begin(o.Size, h.HashAll)
	defer func() { h.cache.end(in, d, err == nil) }()
	in.put(0, first)
	if err = h.read(ctx, o, in, int64(len(first)), o.Size-int64(len(last)), w); o.Size == 0 && err == nil {
		err = o.checkEmpty()
	}
	if err == nil || op == "open" {
		if changed := o.stayed(op); changed != nil {
			err = changed
		}
	}
	if err != nil {
		return Digest{}, err
	}
	in.put(o.Size-int64(len(last)), last)
	d, hashed := in.digest()
	if hashed {
		w.FilesHashed = 1
	} else {
		w.FilesCompared = 1
	}
	return d, nil
}

// read reads a file from pos to end.
func (h *LocalHasher) read(ctx context.Context, o opened, in *reading, pos, end int64, w *Work) error {
	for pos < end {
		if err := ctx.Err(); err != nil {
			return err
		}
		if n := o.hole(pos); n > 0 {
			pos += o.skip(in, pos, min(end, pos+n))
			continue
		}
		o.prefetch(pos, min(end, o.dataTo))
		k, err := o.read(in, pos, min(end, o.dataTo))
		if err != nil {
			return problem("read", o.Path, err)
		}
		pos += int64(k)
		w.BytesRead += int64(k)
		h.told(k)
	}
	return nil
}

func (h *LocalHasher) told(bytes int) {
	if h.Read != nil {
		h.Read(int64(bytes))
	}
}

// opened is an open file. The caller closes it.
type opened struct {
	File
	at    confinedDir
	fd    int
	nfs   bool
	ahead int64 // what prefetch has asked for

	// What is known of its holes: asked to dataFrom is a hole, dataFrom to dataTo is
	// data.
	asked, dataFrom, dataTo int64
}

// hole returns the length of the hole at pos, or 0. It asks the file system only about
// files that occupy less than their size and are not small; small files cost nothing
// extra to read.
func (o *opened) hole(pos int64) int64 {
	switch {
	case o.Allocated >= o.Size || o.Size <= smallMax:
		o.dataTo = o.Size
	case pos < o.asked || pos >= o.dataTo:
		o.asked = pos
		o.dataFrom, o.dataTo = nextData(o.fd, pos, o.Size)
	}
	return max(o.dataFrom-pos, 0)
}

// skip adds the zeros of a hole, up to end, and returns how many it added.
func (o *opened) skip(in *reading, pos, end int64) int64 {
	space := in.space(pos)
	n := min(end-pos, int64(len(space)))
	clear(space[:n])
	in.add(pos, int(n))
	return n
}

func (h *LocalHasher) open(f File, nfs bool, w *Work) (opened, error) {
	at := confinedDir{h.Within, &h.refused}
	fd, err := at.open(f.Path, unix.O_NONBLOCK) // if it has become a FIFO, don't wait for a writer
	if err != nil {
		return opened{}, problem("open", f.Path, err)
	}
	w.Opens++
	return opened{File: f, at: at, fd: fd, nfs: nfs}, nil
}

func (o opened) close() { unix.Close(o.fd) }

// stayed returns an error if the open file is no longer the one the walk found. It asks
// by descriptor, which is cheaper than by path; ctime also shows that a file was removed
// or replaced. Only if something changed does it look at the path, to say what.
func (o opened) stayed(op string) error {
	now, err := statOpen(o.fd, o.nfs)
	if err != nil {
		return problem("stat", o.Path, err)
	}
	why := o.unchanged(&now)
	if why == nil {
		return nil
	}
	if now, err = o.at.lstat(o.Path, 0); err != nil {
		return problem("stat", o.Path, err)
	}
	if err := o.unchanged(&now); err != nil {
		why = err
	}
	return problem(op, o.Path, why)
}

// read reads at pos, not beyond end, adds the bytes to in, and returns how many.
func (o opened) read(in *reading, pos, end int64) (int, error) {
	space := in.space(pos)
	k, err := read(o.fd, space[:min(end-pos, int64(len(space)))], pos)
	if err == nil && k == 0 {
		err = o.ended(pos)
	}
	if err == nil {
		in.add(pos, k)
	}
	return k, err
}

// checkEmpty returns an error if a file of size 0 has content, as files in /proc do.
func (o opened) checkEmpty() error {
	var b [1]byte
	n, err := read(o.fd, b[:], 0)
	if err == nil && n > 0 {
		err = errors.New("its size is 0 but it has content: its file system does not report sizes, so it cannot be compared")
	}
	if err != nil {
		return problem("read", o.Path, err)
	}
	return nil
}

func (f File) ended(pos int64) error {
	return fmt.Errorf("%w: it ended after %d of %d bytes", ErrChanged, pos, f.Size)
}

// unchanged compares a file with what the walk found.
func (f File) unchanged(now *status) error {
	g := now.file(f.Path)
	g.Links, g.Allocated = f.Links, f.Allocated
	if f.Inode == g.Inode && f.Device != g.Device && mount.Read().Device(g.Device) == f.Device {
		g.Device = f.Device // another mount of the same file system; the walk records one device for all
	}
	switch {
	case !now.isFile(), f.Inode != g.Inode, f.Device != g.Device:
		return fmt.Errorf("%w: replaced by another file", ErrChanged)
	case f.Size != g.Size:
		return fmt.Errorf("%w: size was %d bytes, is %d", ErrChanged, f.Size, g.Size)
	case f != g:
		return fmt.Errorf("%w: written to, or its inode touched", ErrChanged)
	}
	return nil
}

// stillHas returns an error if the path of a file no longer leads to it, or if it changed.
// The flags are those of lstat.
func (p confinedDir) stillHas(f File, flags int) error {
	now, err := p.lstat(f.Path, flags)
	if err != nil {
		return err
	}
	return f.unchanged(&now)
}

// Find describes the file at a path, as Walk would. Its error is a *Problem.
func (h *LocalHasher) Find(path string) (File, error) {
	st, err := confinedDir{within: h.Within}.lstat(path, 0)
	if err != nil {
		return File{}, &Problem{Op: "stat", Path: path, Err: err}
	}
	return st.file(path), nil
}

// problem names the path and the failed operation. If the file vanished or became another
// kind of file since the walk, the problem wraps ErrChanged.
func problem(op, path string, err error) *Problem {
	switch err {
	case unix.ENOENT, unix.ESTALE:
		err = fmt.Errorf("%w: vanished (%w)", ErrChanged, err)
	case unix.ELOOP, unix.ENOTDIR, unix.ENXIO:
		err = fmt.Errorf("%w: replaced by another kind of file (%w)", ErrChanged, err)
	case unix.EBADF: // NFS only: after a restart, the client could not open it again
		err = fmt.Errorf("its server lost the open file: scan again (%w)", err)
	}
	return &Problem{Op: op, Path: path, Err: err}
}

// asProblem returns err as the problem of a file.
func asProblem(path string, err error) *Problem {
	if p := (*Problem)(nil); errors.As(err, &p) {
		return p
	}
	return &Problem{Op: "hash", Path: path, Err: err}
}
