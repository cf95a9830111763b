package dedupe

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Whole asks a Hasher for the whole content of a file.
const Whole int64 = -1

// Hasher returns digests of files, and what finding them took, also on error.
//
// A digest is that of the file as it was found: one that changed, shrank, grew,
// vanished or was replaced since, or while it was read, is an error that wraps
// ErrChanged. Errors are a *Problem, or that of ctx.
//
// Its methods may be called from many goroutines.
type Hasher interface {
	// Hash returns the digest of the ends of a file, its first n bytes followed by
	// its last n, or of all of it if it is no longer than both or n is Whole.
	Hash(ctx context.Context, f File, n int64) (Digest, Work, error)

	// HashInStep returns the digest of all of each of some files, which are of one
	// size: for large files, where they may be equal, it is cheaper than Hash.
	HashInStep(ctx context.Context, files []File) []Hashed
}

// Hashed is what a Hasher returns of one of several files.
type Hashed struct {
	Digest Digest
	Work   Work
	Err    error
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

	recent recent
	blocks sync.Pool // of *block, for files that are read in step
}

// Hash implements Hasher: one open, and each byte read once.
//
// Before more than one buffer full is read, the file must be as it was found. To read
// less is hardly more than to ask: then all is asked after it.
func (h *LocalHasher) Hash(ctx context.Context, f File, n int64) (d Digest, w Work, err error) {
	at := place{h.Within}
	fd, err := f.open(at)
	if err != nil {
		return d, w, err
	}
	defer unix.Close(fd)
	w.Opens = 1

	total, op := f.Part(n), "open"
	if total > bufferSize {
		if err := f.stayed(at, fd, op); err != nil {
			return d, w, err
		}
		op = "read"
	}
	whole := total == f.Size
	if !whole {
		onlyEnds(fd)
	}
	in := h.recent.begin(f.Size, whole && !h.HashAll)
	defer func() { h.recent.end(in, d, err == nil) }()
	err = h.read(ctx, f, fd, n, in, &w)
	if err == nil || op == "open" {
		if changed := f.stayed(at, fd, op); changed != nil {
			err = changed
		}
	}
	if err != nil {
		return d, w, err
	}
	d, hashed := in.digest()
	switch {
	case !hashed:
		w.FilesCompared = 1
	case whole:
		w.FilesHashed = 1
	}
	return d, w, nil
}

// read reads the ends of n bytes of a file, or all of it.
func (h *LocalHasher) read(ctx context.Context, f File, fd int, n int64, in *reading, w *Work) error {
	for w.BytesRead < f.Part(n) {
		if err := ctx.Err(); err != nil {
			return err
		}
		k, err := f.read(fd, in, w.BytesRead, n)
		if err != nil {
			return problem("read", f.Path, err)
		}
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

func (f File) open(at place) (fd int, err error) {
	fd, err = at.open(f.Path, unix.O_NONBLOCK) // should it have become a FIFO: don't wait for a writer
	if err != nil {
		return fd, problem("open", f.Path, err)
	}
	return fd, nil
}

// stayed returns how the file, which was opened or read, is not what was found any
// more. It asks by descriptor, which is cheaper than by path: that a file was removed
// or replaced, too, shows in its ctime. Only then its path tells more.
func (f File) stayed(at place, fd int, op string) error {
	var now unix.Stat_t
	if err := unix.Fstat(fd, &now); err != nil {
		return problem("stat", f.Path, err)
	}
	why := f.unchanged(&now)
	if why == nil {
		return nil
	}
	if err := at.lstat(f.Path, &now); err != nil {
		return problem("stat", f.Path, err)
	}
	if err := f.unchanged(&now); err != nil {
		why = err
	}
	return problem(op, f.Path, why)
}

// read reads on in f, of whose ends of n bytes pos bytes were read, and returns
// how many bytes it added.
func (f File) read(fd int, in *reading, pos, n int64) (int, error) {
	from, left := pos, f.Part(n)-pos
	if f.Part(n) < f.Size {
		if left > n {
			left -= n // to the end of the prefix
		} else {
			from = f.Size - left
		}
	}
	space := in.space(pos)
	k, err := read(fd, space[:min(left, int64(len(space)))], from)
	if err == nil && k == 0 {
		err = f.ended(from)
	}
	if err == nil {
		in.add(pos, k)
	}
	return k, err
}

func (f File) ended(pos int64) error {
	return fmt.Errorf("%w: it ended after %d of %d bytes", ErrChanged, pos, f.Size)
}

// Part returns how many bytes the ends of the file are, of n bytes each.
func (f File) Part(n int64) int64 {
	if n == Whole || n >= f.Size-n {
		return f.Size
	}
	return 2 * n
}

// unchanged compares a file with what the walk knew of it.
func (f File) unchanged(now *unix.Stat_t) error {
	g := newFile(f.Path, now)
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

// Find describes the file at a path, for a Hasher, as Walk would. Its error is a
// *Problem.
func Find(path string) (File, error) {
	var st unix.Stat_t
	if err := (place{}).lstat(path, &st); err != nil {
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
		ModTime:    st.Mtim.Nano(),
		ChangeTime: st.Ctim.Nano(),
	}
}

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
