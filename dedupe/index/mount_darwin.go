package index

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// mounts asks the system each time.
type mounts struct{}

func readMounts() *mounts { return &mounts{} }

// of returns the mount that a directory is on, and the device of the directory.
func (*mounts) of(dir string) (*mount, uint64, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return nil, 0, &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); err != nil {
		return nil, 0, &os.PathError{Op: "lstat", Path: dir, Err: err}
	}
	device := uint64(st.Dev)
	return &mount{
		point:  unix.ByteSliceToString(fs.Mntonname[:]),
		root:   "/",
		kind:   unix.ByteSliceToString(fs.Fstypename[:]),
		source: unix.ByteSliceToString(fs.Mntfromname[:]),
		device: device,
	}, device, nil
}

// fsid returns the identity of a file system, or an empty string. That of APFS is the
// number of its device.
func fsid(m *mount) (string, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(m.point, &st); err != nil {
		return "", err
	}
	if st.Fsid.Val == [2]int32{} {
		return "", nil
	}
	return fmt.Sprintf("%08x%08x", uint32(st.Fsid.Val[1]), uint32(st.Fsid.Val[0])), nil
}

func pathOf(*os.File) (string, error) {
	return "", errors.New("the paths of open directories are not known on this system")
}

// shownBy returns nothing: the EFS-like mount needs Linux.
func shownBy(uint64) string { return "" }
