//go:build !linux

package dedupe

import (
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// listing reads the entries of an open directory.
type listing struct {
	dir    *os.File
	unread []fs.DirEntry
}

// open starts listing an open directory.
func (l *listing) open(fd int, _ bool) { l.dir, l.unread = os.NewFile(uintptr(fd), ""), nil }

// next returns an entry's name, valid until the next call, and its kind, one of
// unix.DT_*. After the last entry it returns io.EOF.
func (l *listing) next() (name []byte, kind uint8, err error) {
	if len(l.unread) == 0 {
		if l.unread, err = l.dir.ReadDir(256); len(l.unread) == 0 {
			return nil, 0, cause(err)
		}
	}
	entry := l.unread[0]
	l.unread = l.unread[1:]
	kind = unix.DT_UNKNOWN
	switch {
	case entry.IsDir():
		kind = unix.DT_DIR
	case entry.Type().IsRegular():
		kind = unix.DT_REG
	default:
		kind = unix.DT_FIFO // or another kind that is never opened
	}
	return []byte(entry.Name()), kind, nil
}

// rewind makes next start again. It returns why that failed.
func (l *listing) rewind() error {
	l.unread = nil
	_, err := l.dir.Seek(0, io.SeekStart)
	return err
}

// close closes the directory.
func (l *listing) close() { l.dir.Close() }
