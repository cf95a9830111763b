package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"sync"

	"efsdedupe/cmd/experiment/internal/results"
	"efsdedupe/cmd/experiment/internal/task"
	"efsdedupe/fixtures/aws"
)

// StepFunctions is the mode in which no function waits: a state machine invokes the
// helpers, and then the main function, which joins their answers.
const StepFunctions = "helpers-stepfunctions"

// maxStateTasks is how many tasks a state machine can have: with more, the answers that it
// passes on are above 256 KiB. Source: AWS Step Functions quotas.
const maxStateTasks = 2000

// transitionsOf is the state transitions of an execution: its start, the map, each helper,
// the join, its end. Source: AWS Step Functions pricing, the example of a workflow of two
// steps, which has four.
func transitionsOf(helpers int) int { return helpers + 4 }

// definition is the state machine. On AWS, its resources would be Lambda functions; here
// they are activities, so that the functions run in boxes.
const definition = `{
	"StartAt": "Share",
	"States": {
		"Share": {
			"Type": "Map",
			"ItemsPath": "$.shares",
			"ItemProcessor": {"StartAt": "Help", "States": {"Help": {"Type": "Task", "Resource": %q, "End": true}}},
			"ResultPath": "$.event.answers",
			"Next": "Join"
		},
		"Join": {"Type": "Task", "InputPath": "$.event", "Resource": %q, "End": true}
	}
}`

// stateMachine is one in the emulator, for one call: a request for a task of an activity
// goes on there when its client is gone, and would take a task of the next call.
type stateMachine struct {
	*aws.Emulator
	name, arn, helper, main string
}

// newStateMachine makes a state machine under a name that no other has.
func newStateMachine(ctx context.Context, e *aws.Emulator, name string) (*stateMachine, error) {
	m := &stateMachine{Emulator: e, name: name}
	for role, arn := range map[string]*string{"helper": &m.helper, "main": &m.main} {
		var made struct{ ActivityArn string }
		if err := m.do(ctx, "CreateActivity", map[string]string{"name": name + "-" + role}, &made); err != nil {
			return nil, err
		}
		*arn = made.ActivityArn
	}
	var err error
	m.arn, err = m.CreateStateMachine(ctx, name, fmt.Sprintf(definition, m.helper, m.main))
	return m, err
}

func (m *stateMachine) do(ctx context.Context, operation string, in, out any) error {
	return m.Do(ctx, "AWSStepFunctions."+operation, in, out)
}

// execute runs an execution to its end, and until the tasks that it has begun have ended.
// Help and join do its tasks; help, many at once.
func (m *stateMachine) execute(ctx context.Context, input []byte, help, join func([]byte) ([]byte, error)) (aws.Execution, error) {
	ctx, cancel := context.WithCancel(ctx)
	var workers sync.WaitGroup
	defer workers.Wait()
	defer cancel()
	for arn, do := range map[string]func([]byte) ([]byte, error){m.helper: help, m.main: join} {
		workers.Go(func() { m.work(ctx, arn, &workers, do) })
	}
	x, err := m.StartExecution(ctx, m.arn, m.name, json.RawMessage(input))
	if err != nil {
		return x, err
	}
	return m.Await(ctx, x)
}

// work does an activity's tasks until ctx ends.
func (m *stateMachine) work(ctx context.Context, activity string, workers *sync.WaitGroup, do func([]byte) ([]byte, error)) {
	for ctx.Err() == nil {
		var task struct{ TaskToken, Input string }
		if err := m.do(ctx, "GetActivityTask", map[string]string{"activityArn": activity}, &task); err != nil || task.TaskToken == "" {
			continue
		}
		workers.Go(func() {
			answer, err := do([]byte(task.Input))
			if err != nil {
				m.do(ctx, "SendTaskFailure", map[string]string{"taskToken": task.TaskToken, "error": "HelperError", "cause": err.Error()}, nil)
				return
			}
			m.do(ctx, "SendTaskSuccess", map[string]string{"taskToken": task.TaskToken, "output": string(answer)}, nil)
		})
	}
}

// callStateMachine makes a call through the state machine. The call is the one to the main
// function, which joins, and begins when the last helper has ended.
func (e *environment) callStateMachine(ctx context.Context, event []byte) (c results.Call, answer []byte, err error) {
	c.Cold = e.f == nil
	var joined error
	help := func(event []byte) ([]byte, error) {
		r, err := e.helpers.invoke(ctx, event)
		if err == nil && r.ErrorType != "" {
			err = fmt.Errorf("%s: %s", r.ErrorType, r.ErrorMessage)
		}
		return r.Body, err
	}
	join := func(event []byte) ([]byte, error) {
		var body []byte
		if c, body, joined = e.attempt(ctx, event); joined == nil && c.Outcome != results.OK {
			return nil, errors.New(c.Error)
		}
		return body, joined
	}
	e.helpers.machines++
	m, err := newStateMachine(ctx, e.emulator, fmt.Sprintf("%s-%d", filepath.Base(e.dir), e.helpers.machines))
	if err != nil {
		return c, nil, err
	}
	ended, err := m.execute(ctx, event, help, join)
	err = errors.Join(err, joined)
	if err == nil && ended.Status != "SUCCEEDED" && (c.Outcome == "" || c.Outcome == results.OK) {
		c.Outcome, c.Error = results.Failed, fmt.Sprintf("the state machine ended as %s: %s: %s", ended.Status, ended.Error, ended.Cause)
	}
	return c, []byte(ended.Output), err
}

// addHelpersOfStateMachine adds to a call the helpers that a state machine invoked, all at
// once, before the main function.
func addHelpersOfStateMachine(c *results.Call, made []invocation) {
	for _, i := range made {
		c.Wait = max(c.Wait, i.Init+i.Duration)
		c.Helpers = append(c.Helpers, i.helper())
	}
	c.Duration += c.Wait
}

// stateMachineEvent is the input of an execution: the event for the main function, and the
// shares.
func stateMachineEvent(e task.Event) ([]byte, error) {
	return json.Marshal(map[string]any{"event": e, "shares": e.Shares()})
}

// startEmulator starts the emulator that state machines run on.
func (x *running) startEmulator(ctx context.Context) (err error) {
	x.emulator, err = aws.StartEmulator(ctx, x.Dir, "stepfunctions")
	return err
}
