package limits

import (
	"bufio"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// TasksLeft returns how many more threads and processes this user and this container may
// start, or math.MaxInt if there is no limit. Other processes may take some meanwhile.
func TasksLeft() int { return min(userTasksLeft(), containerTasksLeft()) }

// userTasksLeft returns what RLIMIT_NPROC leaves; root is exempt. Counting takes a look
// at every process, so it is done only if the limit is low.
func userTasksLeft() int {
	const low = 8192
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NPROC, &limit); err != nil || limit.Cur > low || os.Getuid() == 0 {
		return math.MaxInt
	}
	left := int(limit.Cur)
	all, _ := filepath.Glob("/proc/[0-9]*/status")
	for _, path := range all {
		left -= threadsOf(path, os.Getuid())
	}
	return max(left, 0)
}

// threadsOf returns the threads of a process from its /proc/PID/status, or 0 if it is
// not the user's.
func threadsOf(path string, uid int) (threads int) {
	f, err := os.Open(path)
	if err != nil {
		return 0 // it has ended
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		switch {
		case len(fields) < 2:
		case fields[0] == "Uid:" && fields[1] != strconv.Itoa(uid):
			return 0
		case fields[0] == "Threads:":
			threads, _ = strconv.Atoi(fields[1])
			return threads
		}
	}
	return 0
}

// containerTasksLeft returns what the pids controllers of all cgroups above leave.
func containerTasksLeft() int {
	left := int64(math.MaxInt)
	for c := range cgroups("/", "pids") {
		most, err := number(filepath.Join(c.dir, "pids.max"))
		if err != nil {
			continue
		}
		if now, err := number(filepath.Join(c.dir, "pids.current")); err == nil {
			left = min(left, max(most-now, 0))
		}
	}
	return int(left)
}
