package index

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// mounts is what is mounted where.
type mounts struct {
	at    map[string]mount
	names map[string][]string // the mount points in a directory
	err   error
}

// readMounts reads the mounts of this process. Source of the format: proc(5).
func readMounts() *mounts {
	data, err := os.ReadFile("/proc/self/mountinfo")
	all := parseMounts(string(data))
	all.err = err
	return all
}

func parseMounts(data string) *mounts {
	all := &mounts{at: make(map[string]mount), names: make(map[string][]string)}
	for line := range strings.Lines(data) {
		fields := strings.Fields(line)
		if len(fields) < 10 {
			continue
		}
		optional := 6 // fields up to a dash
		for optional < len(fields) && fields[optional] != "-" {
			optional++
		}
		if optional+2 >= len(fields) {
			continue
		}
		m := mount{point: unescape(fields[4]), root: unescape(fields[3]), kind: fields[optional+1], source: unescape(fields[optional+2])}
		all.at[m.point] = m // the last one hides those before
		dir, name := filepath.Split(m.point)
		all.names[filepath.Clean(dir)] = append(all.names[filepath.Clean(dir)], name)
	}
	return all
}

// unescape replaces \ooo by the byte of that octal number.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// of returns the mount that a directory is on.
func (all *mounts) of(dir string) (mount, error) {
	for at := dir; ; at = filepath.Dir(at) {
		if m, ok := all.at[at]; ok {
			return m, nil
		}
		if at == "/" || at == "." {
			return mount{}, errors.Join(all.err, fmt.Errorf("no mount has %q", dir))
		}
	}
}

// in returns the names of the mount points in a directory.
func (all *mounts) in(dir string) []string { return all.names[dir] }

func fsid(path string) (uint64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return 0, err
	}
	return uint64(uint32(st.Fsid.Val[0])) | uint64(uint32(st.Fsid.Val[1]))<<32, nil
}

func pathOf(dir *os.File) (string, error) {
	return os.Readlink(fmt.Sprintf("/proc/self/fd/%d", dir.Fd()))
}
