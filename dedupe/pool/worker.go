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
	// frameTime is how long a worker may take from the first byte of a frame to
	// its last; how long to the first is the call's own affair.
	frameTime = 5 * time.Second

	// exitTime is how long a worker has to end by itself, and then how long the
	// kernel has to end it: one in a system call on a mount that hangs may not.
	exitTime = 200 * time.Millisecond
)

// worker is a worker process as its parent sees it.
type worker struct {
	cmd      *exec.Cmd
	in       io.WriteCloser
	pipe     *os.File
	out      *bufio.Reader // of pipe
	answered bool          // at least one call
}

// Self is the command of this program as a worker process, which still needs its Role.
func Self() *exec.Cmd {
	path, err := os.Executable()
	if err != nil {
		path = os.Args[0]
	}
	cmd := exec.Command(path)
	cmd.Stderr = os.Stderr
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1") // one call at a time needs no more
	return cmd
}

func startWorker(cmd *exec.Cmd) (*worker, error) {
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	pipe, stdout, err := os.Pipe()
	if err != nil {
		in.Close()
		return nil, err
	}
	cmd.Stdout = stdout
	// A group of its own: ^C at a terminal is for the parent to act on.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	err = cmd.Start()
	stdout.Close()
	if err != nil {
		in.Close()
		pipe.Close()
		return nil, err
	}
	return &worker{cmd: cmd, in: in, pipe: pipe, out: bufio.NewReader(pipe)}, nil
}

// call sends request and waits for the response. After an error the worker is
// of no more use.
func (w *worker) call(ctx context.Context, request []byte) ([]byte, error) {
	spare := context.AfterFunc(ctx, func() { w.cmd.Process.Kill() })
	defer spare()
	if w.out.Buffered() > 0 {
		return nil, errGarbage
	}
	if err := writeFrame(w.in, request); err != nil {
		return nil, err
	}
	if _, err := w.out.Peek(1); err != nil {
		return nil, err
	}
	w.pipe.SetReadDeadline(time.Now().Add(frameTime))
	response, err := readFrame(w.out)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = errStalled
	}
	if err != nil {
		return nil, err
	}
	w.pipe.SetReadDeadline(time.Time{})
	if !spare() {
		return nil, ctx.Err() // it answered, and is being killed
	}
	w.answered = true
	return response, nil
}

var (
	errHungUp  = errors.New("it hung up")
	errStalled = fmt.Errorf("it wrote part of a frame, and no more for %v", frameTime)
)

// hungUp reports whether an error of call means that the worker is gone.
func hungUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.EPIPE)
}

// stop ends the worker's input and so the worker, kills it if that does not
// help, and returns the CPU time it took and how it ended, if that was not this.
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
		case <-time.After(exitTime):
			w.cmd.Process.Kill()
		}
	}
	return 0, errors.New("it can't be killed")
}

// Serve is a worker process: it answers each request frame on in with what
// handle returns, on out, one at a time. It returns when in ends, at once: it
// does not wait for handle, so that a worker whose parent is gone is gone too.
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
