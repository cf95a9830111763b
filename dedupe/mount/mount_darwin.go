package mount

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Table asks the system each time.
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

// Exactly is Of.
func (all *Table) Exactly(dir string) (*Mount, uint64, error) { return all.Of(dir) }

// Pseudo is empty: what is mounted in /dev, the only place, is not entered, because its
// files are devices.
func (*Table) Pseudo(string) map[string]map[string]uint64 { return nil }

// Covers is false: only directories are mounted over here.
func (*Table) Covers(string) bool { return false }

// fsid returns the identity of a file system, or an empty string. That of APFS is the
// number of its device.
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
