package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"efsdedupe/dedupe/limits"
)

// pending is a file that takes its place once it is complete. Until then it has no name,
// if the file system allows that, so a killed program leaves nothing behind. Elsewhere it
// has a temporary name and a lock. If the program is killed, the lock is gone, and the
// next program that writes there removes the file.
//
// If the user may write the file but not its directory, the new content is collected
// elsewhere and copied over the old content at the end.
type pending struct {
	*os.File
	name      string   // its temporary name; empty if it has none
	existing  *os.File // the file it replaces; nil if there is none
	copied    bool     // the content is elsewhere and must be copied
	torn      bool     // copying failed: the old content is lost
	unwritten limits.Unwritten
}

// Write implements io.Writer.
func (p *pending) Write(b []byte) (int, error) {
	n, err := p.File.Write(b)
	p.unwritten.Add(p.File, n)
	return n, err
}

// newPending creates a file that is to be the one at a path.
func newPending(path string) (p *pending, err error) {
	p = new(pending)
	p.existing, err = os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if p.File, err = createUnnamed(path); err != nil {
		p.File, err = p.claim(path, func(name string) (*os.File, error) {
			return os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
		})
	}
	if p.existing == nil {
		return p, err
	}
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.EROFS) {
		p.copied = true
		p.File, err = limits.TemporaryFile()
	} else if st, failed := p.existing.Stat(); err == nil && failed == nil {
		err = p.Chmod(st.Mode().Perm())
	}
	if err != nil {
		p.discard()
		return nil, err
	}
	return p, nil
}

// commit makes the file the one at a path.
func (p *pending) commit(path string) error {
	err := p.Sync()
	switch {
	case err != nil:
	case p.copied:
		err = p.copy()
	default:
		err = p.put(path)
		if errors.Is(err, unix.EBUSY) && p.replaces(path) { // a file is mounted there
			err = p.copy()
		}
	}
	return errors.Join(err, p.discard())
}

// replaces reports whether the existing file is still the one at path.
func (p *pending) replaces(path string) bool {
	if p.existing == nil {
		return false
	}
	old, err := p.existing.Stat()
	now, err2 := os.Stat(path)
	return err == nil && err2 == nil && os.SameFile(old, now)
}

// copy copies the file over the old one.
func (p *pending) copy() error {
	p.torn = true
	if _, err := p.Seek(0, io.SeekStart); err != nil {
		return err
	}
	n, err := io.Copy(struct{ io.Writer }{&pending{File: p.existing}}, p.File) // without File.ReadFrom
	if err != nil {
		return err
	}
	return errors.Join(p.existing.Truncate(n), p.existing.Sync())
}

// put gives the file its name.
func (p *pending) put(path string) error {
	if p.name == "" {
		err := link(p.File, path)
		if !errors.Is(err, fs.ErrExist) {
			return err
		}
		if _, err := p.claim(path, func(name string) (*os.File, error) { return p.File, link(p.File, name) }); err != nil {
			return err
		}
	}
	err := os.Rename(p.name, path)
	if err == nil {
		p.name = ""
	}
	return err
}

// claim calls create for a file with a temporary name next to path, and locks the file. It
// removes files that killed programs left there.
func (p *pending) claim(path string, create func(name string) (*os.File, error)) (*os.File, error) {
	const most, longest = 100, 200 // names that are tried, bytes
	base := filepath.Base(path)
	base = base[:min(len(base), longest)]
	for i := range most {
		name := filepath.Join(filepath.Dir(path), fmt.Sprintf(".%s.dedupe-%d", base, i+1))
		removeLeft(name)
		if p.name != "" {
			if _, err := os.Lstat(name); err != nil {
				return p.File, nil // there are no more
			}
			continue
		}
		f, err := create(name)
		switch {
		case errors.Is(err, fs.ErrExist):
		case err != nil:
			return nil, err
		case locked(f, name):
			p.File, p.name = f, name
		case f != p.File:
			f.Close() // another program took it for a file left behind
		}
	}
	if p.name == "" {
		return nil, fmt.Errorf("others are also writing it, or left %s", filepath.Join(filepath.Dir(path), "."+base+".dedupe-*"))
	}
	return p.File, nil
}

// removeLeft removes a temporary file that a killed program of this user left.
func removeLeft(name string) {
	f, err := os.OpenFile(name, os.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG || int(st.Uid) != os.Geteuid() {
		return
	}
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil && isAt(f, name) {
		os.Remove(name)
	}
}

// locked locks a file and reports whether it is still there under its name. Where files
// can't be locked, nobody takes one for left behind.
func locked(f *os.File, name string) bool {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	return err != syscall.EWOULDBLOCK && isAt(f, name)
}

func isAt(f *os.File, name string) bool {
	mine, err := f.Stat()
	now, err2 := os.Lstat(name)
	return err == nil && err2 == nil && os.SameFile(mine, now)
}

// discard closes the file, and removes it unless it has taken its place.
func (p *pending) discard() error {
	var errs []error
	if p.name != "" {
		errs = append(errs, os.Remove(p.name))
		p.name = ""
	}
	for _, f := range []*os.File{p.File, p.existing} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	p.File, p.existing = nil, nil
	return errors.Join(errs...)
}
