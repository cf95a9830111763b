// Package stepfunctions runs jobs with a state machine of AWS Step Functions, whose steps are
// done by helper functions: deploy/jobs.asl.json and cmd/lambda.
//
//	runner.go  starts, cancels and plans jobs
//	event.go   the event of an execution that ended
package stepfunctions

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"efsdedupe/dedupe"
	"efsdedupe/dedupe/internal/awshttp"
	"efsdedupe/dedupe/job"
	"efsdedupe/dedupe/job/s3"
	"efsdedupe/dedupe/jobs"
)

// Runner runs the jobs of a registry. Each job has an execution with its name, one more each
// time it goes on after it stopped, and a folder.
// The execution keeps the version of the helper function that the state machine had when it
// started.
type Runner struct {
	Registry    *jobs.Registry
	Folder      *s3.Folder // of the folders of jobs
	Machine     string     // ARN of the state machine
	Helper      string     // ARN of the helper function, for plans
	Concurrency int        // helpers at once for each job
	states      *awshttp.Client
	lambda      *awshttp.Client
}

const (
	// attemptTime limits one attempt to start or stop an execution.
	attemptTime = 5 * time.Second

	// planTime limits a plan, which a caller waits for.
	planTime = 29 * time.Second
)

// Connect takes region, endpoints and credentials from the environment. It sends nothing.
func (r *Runner) Connect(getenv func(string) string) error {
	var err error
	if r.states, err = awshttp.New("states", getenv, awshttp.Options{AttemptTime: attemptTime}); err != nil {
		return fmt.Errorf("can't use Step Functions: %w", err)
	}
	if r.lambda, err = awshttp.New("lambda", getenv, awshttp.Options{AttemptTime: planTime}); err != nil {
		return fmt.Errorf("can't use Lambda: %w", err)
	}
	r.states.ErrorOf, r.lambda.ErrorOf = awshttp.JSONError, awshttp.JSONError
	return nil
}

// Input is what an execution begins with.
type Input struct {
	Job         string `json:"job"`
	Concurrency int    `json:"concurrency"`
}

// Start starts the execution of a job, unless it was started before.
func (r *Runner) Start(ctx context.Context, ref jobs.Ref) error {
	j, state, err := r.Registry.Get(ctx, ref)
	if err != nil {
		return err
	}
	if err := job.Begin(r.Folder.In(ref.Name()), j.Spec); err != nil {
		return err
	}
	input, err := json.Marshal(Input{ref.Name(), j.Concurrency(r.Concurrency)})
	if err != nil {
		return err
	}
	name := executionName(ref, state.Run)
	err = r.call(ctx, "StartExecution", map[string]any{"stateMachineArn": r.Machine, "name": name, "input": string(input)}, nil)
	if isCode(err, "ExecutionAlreadyExists") {
		return nil
	}
	return err
}

// Cancel has the units of a job end, and then the execution, which removes what they found. To
// cancel a job that is being cancelled stops the execution at once: what is left goes by a
// lifecycle rule.
func (r *Runner) Cancel(ctx context.Context, ref jobs.Ref) error {
	folder := r.Folder.In(ref.Name())
	if !job.IsCancelled(folder) {
		if err := job.Cancel(folder); err != nil {
			return err
		}
		return r.Start(ctx, ref) // it may never have been
	}
	_, state, err := r.Registry.Get(ctx, ref)
	if err != nil {
		return err
	}
	err = r.call(ctx, "StopExecution", map[string]any{"executionArn": r.execution(ref, state.Run), "error": "Cancelled"}, nil)
	if isCode(err, "ExecutionDoesNotExist") {
		return r.Start(ctx, ref)
	}
	return err
}

// executionName returns the name of a job's execution. Each run has its own: Step Functions
// takes a name once.
func executionName(ref jobs.Ref, run int) string {
	if run == 0 {
		return ref.Name()
	}
	return fmt.Sprintf("%s-%d", ref.Name(), run)
}

