package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"efsdedupe/cmd/experiment/internal/results"
	"efsdedupe/cmd/experiment/internal/task"
	"efsdedupe/dedupe/cost"
	"efsdedupe/fixtures/aws"
	"efsdedupe/fixtures/efs"
	"efsdedupe/fixtures/lambda/box"
	"efsdedupe/fixtures/lambda/runtimeapi"
)

// mountName is the name of the mount, in the directory of its environment.
const mountName = "efs"

// bucketName is the name of the bucket that holds the files.
const bucketName = "files"

// environment is one environment of a function: a box, unless there are none, a
// mount or a bucket, and a process that sees them.
type environment struct {
	*running
	series    *series
	memoryMB  int64
	timeout   time.Duration   // of a call here, where helpers may have to wait for cores
	variables []string        // further ones
	helpers   *helpers        // that the function invokes; nil without
	dir       string          // of its own
	box       *box.Box        // nil without boxes
	mount     *efs.FileSystem // nil for workloads without files, and from S3
	bucket    *aws.Bucket     // nil but from S3
	f         *runtimeapi.Function
	stderr    tail
	digest    string // the algorithm of the last checksums
}

// callEnvironment makes an environment and its calls: one cold, and as many warm
// as are made of an environment that lives. One that does not is replaced by
// Lambda, so that what follows would be cold again.
func (x *running) callEnvironment(ctx context.Context, s *series) (calls []results.Call, digest string, err error) {
	e := environment{running: x, series: s, memoryMB: s.MemoryMB, timeout: x.Timeout}
	defer func() { err = errors.Join(err, e.close()) }()
	if err := e.open(); err != nil {
		return nil, "", err
	}
	if s.Helpers > 0 {
		if err := e.openHelpers(ctx); err != nil {
			return nil, "", err
		}
	}
	for range 1 + warmCalls {
		c, err := e.call(ctx)
		if err != nil {
			return calls, "", err
		}
		if calls = append(calls, c); c.Outcome != results.OK {
			break
		}
	}
	return calls, e.digest, nil
}

func (e *environment) open() (err error) {
	if e.dir, err = os.MkdirTemp(e.Dir, "environment-"); err != nil {
		return err
	}
	if err := e.serveFiles(); err != nil {
		return err
	}
	if e.Unboxed {
		return nil
	}
	tmp := filepath.Join(e.dir, "tmp")
	if err := os.Mkdir(tmp, 0o777); err != nil {
		return err
	}
	visible := []string{filepath.Dir(e.series.function.command[0])}
	if e.series.Workload == task.Predict {
		visible = append(visible, filepath.Dir(e.Predict.Model), filepath.Dir(e.Predict.Library))
	}
	if e.mount != nil {
		visible = append(visible, e.root())
	}
	e.box, err = box.New(e.Group, box.Options{MemoryMB: e.memoryMB, Tmp: tmp, Visible: visible})
	return err
}

// serveFiles mounts the workload's files, or serves them as a bucket.
func (e *environment) serveFiles() (err error) {
	files := e.series.workload.files
	switch {
	case files == "":
	case e.From == S3:
		e.bucket, err = aws.StartBucket(bucketName, files, e.S3Latency)
	default:
		e.mount, err = efs.Mount(files, e.root(), efs.Elastic())
	}
	return err
}

// root is where the function finds its files: a directory, or the URL of a bucket.
func (e *environment) root() string {
	if e.bucket != nil {
		return e.bucket.URL
	}
	return filepath.Join(e.dir, mountName)
}

func (e *environment) close() error {
	var errs []error
	if e.f != nil {
		e.f.Close()
	}
	if e.helpers != nil {
		errs = append(errs, e.helpers.close())
	}
	if e.box != nil {
		errs = append(errs, e.box.Close())
	}
	if e.mount != nil {
		errs = append(errs, e.mount.Close())
	}
	if e.bucket != nil {
		errs = append(errs, e.bucket.Close())
	}
	return errors.Join(append(errs, os.RemoveAll(e.dir))...)
}

// command returns the command of the function's process.
func (e *environment) command() *exec.Cmd {
	name, args := e.series.function.command[0], e.series.function.command[1:]
	cmd := exec.Command(name, args...)
	if e.box != nil {
		cmd = e.box.Command(name, args...)
	}
	cmd.Env = append(os.Environ(),
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE="+strconv.FormatInt(e.memoryMB, 10),
		"DEDUPE_ROOT="+e.root(),
		"DEDUPE_MAX_WORKERS="+strconv.Itoa(e.Workers),
	)
	cmd.Env = append(cmd.Env, e.variables...)
	if e.series.Workload == task.Predict {
		cmd.Env = append(cmd.Env, e.Predict.Environment()...)
	}
	cmd.Stderr = &e.stderr
	return cmd
}

