package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"efsdedupe/cmd/experiment/internal/results"
	"efsdedupe/dedupe/pool"
	"efsdedupe/fixtures/lambda/box"
)

// exitTime is how long an experiment has to end when it is told to.
const exitTime = 5 * time.Second

// childRole makes a program the process that runs an experiment.
const childRole pool.Role = "DEDUPE_EXPERIMENT"

// lockDescriptor is where that process has the lock of the scratch directory.
const lockDescriptor = 3

// assignment is what a child is told, and message what it says.
type assignment struct {
	Options Options
	Scratch scratch
}

type message struct {
	Progress   *Progress
	Experiment *results.Experiment
	Error      string
}

// Run runs an experiment with valid options, see [Options.Validate], in a process
// of its own, see RunChild: whichever of the two is killed, the other cleans up.
// Its error is that the machine can't do it, that ctx was cancelled, or that a
// task returned what it must not. That a call is killed or takes too long is a
// result.
func Run(ctx context.Context, o Options) (e results.Experiment, err error) {
	clearStale()
	p, lock, err := newScratch()
	if err != nil {
		return e, err
	}
	defer lock.Close()
	defer func() { err = errors.Join(err, p.clear()) }()
	e, err = runChild(ctx, o, p, lock)
	if ctx.Err() != nil {
		return e, ctx.Err()
	}
	return e, err
}

func runChild(ctx context.Context, o Options, p scratch, lock *os.File) (e results.Experiment, err error) {
	self, err := os.Executable()
	if err != nil {
		return e, err
	}
	cmd := exec.Command(self)
	childRole.Give(cmd, "run")
	cmd.Stderr = os.Stderr
	cmd.ExtraFiles = []*os.File{lock}
	// A group of its own: ^C at a terminal is for this process to act on. And, for
	// those who may, mounts of its own, which end with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if os.Geteuid() == 0 {
		box.OwnMounts(cmd.SysProcAttr)
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		return e, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return e, err
	}
	if err := cmd.Start(); err != nil {
		return e, err
	}
	stop := context.AfterFunc(ctx, func() {
		in.Close()
		time.AfterFunc(exitTime, func() { cmd.Process.Kill() })
	})
	defer stop()
	err = json.NewEncoder(in).Encode(assignment{o, p})
	if err == nil {
		e, err = listen(out, o.Progress)
	}
	in.Close()
	if end := cmd.Wait(); end != nil && errors.Is(err, io.EOF) {
		return e, fmt.Errorf("the process of the experiment ended: %w", end)
	}
	return e, err
}

// listen hears a child out.
func listen(out io.Reader, progress func(Progress)) (e results.Experiment, err error) {
	for messages := json.NewDecoder(out); ; {
		var m message
		if err := messages.Decode(&m); err != nil {
			return e, err
		}
		switch {
		case m.Progress != nil && progress != nil:
			progress(*m.Progress)
		case m.Error != "":
			return e, errors.New(m.Error)
		case m.Experiment != nil:
			return *m.Experiment, nil
		}
	}
}

// RunChild makes a program the process of an experiment if Run started it as one, or,
// if args, its arguments, are those of one, a box's first process. A program that calls
// Run calls it before it does anything else. The experiment ends when in does.
func RunChild(args []string, in io.Reader, out io.Writer) (isChild bool, err error) {
	if isShim, err := box.RunShim(args); isShim {
		return true, err
	}
	how, err := childRole.Take(in, out)
	if how == "" || err != nil {
		return how != "", err
	}
	syscall.CloseOnExec(lockDescriptor)
	signal.Ignore(syscall.SIGPIPE) // a parent that is gone is no reason not to clean up
	messages := json.NewDecoder(in)
	var a assignment
	if err := messages.Decode(&a); err != nil {
		return true, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		io.Copy(io.Discard, in)
		cancel()
	}()
	return true, a.run(ctx, json.NewEncoder(out))
}

func (a *assignment) run(ctx context.Context, out *json.Encoder) error {
	defer a.Scratch.clear() // the parent may be gone
	if os.Geteuid() == 0 {
		if err := box.IsolateMounts(); err != nil {
			return out.Encode(message{Error: err.Error()})
		}
	}
	a.Options.Progress = func(p Progress) { out.Encode(message{Progress: &p}) }
	e, err := run(ctx, a.Options, a.Scratch)
	if err != nil {
		return out.Encode(message{Error: err.Error()})
	}
	return out.Encode(message{Experiment: &e})
}
