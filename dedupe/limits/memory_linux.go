package limits

import "path/filepath"

// unlimited is more than any machine has. Without a limit, cgroup v1 reports nearly 2^63.
const unlimited = 1 << 60

// cgroupMemory returns the least memory limit, in bytes, of the cgroups that this process
// is in and of their parents, and the file that sets it. It returns 0 if there is none. Root
// is where proc and sys are.
func cgroupMemory(root string) (least int64, file string) {
	for c := range cgroups(root, "memory") {
		names := []string{"memory.limit_in_bytes"}
		if c.v2 {
			names = []string{"memory.max", "memory.high"}
		}
		for _, name := range names {
			path := filepath.Join(c.dir, name)
			limit, err := number(path)
			if err == nil && 0 < limit && limit < unlimited && (least == 0 || limit < least) {
				least, file = limit, path
			}
		}
	}
	return least, file
}
