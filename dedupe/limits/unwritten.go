package limits

import (
	"math"
	"os"
)

// Unwritten counts what was written to a file and may not be on disk yet. The kernel counts
// such pages as memory of the process. If they fill the limit, cgroup v1 kills the process
// instead of waiting for the disk. The zero value is ready to use.
type Unwritten struct {
	bytes int64
	most  int64 // 0 until it is known
}

// Add counts n bytes that were just written to f. Whenever they come to a sixteenth of the
// memory limit, it waits until they are on disk. It does nothing if there is no limit. An
// error of the disk is left for the next write, sync or close to report.
func (u *Unwritten) Add(f *os.File, n int) {
	const enough = 1 << 20 // not worth looking up the limit for less
	u.bytes += int64(n)
	if u.bytes < max(u.most, enough) {
		return
	}
	if u.most == 0 {
		u.most = math.MaxInt64
		if limit, _ := Memory(os.Getenv); limit > 0 {
			u.most = max(limit/16, enough)
		}
	}
	if u.bytes >= u.most {
		writeBack(f)
		u.bytes = 0
	}
}
