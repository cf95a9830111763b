//go:build !linux

package dedupe

import "errors"

// onlyPath opens a directory for looking at its entries.
const onlyPath = 0

func openBeneath(dir int, path string, flags int) (int, error) {
	return openStepwise(dir, path, flags)
}

// holds returns true: this system cannot tell.
func (confinedDir) holds(int) bool { return true }

func pathOf(int) (string, error) { return "", errors.ErrUnsupported }
