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
	roots      []string          // as they begin the paths of files
	real       []string          // the same without links, absolute
	confined   bool              // all paths are relative to one directory
	within     string            // the absolute path of that directory
	fileSystem string            // the identity that the user gives; empty if mounts tell it
	given      uint64            // the device that has that identity, the first one met; 0 before
	devices    map[string]uint64 // of the file systems met, by identity
	mounts     *mount.Table
	current    bool              // mounts was read since the walk
	shown      map[uint64]string // what EFS-like mounts show, by device; empty for other FUSE mounts
	located    bool              // some directory has a place
	err        error             // the first that kept a directory's place from being known
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
	// In order, for the identity that the user gives to go to the same one however the
	// roots are ordered.
	for _, root := range slices.Sorted(slices.Values(roots)) {
		root = mount.CleanPath(root)
		if real, err := mount.RealPath(root); err == nil {
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

// ofFile is of, for the directory of a file. If the file is not on the device of the
// mount at that path, something was mounted since the mounts were read, as NFS does when
// a scan enters another export, or one mount hides another: then the mounts are read
// again, once, and the kernel is asked.
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

// try returns the location of a directory on the mount that the kernel names, or else
// on the one at its path. Path is what it is called, real the same without links.
func (l *locator) try(path, real string) location {
	m, device, err := l.mounts.Exactly(real)
	if err != nil {
		m, device, err = l.mounts.Of(real)
	}
	return l.settle(path, real, m, device, err)
}

// settle returns the location of a directory on a mount, or takes note of why it has
// none.
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
	l.shown[device] = "" // a mount that says it shows itself is none of ours
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

// resolve returns the real path of a directory. Below a root no link is followed,
// so that only the root's has to be looked up.
func (l *locator) resolve(dir string) (string, error) {
	if l.confined {
		if l.within == "" {
			return "", mount.ErrHidden
		}
		return filepath.Join(l.within, dir), nil
	}
	longest := -1 // a root in another may be a link
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

// identify returns what tells the mount's file system from all others, on any machine
// that mounts it: what the user gave, the server and its export, or the identity that a
// local one keeps with its content. Two file systems never have the one that was given.
func (l *locator) identify(m *mount.Mount) (string, error) {
	if m.IsTrusted() && l.fileSystem != "" && (l.given == 0 || l.given == m.Device) {
		l.given = m.Device
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
// they have one identity, but not the same files.
var errTwin = errors.New("another file system of this scan has the same identity, as copies of disks and images do")

// RemoteError is that of an index in a file on a network file system.
type RemoteError struct {
	Path, Kind string
}

func (e *RemoteError) Error() string {
	return fmt.Sprintf("the index %q is on a network file system (%s), where locks and renames are not safe between machines: "+
		"choose a file on this machine's own disk, or share a dynamodb://TABLE", e.Path, e.Kind)
}

// local returns the path of a file without links, whether it exists or not, or an error
// if it is on a network file system.
func local(path string) (string, error) {
	for range 40 { // as many links as Linux follows
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
