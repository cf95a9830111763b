package box

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/cgroups/v3"
	"golang.org/x/sys/unix"
)

const (
	cgroupRoot = "/sys/fs/cgroup"

	// groupPrefix begins the names of all groups, lest Sweep be pointed at another's.
	groupPrefix = "dedupe-"

	// killTime is how long processes that are killed may take to go.
	killTime = 10 * time.Second
)

// cgroup is a cgroup by its name below the root. With v1 it is one directory for
// each controller, with v2 one for all. The library above tells v1 from v2, and
// no more: its packages cgroup1 and cgroup2 would bring D-Bus, eBPF and Protocol
// Buffers into the program for the few files that are written here.
type cgroup struct {
	unified bool // v2
	name    string
}

// group returns the cgroup in which a group has its boxes.
func group(name string) (cgroup, error) {
	if !strings.HasPrefix(name, groupPrefix) || strings.Contains(name, "/") {
		return cgroup{}, fmt.Errorf("a group of the name %q: choose one that begins with %q, without %q", name, groupPrefix, "/")
	}
	return cgroup{cgroups.Mode() == cgroups.Unified, name}, nil
}

// box returns the cgroup of a box in a group.
func (c cgroup) box(slot string) cgroup {
	return cgroup{c.unified, filepath.Join(c.name, slot)}
}

// dirs are the directories of a cgroup, one or many.
func (c cgroup) dirs() []string {
	if c.unified {
		return []string{filepath.Join(cgroupRoot, c.name)}
	}
	var dirs []string
	for _, controller := range c.controllers() {
		dirs = append(dirs, filepath.Join(cgroupRoot, controller, c.name))
	}
	return dirs
}

func (c cgroup) controllers() []string {
	if c.unified {
		return []string{"cpu", "memory", "pids"}
	}
	return []string{"cpu", "cpuacct", "memory", "pids"}
}

// path is where a file is that has a controller's name in front of its own.
func (c cgroup) path(file string) string {
	if c.unified {
		return filepath.Join(cgroupRoot, c.name, file)
	}
	controller, _, _ := strings.Cut(file, ".")
	return filepath.Join(cgroupRoot, controller, c.name, file)
}

// procs are the files that a process writes its number to when it joins.
func (c cgroup) procs() []string {
	files := c.dirs()
	for i := range files {
		files[i] = filepath.Join(files[i], "cgroup.procs")
	}
	return files
}

// limit is a file of a cgroup, and what it says.
type limit struct {
	file  string
	value int64
}

// limit limits a box to what Lambda gives one of a size.
func (c cgroup) limit(memoryMB int64) error {
	quota, period := quota(memoryMB).Microseconds(), period.Microseconds()
	if !c.unified {
		return c.write(
			limit{"cpu.cfs_period_us", period},
			limit{"cpu.cfs_quota_us", quota},
			limit{"memory.limit_in_bytes", memoryMB << 20},
			limit{"memory.swappiness", 0}, // swap is counted only if the kernel was told so at boot
			limit{"pids.max", maxProcesses},
		)
	}
	if err := write(c.path("cpu.max"), fmt.Sprintf("%d %d", quota, period)); err != nil {
		return err
	}
	if err := c.write(limit{"memory.max", memoryMB << 20}, limit{"pids.max", maxProcesses}); err != nil {
		return err
	}
	err := c.write(limit{"memory.swap.max", 0})
	if errors.Is(err, fs.ErrNotExist) {
		return nil // a kernel without swap
	}
	return err
}

func (c cgroup) write(limits ...limit) error {
	for _, l := range limits {
		if err := write(c.path(l.file), strconv.FormatInt(l.value, 10)); err != nil {
			return err
		}
	}
	return nil
}

// write writes to a file that is there: os.WriteFile would make one where a
// controller is missing.
func write(path, content string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(content)
	return err
}

