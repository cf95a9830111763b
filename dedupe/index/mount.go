package index

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"efsdedupe/dedupe"
)

// locator finds the place of a directory from its path in a scan.
type locator struct {
	roots      []string // as they begin the paths of files
	real       []string // the same without links, absolute
	confined   bool     // all paths are relative to one directory
	within     string   // the same of that
	fileSystem string   // given by the user; empty if the mount is to say it
	mounts     *mounts
	named      map[string]string // the identity of the file system at a mount point
	err        error             // the first that kept a directory's place from being known
}

func newLocator(opts dedupe.Options, fileSystem string) *locator {
	l := &locator{fileSystem: fileSystem, mounts: readMounts(), named: make(map[string]string)}
	if opts.Within != nil {
		l.confined = true
		var err error
		if l.within, err = placeOf(opts.Within); err != nil {
			l.err = &PlaceError{opts.Within.Name(), err}
		}
		return l
	}
	for _, root := range opts.Roots {
		root = filepath.Clean(root)
		if real, err := realPath(root); err == nil {
			l.roots, l.real = append(l.roots, strings.TrimSuffix(root, "/")+"/"), append(l.real, real)
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
		return "", errHidden
	}
	return path, nil
}

var errHidden = errors.New("the directory is gone, or another is mounted over it")

func realPath(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(path)
}

// location is a place as it is mounted here.
type location struct {
	place
	remote bool     // another machine's clock stamps its files
	covers []string // names in it that are mounts: the files there are of other file systems
}

// of returns the location of a directory. One that can't be known has no place.
func (l *locator) of(dir string) location {
	real, err := l.resolve(dir)
	if err == nil {
		var m mount
		if m, err = l.mounts.of(real); err == nil {
			var id string
			if id, err = l.identify(m); err == nil {
				return location{place{id, m.inside(real)}, m.remote(), l.mounts.in(real)}
			}
		}
	}
	if l.err == nil {
		l.err = &PlaceError{dir, err}
	}
	return location{}
}

// PlaceError is that of a directory whose place in a file system can't be known. The
// index keeps out of it.
type PlaceError struct {
	Path string
	Err  error
}

func (e *PlaceError) Error() string {
	return fmt.Sprintf("the place of %q is not known to the index: %v", e.Path, e.Err)
}

func (e *PlaceError) Unwrap() error { return e.Err }

// resolve returns the real path of a directory. Below a root no link is followed,
// so that only the root's has to be looked up.
func (l *locator) resolve(dir string) (string, error) {
	if l.confined {
		if l.within == "" {
			return "", errHidden
		}
		return filepath.Join(l.within, dir), nil
	}
	i := slices.IndexFunc(l.roots, func(root string) bool { return strings.HasPrefix(dir, root) })
	if i < 0 { // that of a root which is a file
		return realPath(dir)
	}
	return filepath.Join(l.real[i], dir[len(l.roots[i]):]), nil
}

func (l *locator) identify(m mount) (string, error) {
	if l.fileSystem != "" {
		return l.fileSystem, nil
	}
	if id, ok := l.named[m.point]; ok {
		return id, nil
	}
	id, err := m.identity()
	if err == nil {
		l.named[m.point] = id
	}
	return id, err
}

// mount is a mounted file system, or a part of one.
type mount struct {
	point  string // where it is
	root   string // what of the file system is there
	kind   string // such as ext4
	source string // such as fs-01234567.efs.us-east-1.amazonaws.com:/
}

// inside is the path in the file system of a directory below the mount point.
func (m mount) inside(dir string) string {
	return filepath.Join(m.root, "/", strings.TrimPrefix(dir, m.point))
}

// remote reports whether the file system is, or may be, another machine's.
func (m mount) remote() bool {
	kind, _, _ := strings.Cut(m.kind, ".")
	return slices.Contains([]string{
		"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "lustre", "afs", "afpfs", "webdav", "virtiofs", "fuse", "macfuse", "osxfuse",
	}, kind)
}

// TunnelError is that of a file system that is mounted from the machine's own
// address: through a tunnel, which may lead to any.
type TunnelError struct {
	Point, Source string
}

func (e *TunnelError) Error() string {
	return fmt.Sprintf("%s is mounted from %s, a tunnel that does not tell the file system: give its identity", e.Point, e.Source)
}

// identity tells the file system from all others, on any machine that mounts it:
// the server and its export, or the identity that a local one keeps with its
// content, such as ext4's UUID, shortened by the kernel. Local file systems that
// keep none, such as XFS, have that of their device: it only makes misses should
// that change.
func (m mount) identity() (string, error) {
	if !m.remote() {
		id, err := fsid(m.point)
		if err != nil {
			return "", &os.PathError{Op: "statfs", Path: m.point, Err: err}
		}
		if id != 0 {
			return fmt.Sprintf("%s:%016x", m.kind, id), nil
		}
		return m.kind + ":" + m.source, nil
	}
	if !strings.HasPrefix(m.kind, "nfs") {
		return m.kind + ":" + m.source, nil
	}
	host, _, _ := strings.Cut(m.source, ":/")
	address, err := netip.ParseAddr(strings.Trim(host, "[]"))
	if host == "localhost" || err == nil && address.IsLoopback() {
		return "", &TunnelError{m.point, m.source}
	}
	return "nfs:" + m.source, nil
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
	m, err := readMounts().of(dir)
	if err != nil {
		return err
	}
	if m.remote() {
		return &RemoteError{path, m.kind}
	}
	return nil
}
