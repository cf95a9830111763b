package limits

import (
	"iter"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// cgroup is a directory that holds the files of a controller. It may not exist.
type cgroup struct {
	dir string
	v2  bool // of version 2, which names its files differently
}

// cgroups yields the cgroups of this process and all their parents, in version 1 or 2.
// Root is where proc and sys are.
//
// In a container without a cgroup namespace, the path of the cgroup is one of the host,
// and only the container's own cgroup is visible, at the mount point.
func cgroups(root, controller string) iter.Seq[cgroup] {
	return func(yield func(cgroup) bool) {
		for line := range strings.Lines(readText(filepath.Join(root, "proc/self/cgroup"))) {
			fields := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3) // hierarchy:controllers:path
			if len(fields) != 3 {
				continue
			}
			v2 := fields[0] == "0" && fields[1] == ""
			var mounts []string
			switch {
			case v2:
				mounts = []string{"sys/fs/cgroup", "sys/fs/cgroup/unified"}
			case strings.Contains(","+fields[1]+",", ","+controller+","):
				mounts = slices.Compact([]string{"sys/fs/cgroup/" + fields[1], "sys/fs/cgroup/" + controller})
			}
			for _, mount := range mounts {
				for dir := filepath.Join("/", fields[2]); ; dir = filepath.Dir(dir) {
					if !yield(cgroup{filepath.Join(root, mount, dir), v2}) {
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
	return strconv.ParseInt(strings.TrimSpace(readText(path)), 10, 64)
}