// make makes the cgroup of a group, which may be there, and lets boxes have the
// controllers: with v2, each directory hands them down.
func (c cgroup) make() error {
	for _, dir := range c.dirs() {
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return c.missing(err)
		}
	}
	if !c.unified {
		return nil
	}
	all := "+" + strings.Join(c.controllers(), " +")
	for _, dir := range []string{cgroupRoot, c.dirs()[0]} {
		if err := write(filepath.Join(dir, "cgroup.subtree_control"), all); err != nil {
			return c.missing(err)
		}
	}
	return nil
}

func (c cgroup) missing(err error) error {
	return fmt.Errorf("the cgroup controllers %s are not all to be had: %w", strings.Join(c.controllers(), ", "), err)
}

// makeBox makes the cgroup of a box in that of its group. It gets the lowest
// number that no other box has.
func (c cgroup) makeBox() (box cgroup, slot int, err error) {
	for slot = 0; ; slot++ {
		box = c.box(strconv.Itoa(slot))
		err = os.Mkdir(box.dirs()[0], 0o755)
		if !errors.Is(err, fs.ErrExist) {
			break
		}
	}
	for _, dir := range box.dirs()[1:] {
		if err == nil {
			err = os.MkdirAll(dir, 0o755) // two controllers may share one
		}
	}
	return box, slot, err
}

// remove kills what runs in a cgroup, and removes it. That it is not there is no
// error.
func (c cgroup) remove() error {
	c.write(limit{"pids.max", 0}) // none starts while others are killed
	for deadline := time.Now().Add(killTime); ; time.Sleep(time.Millisecond) {
		pids, err := c.processes()
		if err != nil {
			return err
		}
		for _, pid := range pids {
			unix.Kill(pid, unix.SIGKILL)
		}
		if len(pids) == 0 {
			err = c.rmdir()
			if !errors.Is(err, unix.EBUSY) {
				return err
			}
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("can't remove the cgroup %s: after %v its processes %v are still there", c.name, killTime, pids)
		}
	}
}

// processes are those of a cgroup, in whichever of its directories; one that is
// about to join is not yet in all.
func (c cgroup) processes() ([]int, error) {
	var pids []int
	for _, file := range c.procs() {
		content, err := os.ReadFile(file)
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENODEV) {
			return nil, err
		}
		for _, field := range bytes.Fields(content) {
			if pid, _ := strconv.Atoi(string(field)); pid > 0 && !slices.Contains(pids, pid) { // 0 is one that can't be named here
				pids = append(pids, pid)
			}
		}
	}
	return pids, nil
}

// rmdir removes the directory that holds the number of a box last.
func (c cgroup) rmdir() error {
	for _, dir := range slices.Backward(c.dirs()) {
		if err := unix.Rmdir(dir); err != nil && !errors.Is(err, unix.ENOENT) {
			return &fs.PathError{Op: "rmdir", Path: dir, Err: err}
		}
	}
	return nil
}

// usage reads what v1 and v2 have in other files and units.
func (c cgroup) usage() (u Usage, err error) {
	stat := func(file, key string) int64 {
		content, errRead := os.ReadFile(c.path(file))
		v, errValue := value(content, key)
		err = cmp.Or(err, errRead, errValue)
		return v
	}
	if c.unified {
		u.CPU = time.Duration(stat("cpu.stat", "usage_usec")) * time.Microsecond
		u.Throttled = time.Duration(stat("cpu.stat", "throttled_usec")) * time.Microsecond
		u.OOMKills = stat("memory.events", "oom_kill")
	} else {
		u.CPU = time.Duration(stat("cpuacct.usage", ""))
		u.Throttled = time.Duration(stat("cpu.stat", "throttled_time"))
		u.OOMKills = stat("memory.oom_control", "oom_kill")
	}
	return u, err
}

// value is the number that follows a key in a line of its own; without a key, it
// is all there is.
func value(content []byte, key string) (int64, error) {
	if key == "" {
		return strconv.ParseInt(string(bytes.TrimSpace(content)), 10, 64)
	}
	for line := range bytes.Lines(content) {
		if fields := bytes.Fields(line); len(fields) > 1 && string(fields[0]) == key {
			return strconv.ParseInt(string(fields[1]), 10, 64)
		}
	}
	return 0, fmt.Errorf("the kernel does not say how much %s is", key)
}
