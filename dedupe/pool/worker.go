package pool

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"
)

const (
	// frameTimeout limits the time from the first byte of a response to its last.
	// The work before the first byte may take as long as it likes.
	frameTimeout = 5 * time.Second

	// exitTimeout is how long a worker gets to exit, and then how long the kernel
	// gets to kill it. A worker blocked on a hung mount may survive both.
	exitTimeout = 200 * time.Millisecond
)

// worker is the parent's side of a worker process.
type worker struct {
	cmd      *exec.Cmd
	in       io.WriteCloser
	pipe     *os.File
	out      *bufio.Reader // reads pipe
	answered bool          // has completed a call
}

// Self returns a command that runs this program as a worker process. The caller
// still has to give it a Role. The worker's standard error is dropped: it can only be the
// dump of a crash, and the pool reports that.
func Self() *exec.Cmd {
	path, err := os.Executable()
	if err != nil {
		path = os.Args[0]
	}
	cmd := exec.Command(path)
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1") // a worker runs one call at a time
	return cmd
}

func startWorker(cmd *exec.Cmd) (*worker, error) {
	stdin, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer stdin.Close()
	pipe, stdout, err := os.Pipe()
	if err != nil {
		in.Close()
		return nil, err
	}
	cmd.Stdin, cmd.Stdout = stdin, stdout
	if cmd.Stderr == nil {
		cmd.Stderr = stdin // drops what is written to it, and needs no /dev/null
	}
	// In its own process group, ^C at the terminal reaches only the parent.
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	cmd.SysProcAttr.Setpgid = true
	err = cmd.Start()
	stdout.Close()
	if err != nil {
		in.Close()
		pipe.Close()
		return nil, err
	}
	return &worker{cmd: cmd, in: in, pipe: pipe, out: bufio.NewReader(pipe)}, nil
}

// call sends request and waits for the response. After an error the worker must be
// discarded.
func (w *worker) call(ctx context.Context, request []byte) ([]byte, error) {
	disarm := context.AfterFunc(ctx, w.dismiss)
	defer disarm()
	if w.out.Buffered() > 0 {
		return nil, errGarbage
	}
	if err := writeFrame(w.in, request); err != nil {
		return nil, err
	}
	if _, err := w.out.Peek(1); err != nil {
		return nil, err
	}
	w.pipe.SetReadDeadline(time.Now().Add(frameTimeout))
	response, err := readFrame(w.out)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = errStalled
	}
	if err != nil {
		return nil, err
	}
	w.pipe.SetReadDeadline(time.Time{})
	if !disarm() {
		return nil, ctx.Err() // it answered, but the kill is under way
	}
	w.answered = true
	return response, nil
}

// dismiss ends a worker in the middle of a call. One that only gets killed may wait for
// the file system that it reads, for as long as that does not answer.
func (w *worker) dismiss() {
	w.in.Close()
	time.AfterFunc(exitTimeout, func() { w.cmd.Process.Kill() })
}

var (
	errHungUp  = errors.New("it hung up")
	errStalled = fmt.Errorf("it wrote part of a frame, then nothing for %v", frameTimeout)
)

// hungUp reports whether an error from call means that the worker is gone.
func hungUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.EPIPE)
}

// crashed reports whether a worker exited because the Go program crashed, as it does if
// it gets no thread. Nobody killed it.
func crashed(err error) bool {
	var exit *exec.ExitError
	return errors.As(err, &exit) && exit.Exited() && exit.ExitCode() == 2
}

// adviceOn says what else may have killed a worker, besides a user.
func adviceOn(err error) string {
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL {
		return "; unless somebody killed it, there was too little memory"
	}
	return ""
}

// stop closes the worker's input, which makes it exit, and kills it if it does not.
// It returns the CPU time used, and the exit error unless the kill caused it.
func (w *worker) stop() (time.Duration, error) {
	w.in.Close()
	defer w.pipe.Close()
	ended := make(chan error, 1)
	go func() { ended <- w.cmd.Wait() }()
	for kills := range 2 {
		select {
		case err := <-ended:
			if kills > 0 {
				err = nil
			}
			return w.cmd.ProcessState.UserTime() + w.cmd.ProcessState.SystemTime(), err
		case <-time.After(exitTimeout):
			w.cmd.Process.Kill()
		}
	}
	return 0, errors.New("it cannot be killed")
}

// Serve runs a worker process. It reads request frames from in, one at a time, and
// writes what handle returns to out. It returns nil as soon as in ends, without
// waiting for handle: a worker must not outlive its parent. It fails on garbage,
// read and write errors, and responses over 1 MiB.
func Serve(in io.Reader, out io.Writer, handle func(request []byte) (response []byte)) error {
	failed := make(chan error, 2)
	requests := make(chan []byte)
	go func() {
		in := bufio.NewReader(in)
		for {
			request, err := readFrame(in)
			if err != nil {
				failed <- err
				return
			}
			requests <- request
		}
	}()
	go func() {
		for request := range requests {
			if err := writeFrame(out, handle(request)); err != nil {
				failed <- err
				return
			}
		}
	}()
	if err := <-failed; err != io.EOF {
		return err
	}
	return nil
}
