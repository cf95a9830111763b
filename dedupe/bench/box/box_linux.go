package box

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/containerd/cgroups/v3"
)

// Box is a box: processes that are started in it share its size.
type Box struct {
	cgroup cgroup
	spec   spec
}

// Version is that of the cgroups of which boxes are made here, "v1" or "v2"; or
// empty, if there are none.
func Version() string {
	switch cgroups.Mode() {
	case cgroups.Unified:
		return "v2"
	case cgroups.Legacy, cgroups.Hybrid:
		return "v1"
	}
	return ""
}

// Available makes a box, and says why it could not, and what to do. The program
// has to call RunShim first of all.
func Available() error {
	const advice = "run it on Linux 5.12 or later as root; in a container, with --privileged --cgroupns=host"
	err := errors.New("there are no cgroups at " + cgroupRoot)
	switch {
	case os.Geteuid() != 0:
		err = errors.New("only root can")
	case Version() != "":
		err = try()
	}
	if err != nil {
		return fmt.Errorf("no Lambda-sized boxes can be made here: %w: %s", err, advice)
	}
	return nil
}

// try makes a box for nothing.
func try() error {
	tmp, err := os.MkdirTemp("", groupPrefix+"try-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	group := filepath.Base(tmp)
	b, err := New(group, Options{MemoryMB: minMemory, Tmp: tmp})
	if err == nil {
		err = b.try()
	}
	return errors.Join(err, Sweep(group))
}

func (b *Box) try() error {
	out, err := b.command(new(exec.Cmd)).Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && len(exit.Stderr) > 0 {
		return errors.New(strings.TrimSpace(string(exit.Stderr)))
	}
	if err == nil && string(out) != made {
		return errForgotten
	}
	return err
}

// errForgotten is the error of a program that would start itself again and again.
var errForgotten = errors.New("this program does not call box.RunShim before all else")

// New makes a box in a group, which is all boxes of one run of a program, and has
// a name that begins with "dedupe-". What is left of a group, the cgroup that has
// the others, Sweep removes.
func New(name string, o Options) (*Box, error) {
	b, err := newBox(name, o)
	if err != nil {
		return nil, fmt.Errorf("the box could not be made: %w", err)
	}
	return b, nil
}

func newBox(name string, o Options) (*Box, error) {
	group, err := group(name)
	if err != nil {
		return nil, err
	}
	if wantsShim(os.Args[1:]) {
		return nil, errForgotten
	}
	if err := CheckMemory(o.MemoryMB); err != nil {
		return nil, err
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	cpus, err := allowedCPUs()
	if err != nil {
		return nil, err
	}
	if err := group.make(); err != nil {
		return nil, err
	}
	c, slot, err := group.makeBox()
	if err == nil {
		err = c.limit(o.MemoryMB)
	}
	if err != nil {
		return nil, errors.Join(err, c.remove())
	}
	return &Box{c, spec{
		Parent:  os.Getpid(),
		Procs:   c.procs(),
		CPUs:    spread(cpus, slot, cores(o.MemoryMB)),
		Tmp:     o.Tmp,
		Visible: o.Visible,
	}}, nil
}

// check refuses paths that a box could not show.
func (o *Options) check() error {
	for _, dir := range append([]string{o.Tmp}, o.Visible...) {
		if !filepath.IsAbs(dir) || filepath.Clean(dir) != dir {
			return fmt.Errorf("%q: name the directory by its absolute path", dir)
		}
		info, err := os.Stat(dir)
		if err != nil {
			return err
		}
		if !info.IsDir() {
			return fmt.Errorf("%q is no directory", dir)
		}
	}
	if slices.Contains(o.Visible, tmp) {
		return errors.New("/tmp can't be visible: it is the box's own; name a directory below it")
	}
	return nil
}

// spread chooses n of the CPUs so that boxes that run at once have different
// ones as far as there are.
func spread(cpus []int, slot, n int) []int {
	n = min(n, len(cpus))
	chosen := make([]int, n)
	for i := range chosen {
		chosen[i] = cpus[(slot*n+i)%len(cpus)]
	}
	return chosen
}

// Command is a command that runs in the box, as exec.Command is one that does
// not. It is this program that is started, and becomes the other one in RunShim.
// Its working directory is / if there is no such directory in the box.
//
// The process is killed when the thread that started it ends, which is when this
// program does; not to be started, therefore, by a goroutine that has a thread to
// itself and ends. Only Close is sure to kill those that it started.
func (b *Box) Command(name string, arg ...string) *exec.Cmd {
	program := exec.Command(name, arg...)
	return b.command(program)
}

// command is a command that becomes the program, or ends if that has no path.
func (b *Box) command(program *exec.Cmd) *exec.Cmd {
	spec := b.spec
	spec.Program = program.Path
	arg, err := json.Marshal(spec)
	cmd := exec.Command("/proc/self/exe", append([]string{shimArg, string(arg)}, program.Args...)...)
	cmd.Err = cmp.Or(program.Err, err)
	cmd.SysProcAttr = new(syscall.SysProcAttr)
	OwnMounts(cmd.SysProcAttr)
	return cmd
}

// Usage returns what was used until now.
func (b *Box) Usage() (Usage, error) { return b.cgroup.usage() }

// Close kills all processes that are left in the box, waits until they are gone,
// and removes it.
func (b *Box) Close() error { return b.cgroup.remove() }

// Sweep kills all processes in the boxes of a group, and removes boxes and group:
// at the end of a program's run, however it ended. That there is none is no error.
func Sweep(name string) error {
	group, err := group(name)
	if err != nil {
		return err
	}
	var errs []error
	for _, dir := range group.dirs() {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
		for _, e := range entries {
			if e.IsDir() {
				errs = append(errs, group.box(e.Name()).remove())
			}
		}
	}
	return errors.Join(append(errs, group.rmdir())...)
}