// parseExecutionName returns what the name of a job's execution stands for.
func parseExecutionName(name string) (ref jobs.Ref, run int, ok bool) {
	if i := strings.LastIndexByte(name, '-'); i > strings.IndexByte(name, '-') {
		run, _ = strconv.Atoi(name[i+1:])
		if ref, ok = jobs.ParseName(name[:i]); run > 0 && executionName(ref, run) == name {
			return ref, run, ok
		}
	}
	ref, ok = jobs.ParseName(name)
	return ref, 0, ok
}

// execution returns the ARN of the execution of a run.
func (r *Runner) execution(ref jobs.Ref, run int) string {
	return strings.Replace(r.Machine, ":stateMachine:", ":execution:", 1) + ":" + executionName(ref, run)
}

// mapRun is a round of units, as Step Functions describes it.
type mapRun struct {
	ARN        string  `json:"mapRunArn"`
	Start      float64 `json:"startDate"` // seconds since 1970
	ItemCounts struct {
		Succeeded int `json:"succeeded"`
	} `json:"itemCounts"`
}

// Ended returns how many units ended since a job was in a state: those of the round that
// began then. Only who asks how far the job is depends on it.
func (r *Runner) Ended(ctx context.Context, ref jobs.Ref, s jobs.State) (int, error) {
	const most = 1000 // that an answer may have; few jobs have more rounds
	var all struct {
		MapRuns []mapRun `json:"mapRuns"`
	}
	err := r.call(ctx, "ListMapRuns", map[string]any{"executionArn": r.execution(ref, s.Run), "maxResults": most}, &all)
	if err != nil || len(all.MapRuns) == 0 {
		return 0, err
	}
	last := slices.MaxFunc(all.MapRuns, func(a, b mapRun) int { return cmp.Compare(a.Start, b.Start) })
	if last.Start < float64(s.Told.UnixMilli())/1000 {
		return 0, nil // that round is counted
	}
	err = r.call(ctx, "DescribeMapRun", map[string]any{"mapRunArn": last.ARN}, &last)
	return last.ItemCounts.Succeeded, err
}

// Plan has a helper estimate what a job takes.
func (r *Runner) Plan(ctx context.Context, spec job.Spec) (job.Estimate, error) {
	in, err := json.Marshal(map[string]any{"do": "estimate", "spec": spec})
	if err != nil {
		return job.Estimate{}, err
	}
	to := r.lambda.Endpoint + "/2015-03-31/functions/" + url.PathEscape(r.Helper) + "/invocations"
	a, err := r.lambda.Do(ctx, awshttp.Request{Method: http.MethodPost, URL: to, Body: in})
	var out Estimated
	switch {
	case err != nil:
		return job.Estimate{}, fmt.Errorf("can't invoke the helper function: %w", err)
	case a.Header.Get("X-Amz-Function-Error") != "":
		return job.Estimate{}, fmt.Errorf("the helper function failed: %.1000s; look into its log", a.Body)
	}
	if err := json.Unmarshal(a.Body, &out); err != nil {
		return job.Estimate{}, err
	}
	if out.NoRoot != nil {
		return job.Estimate{}, out.NoRoot
	}
	return out.Estimate, nil
}

// Estimated is what a helper answers to Plan.
type Estimated struct {
	Estimate job.Estimate      `json:"estimate"`
	NoRoot   *dedupe.RootError `json:"no_root,omitempty"`
}

// call calls an operation of Step Functions. Out, unless nil, receives the answer.
func (r *Runner) call(ctx context.Context, operation string, in map[string]any, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	answer, err := r.states.Do(ctx, awshttp.Request{Method: http.MethodPost, URL: r.states.Endpoint, Body: body, Header: http.Header{
		"Content-Type": {"application/x-amz-json-1.0"},
		"X-Amz-Target": {"AWSStepFunctions." + operation},
	}})
	if err != nil {
		return fmt.Errorf("%s of Step Functions failed: %w", operation, err)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(answer.Body, out)
}

func isCode(err error, code string) bool {
	api := (*awshttp.Error)(nil)
	return errors.As(err, &api) && api.Code == code
}
