package dedupe

import (
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// TestAccessTime checks that reading files and directories keeps their access time, and
// that each file is opened only once for that.
func TestAccessTime(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	for path, flags := range map[string]int{file: unix.O_NONBLOCK, dir: unix.O_DIRECTORY} {
		for _, at := range []confinedDir{{}, {refused: new(atomic.Bool)}} {
			fd, err := at.open(path, flags)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(fd)
			const want = unix.O_NOATIME | unix.O_NONBLOCK
			if got, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0); err != nil || got&want != unix.O_NOATIME|flags&unix.O_NONBLOCK {
				t.Errorf("%s is open with the flags %#x, %v", path, got, err)
			}
		}
	}
}
