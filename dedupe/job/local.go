package job

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"sync/atomic"

	"efsdedupe/dedupe"
	"efsdedupe/dedupe/limits"
	"efsdedupe/dedupe/pool"
)

// Local runs the units of jobs in worker processes of this machine. They run the same
// program, which must call RunWorker. A process that dies is replaced, and its unit runs
// again.
type Local struct {
	Own     []os.FileInfo    // files of the caller, which the scan leaves out
	Command func() *exec.Cmd // of a worker process; nil means this program
}

// workerRole makes a program a worker process. Its value is a workerConfig.
const workerRole pool.Role = "DEDUPE_JOB_WORKER"

type workerConfig struct {
	Store []byte     `json:"store"` // the folder of the job
	Own   []identity `json:"own,omitempty"`
}

// response says how a unit ended.
type response struct {
	Error     string `json:"error,omitempty"`
	Damaged   []byte `json:"damaged,omitempty"` // name of an object
	Cancelled bool   `json:"cancelled,omitempty"`
	Root      []byte `json:"root,omitempty"` // with Error: the root that is to blame
}

// Run runs the units of a job that have no results yet, until all have. If it returns an
// error, another Run continues where it stopped.
//
// Fewer units run at once than the options say if the memory of this process, see
// [limits.Memory], does not hold so many, or if it may not start so many processes.
func (l Local) Run(ctx context.Context, j *Job, o Options) error {
	memory, _ := limits.Memory(os.Getenv)
	var each int64
	o.Concurrency, each = fitting(max(o.Concurrency, 1), memory, limits.TasksLeft())
	do, stop, err := l.start(j, o.Concurrency, each)
	if err != nil {
		return err
	}
	defer stop()
	defer limits.Lend(int64(o.Concurrency) * each)()
	return j.run(ctx, o, do)
}

// fitting returns how many of n units may run at once, and the memory of each. A quarter of
// the memory is for this process; 0 bytes are no limit. Tasks are the threads that all may
// still start.
func fitting(n int, memory int64, tasks int) (units int, each int64) {
	const reserved = 8 // threads of this process
	units = min(n, max(1, (tasks-reserved)/pool.Tasks))
	if memory == 0 {
		return units, unitMemory
	}
	memory -= memory / 4
	units = int(min(int64(units), max(1, memory/unitMemory)))
	return units, min(unitMemory, memory/int64(units))
}

// start starts a number of worker processes with some memory, each when it is needed.
func (l Local) start(j *Job, processes int, memory int64) (do perform, stop func(), err error) {
	config := workerConfig{Store: []byte(j.dir)}
	for _, info := range l.Own {
		if id, ok := identityOf(info); ok {
			config.Own = append(config.Own, id)
		}
	}
	how, err := json.Marshal(config)
	if err != nil {
		return nil, nil, err
	}
	workers := pool.New(processes, func() *exec.Cmd {
		cmd := l.command()
		workerRole.Give(cmd, string(how))
		cmd.Env = append(cmd.Env, "GOMEMLIMIT="+strconv.FormatInt(memory*5/8, 10), "GOGC=400") // collecting less often is faster
		return cmd
	})
	stop = func() { j.processes += workers.Close().Started }
	var lost atomic.Int64 // units in a row
	return func(ctx context.Context, u unit) error {
		err := call(ctx, workers, u)
		if !errors.As(err, new(lostError)) {
			lost.Store(0)
		} else if lost.Add(1) >= mostLost {
			return fmt.Errorf("worker processes keep dying: %v; run the same command again to continue", err)
		}
		return err
	}, stop, nil
}

// mostLost is how many units in a row may be lost before something else is to blame.
const mostLost = 4

// call has a worker process run a unit.
func call(ctx context.Context, workers *pool.Pool, u unit) error {
	request, err := json.Marshal(u)
	if err != nil {
		return err
	}
	b, err := workers.Call(ctx, request)
	if errors.Is(err, pool.ErrFailed) {
		return lostError{err}
	}
	if err != nil {
		return err
	}
	var r response
	if err := json.Unmarshal(b, &r); err != nil {
		return lostError{err}
	}
	return r.err()
}

func (l Local) command() *exec.Cmd {
	if l.Command != nil {
		return l.Command()
	}
	return pool.Self()
}

func responseTo(err error) (r response) {
	damaged, root := (*damage)(nil), (*dedupe.RootError)(nil)
	switch {
	case errors.As(err, &root):
		r.Root, r.Error = []byte(root.Path), root.Why
	case errors.As(err, &damaged):
		r.Damaged = []byte(damaged.object)
	case errors.Is(err, errCancelled):
		r.Cancelled = true
	case err != nil:
		r.Error = err.Error()
	}
	return r
}

func (r response) err() error {
	switch {
	case len(r.Damaged) > 0:
		return &damage{object: string(r.Damaged)}
	case r.Cancelled:
		return errCancelled
	case r.Root != nil:
		return &dedupe.RootError{Path: string(r.Root), Why: r.Error}
	case r.Error != "":
		return errors.New(r.Error)
	}
	return nil
}

// RunWorker makes a program a worker process if its environment says that a job started it
// as one. It runs the units that come on in, and answers on out, until in ends. Its error
// comes from in or out, or says that no job started the program.
//
// Open opens the index of a job; nil if the program knows of none.
func RunWorker(in io.Reader, out io.Writer, open OpenIndex) (isWorker bool, err error) {
	how, err := workerRole.Take(in, out)
	if how == "" || err != nil {
		return how != "", err
	}
	var config workerConfig
	if err := json.Unmarshal([]byte(how), &config); err != nil {
		return true, fmt.Errorf("the environment variable %s is not from a job: unset it", workerRole)
	}
	store := objects{folder{string(config.Store)}}
	var b beginning
	if _, _, err := store.header(beginObject, &b); err != nil {
		return true, err
	}
	w := newWorker(store, b.Spec, config.Own)
	w.open = open
	defer w.close()
	return true, pool.Serve(in, out, func(request []byte) []byte {
		var u unit
		err := json.Unmarshal(request, &u)
		if err == nil {
			err = w.run(context.Background(), u)
		}
		b, _ := json.Marshal(responseTo(err)) // cannot fail: texts
		return b
	})
}
