//go:build !linux

package dedupe

const noAccessTime = 0

// keepAccessTime does nothing: only Linux has O_NOATIME.
func keepAccessTime(fd, flags int) {}
