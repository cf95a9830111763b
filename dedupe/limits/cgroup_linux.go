package limits

import (
	"iter"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// cgroupDirs yields the directories that hold the files of a controller for the cgroups
// of this process and all their parents, in version 1 or 2. Some may not exist. Root is
// where proc and sys are.
//
// In a container without a cgroup namespace, the path of the cgroup is one of the host,
// and only the container's own cgroup is visible, at the mount point.
func cgroupDirs(root, controller string) iter.Seq[string] {
	return func(yield func(dir string) bool) {
		b, err := os.ReadFile(filepath.Join(root, "proc/self/cgroup"))
		if err != nil {
			return
		}
		for line := range strings.Lines(string(b)) {
			fields := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3) // hierarchy:controllers:path
			if len(fields) != 3 {
				continue
			}
			var mounts []string
			switch {
			case fields[0] == "0" && fields[1] == "":
				mounts = []string{"sys/fs/cgroup", "sys/fs/cgroup/unified"}
			case strings.Contains(","+fields[1]+",", ","+controller+","):
				mounts = []string{"sys/fs/cgroup/" + fields[1], "sys/fs/cgroup/" + controller}
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
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
}
