package dedupe

import "golang.org/x/sys/unix"

// status is what a file system says about a file, except for the access time.
type status struct {
	mode                uint32 // its kind, and who may do what
	device, inode       uint64
	links               uint64
	size, allocated     int64 // bytes
	modTime, changeTime Timestamp
}

func (s *status) isFile() bool      { return s.mode&unix.S_IFMT == unix.S_IFREG }
func (s *status) isDirectory() bool { return s.mode&unix.S_IFMT == unix.S_IFDIR }
func (s *status) isLink() bool      { return s.mode&unix.S_IFMT == unix.S_IFLNK }

// file returns the file with this status.
func (s *status) file(path string) File {
	return File{
		Path:       path,
		Size:       s.size,
		Device:     s.device,
		Inode:      s.inode,
		ModTime:    s.modTime,
		ChangeTime: s.changeTime,
		Links:      uint32(s.links),
		Allocated:  s.allocated,
	}
}

// allocated returns how many bytes a file occupies on its file system. FUSE programs may
// return numbers that no real file system could hold; it ignores those, because sums must
// not overflow.
func allocated(blocks, size int64) int64 {
	const block, most = 512, 1 << 46 // POSIX leaves the unit open; Linux and macOS use 512
	if blocks < 0 || blocks > most {
		return size
	}
	return blocks * block
}

// statusOf converts what stat(2) returns.
func statusOf(st *unix.Stat_t) status {
	return status{
		mode:       uint32(st.Mode),
		device:     uint64(st.Dev),
		inode:      st.Ino,
		links:      uint64(st.Nlink),
		size:       st.Size,
		allocated:  allocated(st.Blocks, st.Size),
		modTime:    timestamp(st.Mtim),
		changeTime: timestamp(st.Ctim),
	}
}

// fstatat is fstatat(2).
func fstatat(dir int, path string, flags int) (status, error) {
	var st unix.Stat_t
	err := retry(func() error { return unix.Fstatat(dir, path, &st, flags) })
	return statusOf(&st), err
}

// fstat is fstat(2).
func fstat(fd int) (status, error) {
	var st unix.Stat_t
	err := retry(func() error { return unix.Fstat(fd, &st) })
	return statusOf(&st), err
}

func timestamp(t unix.Timespec) Timestamp { return Timestamp{int64(t.Sec), int32(t.Nsec)} }
