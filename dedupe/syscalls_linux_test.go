package dedupe

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestPathLengths opens and looks at files by paths that fit on the stack, do not fit, or
// are longer than the kernel allows.
func TestPathLengths(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, []byte("content"), "file")
	for _, n := range []int{4, shortPath - 2, shortPath - 1, shortPath, shortPath + 1, 2 * shortPath, pathMax - 1, pathMax} {
		path := "file"
		if n > len(path) {
			path = "." + strings.Repeat("/", n-len("."+path)) + path
		}
		st, statErr := statAt(unix.AT_FDCWD, path, 0)
		fd, openErr := openat(unix.AT_FDCWD, path, 0)
		if n >= pathMax {
			if statErr != unix.ENAMETOOLONG || openErr != unix.ENAMETOOLONG || fd != -1 {
				t.Errorf("%d bytes: %v, %v, descriptor %d", n, statErr, openErr, fd)
			}
			continue
		}
		if statErr != nil || openErr != nil {
			t.Errorf("%d bytes: %v, %v", n, statErr, openErr)
			continue
		}
		if opened, err := fstat(fd); err != nil || opened != st || st.size != int64(len("content")) {
			t.Errorf("%d bytes: %+v and %+v, error %v", n, opened, st, err)
		}
		unix.Close(fd)
	}
	if fd, err := openat(unix.AT_FDCWD, "file\x00more", 0); err != unix.EINVAL {
		t.Errorf("a zero byte: descriptor %d, error %v", fd, err)
	}
	if _, err := statAt(unix.AT_FDCWD, "file\x00more", 0); err != unix.EINVAL {
		t.Errorf("a zero byte: %v", err)
	}
}
