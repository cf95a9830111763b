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

// locator finds the location of a directory from its path in a scan.
type locator struct {
	roots      []string // as they begin the paths of files
	real       []string // the same without links, absolute
	confined   bool     // all paths are relative to one directory
	within     string   // the absolute path of that directory
	fileSystem string   // the identity that the user gives; empty if mounts tell it
	given      uint64   // the device that has that identity, the first one met; 0 before
	mounts     *mounts
	current    bool              // mounts was read since the walk
	shown      map[uint64]string // what EFS-like mounts show, by device; empty for other FUSE mounts
	located    bool              // some directory has a place
	err        error             // the first that kept a directory's place from being known
}

func newLocator(roots []string, within *os.File, fileSystem string) *locator {
	l := &locator{fileSystem: fileSystem, mounts: readMounts(), shown: make(map[uint64]string)}
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
	for _, root := range roots {
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
		l.mounts, l.current = readMounts(), true
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
	m, device, err := l.mounts.of(dir)
	if err != nil {
		return location{}, err
	}
	if m.isFUSE() {
		return l.behind(m, device, dir)
	}
	id, err := l.identify(m)
	if err != nil {
		return location{}, err
	}
	return location{place{id, m.inside(dir)}, device, m.kind == nfs4, !m.isImage()}, nil
}

// behind returns the location of a directory on this project's EFS-like mount: that
// of the directory which it shows there. The mount passes inode numbers and times
// through, unless another file system is mounted inside the directory it shows.
func (l *locator) behind(m *mount, device uint64, dir string) (location, error) {
	shown, asked := l.shown[device]
	if !asked {
		shown = shownBy(device)
		l.shown[device] = shown
	}
	if shown == "" {
		return location{}, &TypeError{m.kind}
	}
	top, err := l.locate(shown)
	if err != nil {
		return location{}, err
	}
	at, err := l.locate(filepath.Join(shown, m.inside(dir)))
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

// mount is a mounted file system, or a part of one.
type mount struct {
	point  string // where it is
	root   string // what of the file system is there
	kind   string // such as ext4
	source string // such as fs-01234567.efs.us-east-1.amazonaws.com:/
	device uint64 // of most of its files
	id     string // its identity, once asked for
}

// inside is the path in the file system of a directory below the mount point.
func (m *mount) inside(dir string) string {
	return filepath.Join(m.root, "/", strings.TrimPrefix(dir, m.point))
}

const nfs4 = "nfs4"

// isTrusted reports whether a file of the mount is unchanged if its inode number,
// size, mtime and ctime are. On these types an inode keeps its number, and only the
// kernel's clock, or that of the NFS server, sets its ctime. README.md says for each
// type why it is here, and why others are not.
func (m *mount) isTrusted() bool {
	switch m.kind {
	case "ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "tmpfs", "apfs", nfs4:
		return true
	}
	return false
}

// isImage reports whether the file system is in a file that is attached as a device.
// The next one that is attached there may have been made by the same tool.
func (m *mount) isImage() bool {
	return strings.HasPrefix(m.source, "/dev/loop") || strings.HasPrefix(m.source, "/dev/nbd")
}

func (m *mount) isFUSE() bool {
	kind, _, _ := strings.Cut(m.kind, ".")
	return kind == "fuse"
}

// isRemote reports whether the file system is, or may be, another machine's: no index
// file can be kept there.
func (m *mount) isRemote() bool {
	kind, _, _ := strings.Cut(m.kind, ".")
	return slices.Contains([]string{
		"nfs", nfs4, "cifs", "smb3", "smbfs", "9p", "ceph", "lustre", "afs", "afpfs", "webdav", "virtiofs", "fuse", "macfuse", "osxfuse",
	}, kind)
}

// TypeError is the error of a file system type that the index does not trust.
type TypeError struct {
	Kind string // as the mount table has it, such as fuse.sshfs
}

func (e *TypeError) Error() string {
	return fmt.Sprintf("on %s, equal inode numbers and times do not prove that a file is unchanged; "+
		"the index trusts ext2, ext3, ext4, xfs, btrfs, zfs, tmpfs, apfs and nfs4 only", e.Kind)
}

// TunnelError is that of a file system that is mounted from the machine's own
// address: through a tunnel, which may lead to any.
type TunnelError struct {
	Point, Source string
}

func (e *TunnelError) Error() string {
	return fmt.Sprintf("%s is mounted from %s, a tunnel that does not tell the file system: give its identity", e.Point, e.Source)
}

// errNameless is the error of a file system that has no identity of its own, such as
// a tmpfs before Linux 6.6: the next one mounted there could be taken for it.
var errNameless = errors.New("its file system has no identity of its own on this system")

// identify returns what tells the mount's file system from all others, on any machine
// that mounts it: what the user gave, the server and its export, or the identity that a
// local one keeps with its content. Two file systems never have the one that was given.
func (l *locator) identify(m *mount) (string, error) {
	switch {
	case !m.isTrusted():
		return "", &TypeError{m.kind}
	case l.fileSystem != "" && (l.given == 0 || l.given == m.device):
		l.given = m.device
		return l.fileSystem, nil
	case m.id != "":
		return m.id, nil
	}
	var err error
	if m.kind == nfs4 {
		m.id, err = m.export()
	} else {
		m.id, err = m.localIdentity()
	}
	return m.id, err
}

// export is the identity of an NFS mount.
func (m *mount) export() (string, error) {
	host, _, _ := strings.Cut(m.source, ":/")
	address, err := netip.ParseAddr(strings.Trim(host, "[]"))
	if host == "localhost" || err == nil && address.IsLoopback() {
		return "", &TunnelError{m.point, m.source}
	}
	return "nfs:" + m.source, nil
}

// localIdentity is the identity of a local file system, such as ext4's UUID as the
// kernel shortens it.
func (m *mount) localIdentity() (string, error) {
	id, err := fsid(m)
	switch {
	case err != nil:
		return "", &os.PathError{Op: "statfs", Path: m.point, Err: err}
	case id == "":
		return "", errNameless
	}
	return m.kind + ":" + id, nil
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
	m, _, err := readMounts().of(dir)
	if err != nil {
		return err
	}
	if m.isRemote() {
		return &RemoteError{path, m.kind}
	}
	return nil
}
