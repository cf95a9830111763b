package limits

import "path/filepath"

// unlimited is more than any machine has. Without a limit, cgroup v1 reports nearly 2^63.
const unlimited = 1 << 60

// cgroupMemory returns the least memory limit, in bytes, of the cgroups that this process
// is in and of their parents, and the file that sets it. It returns 0 if there is none. Root
// is where proc and sys are.
func cgroupMemory(root string) (least int64, file string) {
	for dir := range cgroupDirs(root, "memory") {
		for _, name := range []string{"memory.max", "memory.high", "memory.limit_in_bytes"} {
			path := filepath.Join(dir, name)
			limit, err := number(path)
			if err == nil && 0 < limit && limit < unlimited && (least == 0 || limit < least) {
				least, file = limit, path
			}
		}
	}
	return least, file
}
