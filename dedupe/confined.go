package dedupe

import (
	"os"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// confinedDir is where paths begin. With the zero value, a path means what it means to
// the process, except that its last element must not be a symbolic link.
//
// Inside a directory, a path cannot leave it: it has no "..", is not absolute, and none
// of its elements may be a symbolic link, not even one created meanwhile. The kernel
// enforces that; where it cannot, each element is opened from the one before. If the
// directory of an opened file was moved out meanwhile, the file is closed again.
//
// These are the system calls that os makes, without what os adds for descriptors that can
// be polled. At a few microseconds per file, that costs as much as a small read.
type confinedDir struct {
	within *os.File // an open directory, or nil

	// refused is set once the kernel refuses to open a file with O_NOATIME. If nil, opens
	// do not ask for it.
	refused *atomic.Bool
}

// open opens a path for reading. Reads leave the access time alone.
func (p confinedDir) open(path string, flags int) (fd int, err error) {
	if p.refused != nil && !p.refused.Load() {
		if fd, err = p.openPath(path, flags|noAccessTime); err != unix.EPERM {
			return fd, err
		}
		p.refused.Store(true)
	}
	if fd, err = p.openPath(path, flags); err == nil {
		keepAccessTime(fd, flags)
	}
	return fd, err
}

func (p confinedDir) openPath(path string, flags int) (fd int, err error) {
	if p.within == nil {
		return openat(unix.AT_FDCWD, path, flags)
	}
	if err := checkConfined(path); err != nil {
		return -1, err
	}
	if fd, err = openBeneath(int(p.within.Fd()), path, flags); err != nil {
		return -1, err
	}
	if !p.holds(fd) {
		unix.Close(fd)
		return -1, unix.ENOENT
	}
	return fd, nil
}

// openDirectory opens a directory.
func (p confinedDir) openDirectory(path string) (fd int, err error) {
	return p.open(path, unix.O_DIRECTORY)
}

// openListed opens a directory that the walk has listed. The dot at the end of the path
// keeps an NFS client from asking for the directory's attributes first.
func (p confinedDir) openListed(path string) (fd int, err error) {
	switch {
	case p.within == nil:
		return p.openPath(join(path, "."), unix.O_DIRECTORY)
	case path == ".":
		return p.openPath(path, unix.O_DIRECTORY)
	}
	if err := checkConfined(path); err != nil {
		return -1, err
	}
	return openBeneath(int(p.within.Fd()), path+"/.", unix.O_DIRECTORY)
}

// lstat is lstat(2) of a path. Its flags are 0 or askServer.
func (p confinedDir) lstat(path string, flags int) (status, error) {
	dir, name := unix.AT_FDCWD, path
	if p.within != nil {
		if err := checkConfined(path); err != nil {
			return status{}, err
		}
		dir = int(p.within.Fd())
		if i := strings.LastIndexByte(path, '/'); i >= 0 {
			parent, err := p.openPath(path[:i], unix.O_DIRECTORY|onlyPath)
			if err != nil {
				return status{}, err
			}
			defer unix.Close(parent)
			dir, name = parent, path[i+1:]
		}
	}
	return statAt(dir, name, flags|unix.AT_SYMLINK_NOFOLLOW)
}

// checkConfined refuses paths that could leave the directory, and paths longer than the
// kernel allows.
func checkConfined(path string) error {
	for name := range strings.SplitSeq(path, "/") {
		if name == "" || name == ".." || name == "." && path != "." {
			return unix.EINVAL
		}
	}
	if len(path) >= pathMax {
		return unix.ENAMETOOLONG
	}
	return nil
}

// pathMax is Linux's PATH_MAX: the bytes of a path, including the zero at its end.
const pathMax = 4096

// openStepwise opens a path below a directory one element at a time, and so follows no
// symbolic link.
func openStepwise(dir int, path string, flags int) (int, error) {
	opened := -1
	for {
		name, rest, more := strings.Cut(path, "/")
		now := flags
		if more {
			now = unix.O_DIRECTORY
		}
		fd, err := openat(dir, name, now)
		if opened >= 0 {
			unix.Close(opened)
		}
		if err != nil || !more {
			return fd, err
		}
		dir, opened, path = fd, fd, rest
	}
}

// openat opens a path for reading. Its last element must not be a symbolic link.
func openat(dir int, path string, flags int) (fd int, err error) {
	err = retry(func() error {
		fd, err = openCall(dir, path, flags|unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC)
		return err
	})
	return fd, err
}

func read(fd int, b []byte, offset int64) (n int, err error) {
	err = retry(func() error {
		n, err = unix.Pread(fd, b, offset)
		return err
	})
	return n, err
}

// retry repeats a call that a signal interrupted. Network and FUSE mounts return EINTR
// where local file systems do not.
func retry(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}
