// Package mount says which file system a directory is on, and what identifies that file
// system on every machine that mounts it.
//
//	mount.go             mounts and their identities
//	mount_linux.go       the mount table of Linux, and what its file systems say about themselves
//	twins_linux.go       NFS mounts that show the same file system
//	mount_darwin.go      the same on macOS
//	traffic.go           what an NFS client sends and receives meanwhile
//	mountstats_linux.go  where Linux tells that
//	letgo_linux.go       exiting although an NFS server is gone
package mount

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Mount is a mounted file system, or a part of one.
type Mount struct {
	Point  string // where it is mounted
	Root   string // the directory of the file system that appears there
	Kind   string // its type in the mount table, such as ext4 or fuse.sshfs
	Source string // such as /dev/sda1 or fs-01234567.efs.us-east-1.amazonaws.com:/
	Device uint64 // of its files, except on btrfs, where each subvolume has its own

	options string // of the mount, then of the file system, separated by commas

	id    string // result of Identity
	asked string // the directory to ask for the identity, if it is not Point
}

// FileSystem describes the file system of a scanned root.
type FileSystem struct {
	Type     string // such as ext4 or nfs4, as the mount table has it; empty if unknown
	Identity string // the same on every machine that mounts it; empty if it has none
}

// NFS4 is the kind of an NFS mount, version 4.0 and later.
const NFS4 = "nfs4"

// IsBelow reports whether a clean path is dir or something in it.
func IsBelow(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}

// Inside returns the path of a directory within the file system.
func (m *Mount) Inside(dir string) string {
	return filepath.Join(m.Root, "/", strings.TrimPrefix(dir, m.Point))
}

// Options returns the options of the mount and of its file system, as the mount table has
// them, such as rw or rsize=1048576, each once. It returns none on macOS.
func (m *Mount) Options() (all []string) {
	for option := range strings.SplitSeq(m.options, ",") {
		if option != "" && !slices.Contains(all, option) {
			all = append(all, option)
		}
	}
	return all
}

// IsNFS reports whether the file system is NFS, of any version.
func (m *Mount) IsNFS() bool { return m.Kind == NFS4 || m.Kind == "nfs" }

// IsTrusted reports whether the same inode number, size, mtime and ctime prove that a
// file of the mount is unchanged. On these types an inode keeps its number, only the
// kernel's or the NFS server's clock sets ctime, and the file system has an identity. The
// README of package index says for each type why it is here, and why others are not.
func (m *Mount) IsTrusted() bool {
	switch m.Kind {
	case "ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "tmpfs", "apfs", NFS4:
		return true
	}
	return false
}

// TypeError is the error of a file system type that is not trusted.
type TypeError struct {
	Kind string // as in the mount table, such as fuse.sshfs
}

func (e *TypeError) Error() string {
	return fmt.Sprintf("on %s, equal inode numbers and times do not prove that a file is unchanged; "+
		"the index trusts ext2, ext3, ext4, xfs, btrfs, zfs, tmpfs, apfs and nfs4 only", e.Kind)
}

// IsFUSE reports whether a program serves the file system.
func (m *Mount) IsFUSE() bool { return m.family() == "fuse" }

// IsRemote reports whether the file system is, or may be, on another machine.
func (m *Mount) IsRemote() bool {
	return slices.Contains([]string{
		"nfs", NFS4, "cifs", "smb3", "smbfs", "9p", "ceph", "lustre", "afs", "afpfs", "webdav", "virtiofs", "fuse", "macfuse", "osxfuse",
	}, m.family())
}

// IsImage reports whether the file system is in a file attached as a device, where
// another image may be attached next. A mount's source may have any name, so IsImage also
// looks at the device number. Source: Linux, Documentation/admin-guide/devices.txt: 7 are
// loop devices, 43 network block devices.
func (m *Mount) IsImage() bool {
	const loop, nbd = 7, 43
	major := unix.Major(m.Device)
	return strings.HasPrefix(m.Source, "/dev/loop") || strings.HasPrefix(m.Source, "/dev/nbd") || major == loop || major == nbd
}

// family is the kind up to the first dot.
func (m *Mount) family() string {
	family, _, _ := strings.Cut(m.Kind, ".")
	return family
}

// ErrHidden is the error of a directory that its path does not lead to: it was removed,
// or another one is mounted over it.
var ErrHidden = errors.New("the directory is gone, or another is mounted over it")

// ErrNameless is the error of a file system without an identity of its own, such as a
// tmpfs before Linux 6.6: the next one mounted there could be mistaken for it.
var ErrNameless = errors.New("its file system has no identity of its own here")

