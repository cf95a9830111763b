package main

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/aws/aws-lambda-go/lambda"

	"efsdedupe/dedupe/job/s3"
	"efsdedupe/dedupe/jobs"
	"efsdedupe/dedupe/jobs/stepfunctions"
	"efsdedupe/dedupe/service"
)

// The folders of DEDUPE_JOBS. The template has lifecycle rules for the first two.
const (
	jobsFolder     = "jobs"    // what units find, for each job
	reportsFolder  = "reports" // of jobs that the API did not start
	registryFolder = "api"     // jobs and reports of the API
)

// jobsConfig is what functions for jobs have in common.
type jobsConfig struct {
	root     *s3.Folder
	registry *jobs.Registry
	v        *variables
}

// jobsConfigFrom reads the configuration of functions for jobs from environment variables:
//
//	DEDUPE_JOBS         where jobs are: s3://BUCKET, or a folder in it
//	DEDUPE_KEEP_DAYS    how long a job of the API and its report stay; default 7
//	DEDUPE_TENANT_JOBS  jobs at once for each tenant; default 10
//	DEDUPE_TENANT_MIB   MiB that a tenant's jobs may read each month; default any number
//
// The function does steps of jobs, with DEDUPE_INDEX and DEDUPE_INDEX_ID as for scans, unless
// it serves their API. For that it needs:
//
//	DEDUPE_JOBS_API          ARN of the state machine
//	DEDUPE_JOBS_HELPER       ARN of the function that does steps, for plans
//	DEDUPE_JOBS_CONCURRENCY  helpers at once for each job; default 40
//	DEDUPE_ROOT, DEDUPE_TENANT_CLAIM  as for scans; only the helpers see the root
func jobsConfigFrom(getenv func(string) string) (jobsConfig, error) {
	root, err := s3.Open(getenv("DEDUPE_JOBS"))
	if err != nil {
		return jobsConfig{}, fmt.Errorf("DEDUPE_JOBS: %w", err)
	}
	v := &variables{getenv: getenv}
	registry := &jobs.Registry{
		Store:  root.In(registryFolder).Versions(),
		Keep:   time.Duration(v.count("DEDUPE_KEEP_DAYS")) * 24 * time.Hour,
		Limits: jobs.Limits{Jobs: int(v.count("DEDUPE_TENANT_JOBS")), Bytes: v.count("DEDUPE_TENANT_MIB") << 20},
	}
	return jobsConfig{root, registry, v}, v.err
}

// newJobsHandler returns what answers the events of a function for jobs.
func newJobsHandler(getenv func(string) string, log *slog.Logger) (lambda.Handler, error) {
	if getenv("DEDUPE_JOBS_API") == "" {
		return newHelper(getenv, log)
	}
	c, err := jobsConfigFrom(getenv)
	if err != nil {
		return nil, err
	}
	const defaultConcurrency = 40
	runner := &stepfunctions.Runner{
		Registry: c.registry, Folder: c.root.In(jobsFolder), Machine: getenv("DEDUPE_JOBS_API"), Helper: getenv("DEDUPE_JOBS_HELPER"),
		Concurrency: cmp.Or(int(c.v.count("DEDUPE_JOBS_CONCURRENCY")), defaultConcurrency),
	}
	if c.v.err != nil {
		return nil, c.v.err
	}
	if err := runner.Connect(getenv); err != nil {
		return nil, err
	}
	api, err := service.New(service.Config{
		TenantClaim: getenv("DEDUPE_TENANT_CLAIM"), Log: log,
		Jobs: &service.Jobs{Registry: c.registry, Runner: runner, Root: cmp.Or(getenv("DEDUPE_ROOT"), "/mnt/efs")},
	})
	return jobsFunction{function{api}, runner, log}, err
}

// jobsFunction answers requests for the API of jobs, and events of their executions.
type jobsFunction struct {
	api    function
	runner *stepfunctions.Runner
	log    *slog.Logger
}

// Invoke implements [lambda.Handler].
func (f jobsFunction) Invoke(ctx context.Context, payload []byte) ([]byte, error) {
	if e, ok := stepfunctions.ParseEvent(payload); ok {
		if err := f.runner.Handle(ctx, e, f.log); err != nil {
			f.log.Error("the end of a job could not be recorded", "event", "job_failed", "execution", e.Detail.Name, "error", err.Error())
			return nil, err
		}
		return []byte("{}"), nil
	}
	return f.api.Invoke(ctx, payload)
}
