//go:build !linux

package dedupe

import (
	"errors"

	"golang.org/x/sys/unix"
)

// onlyPath opens a directory for looking at its entries.
const onlyPath = 0

func openBeneath(dir int, path string, flags int) (int, error) {
	return openStepwise(dir, path, flags)
}

// holds returns true: this system cannot tell.
func (confinedDir) holds(int) bool { return true }

func pathOf(int) (string, error) { return "", errors.ErrUnsupported }

// openat opens a path for reading. Its last element must not be a symbolic link.
func openat(dir int, path string, flags int) (fd int, err error) {
	err = retry(func() error {
		fd, err = unix.Openat(dir, path, flags|unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		return err
	})
	return fd, err
}
