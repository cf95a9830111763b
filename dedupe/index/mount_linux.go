package index

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mounts is what is mounted where.
type mounts struct {
	byID map[uint64]*mount
	at   map[string]*mount // by mount point
	err  error
}

// readMounts reads the mounts of this process. Source of the format: proc(5).
func readMounts() *mounts {
	data, err := os.ReadFile("/proc/self/mountinfo")
	all := parseMounts(string(data))
	all.err = err
	return all
}

func parseMounts(data string) *mounts {
	all := &mounts{byID: make(map[uint64]*mount), at: make(map[string]*mount)}
	for line := range strings.Lines(data) {
		fields := strings.Fields(line)
		if len(fields) < 10 {
			continue
		}
		optional := 6 // fields up to a dash
		for optional < len(fields) && fields[optional] != "-" {
			optional++
		}
		if optional+2 >= len(fields) {
			continue
		}
		var id uint64
		var major, minor uint32
		if _, err := fmt.Sscanf(fields[0]+" "+fields[2], "%d %d:%d", &id, &major, &minor); err != nil {
			continue
		}
		m := &mount{point: unescape(fields[4]), root: unescape(fields[3]), kind: fields[optional+1], source: unescape(fields[optional+2]), device: unix.Mkdev(major, minor)}
		all.byID[id] = m
		all.at[m.point] = m // the last one hides those before
	}
	return all
}

// unescape replaces \ooo by the byte of that octal number.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// of returns the mount that a directory is on, by its path, and the device that its
// files have then: if theirs is another, that mount is hidden by another one.
func (all *mounts) of(dir string) (*mount, uint64, error) {
	for at := dir; ; at = filepath.Dir(at) {
		m := all.at[at]
		switch {
		case m != nil && m.kind == "btrfs":
			return all.ofSubvolume(dir, m)
		case m != nil:
			return m, m.device, nil
		case at == "/" || at == ".":
			return nil, 0, cmp.Or(all.err, errHidden)
		}
	}
}

// ofSubvolume is of for btrfs, where each subvolume has a device that the mount table
// does not have. So the kernel is asked which mount it is, as it can be since Linux 5.8.
func (all *mounts) ofSubvolume(dir string, byPath *mount) (*mount, uint64, error) {
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, dir, unix.AT_SYMLINK_NOFOLLOW|unix.AT_STATX_DONT_SYNC, unix.STATX_MNT_ID, &st); err != nil {
		return nil, 0, &os.PathError{Op: "statx", Path: dir, Err: err}
	}
	if st.Mask&unix.STATX_MNT_ID != 0 && all.byID[st.Mnt_id] != byPath {
		return nil, 0, errHidden
	}
	return byPath, unix.Mkdev(st.Dev_major, st.Dev_minor), nil
}

// fsid returns the identity that a local file system keeps with its content, or an
// empty string. XFS gives statfs only the number of its device, which the next image
// in the same loop device has, too; so it is asked for its UUID.
func fsid(m *mount) (string, error) {
	if m.kind == "xfs" {
		return xfsUUID(m.point)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(m.point, &st); err != nil {
		return "", err
	}
	if st.Fsid.Val == [2]int32{} {
		return "", nil
	}
	return fmt.Sprintf("%08x%08x", uint32(st.Fsid.Val[1]), uint32(st.Fsid.Val[0])), nil
}

// xfsUUID returns the UUID of the XFS file system that a directory is on.
// Source: XFS_IOC_FSGEOMETRY_V1 and struct xfs_fsop_geom_v1 in xfs_fs.h of Linux.
func xfsUUID(dir string) (string, error) {
	const getGeometry, uuidAt, uuidSize = 0x80705864, 64, 16
	d, err := os.Open(dir)
	if err != nil {
		return "", err
	}
	defer d.Close()
	var geometry [112]byte
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, d.Fd(), getGeometry, uintptr(unsafe.Pointer(&geometry))); errno != 0 {
		return "", errno
	}
	return hex.EncodeToString(geometry[uuidAt:][:uuidSize]), nil
}

func pathOf(dir *os.File) (string, error) {
	return os.Readlink(fmt.Sprintf("/proc/self/fd/%d", dir.Fd()))
}

// shownBy returns the directory that this project's EFS-like mount shows on a device;
// empty if that is no such mount. What a mount says of itself in the mount table any
// FUSE program can say, so the program is asked: it listens on a socket that is named
// after the device. Only root and this user are believed, who could as well write to
// the index.
func shownBy(device uint64) string {
	const patience = time.Second
	c, err := net.DialTimeout("unix", fmt.Sprintf("@dedupe-efs-%d:%d", unix.Major(device), unix.Minor(device)), patience)
	if err != nil {
		return ""
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	if owner, err := peer(c.(*net.UnixConn)); err != nil || owner != 0 && owner != uint32(os.Geteuid()) {
		return ""
	}
	answer, err := io.ReadAll(io.LimitReader(c, 2*unix.PathMax))
	if err != nil {
		return ""
	}
	shown, dir, _ := strings.Cut(string(answer), " ")
	st, err := os.Stat(dir)
	if err != nil || shown != fmt.Sprint(st.Sys().(*syscall.Stat_t).Dev, ":", st.Sys().(*syscall.Stat_t).Ino) {
		return "" // its name means another directory here
	}
	return dir
}

// peer returns the user of the program at the other end.
func peer(c *net.UnixConn) (uid uint32, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var user *unix.Ucred
	if failed := raw.Control(func(fd uintptr) { user, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); failed != nil {
		return 0, failed
	}
	if err != nil {
		return 0, err
	}
	return user.Uid, nil
}
