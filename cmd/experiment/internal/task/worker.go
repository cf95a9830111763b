package task

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"

	"efsdedupe/dedupe/pool"
)

// workerRole makes a program a worker process.
const workerRole pool.Role = "DEDUPE_TASK_WORKER"

// RunWorker makes a program a worker process if a Function started it as one: it runs
// the tasks that frames on in hold, and answers on out, until in ends. Of p, see New.
func RunWorker(in io.Reader, out io.Writer, p Predictor) (isWorker bool, err error) {
	how, err := workerRole.Take(in, out)
	if how == "" || err != nil {
		return how != "", err
	}
	return true, pool.Serve(in, out, newRunner(p).answer)
}

// workerCommand is this program as a worker process.
func workerCommand() *exec.Cmd {
	cmd := pool.Self()
	workerRole.Give(cmd, "tasks")
	return cmd
}

// response is what a worker process answers to a task.
type response struct {
	Checksum string `json:",omitempty"`
	Error    string `json:",omitempty"` // why there is no checksum
}

// answer is the worker's side of a task.
func (r *runner) answer(request []byte) []byte {
	var t task
	var done response
	err := json.Unmarshal(request, &t)
	if err == nil {
		done.Checksum, err = r.run(context.Background(), t)
	}
	if err != nil {
		done = response{Error: err.Error()}
	}
	frame, _ := json.Marshal(done) // strings can always be marshalled
	return frame
}

// in returns how to run a task in a worker process of p.
func in(p *pool.Pool) func(context.Context, task) (string, error) {
	return func(ctx context.Context, t task) (string, error) {
		request, err := json.Marshal(t)
		if err != nil {
			return "", err
		}
		frame, err := p.Call(ctx, request)
		if err != nil {
			return "", err
		}
		var done response
		if err := json.Unmarshal(frame, &done); err != nil {
			return "", fmt.Errorf("a worker's response is malformed: %w", err)
		}
		if done.Error != "" {
			return "", errors.New(done.Error)
		}
		return done.Checksum, nil
	}
}

// inNewProcess runs a task in a worker process that has no other, and has ended
// when this returns.
func inNewProcess(ctx context.Context, t task) (string, error) {
	p := pool.New(1, workerCommand)
	defer p.Close()
	return in(p)(ctx, t)
}
