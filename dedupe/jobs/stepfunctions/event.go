package stepfunctions

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"

	"efsdedupe/dedupe/jobs"
)

// Event is what Step Functions tells EventBridge when the status of an execution changes.
// Source: AWS Step Functions Developer Guide, automating event delivery with EventBridge.
type Event struct {
	Source string `json:"source"`
	Kind   string `json:"detail-type"`
	Detail struct {
		Machine string `json:"stateMachineArn"`
		Name    string `json:"name"`
		Status  string `json:"status"`
		Error   string `json:"error"`
		Cause   string `json:"cause"`
	} `json:"detail"`
}

// ParseEvent returns the event in JSON, if it is one of Step Functions.
func ParseEvent(payload []byte) (e Event, ok bool) {
	err := json.Unmarshal(payload, &e)
	return e, err == nil && e.Source == "aws.states" && e.Kind == "Step Functions Execution Status Change"
}

// Handle records the end of a job whose execution failed, timed out or was stopped, and
// removes jobs whose time is over.
func (r *Runner) Handle(ctx context.Context, e Event, log *slog.Logger) error {
	if e.Detail.Machine != r.Machine || e.Detail.Status == "RUNNING" {
		return nil
	}
	ref, run, ok := parseExecutionName(e.Detail.Name)
	if ok && e.Detail.Status != "SUCCEEDED" {
		broke, err := r.Registry.Broke(ctx, ref, run)
		if err != nil && !errors.Is(err, jobs.ErrNotFound) { // somebody else started it
			return err
		}
		if broke {
			log.Error("a job failed", "event", "job_failed", "job", ref.ID, "status", e.Detail.Status, "error", e.Detail.Error, "cause", e.Detail.Cause)
		}
	}
	return r.Registry.Sweep(ctx)
}
