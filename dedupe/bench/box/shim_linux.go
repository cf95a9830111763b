package box

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// shimArg is the argument that makes a program the way into a box, and made what
// it says there if it is to become no other.
const (
	shimArg = "box"
	made    = "made"
)

const tmp = "/tmp"

// spec is what the way into a box has to do.
type spec struct {
	Parent  int      // the process to die with
	Procs   []string // the files to join the cgroups by
	CPUs    []int
	Tmp     string
	Visible []string
	Program string // the path of it; empty to become none
}

// RunShim makes a program the way into a box if args, its arguments, are those of
// Box.Command: it makes what belongs to a process, and becomes the box's program.
// A program that makes boxes calls it before it does anything else, and if it
// returns an error, writes that to standard error and ends with ExitStatus.
func RunShim(args []string) (isShim bool, err error) {
	if !wantsShim(args) {
		return false, nil
	}
	if err := enter(args[1], args[2:]); err != nil {
		return true, fmt.Errorf("the box could not be made: %w", err)
	}
	return true, nil
}

// wantsShim reports whether args are those of the way into a box.
func wantsShim(args []string) bool { return len(args) > 1 && args[0] == shimArg }

func enter(arg string, args []string) error {
	var s spec
	if err := json.Unmarshal([]byte(arg), &s); err != nil {
		return fmt.Errorf("%q is no description of it", arg)
	}
	runtime.LockOSThread() // the CPUs, and whom to die with, are a thread's own
	if err := s.dieWithParent(); err != nil {
		return err
	}
	dir, err := os.Getwd()
	if err != nil {
		dir = "/"
	}
	if err := s.mount(); err != nil {
		return err
	}
	// All before this is not for the box to pay, and after it the cgroups can't be
	// written to.
	if err := s.join(); err != nil {
		return err
	}
	if err := protect(); err != nil {
		return err
	}
	if os.Chdir(dir) != nil { // anew, because what was at the same path may be covered
		if err := os.Chdir("/"); err != nil {
			return err
		}
	}
	if err := s.limit(); err != nil {
		return err
	}
	if s.Program == "" {
		_, err := os.Stdout.WriteString(made)
		return err
	}
	if err := syscall.Exec(s.Program, args, os.Environ()); err != nil {
		return &os.PathError{Op: "exec", Path: s.Program, Err: err}
	}
	return nil
}

// dieWithParent is for this thread what Pdeathsig of exec.Cmd is for the one that
// started this program, which need not be the one that becomes the box's program.
func (s *spec) dieWithParent() error {
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("it can't end with the program that wanted it: %w", err)
	}
	if os.Getppid() != s.Parent {
		return errors.New("the program that wanted it is gone")
	}
	return nil
}

// join brings this process, with all its threads, into the cgroups.
func (s *spec) join() error {
	for _, file := range s.Procs {
		if err := write(file, "0"); err != nil { // 0 is this one
			return err
		}
	}
	return nil
}

// limit sets what is limited for each process by itself, and inherited.
func (s *spec) limit() error {
	var set unix.CPUSet
	for _, cpu := range s.CPUs {
		set.Set(cpu)
	}
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return fmt.Errorf("can't choose the CPUs %v: %w", s.CPUs, err)
	}
	// Of package syscall, because it restores on exec what it has not set.
	open := syscall.Rlimit{Cur: maxOpen, Max: maxOpen}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &open); err != nil {
		return fmt.Errorf("can't limit the file descriptors: %w", err)
	}
	return nil
}
