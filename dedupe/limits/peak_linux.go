package limits

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// PeakMemory returns the peak memory of a process in bytes, or 0 if unknown. Memory
// that processes share, such as program code, is split among them, so results add up:
// each is the current proportional set size (PSS) plus what the resident set has shrunk
// since its peak. Set alone if no other process shares memory with this one. Then the
// peak resident set is the answer, and the kernel need not walk all pages for the PSS.
func PeakMemory(pid int, alone bool) int64 {
	status := kilobytes(fmt.Sprintf("/proc/%d/status", pid), "VmHWM", "VmRSS")
	peak, now := status[0], status[1]
	if alone {
		return peak << 10
	}
	pss := kilobytes(fmt.Sprintf("/proc/%d/smaps_rollup", pid), "Pss")[0]
	if pss == 0 {
		return peak << 10
	}
	return (pss + max(0, peak-now)) << 10
}

// kilobytes reads values from a file with lines such as "VmRSS:  1234 kB". Missing
// values are 0.
func kilobytes(path string, names ...string) []int64 {
	figures := make([]int64, len(names))
	for line := range strings.Lines(readText(path)) {
		name, rest, _ := strings.Cut(line, ":")
		if i := slices.Index(names, name); i >= 0 {
			figures[i], _ = strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
		}
	}
	return figures
}
