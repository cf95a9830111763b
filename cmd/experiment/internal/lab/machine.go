package lab

import (
	"bufio"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"efsdedupe/cmd/experiment/internal/results"
	"efsdedupe/fixtures/lambda/box"
)

// machine says where this runs. What the system does not tell stays empty.
func machine(boxed bool) results.Machine {
	m := results.Machine{
		CPU:      field("/proc/cpuinfo", "model name"),
		Cores:    runtime.NumCPU(),
		MemoryMB: memoryMB(),
		Kernel:   runtime.GOOS,
		GOOS:     runtime.GOOS,
		GOARCH:   runtime.GOARCH,
	}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		m.Kernel = unix.ByteSliceToString(u.Sysname[:]) + " " + unix.ByteSliceToString(u.Release[:])
	}
	if boxed {
		m.Cgroup = box.Version()
	}
	return m
}

// field is the value in the first line "name : value" of a file.
func field(path, name string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		key, value, found := strings.Cut(lines.Text(), ":")
		if found && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func memoryMB() int64 {
	kilobytes, _ := strings.CutSuffix(field("/proc/meminfo", "MemTotal"), " kB")
	n, _ := strconv.ParseInt(kilobytes, 10, 64)
	return n >> 10
}
