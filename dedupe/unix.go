package dedupe

import "golang.org/x/sys/unix"

// System calls as os makes them, without what os adds for descriptors that can
// be polled: at a few microseconds a file, an os.File costs as much as a small
// read.

func unixOpen(path string, flags int) (fd int, err error) {
	err = retry(func() error {
		fd, err = unix.Open(path, flags|unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		return err
	})
	return fd, err
}

func unixRead(fd int, b []byte) (n int, err error) {
	err = retry(func() error {
		n, err = unix.Read(fd, b)
		return err
	})
	return n, err
}

func unixLstat(path string, st *unix.Stat_t) error {
	return retry(func() error { return unix.Lstat(path, st) })
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
