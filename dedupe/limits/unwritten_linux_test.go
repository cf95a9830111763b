package limits

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestUnwritten checks by the kernel's own count that what is not on disk yet stays below
// the limit, and that a pipe is no error.
func TestUnwritten(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	dirty := func() (bytes int64) {
		var stat unix.Cachestat_t
		if err := unix.Cachestat(uint(f.Fd()), &unix.CachestatRange{}, &stat, 0); errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EOPNOTSUPP) {
			t.Skip("only Linux 6.5 and later counts the pages of a file that are not on disk: run it there")
		} else if err != nil {
			t.Fatal(err)
		}
		return int64(stat.Dirty+stat.Writeback) * int64(os.Getpagesize())
	}
	const most = 2 << 20
	u := Unwritten{most: most}
	for range 10 {
		n, err := f.Write(make([]byte, most/4))
		if err != nil {
			t.Fatal(err)
		}
		u.Add(f, n)
		if got := dirty(); got >= most {
			t.Fatalf("%d bytes are not on disk, limit %d", got, most)
		}
	}

	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	u.Add(w, 10*most)
}