// call makes a call, measures it and checks its answer.
func (e *environment) call(ctx context.Context) (results.Call, error) {
	event, err := e.event(e.series, e.root())
	if err != nil {
		return results.Call{}, err
	}
	attempt := e.attempt
	if e.series.Transitions > 0 {
		attempt = e.callStateMachine
	}
	c, answer, err := attempt(ctx, event)
	if e.helpers != nil {
		err = errors.Join(err, e.helpers.end(&c, e.Timeout))
	}
	if err != nil || c.Outcome != results.OK {
		return c, err
	}
	e.digest, err = e.series.function.check(e.series.workload, answer)
	return c, err
}

// attempt makes a call and measures it. There is an answer if its outcome is OK. Nothing
// of the files is in a cache: of 50 million calls, few ask an environment for what it has
// just read.
func (e *environment) attempt(ctx context.Context, event []byte) (c results.Call, answer []byte, err error) {
	if e.mount != nil {
		e.mount.DropCaches()
	}
	m, err := e.measure()
	if err != nil {
		return c, nil, err
	}
	c.Cold = e.f == nil
	answer, failure := e.invoke(ctx, &c, event)
	if ctx.Err() != nil {
		return c, nil, ctx.Err()
	}
	if err := m.end(&c); err != nil {
		return c, nil, err
	}
	if failure != nil {
		c.Outcome, c.Error = outcome(failure, c.OOMKills), e.why(failure)
		return c, nil, nil
	}
	c.Outcome = results.OK
	return c, answer, nil
}

// invoke starts the function if it does not run, and calls it.
func (e *environment) invoke(ctx context.Context, c *results.Call, event []byte) ([]byte, error) {
	start := time.Now()
	if e.f == nil {
		f, err := runtimeapi.Start(ctx, e.command)
		c.Init = time.Since(start) // it is billed, also if nothing comes of it
		if err != nil {
			return nil, err
		}
		e.f = f
		start = time.Now()
	}
	r, err := e.f.Invoke(ctx, event, e.timeout)
	if err != nil {
		c.Duration = time.Since(start)
		return nil, err
	}
	c.Duration = r.Duration
	if r.ErrorType != "" {
		return nil, fmt.Errorf("%s: %s", r.ErrorType, r.ErrorMessage)
	}
	return r.Body, nil
}

// measurement is what is read before and after a call.
type measurement struct {
	e      *environment
	used   box.Usage
	reads  efs.Counters
	gets   int64
	memory *box.Watch
}

func (e *environment) measure() (*measurement, error) {
	m := &measurement{e: e}
	if e.mount != nil {
		m.reads = e.mount.Counters()
	}
	if e.bucket != nil {
		m.gets = e.bucket.Requests()
	}
	if e.box == nil {
		return m, nil
	}
	var err error
	m.used, err = e.box.Usage()
	m.memory = e.box.Watch()
	return m, err
}

// end adds to a call what it took.
func (m *measurement) end(c *results.Call) error {
	if mount := m.e.mount; mount != nil {
		now := mount.Counters()
		c.Reads = results.Reads{
			Opens:              now.Opens - m.reads.Opens,
			BytesRead:          now.BytesRead - m.reads.BytesRead,
			MeteredReadBytes:   now.MeteredReadBytes - m.reads.MeteredReadBytes,
			MetadataOperations: (now.MeteredMetadataBytes - m.reads.MeteredMetadataBytes) / cost.MeteredMetadata(1),
		}
	}
	if bucket := m.e.bucket; bucket != nil {
		c.Reads.Gets = bucket.Requests() - m.gets
	}
	if m.e.box == nil {
		return nil
	}
	peak, failure := m.memory.Stop()
	used, err := m.e.box.Usage()
	c.PeakMemory, c.CPU, c.OOMKills = peak, used.CPU-m.used.CPU, used.OOMKills-m.used.OOMKills
	return errors.Join(failure, err)
}

// outcome is what Lambda would call a failure.
func outcome(failure error, kills int64) results.Outcome {
	switch {
	case errors.Is(failure, runtimeapi.ErrTimeout):
		return results.TimedOut
	case kills > 0:
		return results.OutOfMemory
	}
	return results.Failed
}

// why is a failure with the last that the function logged, in one line.
func (e *environment) why(failure error) string {
	if said := e.stderr.String(); said != "" {
		return fmt.Sprintf("%v; it logged: %s", failure, said)
	}
	return failure.Error()
}

// tail keeps the last line that is written to it. Its zero value is empty.
type tail struct {
	mu   sync.Mutex
	line []byte
}

const maxLine = 300

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	line := bytes.TrimRight(append(t.line, p...), "\n")
	if i := bytes.LastIndexByte(line, '\n'); i >= 0 {
		line = line[i+1:]
	}
	t.line = bytes.Clone(line[:min(len(line), maxLine)])
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.line)
}
