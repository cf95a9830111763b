package dedupe

import "golang.org/x/sys/unix"

// onlyEnds tells the kernel that only the ends of an open file will be read. Otherwise
// the kernel reads ahead, up to 15 MiB on EFS, and EFS meters all of it.
func onlyEnds(fd int) {
	unix.Fadvise(fd, 0, 0, unix.FADV_RANDOM) // only advice: failing does no harm
}

// willNeed asks the kernel to read a part of an open file soon.
func willNeed(fd int, pos, n int64) {
	unix.Fadvise(fd, pos, n, unix.FADV_WILLNEED)
}

// moreThanEnds turns read-ahead back on.
func moreThanEnds(fd int) {
	unix.Fadvise(fd, 0, 0, unix.FADV_NORMAL)
}
