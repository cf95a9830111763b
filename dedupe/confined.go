package dedupe

import (
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// confinedDir is where paths begin. The zero value is anywhere: a path means what it
// means to the process, and only its last element may be no symbolic link.
//
// Within a directory, a path can't leave it: it has no "..", is not absolute,
// and none of its elements may be a symbolic link, also not one that is put
// there meanwhile, because each is opened from the one before.
//
// These are system calls as os makes them, without what os adds for descriptors
// that can be polled: at a few microseconds a file, that costs as much as a
// small read.
type confinedDir struct {
	within *os.File // an open directory, or nil
}

// OpenWithin opens a directory inside Within, by a path that cannot leave it.
func (e *Engine) OpenWithin(path string) (*os.File, error) {
	fd, err := confinedDir{e.Within}.open(path, unix.O_DIRECTORY)
	if err != nil {
		return nil, &Problem{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// open opens a path for reading.
func (p confinedDir) open(path string, flags int) (fd int, err error) {
	err = p.lookUp(path, func(dir int, name string) error {
		fd, err = openat(dir, name, flags)
		return err
	})
	if err == nil {
		keepAccessTime(fd, flags)
	}
	return fd, err
}

// lstat is lstat(2) of a path.
func (p confinedDir) lstat(path string, st *unix.Stat_t) error {
	return p.lookUp(path, func(dir int, name string) error {
		return retry(func() error { return unix.Fstatat(dir, name, st, unix.AT_SYMLINK_NOFOLLOW) })
	})
}

// lookUp calls do with the directory that holds the last element of path, and
// that element.
func (p confinedDir) lookUp(path string, do func(dir int, name string) error) error {
	if p.within == nil {
		return do(unix.AT_FDCWD, path)
	}
	dir, opened := int(p.within.Fd()), -1
	for {
		name, rest, more := strings.Cut(path, "/")
		var err error
		switch {
		case name == "" || name == ".." || name == "." && (more || opened >= 0):
			err = unix.EINVAL
		case !more:
			err = do(dir, name)
		default:
			dir, err = openat(dir, name, unix.O_DIRECTORY)
		}
		if opened >= 0 {
			unix.Close(opened)
		}
		if err != nil || !more {
			return err
		}
		opened, path = dir, rest
	}
}

func openat(dir int, name string, flags int) (fd int, err error) {
	err = retry(func() error {
		fd, err = unix.Openat(dir, name, flags|unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
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

// retry repeats what a signal interrupted: network and FUSE mounts return EINTR
// where local file systems do not.
func retry(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}
