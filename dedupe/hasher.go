package dedupe

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Whole asks a Hasher for the whole content of a file.
const Whole int64 = -1

// Hasher returns the digest of the ends of a file, its first n bytes followed by
// its last n, or of all of it if it is no longer than both or n is Whole, and
// what finding it took, also on error.
//
// The digest is that of the file f describes: a file that changed, shrank,
// grew, vanished or was replaced since f was found, or while it was read, is an
// error that wraps ErrChanged. Errors are a *Problem, or that of ctx.
//
// Its methods may be called from many goroutines.
type Hasher interface {
	Hash(ctx context.Context, f File, n int64) (Digest, Work, error)
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
}

// Hash implements Hasher: one open, and each byte read once.
func (h *LocalHasher) Hash(ctx context.Context, f File, n int64) (d Digest, w Work, err error) {
	at := place{h.Within}
	fd, err := at.open(f.Path, unix.O_NONBLOCK) // should it have become a FIFO: don't wait for a writer
	if err != nil {
		return d, w, problem("open", f.Path, err)
	}
	defer unix.Close(fd)
	w.Opens = 1

	var now unix.Stat_t
	if err := unix.Fstat(fd, &now); err != nil {
		return d, w, problem("stat", f.Path, err)
	}
	if err := f.unchanged(&now); err != nil {
		return d, w, problem("open", f.Path, err)
	}

	total := f.Part(n)
	whole := total == f.Size
	if !whole {
		onlyEnds(fd)
	}
	in := h.recent.begin(f.Size, whole && !h.HashAll)
	defer func() { h.recent.end(in, d, err == nil) }()
	for w.BytesRead < total {
		if err := ctx.Err(); err != nil {
			return d, w, err
		}
		k, err := f.read(fd, in, w.BytesRead, n)
		if err != nil {
			return d, w, problem("read", f.Path, err)
		}
		w.BytesRead += int64(k)
		if h.Read != nil {
			h.Read(int64(k))
		}
	}

	// By path, not by descriptor: this sees a file that was replaced, too.
	if err := at.lstat(f.Path, &now); err != nil {
		return d, w, problem("stat", f.Path, err)
	}
	if err := f.unchanged(&now); err != nil {
		return d, w, problem("read", f.Path, err)
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
		err = fmt.Errorf("%w: it ended after %d of %d bytes", ErrChanged, from, f.Size)
	}
	if err == nil {
		in.add(pos, k)
	}
	return k, err
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
