package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"unicode"

	"efsdedupe/dedupe"
	"efsdedupe/dedupe/job"
	"efsdedupe/dedupe/job/s3"
	"efsdedupe/dedupe/report"
)

// helper does steps of jobs for the state machine in deploy/jobs.asl.json. Its events come
// from there, and nowhere else.
type helper struct {
	jobs    *s3.Folder // one folder for each job, gone when the job ends
	reports *s3.Folder // an object for each job
	log     *slog.Logger
}

// The folders of DEDUPE_JOBS. The template has lifecycle rules for both.
const (
	jobsFolder    = "jobs"
	reportsFolder = "reports"
)

func newHelper(name string, log *slog.Logger) (*helper, error) {
	root, err := s3.Open(name)
	if err != nil {
		return nil, fmt.Errorf("DEDUPE_JOBS: %w", err)
	}
	return &helper{root.In(jobsFolder), root.In(reportsFolder), log}, nil
}

// step is an event: a step of a job.
type step struct {
	Do    string    `json:"do"` // plan, unit, report or remove
	Job   string    `json:"job"`
	Unit  string    `json:"unit"`  // key of the unit's object, to run it
	Round job.Round `json:"round"` // the last answer, to plan and to report
}

// isJob reports whether a job can have this name, which is part of keys.
func isJob(name string) bool {
	odd := func(r rune) bool {
		return r != '-' && r != '_' && (r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r))
	}
	return name != "" && len(name) <= 128 && !strings.ContainsFunc(name, odd)
}

// Invoke implements [lambda.Handler]. It answers with the job's next round, which is empty
// after a unit. The state machine repeats a step that returns an error.
func (h *helper) Invoke(ctx context.Context, payload []byte) ([]byte, error) {
	var s step
	if err := json.Unmarshal(payload, &s); err != nil || !isJob(s.Job) {
		return nil, &EventError{`this function only does steps of jobs, such as {"do": "plan", "job": "NAME"}`, err}
	}
	next, err := h.do(ctx, s)
	if err != nil {
		h.log.Error("a step of a job failed", "event", "job_step_failed", "job", s.Job, "step", s.Do, "error", err.Error())
		return nil, err
	}
	h.log.Info("a step of a job is done", "event", "job_step", "job", s.Job, "step", s.Do, "next", next.Next, "round", next.Name, "units", next.Units)
	return json.Marshal(next)
}

func (h *helper) do(ctx context.Context, s step) (job.Round, error) {
	store := h.jobs.In(s.Job)
	steps := job.Helper{Store: store}
	switch s.Do {
	case "plan":
		return steps.Plan(ctx, s.Round)
	case "unit":
		name, ok := strings.CutPrefix(s.Unit, store.Prefix())
		if !ok {
			return job.Round{}, &EventError{fmt.Sprintf("the unit %q is not of the job %q", s.Unit, s.Job), nil}
		}
		return job.Round{}, steps.Unit(ctx, name)
	case "report":
		return steps.Report(ctx, s.Round, func(r dedupe.Report, parts report.Parts, o report.Options, failed *error) error {
			return h.write(s.Job, r, parts, o, failed)
		})
	case "remove":
		return s.Round, store.RemoveAll()
	}
	return job.Round{}, &EventError{fmt.Sprintf("unknown step %q", s.Do), nil}
}

// write stores a report, whole or not at all.
func (h *helper) write(name string, r dedupe.Report, parts report.Parts, o report.Options, failed *error) error {
	o.Tool = report.ThisTool("dedupe")
	out := h.reports.Create(name+".json", "application/json")
	defer out.Discard()
	if err := errors.Join(report.WriteParts(out, report.JSON, r, parts, o), *failed); err != nil {
		return err
	}
	return out.Commit()
}
