package dedupe

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// Hasher signs batches of files. It is called from many goroutines.
//
// A digest is that of the file as it was found: a file that changed, shrank, grew,
// vanished or was replaced since, or while it was read, has a problem that wraps
// ErrChanged.
type Hasher interface {
	// Hash returns what became of each copy of a batch, in order, and what it took. It
	// changes no copy.
	Hash(context.Context, Batch) []Signed
}

// Batch is copies of one size, to be read under their first names.
type Batch struct {
	Copies []*Copy

	// Want is StageEnds for the ends of files that are not small, or StageWhole. If ends
	// are wanted, files that have the same ends as another get their digest, too, unless
	// they are large: so each is opened once.
	Want Stage

	More  bool   // there are more files of this size
	Peers []Ends // of some of these, as far as they are known

	room []Signed // for the answer, if it is long enough
}

// ErrChanged is wrapped by the Problem of a file that did not stay as it was
// found until its reading ended.
var ErrChanged = errors.New("changed during the scan")

// LocalHasher reads and hashes files in this process. Its zero value is ready.
type LocalHasher struct {
	// Read, if it is set, is told of the bytes of each read as it is made, from
	// many goroutines.
	Read func(bytes int64)

	// Within, if it is set, is the open directory that paths are relative to, and
	// can't leave.
	Within *os.File

	// HashAll has every file hashed, where otherwise one that equals another, which
	// was hashed lately, byte for byte, has its digest by that.
	HashAll bool

	cache      contentCache
	blocks     sync.Pool // of *block, for files that are read in step
	candidates sync.Pool // of *candidate
}

// Hash implements Hasher. Large files that are wanted as a whole are read in lockstep:
// where several may be equal, that is cheaper.
func (h *LocalHasher) Hash(ctx context.Context, b Batch) []Signed {
	signed := slices.Grow(b.room[:0], len(b.Copies))[:len(b.Copies)]
	for i, c := range b.Copies {
		signed[i] = Signed{Copy: c}
	}
	switch {
	case b.Want == StageEnds:
		h.hashEnds(ctx, b, signed)
	case len(signed) > 1 && !h.HashAll:
		h.hashInLockstep(ctx, signed)
	case signed[0].Large():
		for i := range signed {
			h.hashInLockstep(ctx, signed[i:i+1])
		}
	default:
		for i := range signed {
			h.hashWhole(ctx, &signed[i])
		}
	}
	return signed
}

