package limits

import (
	"os"

	"golang.org/x/sys/unix"
)

// writeBack waits until what was written to a file is on disk. What is not on a disk, such
// as a pipe, refuses.
func writeBack(f *os.File) {
	const all = unix.SYNC_FILE_RANGE_WAIT_BEFORE | unix.SYNC_FILE_RANGE_WRITE | unix.SYNC_FILE_RANGE_WAIT_AFTER
	unix.SyncFileRange(int(f.Fd()), 0, 0, all)
}
