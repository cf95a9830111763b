package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"
	"unicode"

	"efsdedupe/dedupe"
	"efsdedupe/dedupe/index/dynamodb"
	"efsdedupe/dedupe/job"
	"efsdedupe/dedupe/job/s3"
	"efsdedupe/dedupe/jobs"
	"efsdedupe/dedupe/jobs/stepfunctions"
	"efsdedupe/dedupe/report"
)

// helper does steps of jobs for the state machine in deploy/jobs.asl.json. Its events come
// from there, and nowhere else.
type helper struct {
	jobs     *s3.Folder // one folder for each job, gone when the job ends
	reports  *s3.Folder // an object for each job that the API did not start
	registry *jobs.Registry
	base     job.Helper // what the steps of all jobs have in common
	log      *slog.Logger
}

func newHelper(getenv func(string) string, log *slog.Logger) (*helper, error) {
	c, err := jobsConfigFrom(getenv)
	if err != nil {
		return nil, err
	}
	h := &helper{jobs: c.root.In(jobsFolder), reports: c.root.In(reportsFolder), registry: c.registry, log: log}
	h.base.OpenIndex = openIndex
	if h.base.Prices, err = jobs.Prices(); err != nil {
		return nil, err
	}
	if x := c.v.index("DEDUPE_INDEX", "DEDUPE_INDEX_ID"); x != nil {
		_, table := x.Store.(*dynamodb.Table)
		h.base.Index = &job.Index{Name: getenv("DEDUPE_INDEX"), FileSystem: x.FileSystem, Table: table}
		err = x.Store.Close()
	}
	return h, cmp.Or(c.v.err, err)
}

// step is an event: a step of a job.
type step struct {
	Do    string    `json:"do"` // plan, unit, report or remove, or estimate
	Job   string    `json:"job"`
	Unit  string    `json:"unit"`  // key of the unit's object, to run it
	Round job.Round `json:"round"` // the last answer, to plan and to report
	Spec  job.Spec  `json:"spec"`  // to estimate
}

// told is the answer to a step.
type told struct {
	job.Round
	Report string `json:"report,omitempty"` // where it is, once it is written
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
	err := json.Unmarshal(payload, &s)
	if err == nil && s.Do == "estimate" {
		return estimate(ctx, s.Spec)
	}
	if err != nil || !isJob(s.Job) {
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

// steps returns what does steps of a job.
func (h *helper) steps(ctx context.Context, s step) (job.Helper, error) {
	steps := h.base
	steps.Store = h.jobs.In(s.Job)
	ref, ok := jobs.ParseName(s.Job)
	if !ok || s.Do != "plan" && s.Do != "report" {
		return steps, nil
	}
	j, state, err := h.registry.Get(ctx, ref)
	steps.MaxCost, steps.Run = j.Limit(steps.Prices), state.Run
	return steps, err
}

func (h *helper) do(ctx context.Context, s step) (told, error) {
	store := h.jobs.In(s.Job)
	steps, err := h.steps(ctx, s)
	if err != nil {
		return told{}, err
	}
	switch s.Do {
	case "plan":
		next, err := steps.Plan(ctx, s.Round)
		return h.record(ctx, s.Job, told{Round: next}, nil, err)
	case "unit":
		name, ok := strings.CutPrefix(s.Unit, store.Prefix())
		if !ok {
			return told{}, &EventError{fmt.Sprintf("the unit %q is not of the job %q", s.Unit, s.Job), nil}
		}
		return told{}, steps.Unit(ctx, name)
	case "report":
		var t told
		var outcome *jobs.Outcome
		next, err := steps.Report(ctx, s.Round, func(r dedupe.Report, parts report.Parts, o report.Options, failed *error) (err error) {
			t.Report, outcome, err = h.write(ctx, s.Job, r, parts, o, failed)
			return err
		})
		t.Round = next
		if outcome != nil { // rules may have left fewer
			t.Groups = outcome.DuplicateGroups
		}
		return h.record(ctx, s.Job, t, outcome, err)
	case "remove":
		return told{Round: s.Round}, store.RemoveAll()
	}
	return told{}, &EventError{fmt.Sprintf("unknown step %q", s.Do), nil}
}

// record tells the registry of a step, if the API started the job.
func (h *helper) record(ctx context.Context, name string, t told, outcome *jobs.Outcome, err error) (told, error) {
	ref, ok := jobs.ParseName(name)
	if !ok || err != nil {
		return t, err
	}
	t.Round, err = h.registry.Record(ctx, ref, t.Round, outcome)
	return t, err
}

// write stores a report, whole or not at all, and returns where.
func (h *helper) write(ctx context.Context, name string, r dedupe.Report, parts report.Parts, o report.Options, failed *error) (where string, outcome *jobs.Outcome, err error) {
	o.Tool = report.ThisTool("dedupe")
	if r.Index != nil && r.Index.Why != "" {
		h.log.Warn("the index failed, and what it did not answer was read", "event", "index_failed", "job", name, "error", r.Index.Why)
	}
	if ref, ok := jobs.ParseName(name); ok {
		outcome, err = h.registry.WriteReport(ctx, ref, r, parts, failed, o.Tool)
		return "/v1/jobs/" + ref.ID + "/report", outcome, err
	}
	out := h.reports.Create(name+".json", "application/json")
	defer out.Discard()
	if err := errors.Join(report.WriteParts(out, report.JSON, r, parts, o), *failed); err != nil {
		return "", nil, err
	}
	return h.reports.Name() + "/" + name + ".json", nil, out.Commit()
}

// estimateTime leaves the API time to answer.
const estimateTime = 24 * time.Second

// estimate answers a plan of the API.
func estimate(ctx context.Context, spec job.Spec) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, estimateTime)
	defer cancel()
	e, err := jobs.Plan(ctx, spec)
	out := stepfunctions.Estimated{Estimate: e}
	if err != nil && !errors.As(err, &out.NoRoot) {
		return nil, err
	}
	return json.Marshal(out)
}
