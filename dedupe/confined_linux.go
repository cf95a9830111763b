package dedupe

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"efsdedupe/dedupe/mount"
)

// onlyPath opens a directory for looking at its entries, not for reading them. On NFS that
// sends no message.
const onlyPath = unix.O_PATH

// openBeneath opens a path below a directory, in one call if the kernel has openat2(2)
// (Linux 5.6) and no filter forbids it.
func openBeneath(dir int, path string, flags int) (fd int, err error) {
	how := unix.OpenHow{
		Flags:   uint64(flags | unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_CLOEXEC),
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	}
	const tries = 100 // the kernel may ask to retry while others rename directories
	for range tries {
		err = retry(func() error {
			fd, err = unix.Openat2(dir, path, &how)
			return err
		})
		if err != unix.EAGAIN {
			break
		}
	}
	if err == unix.ENOSYS || err == unix.EPERM {
		return openStepwise(dir, path, flags)
	}
	return fd, err
}

// holds reports whether an open file or directory is still inside the directory. Without
// /proc it cannot tell, and returns true.
func (p confinedDir) holds(fd int) bool {
	if p.within == nil {
		return true
	}
	within, err := pathOf(int(p.within.Fd()))
	if err != nil {
		return true
	}
	path, err := pathOf(fd)
	return err != nil || mount.IsBelow(path, within)
}

// pathOf returns the absolute path of an open file or directory.
func pathOf(fd int) (string, error) {
	return os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
}
