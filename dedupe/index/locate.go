package index

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"efsdedupe/dedupe"
	"efsdedupe/dedupe/mount"
)

// locator finds the location of a directory from its path in a scan.
type locator struct {
	roots      []string          // as they begin the paths of files
	real       []string          // the same roots, absolute and without links
	confined   bool              // all paths are relative to one directory
	within     string            // the absolute path of that directory
	fileSystem string            // the identity that the user gave; empty if mounts identify file systems
	given      uint64            // the device with that identity, the first one met; 0 before
	devices    map[string]uint64 // by the identity of the file system
	mounts     *mount.Table
	current    bool              // mounts was read after the walk
	shown      map[uint64]string // by device, the directory an EFS-like mount shows; empty for other FUSE mounts
	located    bool              // some directory has a place
	err        error             // why the first directory without a place has none
}

func newLocator(roots []string, within *os.File, fileSystem string) *locator {
	l := &locator{fileSystem: fileSystem, mounts: mount.Read(), shown: make(map[uint64]string), devices: make(map[string]uint64)}
	if within != nil {
		l.confined = true
		var err error
		if l.within, err = placeOf(within); err != nil {
			l.err = &PlaceError{within.Name(), err}
			return l
		}
		l.try(within.Name(), l.within)
		return l
	}
	// Sorted, so that the user's identity goes to the same file system whatever the order
	// of the roots.
	for _, root := range slices.Sorted(slices.Values(roots)) {
		root = mount.CleanPath(root)
		if real, err := mount.RealPath(root); err == nil {
			l.roots, l.real = append(l.roots, strings.TrimSuffix(root, "/")+"/"), append(l.real, real)
			l.try(root, real)
		}
	}
	return l
}

// Usable returns nil if an index can be used for a directory or file. Otherwise it returns
// the *PlaceError of a scan of it, and whoever scans reads everything.
func Usable(root string) error {
	l := newLocator([]string{root}, nil, "")
	switch {
	case l.located:
		return nil
	case l.err == nil: // the path leads nowhere
		return &PlaceError{root, mount.ErrHidden}
	}
	return l.err
}

// placeOf returns the current path of an open directory. It fails if the path leads
// elsewhere, because something is mounted over it or it was removed.
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

// location is where a directory is, and how far to trust the attributes of its files.
type location struct {
	place
	device       uint64 // of the directory; a file on another device is on another file system
	remote       bool   // another machine's clock stamps its files
	wholeSeconds bool   // trust a ctime without a fraction of a second
}

// of returns the location of a directory. It has no place if it is unknown or not
// trusted.
func (l *locator) of(dir string) location {
	real, err := l.resolve(dir)
	if err != nil {
		l.refuse(dir, err)
		return location{}
	}
	return l.try(dir, real)
}

// ofFile returns the location of a file's directory. If the file is not on the device of
// the mount at that path, something was mounted since the mounts were read: NFS does so
// when a scan enters another export, or one mount may hide another. Then ofFile reads the
// mounts again, once, and asks the kernel.
func (l *locator) ofFile(dir string, f dedupe.File) location {
	real, err := l.resolve(dir)
	if err != nil {
		l.refuse(dir, err)
		return location{}
	}
	m, device, err := l.mounts.Of(real)
	if err != nil || device == f.Device {
		return l.settle(dir, real, m, device, err)
	}
	if !l.current {
		l.mounts, l.current = mount.Read(), true
	}
	return l.try(dir, real)
}

// try returns the location of a directory on the mount that the kernel names, or else on
// the mount at its path. real is path without links.
func (l *locator) try(path, real string) location {
	m, device, err := l.mounts.Exactly(real)
	if err != nil {
		m, device, err = l.mounts.Of(real)
	}
	return l.settle(path, real, m, device, err)
}

// settle returns the location of a directory on a mount, or records why it has none.
func (l *locator) settle(path, real string, m *mount.Mount, device uint64, err error) location {
	var at location
	if err == nil {
		at, err = l.on(m, device, real)
	}
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

// PlaceError says why the index is not used for a directory: its files are read, and
// nothing about them is stored.
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
	return l.on(m, device, dir)
}

