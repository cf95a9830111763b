package dedupe

import "golang.org/x/sys/unix"

// onlyEnds tells the kernel that no more than the ends of an open file will be
// read. Otherwise it reads ahead, up to 15 MiB on EFS, and all of that is metered.
func onlyEnds(fd int) {
	unix.Fadvise(fd, 0, 0, unix.FADV_RANDOM) // advice: where it fails, nothing is wrong
}

// moreThanEnds takes that back.
func moreThanEnds(fd int) {
	unix.Fadvise(fd, 0, 0, unix.FADV_NORMAL)
}
