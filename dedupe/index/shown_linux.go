package index

import (
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

func pathOf(dir *os.File) (string, error) {
	return os.Readlink(fmt.Sprintf("/proc/self/fd/%d", dir.Fd()))
}

// shownBy returns the directory that this project's EFS-like mount shows on a device, or
// "" if there is no such mount. Any FUSE program can claim anything in the mount table,
// so shownBy asks the program, on a socket named after the device. It believes only root
// and this user, who could as well write to the index.
func shownBy(device uint64) string {
	const patience = time.Second
	c, err := net.DialTimeout("unix", fmt.Sprintf("@dedupe-efs-%d:%d", unix.Major(device), unix.Minor(device)), patience)
	if err != nil {
		return ""
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	if owner, err := peer(c.(*net.UnixConn)); err != nil || owner != 0 && owner != uint32(os.Geteuid()) {
		return ""
	}
	answer, err := io.ReadAll(io.LimitReader(c, 2*unix.PathMax))
	if err != nil {
		return ""
	}
	shown, dir, _ := strings.Cut(string(answer), " ")
	st, err := os.Stat(dir)
	if err != nil || shown != fmt.Sprint(st.Sys().(*syscall.Stat_t).Dev, ":", st.Sys().(*syscall.Stat_t).Ino) {
		return "" // its name means another directory here
	}
	return dir
}

// peer returns the user that runs the program at the other end.
func peer(c *net.UnixConn) (uid uint32, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var user *unix.Ucred
	if failed := raw.Control(func(fd uintptr) { user, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); failed != nil {
		return 0, failed
	}
	if err != nil {
		return 0, err
	}
	return user.Uid, nil
}
