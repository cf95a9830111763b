package dedupe

import (
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A scan makes these calls for each file. In package unix they copy the path into new
// memory, which would be half of all objects that a scan allocates. Here they copy it to
// the stack, unless it is long.

// shortPath is how many bytes of a path, and the zero at its end, fit on the stack.
const shortPath = 256

// openCall is openat(2).
func openCall(dir int, path string, flags int) (fd int, err error) {
	var room [shortPath]byte
	ended, err := appendZero(room[:0], path)
	if err != nil {
		return -1, err
	}
	n, _, errno := unix.Syscall6(unix.SYS_OPENAT, uintptr(dir), uintptr(unsafe.Pointer(&ended[0])), uintptr(flags|unix.O_LARGEFILE), 0, 0, 0)
	if errno != 0 {
		return -1, errno
	}
	return int(n), nil
}

// statxCall is statx(2).
func statxCall(dir int, path string, flags, wanted int, x *unix.Statx_t) error {
	var room [shortPath]byte
	ended, err := appendZero(room[:0], path)
	if err != nil {
		return err
	}
	_, _, errno := unix.Syscall6(unix.SYS_STATX, uintptr(dir), uintptr(unsafe.Pointer(&ended[0])), uintptr(flags), uintptr(wanted), uintptr(unsafe.Pointer(x)), 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// appendZero appends a path and the zero byte that tells the kernel where it ends.
func appendZero(b []byte, path string) ([]byte, error) {
	if strings.IndexByte(path, 0) >= 0 {
		return nil, unix.EINVAL
	}
	return append(append(b, path...), 0), nil
}
