package limits

import "path/filepath"

// unlimited is more than any machine has. Without a limit, cgroup v1 reports nearly 2^63.
const unlimited = 1 << 60

// cgroupMemory returns the least memory limit, in bytes, of the cgroups that this process
// is in and of their parents, or 0 if there is none. Root is where proc and sys are.
func cgroupMemory(root string) (least int64) {
	for dir := range cgroupDirs(root, "memory") {
		for _, file := range []string{"memory.max", "memory.high", "memory.limit_in_bytes"} {
			limit, err := number(filepath.Join(dir, file))
			if err == nil && 0 < limit && limit < unlimited && (least == 0 || limit < least) {
				least = limit
			}
		}
	}
	return least
}