// TunnelError is the error of an NFS mount from the machine's own address. It goes
// through a tunnel, which may lead to any file system.
type TunnelError struct {
	Point, Source string
}

func (e *TunnelError) Error() string {
	return fmt.Sprintf("%s is mounted from %s, a tunnel that does not tell the file system: give its identity", e.Point, e.Source)
}

// Identity returns what distinguishes the file system from all others, on any machine
// that mounts it: for NFS the server and its export, for a local one what it stores with
// its content, such as ext4's UUID as the kernel shortens it. Its error may be a
// *TypeError, a *TunnelError or ErrNameless.
func (m *Mount) Identity() (id string, err error) {
	switch {
	case m.id != "":
		return m.id, nil
	case !m.IsTrusted():
		return "", &TypeError{m.Kind}
	case m.Kind == NFS4:
		m.id, err = m.export()
	default:
		m.id, err = m.localIdentity()
	}
	return m.id, err
}

func (m *Mount) export() (string, error) {
	host, _, _ := strings.Cut(m.Source, ":/")
	address, err := netip.ParseAddr(strings.Trim(host, "[]"))
	if host == "localhost" || err == nil && address.IsLoopback() {
		return "", &TunnelError{m.Point, m.Source}
	}
	return "nfs:" + m.Source, nil
}

func (m *Mount) localIdentity() (string, error) {
	id, err := fsid(m)
	switch {
	case err != nil:
		return "", &os.PathError{Op: "statfs", Path: m.Point, Err: err}
	case id == "":
		return "", ErrNameless
	}
	return m.Kind + ":" + id, nil
}

// RealPath returns the absolute path of a file or directory without links, as Of needs
// it. It follows the kernel: link/.. is the parent of what the link points to.
func RealPath(path string) (string, error) {
	if !filepath.IsAbs(path) {
		dir, err := os.Getwd()
		if err != nil {
			return "", err
		}
		path = dir + "/" + path // filepath.Join would drop the link before a ".."
	}
	return filepath.EvalSymlinks(path)
}

// CleanPath is filepath.Clean for a path that exists. It keeps "link/..", which Clean
// drops although it leads elsewhere, and "./" at the beginning.
func CleanPath(path string) string {
	clean := filepath.Clean(path)
	if strings.HasPrefix(path, "./") && clean != "." && !strings.HasPrefix(clean, "..") {
		clean = "./" + clean // so that a name such as -rf is not taken for an option
	}
	if !hasInnerParent(path) {
		return clean
	}
	real, err := RealPath(path)
	if cleanReal, cleanErr := RealPath(clean); err == nil && cleanErr == nil && cleanReal == real {
		return clean
	}
	var kept []string
	for _, name := range strings.Split(path, "/") {
		if name != "" && name != "." {
			kept = append(kept, name)
		}
	}
	path, absolute := strings.Join(kept, "/"), filepath.IsAbs(path)
	if absolute {
		return "/" + path
	}
	return path
}

// hasInnerParent reports whether a path has a ".." after a name.
func hasInnerParent(path string) bool {
	named := false
	for name := range strings.SplitSeq(path, "/") {
		switch name {
		case "", ".":
		case "..":
			if named {
				return true
			}
		default:
			named = true
		}
	}
	return false
}

// IsPseudo reports whether the mount's files are not stored content but a view of the
// kernel or of devices. Reading or even opening them may change the machine: reading
// /sys/class/zram-control/hot_add creates a device, and opening a directory of autofs
// mounts one. devtmpfs is not included, because /dev/shm is below it and holds real
// files.
func (m *Mount) IsPseudo() bool {
	switch m.Kind {
	case "autofs", "binder", "binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "cpuset", "debugfs", "devfs", "devpts",
		"dlmfs", "efivarfs", "fdesc", "fdescfs", "functionfs", "fuse.lxcfs", "fusectl", "gadgetfs", "ipathfs", "mqueue", "nfsd",
		"nsfs", "ocfs2_dlmfs", "openpromfs", "oprofilefs", "proc", "procfs", "pstore", "resctrl", "rpc_pipefs", "securityfs",
		"selinuxfs", "smackfs", "spufs", "sysfs", "tracefs", "usbdevfs", "usbfs", "xenfs":
		return true
	}
	return false
}

// Of returns the mount that a directory is on. Its path must be absolute and without
// links.
func Of(dir string) (*Mount, error) {
	m, _, err := Read().Of(dir)
	return m, err
}
