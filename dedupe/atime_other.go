//go:build !linux

package dedupe

// keepAccessTime does nothing: only Linux has O_NOATIME.
func keepAccessTime(fd, flags int) {}