// hashWhole takes one open, and reads each byte once.
//
// Before more than one buffer full is read, the file must be as it was found. To read
// less is hardly more than to ask: then all is asked after it.
func (h *LocalHasher) hashWhole(ctx context.Context, s *Signed) {
	o, err := h.open(s.File, &s.Work)
	if err != nil {
		s.fail(err)
		return
	}
	defer o.close()

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

// digest reads what is between the first and the last bytes of a file, and returns the
// digest. Op is what is told to have failed if the file is not what was found.
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

// opened is a file that is open, to be closed.
type opened struct {
	File
	at confinedDir
	fd int

	// What is known of its holes: from asked to dataFrom is one, from there to dataTo is
	// data.
	asked, dataFrom, dataTo int64
}

// hole returns how many bytes of a hole there are at pos. It asks the file system only of
// files that take less than their size, and are not small: these cost nothing to read.
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

// skip adds the zeros of a hole, up to end, and returns how many.
func (o *opened) skip(in *reading, pos, end int64) int64 {
	space := in.space(pos)
	n := min(end-pos, int64(len(space)))
	clear(space[:n])
	in.add(pos, int(n))
	return n
}

func (h *LocalHasher) open(f File, w *Work) (opened, error) {
	at := confinedDir{h.Within}
	fd, err := at.open(f.Path, unix.O_NONBLOCK) // should it have become a FIFO: don't wait for a writer
	if err != nil {
		return opened{}, problem("open", f.Path, err)
	}
	w.Opens++
	return opened{File: f, at: at, fd: fd}, nil
}

func (o opened) close() { unix.Close(o.fd) }

// stayed returns how the file, which was opened or read, is not what was found any
// more. It asks by descriptor, which is cheaper than by path: that a file was removed
// or replaced, too, shows in its ctime. Only then its path tells more.
func (o opened) stayed(op string) error {
	var now unix.Stat_t
	if err := unix.Fstat(o.fd, &now); err != nil {
		return problem("stat", o.Path, err)
	}
	why := o.unchanged(&now)
	if why == nil {
		return nil
	}
	if err := o.at.lstat(o.Path, &now); err != nil {
		return problem("stat", o.Path, err)
	}
	if err := o.unchanged(&now); err != nil {
		why = err
	}
	return problem(op, o.Path, why)
}

// read adds what is at pos in a file, not beyond end, and returns how many bytes.
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

// checkEmpty returns an error if a file of size 0 has content, as those of /proc have.
func (o opened) checkEmpty() error {
	var b [1]byte
	n, err := read(o.fd, b[:], 0)
	if err == nil && n > 0 {
		err = errors.New("its size is 0 and yet it has content: its file system does not tell sizes, so it is compared with no other")
	}
	if err != nil {
		return problem("read", o.Path, err)
	}
	return nil
}

func (f File) ended(pos int64) error {
	return fmt.Errorf("%w: it ended after %d of %d bytes", ErrChanged, pos, f.Size)
}

// unchanged compares a file with what the walk knew of it.
func (f File) unchanged(now *unix.Stat_t) error {
	g := newFile(f.Path, now)
	g.Links, g.Allocated = f.Links, f.Allocated
	switch {
	case now.Mode&unix.S_IFMT != unix.S_IFREG, f.Inode != g.Inode, f.Device != g.Device:
		return fmt.Errorf("%w: replaced by another file", ErrChanged)
	case f.Size != g.Size:
		return fmt.Errorf("%w: size was %d bytes, is %d", ErrChanged, f.Size, g.Size)
	case f != g:
		return fmt.Errorf("%w: written to, or its inode touched", ErrChanged)
	}
	return nil
}

// Find describes the file at a path, as Walk would. Its error is a *Problem.
func (h *LocalHasher) Find(path string) (File, error) {
	var st unix.Stat_t
	if err := (confinedDir{h.Within}).lstat(path, &st); err != nil {
		return File{}, &Problem{Op: "stat", Path: path, Err: err}
	}
	return newFile(path, &st), nil
}

func newFile(path string, st *unix.Stat_t) File {
	return File{
		Path:       path,
		Size:       st.Size,
		Device:     uint64(st.Dev),
		Inode:      st.Ino,
		ModTime:    timestamp(st.Mtim),
		ChangeTime: timestamp(st.Ctim),
		Links:      uint32(st.Nlink),
		Allocated:  allocated(st),
	}
}

// allocated is how many bytes a file takes on its file system. A number that no file
// system of today can hold, as FUSE programs may give, is not believed: sums must fit.
func allocated(st *unix.Stat_t) int64 {
	const block, most = 512, 1 << 46 // POSIX leaves the unit open; on Linux and macOS it is 512
	if st.Blocks < 0 || st.Blocks > most {
		return st.Size
	}
	return st.Blocks * block
}

func timestamp(t unix.Timespec) Timestamp { return Timestamp{int64(t.Sec), int32(t.Nsec)} }

// problem names the path and the operation that failed. What the walk saw and
// is gone, or is no longer of its kind, has changed.
func problem(op, path string, err error) *Problem {
	switch err {
	case unix.ENOENT, unix.ESTALE:
		err = fmt.Errorf("%w: vanished (%w)", ErrChanged, err)
	case unix.ELOOP, unix.ENOTDIR, unix.ENXIO:
		err = fmt.Errorf("%w: replaced by another kind of file (%w)", ErrChanged, err)
	}
	return &Problem{Op: op, Path: path, Err: err}
}

// asProblem returns an error as the problem of a file.
func asProblem(path string, err error) *Problem {
	if p := (*Problem)(nil); errors.As(err, &p) {
		return p
	}
	return &Problem{Op: "hash", Path: path, Err: err}
}
