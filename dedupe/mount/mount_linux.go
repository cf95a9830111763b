package mount

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"efsdedupe/dedupe/limits"
)

// Table says what is mounted where.
type Table struct {
	byID map[uint64]*Mount
	at   map[string]*Mount // by mount point
	in   map[string]bool   // the directories that contain mount points
	twin map[uint64]uint64 // see Device
	err  error
}

// Read reads the mounts of this process. If it fails, Of returns the error.
func Read() *Table {
	data, err := limits.ReadFile("/proc/self/mountinfo")
	all := Parse(string(data))
	all.err = err
	all.findTwins(func() string {
		volumes, _ := limits.ReadFile("/proc/fs/nfsfs/volumes") // without it, mounts that look alike are twins
		return string(volumes)
	})
	return all
}

// Parse reads a mount table. Source of the format: proc(5), mountinfo.
func Parse(data string) *Table {
	all := &Table{byID: make(map[uint64]*Mount), at: make(map[string]*Mount), in: make(map[string]bool)}
	for line := range strings.Lines(data) {
		fields := strings.Split(strings.TrimSuffix(line, "\n"), " ") // the kernel escapes blanks, but not other Unicode spaces
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
		id, err := strconv.ParseUint(fields[0], 10, 64)
		device, err2 := parseDevice(fields[2])
		if err != nil || err2 != nil {
			continue
		}
		m := &Mount{Point: unescape(fields[4]), Root: unescape(fields[3]), Kind: fields[optional+1], Source: unescape(fields[optional+2]), Device: device}
		m.options = unescape(strings.Join(append([]string{fields[5]}, fields[optional+3:]...), ","))
		all.byID[id] = m
		all.at[m.Point] = m // the last one hides earlier ones
		all.in[filepath.Dir(m.Point)] = true
	}
	return all
}

// parseDevice reads a device number, such as 253:1.
func parseDevice(s string) (uint64, error) {
	major, minor, _ := strings.Cut(s, ":")
	a, err := strconv.ParseUint(major, 10, 32)
	b, err2 := strconv.ParseUint(minor, 10, 32)
	return unix.Mkdev(uint32(a), uint32(b)), cmp.Or(err, err2)
}

// unescape replaces each octal \ooo by its byte.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
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

// Of returns the mount that a directory is on, and the device its files should have. The
// path must be absolute and without links. If the files have another device, another
// mount hides this one, and Exactly finds it.
func (all *Table) Of(dir string) (*Mount, uint64, error) {
	for at := dir; ; at = filepath.Dir(at) {
		m := all.at[at]
		switch {
		case m != nil && m.Kind == "btrfs":
			return all.Exactly(dir)
		case m != nil:
			return m, all.Device(m.Device), nil
		case at == "/" || at == ".":
			return nil, 0, cmp.Or(all.err, ErrHidden)
		}
	}
}

// Exactly is like Of, but asks the kernel which mount it is. Linux can answer since 5.8;
// before that, or if the table lacks that mount, the error is ErrHidden. A btrfs
// subvolume has its own device, inode numbers and identity, so Exactly returns it as a
// mount of its own.
func (all *Table) Exactly(dir string) (*Mount, uint64, error) {
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, dir, unix.AT_SYMLINK_NOFOLLOW|unix.AT_STATX_DONT_SYNC, unix.STATX_MNT_ID, &st); err != nil {
		return nil, 0, &os.PathError{Op: "statx", Path: dir, Err: err}
	}
	m := all.byID[st.Mnt_id]
	if st.Mask&unix.STATX_MNT_ID == 0 || m == nil || !m.holds(dir) {
		return nil, 0, ErrHidden
	}
	device := all.Device(unix.Mkdev(st.Dev_major, st.Dev_minor))
	if m.Kind != "btrfs" {
		return m, device, nil
	}
	subvolume := *m
	subvolume.id, subvolume.asked = "", dir
	return &subvolume, device, nil
}

// holds reports whether a path is at or below the mount point.
func (m *Mount) holds(path string) bool {
	return IsBelow(path, m.Point)
}

