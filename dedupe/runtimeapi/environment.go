package runtimeapi

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// exitTime is how long the output of a process that was killed may be kept open
// by those that it started.
const exitTime = time.Second

// errNotDelivered is the error of a call of which the process knows nothing: it
// ended, or hung, before it asked for the event.
var errNotDelivered = errors.New("the bootstrap did not ask for another event")

// environment is one process of a bootstrap, and the server that it talks to. No
// two share a server: what is left of one that was killed can't disturb another.
type environment struct {
	cmd    *exec.Cmd
	server *http.Server

	asked     chan struct{}      // closed when the process asks for its first event
	asks      sync.Once          // closes asked
	calls     chan *call         // from invoke to the request for the next event
	initError chan functionError // what the process reports instead of asking
	exited    chan struct{}      // closed when the process has ended
	end       error              // how; to be read after exited
	init      time.Duration      // until asked; 0 once a result has it

	mu      sync.Mutex
	current *call // delivered, and not answered
}

// call is an event on its way to an answer.
type call struct {
	id       string
	event    []byte
	timeout  time.Duration
	start    time.Time   // when it was delivered
	answered chan Result // has room for it
}

func startEnvironment(ctx context.Context, cmd *exec.Cmd) (*environment, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	e := &environment{
		cmd:       cmd,
		asked:     make(chan struct{}),
		calls:     make(chan *call),
		initError: make(chan functionError, 1),
		exited:    make(chan struct{}),
	}
	e.server = &http.Server{Handler: e.api(), ReadHeaderTimeout: initTime}
	go e.server.Serve(listener)

	start := time.Now()
	if err := e.start(listener.Addr().String()); err != nil {
		e.server.Close()
		return nil, err
	}
	if err := e.waitForInit(ctx); err != nil {
		e.close()
		return nil, err
	}
	e.init = time.Since(start)
	return e, nil
}

func (e *environment) start(address string) error {
	e.cmd.Env = variables(e.cmd, address)
	e.cmd.WaitDelay = exitTime
	// A group of its own, so that all of it can be killed; ^C at a terminal is for
	// this process to act on.
	if e.cmd.SysProcAttr == nil {
		e.cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	e.cmd.SysProcAttr.Setpgid = true
	if err := e.cmd.Start(); err != nil {
		return err
	}
	go func() {
		e.end = e.cmd.Wait()
		close(e.exited)
	}()
	return nil
}

// variables are those that a bootstrap has on Lambda. Only the address of the
// API is not for the caller to say otherwise.
func variables(cmd *exec.Cmd, address string) []string {
	own := cmd.Env
	if own == nil {
		own = os.Environ()
	}
	region := cmp.Or(os.Getenv("AWS_REGION"), "us-east-1")
	env := []string{
		"_HANDLER=bootstrap",
		"AWS_LAMBDA_FUNCTION_NAME=dedupe",
		"AWS_LAMBDA_FUNCTION_VERSION=$LATEST",
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE=1769",
		"AWS_REGION=" + region,
		"AWS_DEFAULT_REGION=" + region,
		"AWS_EXECUTION_ENV=AWS_Lambda_provided.al2023",
		"LAMBDA_TASK_ROOT=" + filepath.Dir(cmd.Path),
	}
	return append(append(env, own...), "AWS_LAMBDA_RUNTIME_API="+address)
}

func (e *environment) waitForInit(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, initTime, fmt.Errorf("it asked for no event within %v", initTime))
	defer cancel()
	select {
	case <-e.asked:
		return nil
	case failure := <-e.initError:
		return failure
	case <-e.exited:
		select { // it reported why before it ended
		case failure := <-e.initError:
			return failure
		default:
			return e.exit()
		}
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// exit says how the process ended, after it did.
func (e *environment) exit() error {
	if e.end == nil {
		return errors.New("it exited with exit status 0")
	}
	return fmt.Errorf("it exited: %w", e.end)
}

// invoke hands an event to the process and waits for its answer.
func (e *environment) invoke(ctx context.Context, event []byte, timeout time.Duration) (Result, error) {
	c := &call{id: requestID(), event: event, timeout: timeout, answered: make(chan Result, 1)}
	if e.hasExited() { // its last request may still be there to take the event
		return Result{}, errNotDelivered
	}
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case e.calls <- c:
	case <-e.exited:
		return Result{}, errNotDelivered
	case <-timer.C:
		return Result{}, errNotDelivered
	case <-ctx.Done():
		return Result{}, ctx.Err()
	}
	timer.Reset(timeout) // waiting was the end of the call before
	result, err := e.wait(ctx, c, timer.C)
	if err != nil {
		return Result{}, err
	}
	result.Init, e.init = e.init, 0
	return result, nil
}

func (e *environment) wait(ctx context.Context, c *call, timeout <-chan time.Time) (Result, error) {
	select {
	case result := <-c.answered:
		return result, nil
	case <-timeout:
		return Result{}, fmt.Errorf("after %v the call %w", c.timeout, ErrTimeout)
	case <-ctx.Done():
		return Result{}, ctx.Err()
	case <-e.exited:
		select { // it answered before it ended
		case result := <-c.answered:
			return result, nil
		default:
			return Result{}, fmt.Errorf("the bootstrap gave no answer: %w", e.exit())
		}
	}
}

// hasExited reports whether the process has ended.
func (e *environment) hasExited() bool {
	select {
	case <-e.exited:
		return true
	default:
		return false
	}
}

// close kills the process and all in its group, and waits for it. It goes first:
// without its server, it would have something to say about that.
func (e *environment) close() {
	if !e.hasExited() {
		syscall.Kill(-e.cmd.Process.Pid, syscall.SIGKILL)
	}
	<-e.exited
	e.server.Close()
}

// requestID returns a random UUID, version 4, as Lambda's are.
func requestID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
