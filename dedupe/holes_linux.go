package dedupe

import "golang.org/x/sys/unix"

// nextData returns where the next data of an open file begins, at or after pos, and where
// the hole after that begins. It may report a hole as data, but never data as a hole.
// Source: lseek(2), SEEK_DATA and SEEK_HOLE.
func nextData(fd int, pos, size int64) (from, to int64) {
	from, err := seek(fd, pos, unix.SEEK_DATA)
	switch {
	case err == unix.ENXIO: // the hole goes on to the end
		return size, size
	case err != nil || from < pos:
		return pos, size
	case from >= size:
		return size, size
	}
	if to, err = seek(fd, from, unix.SEEK_HOLE); err != nil || to <= from {
		to = size
	}
	return from, min(to, size)
}

func seek(fd int, pos int64, whence int) (at int64, err error) {
	err = retry(func() error {
		at, err = unix.Seek(fd, pos, whence)
		return err
	})
	return at, err
}