// Names returns a name for each mounted device that is the same on every machine with the
// same mounts: the identity of its file system. If it has none, or two devices have the
// same, the name includes where it is mounted. A device that others hide has no name.
func (all *Table) Names() map[uint64]string {
	names, points := make(map[uint64]string), make(map[uint64]string)
	for point, m := range all.at {
		device := all.Device(m.Device)
		if old, known := points[device]; !known || point < old {
			points[device] = point
		}
		name, err := m.Identity()
		if old := names[device]; err == nil && (old == "" || name < old) {
			names[device] = name
		}
	}
	shared := repeated(names)
	for device, point := range points {
		if name := names[device]; name == "" || shared[name] {
			names[device] = name + " at " + point
		}
	}
	shared = repeated(names)
	maps.DeleteFunc(names, func(_ uint64, name string) bool { return shared[name] })
	return names
}

// repeated returns the names that several devices have.
func repeated(names map[uint64]string) map[string]bool {
	seen, repeated := make(map[string]bool), make(map[string]bool)
	for _, name := range names {
		if seen[name] {
			repeated[name] = true
		}
		seen[name] = true
	}
	return repeated
}

// Covers reports whether something is mounted over a name in a directory.
func (all *Table) Covers(dir string) bool { return all.in[dir] }

// HasNFS reports whether a directory, or anything mounted below it, is on NFS. It is true
// if that is unknown.
func (all *Table) HasNFS(dir string) bool {
	_, _, err := all.Of(dir)
	return err != nil || len(all.nfsDevices([]string{dir}, true)) > 0
}

// Pseudo returns the pseudo file systems mounted below a directory. It maps the directory
// below dir that holds the mount point, "" for dir itself, to the device of each mount by
// its name. A file with another device is not on that mount: a later mount hides it.
func (all *Table) Pseudo(dir string) map[string]map[string]uint64 {
	below := make(map[string]map[string]uint64)
	prefix := strings.TrimSuffix(dir, "/") + "/"
	for point, m := range all.at {
		rel, ok := strings.CutPrefix(point, prefix)
		if !ok || rel == "" || !m.IsPseudo() {
			continue
		}
		in, name := filepath.Split(rel)
		in = strings.TrimSuffix(in, "/")
		if below[in] == nil {
			below[in] = make(map[string]uint64)
		}
		below[in][name] = m.Device
	}
	return below
}

// ReadAhead returns how many bytes the kernel reads ahead of a program on the file system,
// or -1 if it does not tell.
func (m *Mount) ReadAhead() int64 {
	device := fmt.Sprintf("%d:%d", unix.Major(m.Device), unix.Minor(m.Device))
	for _, path := range []string{
		"/sys/class/bdi/" + device + "/read_ahead_kb",          // network file systems
		"/sys/dev/block/" + device + "/queue/read_ahead_kb",    // disks
		"/sys/dev/block/" + device + "/../queue/read_ahead_kb", // partitions
	} {
		data, err := limits.ReadFile(path)
		if err != nil {
			continue
		}
		if kilobytes, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64); err == nil {
			return kilobytes << 10
		}
	}
	return -1
}

// fsid returns the identity that a local file system stores with its content, or "". XFS
// gives statfs only its device number, which the next image in the same loop device also
// gets, so fsid asks XFS for its UUID.
func fsid(m *Mount) (string, error) {
	if m.Kind == "xfs" {
		return xfsUUID(m.Point)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(cmp.Or(m.asked, m.Point), &st); err != nil {
		return "", err
	}
	if st.Fsid.Val == [2]int32{} {
		return "", nil
	}
	return fmt.Sprintf("%08x%08x", uint32(st.Fsid.Val[1]), uint32(st.Fsid.Val[0])), nil
}

// xfsUUID returns the UUID of the XFS file system that a directory is on. Source:
// XFS_IOC_FSGEOMETRY_V1 and struct xfs_fsop_geom_v1 in xfs_fs.h of Linux.
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
