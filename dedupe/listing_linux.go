package dedupe

import (
	"bytes"
	"encoding/binary"
	"io"
	"runtime"

	"golang.org/x/sys/unix"
)

// listing reads the entries of an open directory like os.File.ReadDir, without an
// allocation per entry.
type listing struct {
	fd     int
	nfs    bool
	first  []byte // what was read first, while it is in the buffer; then empty
	whole  bool   // first is the whole directory
	unread []byte // part of buffer
	buffer [32 << 10]byte
}

// open starts listing an open directory. On NFS the server is asked again, for the names
// and for the attributes of all files, a hundred in one message; what the client remembers
// may be older than a change made elsewhere.
func (l *listing) open(fd int, nfs bool) {
	l.fd, l.nfs, l.unread, l.first, l.whole = fd, nfs, nil, nil, false
	if nfs {
		unix.Fadvise(fd, 0, 0, unix.FADV_DONTNEED) // drops what the client remembers of the directory
	}
}

// next returns an entry's name, valid until the next call, and its kind, one of
// unix.DT_*. After the last entry it returns io.EOF.
func (l *listing) next() (name []byte, kind uint8, err error) {
	for {
		if len(l.unread) == 0 {
			if err := l.fill(); err != nil {
				return nil, 0, err
			}
		}
		name, kind, l.unread = entry(l.unread)
		if string(name) != "." && string(name) != ".." {
			return name, kind, nil
		}
	}
}

// rewind makes next start again. It returns why that failed. A small directory is still in
// the buffer.
func (l *listing) rewind() error {
	if l.whole {
		l.unread = l.first
		return nil
	}
	l.unread, l.first = nil, nil
	_, err := unix.Seek(l.fd, 0, io.SeekStart)
	return err
}

// fill reads more entries.
func (l *listing) fill() error {
	if l.whole {
		return io.EOF
	}
	n := 0
	getdents := func() (err error) {
		n, err = unix.Getdents(l.fd, l.buffer[:])
		return err
	}
	var err error
	if l.nfs {
		err = withoutSignals(getdents)
	} else {
		err = retry(getdents)
	}
	if err == nil && n == 0 {
		err, l.whole = io.EOF, len(l.first) > 0
	}
	if err != nil {
		return err
	}
	if l.unread = l.buffer[:n]; l.first == nil {
		l.first = l.unread
	} else {
		l.first = l.buffer[:0]
	}
	if l.nfs {
		l.use()
	}
	return nil
}

// withoutSignals makes a call while signals to its thread wait. A signal ends a listing
// after a single entry, such as "."; then use has nothing to look at, and an NFS client
// lists the next entries without their attributes. Go's runtime sends such signals.
func withoutSignals(call func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var all, before unix.Sigset_t
	for i := range all.Val {
		all.Val[i] = ^all.Val[i]
	}
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &all, &before); err != nil {
		return err
	}
	defer unix.PthreadSigmask(unix.SIG_SETMASK, &before, nil) // fails only for bad arguments
	return call()
}

// use looks at a few of the entries just read. An NFS client asks for attributes with the
// next entries only if a program used those of the last: nine since Linux 6.1.
func (l *listing) use() {
	const enough = 9 + 2 // . and .. do not count
	rest := l.unread
	for n := 0; n < enough && len(rest) > 0; n++ {
		var name []byte
		name, _, rest = entry(rest)
		statAt(l.fd, string(name), unix.AT_SYMLINK_NOFOLLOW)
	}
}

// entry returns the name and kind of the first of some entries, and the others.
func entry(entries []byte) (name []byte, kind uint8, rest []byte) {
	// struct linux_dirent64: inode and offset of eight bytes each, two bytes for the
	// length of the entry, its kind, its name, and at least one zero byte.
	const length, kindAt, nameAt = 16, 18, 19
	n := binary.NativeEndian.Uint16(entries[length:])
	name = entries[nameAt:n]
	return name[:bytes.IndexByte(name, 0)], entries[kindAt], entries[n:]
}

// close closes the directory.
func (l *listing) close() { unix.Close(l.fd) }
