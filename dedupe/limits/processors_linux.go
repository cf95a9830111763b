package limits

import (
	"math"
	"path/filepath"
	"strconv"
	"strings"
)

// Processors returns how many processors the cgroups of this process may use, such as 0.5,
// and the file that limits them. It returns 0 if they have no limit.
func Processors() (n float64, file string) { return cgroupProcessors("/") }

// cgroupProcessors returns the least limit of the cgroups and their parents. Root is where
// proc and sys are.
func cgroupProcessors(root string) (least float64, file string) {
	for c := range cgroups(root, "cpu") {
		limit, name := c.quota()
		if limit > 0 && (least == 0 || limit < least) {
			least, file = limit, filepath.Join(c.dir, name)
		}
	}
	return least, file
}

// quota returns a cgroup's limit, or 0, and the file that sets it. Version 2 has the
// quota and the period in one file, such as "50000 100000" or "max 100000"; version 1 has
// two files, where a quota of -1 is none.
func (c cgroup) quota() (processors float64, name string) {
	const v1, v2 = "cpu.cfs_quota_us", "cpu.max"
	read := func(name string) string { return strings.TrimSpace(readText(filepath.Join(c.dir, name))) }
	if c.v2 {
		quota, period, _ := strings.Cut(read(v2), " ")
		return share(quota, period), v2
	}
	return share(read(v1), read("cpu.cfs_period_us")), v1
}

// share divides two numbers, and returns 0 unless both are positive.
func share(quota, period string) float64 {
	q, err := strconv.ParseFloat(quota, 64)
	p, err2 := strconv.ParseFloat(period, 64)
	if err != nil || err2 != nil || !(q > 0 && p > 0) || math.IsInf(q/p, 0) {
		return 0
	}
	return q / p
}

// CgroupVersions returns which versions of cgroups this process is in: "v1", "v2", "v1 and
// v2", or "" for none.
func CgroupVersions() string { return cgroupVersions("/") }

func cgroupVersions(root string) string {
	var v1, v2 bool
	for line := range strings.Lines(readText(filepath.Join(root, "proc/self/cgroup"))) {
		switch fields := strings.SplitN(line, ":", 3); {
		case len(fields) < 3:
		case fields[0] == "0" && fields[1] == "":
			v2 = true
		default:
			v1 = true
		}
	}
	switch {
	case v1 && v2:
		return "v1 and v2"
	case v1:
		return "v1"
	case v2:
		return "v2"
	}
	return ""
}
