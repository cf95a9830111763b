package mount

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Table holds nothing: it asks the system each time.
type Table struct{}

// Read returns the mounts of this machine.
func Read() *Table { return &Table{} }

// Of returns the mount that a directory is on, and the device of the directory.
func (*Table) Of(dir string) (*Mount, uint64, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return nil, 0, &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); err != nil {
		return nil, 0, &os.PathError{Op: "lstat", Path: dir, Err: err}
	}
	device := uint64(st.Dev)
	return &Mount{
		Point:  unix.ByteSliceToString(fs.Mntonname[:]),
		Root:   "/",
		Kind:   unix.ByteSliceToString(fs.Fstypename[:]),
		Source: unix.ByteSliceToString(fs.Mntfromname[:]),
		Device: device,
	}, device, nil
}

// Exactly is the same as Of here.
func (all *Table) Exactly(dir string) (*Mount, uint64, error) { return all.Of(dir) }

// Device returns the device.
func (*Table) Device(device uint64) uint64 { return device }

// HasNFS reports whether a directory is on NFS.
func (all *Table) HasNFS(dir string) bool {
	on, _, err := all.Of(dir)
	return err == nil && on.IsNFS()
}

// Names returns nothing: macOS is not asked.
func (*Table) Names() map[uint64]string { return nil }

// Pseudo returns nothing. macOS mounts pseudo file systems only in /dev, whose files are
// devices, and the walk opens no devices.
func (*Table) Pseudo(string) map[string]map[string]uint64 { return nil }

// Covers returns false: macOS mounts only over directories.
func (*Table) Covers(string) bool { return false }

// sent returns nothing, because macOS does not tell.
func (*Table) sent() (sent, error) { return nil, nil }

// ReadAhead returns -1: macOS does not tell.
func (*Mount) ReadAhead() int64 { return -1 }

func (*Table) nfsDevices([]string, bool) map[uint64]bool { return nil }

// LetGo does nothing: macOS does not wait for servers when a process exits.
func LetGo() {}

// fsid returns the identity of a file system, or "". For APFS it is the device number.
func fsid(m *Mount) (string, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(m.Point, &st); err != nil {
		return "", err
	}
	if st.Fsid.Val == [2]int32{} {
		return "", nil
	}
	return fmt.Sprintf("%08x%08x", uint32(st.Fsid.Val[1]), uint32(st.Fsid.Val[0])), nil
}
