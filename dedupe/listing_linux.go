package dedupe

import (
	"bytes"
	"encoding/binary"
	"io"

	"golang.org/x/sys/unix"
)

// listing reads the entries of an open directory like os.File.ReadDir, without an
// allocation per entry.
type listing struct {
	fd     int
	unread []byte // part of buffer
	buffer [32 << 10]byte
}

// open starts listing an open directory.
func (l *listing) open(fd int) { l.fd, l.unread = fd, nil }

// next returns an entry's name, valid until the next call, and its kind, one of
// unix.DT_*. After the last entry it returns io.EOF.
func (l *listing) next() (name []byte, kind uint8, err error) {
	// struct linux_dirent64: inode and offset of eight bytes each, two bytes for the
	// length of the entry, its kind, its name, and at least one zero byte.
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