// on returns the location of a directory on a mount.
func (l *locator) on(m *mount.Mount, device uint64, dir string) (location, error) {
	if m.IsFUSE() {
		return l.behind(m, device, dir)
	}
	id, err := l.identify(m)
	if err != nil {
		return location{}, err
	}
	return location{place{id, m.Inside(dir)}, device, m.Kind == mount.NFS4, !m.IsImage()}, nil
}

// behind returns the location of a directory on this project's EFS-like mount: the
// location of the directory that it shows. The mount passes inode numbers and times
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
	l.shown[device] = "" // a mount that claims to show itself is not ours
	defer func() { l.shown[device] = shown }()
	top, err := l.locate(shown)
	if err != nil {
		return location{}, err
	}
	source := filepath.Join(shown, m.Inside(dir))
	at, err := l.locate(source)
	if err == nil && (at.device != top.device || l.mounts.Covers(source)) {
		err = errNested
	}
	at.device, at.remote = device, true
	return at, err
}

var errNested = errors.New("the EFS-like mount shows another file system there, and changes its inode numbers")

// resolve returns the real path of a directory. The walk follows no link below a root, so
// only the root needs resolving.
func (l *locator) resolve(dir string) (string, error) {
	if l.confined {
		if l.within == "" {
			return "", mount.ErrHidden
		}
		return filepath.Join(l.within, dir), nil
	}
	longest := -1 // a root inside another may be a link
	for i, root := range l.roots {
		if strings.HasPrefix(dir, root) && (longest < 0 || len(root) > len(l.roots[longest])) {
			longest = i
		}
	}
	if longest < 0 { // the directory of a root that is a file
		return mount.RealPath(dir)
	}
	return filepath.Join(l.real[longest], dir[len(l.roots[longest]):]), nil
}

// identify returns what distinguishes the mount's file system from all others, on any
// machine that mounts it: the user's identity, the server and its export, or the identity
// that a local file system stores with its content. At most one file system gets the
// user's.
func (l *locator) identify(m *mount.Mount) (string, error) {
	if device := l.mounts.Device(m.Device); m.IsTrusted() && l.fileSystem != "" && (l.given == 0 || l.given == device) {
		l.given = device
		return l.fileSystem, nil
	}
	id, err := m.Identity()
	if err != nil {
		return "", err
	}
	if first, met := l.devices[id]; met && first != m.Device && m.Kind != mount.NFS4 {
		return "", errTwin
	}
	l.devices[id] = m.Device
	return id, nil
}

// errTwin is the error of a copy of a file system that is mounted beside the original:
// both have the same identity but different files.
var errTwin = errors.New("another file system of this scan has the same identity, as copies of disks and images do")

// RemoteError is the error of an index in a file on a network file system.
type RemoteError struct {
	Path, Kind string
}

func (e *RemoteError) Error() string {
	return fmt.Sprintf("the index %q is on a network file system (%s), where locks and renames are not safe between machines: "+
		"choose a file on this machine's own disk, or share a dynamodb://TABLE", e.Path, e.Kind)
}

// CheckFile returns the error of OpenLog for a path on a network file system, and for one
// that this user can't write or create, whether or not the file and its directories exist.
func CheckFile(path string) error {
	file := path
	for dir := filepath.Dir(path); dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Lstat(dir); err == nil {
			break
		}
		path = dir
	}
	found, err := local(path)
	if err != nil {
		return err
	}
	if _, err := os.Stat(found); path != file || err != nil {
		found = filepath.Dir(found) // to create the file or a directory in it
	}
	if err := unix.Faccessat(unix.AT_FDCWD, found, unix.W_OK, unix.AT_EACCESS); err != nil {
		return fmt.Errorf("can't write the index %q: %s: %w", file, found, err)
	}
	return nil
}

// local returns the path of a file without links, whether the file exists or not. A path
// on a network file system is an error.
func local(path string) (string, error) {
	for range 40 { // Linux follows as many links
		target, err := os.Readlink(path)
		if err != nil {
			break
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(path), target)
		}
		path = target
	}
	dir, err := mount.RealPath(filepath.Dir(path))
	if err != nil {
		return "", err
	}
	m, err := mount.Of(dir)
	if err != nil {
		return "", err
	}
	if m.IsRemote() {
		return "", &RemoteError{path, m.Kind}
	}
	return filepath.Join(dir, filepath.Base(path)), nil
}
