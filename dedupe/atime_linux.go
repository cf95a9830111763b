package dedupe

import "golang.org/x/sys/unix"

// keepAccessTime has reads from a descriptor, which was opened with these flags, leave
// the time of the last access. Only the owner of a file and root may. To ask when opening
// would take a second open where they are not, which network mounts charge for.
func keepAccessTime(fd, flags int) {
	unix.FcntlInt(uintptr(fd), unix.F_SETFL, flags&unix.O_NONBLOCK|unix.O_NOATIME)
}
