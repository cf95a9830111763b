package box

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// OwnMounts lets a command have a mount namespace of its own, in which it is to
// call IsolateMounts.
func OwnMounts(attr *syscall.SysProcAttr) { attr.Cloneflags |= unix.CLONE_NEWNS }

// IsolateMounts keeps what this process mounts from the rest of the machine, and
// makes boxes give up what it unmounts.
func IsolateMounts() error {
	own, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		return err
	}
	parents, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", os.Getppid()))
	if err == nil && own == parents { // a parent that is gone has none
		return errors.New("the mounts are not isolated: this process has no mount namespace of its own; start it with OwnMounts")
	}
	// What is unmounted on the machine goes here, too, and from here on to boxes.
	if err := mount("", "/", unix.MS_REC|unix.MS_SLAVE); err != nil {
		return err
	}
	return mount("", "/", unix.MS_REC|unix.MS_SHARED)
}

// mount puts the box's own /tmp in the place of the machine's, with what is
// visible of that, and hides shared memory.
func (s *spec) mount() error {
	// What is unmounted outside goes here as well, and nothing the other way.
	if err := mount("", "/", unix.MS_REC|unix.MS_SLAVE); err != nil {
		return err
	}
	var visible []place
	for _, path := range s.Visible {
		if strings.HasPrefix(path, tmp+"/") {
			p, err := openPlace(path)
			if err != nil {
				return err
			}
			visible = append(visible, p)
		}
	}
	if err := mount(s.Tmp, tmp, unix.MS_BIND); err != nil {
		return err
	}
	for _, p := range visible {
		if err := p.show(); err != nil {
			return err
		}
	}
	return hide("/dev/shm")
}

// place is a directory that has a path in the box at which nothing is yet.
type place struct {
	path        string
	dir, parent int // file descriptors
}

func openPlace(path string) (place, error) {
	dir, err := openPath(path)
	if err != nil {
		return place{}, err
	}
	parent, err := openPath(filepath.Dir(path))
	return place{path, dir, parent}, err
}

func openPath(path string) (int, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return fd, nil
}

// show mounts the directory at its path in the box. What is unmounted outside goes
// from the box only if it is mounted there on the same directory as outside. So
// if the place is a mount, the directory that it covers has to come first; it is
// found in a mount of the parent alone, without those below it.
func (p *place) show() error {
	if err := os.MkdirAll(p.path, 0o755); err != nil {
		return err
	}
	if err := mount(descriptor(p.parent), p.path, unix.MS_BIND); err != nil {
		return err
	}
	covered, err := openPath(filepath.Join(p.path, filepath.Base(p.path)))
	if err != nil {
		return err
	}
	if err := mount(descriptor(covered), p.path, unix.MS_BIND); err != nil {
		return err
	}
	return mount(descriptor(p.dir), p.path, unix.MS_BIND|unix.MS_REC)
}

func descriptor(fd int) string { return fmt.Sprintf("/proc/self/fd/%d", fd) }

func mount(source, target string, flags uintptr) error {
	if err := unix.Mount(source, target, "", flags, ""); err != nil {
		return fmt.Errorf("can't mount at %q: %w", target, err)
	}
	return nil
}

// hide covers a directory, if there is one, with an empty one.
func hide(dir string) error {
	err := unix.Mount("dedupe-box", dir, "tmpfs", unix.MS_RDONLY, "size=4k")
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("can't hide %q: %w", dir, err)
	}
	return nil
}

// protect hides the cgroups, and makes all but /tmp read-only.
func protect() error {
	if err := hide(cgroupRoot); err != nil {
		return err
	}
	readOnly, writable := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}, unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_RDONLY}
	if err := unix.MountSetattr(unix.AT_FDCWD, "/", unix.AT_RECURSIVE, &readOnly); err != nil {
		return fmt.Errorf("can't make what is mounted read-only: %w", err)
	}
	if err := unix.MountSetattr(unix.AT_FDCWD, tmp, 0, &writable); err != nil {
		return fmt.Errorf("can't make %s writable: %w", tmp, err)
	}
	return nil
}
