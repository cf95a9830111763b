package bench

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"efsdedupe/dedupe/bench/box"
	"efsdedupe/fixtures/efs"
)

// place is where an experiment leaves what it must not leave behind.
type place struct {
	Dir   string // files, mounts, and the /tmp of each box
	Group string // the cgroup that holds the boxes
}

// The names of places and, in each, of the file that its owners keep locked.
const (
	placeName = "dedupe-bench-"
	lockName  = "lock"
)

// newPlace returns a place and its lock, which holds as long as any process has
// the file open: a place without is nobody's.
func newPlace() (place, *os.File, error) {
	dir, err := os.MkdirTemp("", placeName)
	if err != nil {
		return place{}, nil, err
	}
	lock, err := os.Create(filepath.Join(dir, lockName))
	if err == nil {
		err = unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	}
	return place{Dir: dir, Group: filepath.Base(dir)}, lock, err
}

// clear ends and removes all that is left, whoever left it.
func (p place) clear() error {
	err := box.Sweep(p.Group)
	mounts, _ := filepath.Glob(filepath.Join(p.Dir, "*", mountName))
	for _, dst := range mounts { // of a process that had no namespace of its own
		err = errors.Join(err, efs.Unmount(dst))
	}
	return errors.Join(err, os.RemoveAll(p.Dir))
}

// clearStale clears places of which all owners were killed at once. That it
// can't is nothing to this experiment.
func clearStale() {
	dirs, _ := filepath.Glob(filepath.Join(os.TempDir(), placeName+"*"))
	for _, dir := range dirs {
		lock, err := os.Open(filepath.Join(dir, lockName))
		if err != nil {
			continue
		}
		if unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			place{Dir: dir, Group: filepath.Base(dir)}.clear()
		}
		lock.Close()
	}
}
