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

// openCall is openat(2).
func openCall(dir int, path string, flags int) (fd int, err error) {
	return unix.Openat(dir, path, flags, 0)
}
