package limits

import (
	"fmt"
	"os"
)

// TemporaryFile returns an empty file for what is too large for memory. It is gone when the
// process ends.
func TemporaryFile() (*os.File, error) {
	f, err := os.CreateTemp("", "dedupe-")
	if err != nil {
		return nil, fmt.Errorf("%w; have TMPDIR name a directory with room", err)
	}
	return f, os.Remove(f.Name())
}
