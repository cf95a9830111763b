package index

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"efsdedupe/dedupe"
	"efsdedupe/dedupe/mount"
)

// locator finds the location of a directory from its path in a scan.
type locator struct {
	roots      []string // as they begin the paths of files
	real       []string // the same without links, absolute
	confined   bool     // all paths are relative to one directory
	within     string   // the absolute path of that directory
	fileSystem string   // the identity that the user gives; empty if mounts tell it
	given      uint64   // the device that has that identity, the first one met; 0 before
	mounts     *mount.Table
	current    bool              // mounts was read since the walk
	shown      map[uint64]string // what EFS-like mounts show, by device; empty for other FUSE mounts
	located    bool              // some directory has a place
	err        error             // the first that kept a directory's place from being known
}

func newLocator(opts dedupe.Options, fileSystem string) *locator {
	l := &locator{fileSystem: fileSystem, mounts: mount.Read(), shown: make(map[uint64]string)}
	if opts.Within != nil {
		l.confined = true
		var err error
		if l.within, err = placeOf(opts.Within); err != nil {
			l.err = &PlaceError{opts.Within.Name(), err}
			return l
		}
		l.try(opts.Within.Name(), l.within)
		return l
	}
	for _, root := range opts.Roots {
		root = filepath.Clean(root)
		if real, err := realPath(root); err == nil {
			l.roots, l.real = append(l.roots, strings.TrimSuffix(root, "/")+"/"), append(l.real, real)
			l.try(root, real)
		}
	}
	return l
}

// placeOf returns the path of an open directory, where it is now. It fails where that
// path leads to another: one is mounted over it, or it was removed.
func placeOf(dir *os.File) (string, error) {
	path, err := pathOf(dir)
	if err != nil {
		return "", err
	}
	opened, err := dir.Stat()
	if err != nil {
		return "", err
	}
	if now, err := os.Stat(path); err != nil || !os.SameFile(opened, now) {
		return "", mount.ErrHidden
	}
	return path, nil
}

func realPath(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(path)
}

// location is where a directory is, and how far the attributes of its files can be
// trusted.
type location struct {
	place
	device       uint64 // of the directory: a file on another is not of its file system
	remote       bool   // another machine's clock stamps its files
	wholeSeconds bool   // a ctime without a fraction of a second is believed
}

// of returns the location of a directory. One that is unknown, or not to be trusted,
// has no place.
func (l *locator) of(dir string) location {
	real, err := l.resolve(dir)
	if err != nil {
		l.refuse(dir, err)
		return location{}
	}
	return l.try(dir, real)
}

// ofFile is of, for the directory of a file. A file on another device tells that
// something was mounted there since the mounts were read, as NFS does when a scan
// enters another export: then they are read again, once.
func (l *locator) ofFile(dir string, f dedupe.File) location {
	at := l.of(dir)
	if at.fileSystem != "" && at.device != f.Device && !l.current {
		l.mounts, l.current = mount.Read(), true
		at = l.of(dir)
	}
	return at
}

// try is of, for a path and what it is without links.
func (l *locator) try(path, real string) location {
	at, err := l.locate(real)
	if err != nil {
		l.refuse(path, err)
		return location{}
	}
	l.located = true
	return at
}

func (l *locator) refuse(path string, err error) {
	if l.err == nil {
		l.err = &PlaceError{path, err}
	}
}

// PlaceError is the error of a directory that the index is not used for: its files
// are read, and nothing is stored.
type PlaceError struct {
	Path string
	Err  error
}

func (e *PlaceError) Error() string {
	return fmt.Sprintf("the index is not used for %q: %v", e.Path, e.Err)
}

func (e *PlaceError) Unwrap() error { return e.Err }

// locate returns the location of a directory by its absolute path, which has no links.
func (l *locator) locate(dir string) (location, error) {
	m, device, err := l.mounts.Of(dir)
	if err != nil {
		return location{}, err
	}
	if m.IsFUSE() {
		return l.behind(m, device, dir)
	}
	id, err := l.identify(m)
	if err != nil {
		return location{}, err
	}
	return location{place{id, m.Inside(dir)}, device, m.Kind == mount.NFS4, !m.IsImage()}, nil
}

// behind returns the location of a directory on this project's EFS-like mount: that
// of the directory which it shows there. The mount passes inode numbers and times
// through, unless another file system is mounted inside the directory it shows.
func (l *locator) behind(m *mount.Mount, device uint64, dir string) (location, error) {
	shown, asked := l.shown[device]
	if !asked {
		shown = shownBy(device)
		l.shown[device] = shown
	}
	if shown == "" {
		return location{}, &mount.TypeError{Kind: m.Kind}
	}
	top, err := l.locate(shown)
	if err != nil {
		return location{}, err
	}
	at, err := l.locate(filepath.Join(shown, m.Inside(dir)))
	if err == nil && at.device != top.device {
		err = errNested
	}
	at.device, at.remote = device, true
	return at, err
}

var errNested = errors.New("the EFS-like mount shows another file system there, and changes its inode numbers")

// resolve returns the real path of a directory. Below a root no link is followed,
// so that only the root's has to be looked up.
func (l *locator) resolve(dir string) (string, error) {
	if l.confined {
		if l.within == "" {
			return "", mount.ErrHidden
		}
		return filepath.Join(l.within, dir), nil
	}
	i := slices.IndexFunc(l.roots, func(root string) bool { return strings.HasPrefix(dir, root) })
	if i < 0 { // that of a root which is a file
		return realPath(dir)
	}
	return filepath.Join(l.real[i], dir[len(l.roots[i]):]), nil
}

// identify returns what tells the mount's file system from all others, on any machine
// that mounts it: what the user gave, the server and its export, or the identity that a
// local one keeps with its content. Two file systems never have the one that was given.
func (l *locator) identify(m *mount.Mount) (string, error) {
	if m.IsTrusted() && l.fileSystem != "" && (l.given == 0 || l.given == m.Device) {
		l.given = m.Device
		return l.fileSystem, nil
	}
	return m.Identity()
}

// RemoteError is that of an index in a file on a network file system.
type RemoteError struct {
	Path, Kind string
}

func (e *RemoteError) Error() string {
	return fmt.Sprintf("the index %q is on a network file system (%s), where locks and renames are not safe between machines: "+
		"choose a file on this machine's own disk, or share a dynamodb://TABLE", e.Path, e.Kind)
}

// local returns an error for a file that would be on a network file system.
func local(path string) error {
	dir, err := realPath(filepath.Dir(path))
	if err != nil {
		return err
	}
	m, err := mount.Of(dir)
	if err != nil {
		return err
	}
	if m.IsRemote() {
		return &RemoteError{path, m.Kind}
	}
	return nil
}
