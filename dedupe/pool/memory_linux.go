package pool

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
)

// PeakMemory returns the most memory that a process has held, in bytes, or 0 if
// the kernel does not tell. What it shares with other processes, such as the
// text of the program, is divided among them, so that figures of several
// processes add up: its proportional set size (PSS) now, and how far its
// resident set was above the present one at its peak. A process that is alone has
// its whole resident set to itself, and is not asked for its PSS, for which the
// kernel walks all its pages.
func PeakMemory(pid int, alone bool) int64 {
	status := kilobytes(fmt.Sprintf("/proc/%d/status", pid), "VmHWM:", "VmRSS:")
	peak, now := status[0], status[1]
	if alone {
		return peak << 10
	}
	pss := kilobytes(fmt.Sprintf("/proc/%d/smaps_rollup", pid), "Pss:")[0]
	if pss == 0 {
		return peak << 10
	}
	return (pss + max(0, peak-now)) << 10
}

// kilobytes reads figures from a file of lines such as "VmRSS:  1234 kB". What
// it does not find is 0.
func kilobytes(path string, names ...string) []int64 {
	figures := make([]int64, len(names))
	f, err := os.Open(path)
	if err != nil {
		return figures
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		for i, name := range names {
			if rest, ok := bytes.CutPrefix(lines.Bytes(), []byte(name)); ok {
				fmt.Sscan(string(rest), &figures[i])
			}
		}
	}
	return figures
}
