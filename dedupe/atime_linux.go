package dedupe

import "golang.org/x/sys/unix"

// noAccessTime opens a file so that reads do not change its access time. Only the owner
// of a file and root may ask for that.
const noAccessTime = unix.O_NOATIME

// keepAccessTime asks for the same where a file is open already, with these flags. That
// costs a system call, but no second open where it is refused.
func keepAccessTime(fd, flags int) {
	unix.FcntlInt(uintptr(fd), unix.F_SETFL, flags&unix.O_NONBLOCK|unix.O_NOATIME)
}
