//go:build !linux

package dedupe

// statAt is fstatat(2).
func statAt(dir int, path string, flags int) (status, error) { return fstatat(dir, path, flags) }

// askServer makes statAt ask a file's server, on systems that can.
const askServer = 0

// statOpen is fstat(2).
func statOpen(fd int, _ bool) (status, error) { return fstat(fd) }
