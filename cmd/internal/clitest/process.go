package clitest

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Eventually waits until ready returns true, and fails the test or the script if it
// does not within a minute.
func Eventually(t interface{ Fatalf(string, ...any) }, what string, ready func() bool) {
	for deadline := time.Now().Add(time.Minute); !ready(); {
		if time.Now().After(deadline) {
			t.Fatalf("waited a minute for %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// ProcStat returns the fields of /proc/PID/stat after the name of the program: its
// state, its parent and so on. It returns nil if the process is gone.
func ProcStat(pid int) []string {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return nil
	}
	return strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
}

// Alive reports whether a process runs.
func Alive(pid int) bool {
	fields := ProcStat(pid)
	return fields != nil && fields[0] != "Z"
}

// Kill kills processes.
func Kill(pids []int) {
	for _, pid := range pids {
		syscall.Kill(pid, syscall.SIGKILL)
	}
}
