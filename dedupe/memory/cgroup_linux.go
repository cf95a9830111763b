package memory

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// cgroupLimit returns the least memory limit, in bytes, of the cgroups that this process
// is in and of their parents, or 0 if there is none. Root is where proc and sys are.
//
// In a container without a cgroup namespace, the path of the cgroup is one of the host,
// and only the container's own cgroup is visible, at the mount point.
func cgroupLimit(root string) int64 {
	b, err := os.ReadFile(filepath.Join(root, "proc/self/cgroup"))
	if err != nil {
		return 0
	}
	least := int64(0)
	for line := range strings.Lines(string(b)) {
		fields := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3) // hierarchy:controllers:path
		if len(fields) != 3 {
			continue
		}
		var mounts, files []string
		switch {
		case fields[0] == "0" && fields[1] == "":
			mounts, files = []string{"sys/fs/cgroup", "sys/fs/cgroup/unified"}, []string{"memory.max", "memory.high"}
		case strings.Contains(","+fields[1]+",", ",memory,"):
			mounts, files = []string{"sys/fs/cgroup/" + fields[1], "sys/fs/cgroup/memory"}, []string{"memory.limit_in_bytes"}
		}
		for _, mount := range mounts {
			for _, file := range files {
				if limit := limitAbove(filepath.Join(root, mount), fields[2], file); limit > 0 && (least == 0 || limit < least) {
					least = limit
				}
			}
		}
	}
	return least
}

// unlimited is more than any machine has. Without a limit, cgroup v1 reports nearly 2^63.
const unlimited = 1 << 60

// limitAbove returns the least limit in the files of a cgroup and its parents.
func limitAbove(mount, cgroup, file string) (least int64) {
	for dir := filepath.Join("/", cgroup); ; dir = filepath.Dir(dir) {
		b, err := os.ReadFile(filepath.Join(mount, dir, file))
		if err == nil {
			limit, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64) // or "max"
			if err == nil && 0 < limit && limit < unlimited && (least == 0 || limit < least) {
				least = limit
			}
		}
		if dir == "/" {
			return least
		}
	}
}
