package limits

import (
	"iter"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// cgroupDirs yields the directories that hold the files of a controller for the cgroups
// of this process and all their parents, in version 1 or 2. Some may not exist. Root is
// where proc and sys are.
//
// In a container without a cgroup namespace, the path of the cgroup is one of the host,
// and only the container's own cgroup is visible, at the mount point.
func cgroupDirs(root, controller string) iter.Seq[string] {
	return func(yield func(dir string) bool) {
		for line := range strings.Lines(readFile(filepath.Join(root, "proc/self/cgroup"))) {
			fields := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3) // hierarchy:controllers:path
			if len(fields) != 3 {
				continue
			}
			var mounts []string
			switch {
			case fields[0] == "0" && fields[1] == "":
				mounts = []string{"sys/fs/cgroup", "sys/fs/cgroup/unified"}
			case strings.Contains(","+fields[1]+",", ","+controller+","):
				mounts = slices.Compact([]string{"sys/fs/cgroup/" + fields[1], "sys/fs/cgroup/" + controller})
			}
			for _, mount := range mounts {
				for dir := filepath.Join("/", fields[2]); ; dir = filepath.Dir(dir) {
					if !yield(filepath.Join(root, mount, dir)) {
						return
					}
					if dir == "/" {
						break
					}
				}
			}
		}
	}
}

// number reads a file with a number. "max", for no limit, is an error.
func number(path string) (int64, error) {
	return strconv.ParseInt(strings.TrimSpace(readFile(path)), 10, 64)
}

// readFile returns the text of a file in /proc or /sys, or "" if it cannot be read. Every
// command reads dozens of them, and this is three times as fast as os.ReadFile, which
// prepares to wait for the file.
func readFile(path string) string {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	defer unix.Close(fd)
	b := make([]byte, 0, 512)
	for {
		n, err := unix.Read(fd, b[len(b):cap(b)])
		switch {
		case err == unix.EINTR:
		case err != nil || n == 0:
			return string(b)
		default:
			b = slices.Grow(b[:len(b)+n], 512)
		}
	}
}
