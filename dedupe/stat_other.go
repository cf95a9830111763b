//go:build !linux

package dedupe

import "golang.org/x/sys/unix"

// statAt is fstatat(2).
func statAt(dir int, path string, flags int) (status, error) { return fstatat(dir, path, flags) }

// askServer makes statAt ask a file's server, on systems that can.
const askServer = 0

// statOpen is fstat(2).
func statOpen(fd int) (status, error) {
	var st unix.Stat_t
	err := retry(func() error { return unix.Fstat(fd, &st) })
	return statusOf(&st), err
}
