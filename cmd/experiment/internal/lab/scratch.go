package lab

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"efsdedupe/fixtures/efs"
	"efsdedupe/fixtures/lambda/box"
)

// scratch is where an experiment keeps everything that it must not leave behind.
type scratch struct {
	Dir   string // files, mounts, and the /tmp of each box
	Group string // the cgroup that holds the boxes
}

// The start of the name of a scratch directory, and the name of the file in it that
// its owners keep locked.
const (
	scratchName = "dedupe-experiment-"
	lockName    = "lock"
)

// newScratch makes a scratch directory and locks it. The lock holds as long as any
// process has its file open; without it, the directory has no owner.
func newScratch() (scratch, *os.File, error) {
	dir, err := os.MkdirTemp("", scratchName)
	if err != nil {
		return scratch{}, nil, err
	}
	lock, err := os.Create(filepath.Join(dir, lockName))
	if err == nil {
		err = unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	}
	return scratch{Dir: dir, Group: filepath.Base(dir)}, lock, err
}

// clear stops every process that is left, and removes everything else.
func (s scratch) clear() error {
	err := box.Sweep(s.Group)
	mounts, _ := filepath.Glob(filepath.Join(s.Dir, "*", mountName))
	for _, dst := range mounts { // of a process that had no namespace of its own
		err = errors.Join(err, efs.Unmount(dst))
	}
	return errors.Join(err, os.RemoveAll(s.Dir))
}

// clearStale clears scratch directories whose owners were all killed at once. It
// ignores errors, which are no reason not to run this experiment.
func clearStale() {
	dirs, _ := filepath.Glob(filepath.Join(os.TempDir(), scratchName+"*"))
	for _, dir := range dirs {
		lock, err := os.Open(filepath.Join(dir, lockName))
		if err != nil {
			continue
		}
		if unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			scratch{Dir: dir, Group: filepath.Base(dir)}.clear()
		}
		lock.Close()
	}
}
