package dedupe

import "golang.org/x/sys/unix"

// statAt is fstatat(2) without the access time. Reading makes the access time that an NFS
// client knows stale, so asking for it would cost a message for each file read.
func statAt(dir int, path string, flags int) (status, error) {
	const wanted = unix.STATX_TYPE | unix.STATX_MODE | unix.STATX_NLINK | unix.STATX_INO |
		unix.STATX_SIZE | unix.STATX_BLOCKS | unix.STATX_MTIME | unix.STATX_CTIME
	var x unix.Statx_t
	err := retry(func() error { return statxCall(dir, path, flags, wanted, &x) })
	if err == unix.ENOSYS || err == unix.EPERM { // before Linux 4.11, or forbidden by a filter
		return fstatat(dir, path, flags)
	}
	if err != nil {
		return status{}, err
	}
	return status{
		mode:       uint32(x.Mode),
		device:     unix.Mkdev(x.Dev_major, x.Dev_minor),
		inode:      x.Ino,
		links:      uint64(x.Nlink),
		size:       int64(x.Size),
		allocated:  allocated(int64(x.Blocks), int64(x.Size)),
		modTime:    Timestamp{x.Mtime.Sec, int32(x.Mtime.Nsec)},
		changeTime: Timestamp{x.Ctime.Sec, int32(x.Ctime.Nsec)},
	}, nil
}

// askServer makes statAt of an NFS client ask the server, not its own memory.
const askServer = unix.AT_STATX_FORCE_SYNC

// statOpen is fstat(2), which is cheaper than statx(2). On NFS it leaves out the access
// time.
func statOpen(fd int, nfs bool) (status, error) {
	if nfs {
		return statAt(fd, "", unix.AT_EMPTY_PATH)
	}
	return fstat(fd)
}
