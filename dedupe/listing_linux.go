package dedupe

import (
	"bytes"
	"encoding/binary"
	"io"

	"golang.org/x/sys/unix"
)

// listing reads the entries of an open directory, as os.File.ReadDir does but
// without the allocations that this makes for each.
type listing struct {
	fd     int
	unread []byte // of buffer
	buffer [32 << 10]byte
}

// open begins with an open directory.
func (l *listing) open(fd int) { l.fd, l.unread = fd, nil }

// next returns an entry's name, which is valid until the next call, and its kind,
// one of unix.DT_*. Its error is io.EOF after the last.
func (l *listing) next() (name []byte, kind uint8, err error) {
	// struct linux_dirent64: inode and offset of eight bytes each, the length of
	// the entry of two, its kind, its name and a zero at least.
	const length, kindAt, nameAt = 16, 18, 19
	for {
		if len(l.unread) == 0 {
			n := 0
			err := retry(func() error {
				n, err = unix.Getdents(l.fd, l.buffer[:])
				return err
			})
			if err == nil && n == 0 {
				err = io.EOF
			}
			if err != nil {
				return nil, 0, err
			}
			l.unread = l.buffer[:n]
		}
		entry := l.unread[:binary.NativeEndian.Uint16(l.unread[length:])]
		l.unread = l.unread[len(entry):]
		name = entry[nameAt:]
		name = name[:bytes.IndexByte(name, 0)]
		if string(name) != "." && string(name) != ".." {
			return name, entry[kindAt], nil
		}
	}
}

// close closes the directory.
func (l *listing) close() { unix.Close(l.fd) }
