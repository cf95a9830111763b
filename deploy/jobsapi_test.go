//go:build aws

package deploy

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"efsdedupe/dedupe/job/s3"
	"efsdedupe/dedupe/jobs"
	"efsdedupe/dedupe/jobs/stepfunctions"
	"efsdedupe/fixtures"
	"efsdedupe/fixtures/testkit"
)

// api is the function of the jobs API, for one tenant.
type api struct {
	*cloud
	tenant, key string
}

// operation is what the API says of a job.
type operation struct {
	ID       string
	Done     bool
	Metadata struct {
		State  string
		Stages []struct{ Done int }
		Cost   struct{ Total float64 }
	}
	Error    struct{ Code, Detail string }
	Response struct {
		Complete bool
		Files    int
	}
}

// ask sends a request as API Gateway does, and decodes the answer.
func (a api) ask(method, path, body string, want int, out any) {
	a.t.Helper()
	path, query, _ := strings.Cut(path, "?")
	b, err := a.Invoke(a.t.Context(), "jobs-api", map[string]any{
		"version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": query, "body": body,
		"headers": map[string]string{"content-type": "application/json", "idempotency-key": a.key},
		"requestContext": map[string]any{
			"http":       map[string]string{"method": method, "path": path, "sourceIp": "127.0.0.1"},
			"authorizer": map[string]any{"jwt": map[string]any{"claims": map[string]string{"tenant": a.tenant}}},
		},
	})
	testkit.Must(a.t, err)
	var answer struct {
		StatusCode int
		Body       string
	}
	testkit.Must(a.t, json.Unmarshal(b, &answer))
	if answer.StatusCode != want {
		a.t.Fatalf("%s %s: %s", method, path, b)
	}
	testkit.Must(a.t, json.Unmarshal([]byte(answer.Body), out))
}

// ended polls a job until it ended.
func (a api) ended(id string) (o operation) {
	a.t.Helper()
	ctx, cancel := context.WithTimeout(a.t.Context(), 10*time.Minute)
	defer cancel()
	for !o.Done {
		testkit.Must(a.t, ctx.Err())
		o = operation{}
		a.ask("GET", "/v1/jobs/"+id, "", 200, &o)
	}
	return o
}

// findings is what a report, or a page of it, says about files.
type findings struct {
	Groups, Problems []json.RawMessage
	Next             string
}

// figures is what a report says about the job itself.
type figures struct {
	Stats struct {
		Opens int64
		Bytes int64 `json:"bytes_read"`
		Known int64 `json:"files_known"`
	}
	Index struct {
		Used bool
		Why  string
	}
	Projection struct {
		Total float64
	}
}

// sorted returns the groups in an order of their own.
func (f findings) sorted() (groups []string) {
	for _, g := range f.Groups {
		groups = append(groups, string(g))
	}
	slices.Sort(groups)
	return groups
}

// findingsOf decodes a report. The API's paths begin at the tenant's folder.
func findingsOf(t *testing.T, report []byte) (f findings) {
	t.Helper()
	s := strings.ReplaceAll(string(report), `"path":"./`, `"path":"`)
	testkit.Must(t, json.Unmarshal([]byte(regexp.MustCompile(`"path_base64":"[^"]*",?`).ReplaceAllString(s, "")), &f))
	return f
}

// report returns all pages of a report.
func (a api) report(id string) (all findings) {
	a.t.Helper()
	for next := ""; ; {
		var body json.RawMessage
		a.ask("GET", "/v1/jobs/"+id+"/report?limit=50"+next, "", 200, &body)
		page := findingsOf(a.t, body)
		all.Groups, all.Problems = append(all.Groups, page.Groups...), append(all.Problems, page.Problems...)
		if page.Next == "" {
			return all
		}
		next = "&next=" + page.Next
	}
}

// serve deploys jobs and their API. It returns the state machine, and a directory with the
// folder of a tenant, acme.
func (c *cloud) serve() (machine, root string) {
	c.t.Helper()
	root = c.t.TempDir()
	_, err := fixtures.Make(c.t.Context(), filepath.Join(root, "acme"), fixtures.Spec{Files: 3000, Size: 64 << 10, Layout: fixtures.Tree, Seed: 1})
	testkit.Must(c.t, err)
	machine = c.deploy("", 0, 0)
	c.function("jobs-api", 0, map[string]string{
		"DEDUPE_JOBS_API": machine, "DEDUPE_JOBS_HELPER": "jobs-1", "DEDUPE_ROOT": root, "DEDUPE_TENANT_CLAIM": "tenant",
		"MORTAL_OF": "", "MORTAL_PERCENT": "0",
	})
	return machine, root
}

// reports compares the report of a job, page by page, with that of a scan, and returns what
// it says about the job.
func (a api) reports(id, root string) (f figures) {
	a.t.Helper()
	scan := exec.Command(binary(a.t), "scan", "--format", "json", ".")
	scan.Dir = filepath.Join(root, a.tenant)
	report, _ := scan.Output() // there are problems
	want, got := findingsOf(a.t, report), a.report(id)
	if diff := cmp.Diff(fmt.Sprintf("%s", want), fmt.Sprintf("%s", got)); len(got.Groups) <= 50 || diff != "" {
		a.t.Errorf("%d groups (-scan +job):\n%.3000s", len(got.Groups), diff)
	}
	a.ask("GET", "/v1/jobs/"+id+"/report?limit=1", "", 200, &f)
	if f.Projection.Total <= 0 {
		a.t.Errorf("the bill: %+v", f)
	}
	return f
}

// TestEmulatorJobsAPI runs jobs through the function of the API: its report, page by page, is
// that of a scan.
func TestEmulatorJobsAPI(t *testing.T) {
	c := newCloud(t)
	machine, root := c.serve()
	acme, other := api{c, "acme", "one"}, api{c, "other", "one"}

	var plan struct{ Files, Units int }
	acme.ask("POST", "/v1/jobs", `{"dry_run": true}`, 200, &plan)
	other.ask("POST", "/v1/jobs", `{"dry_run": true}`, 404, new(any))
	var job, again operation
	acme.ask("POST", "/v1/jobs", `{}`, 202, &job)
	acme.ask("POST", "/v1/jobs", `{}`, 202, &again)
	other.ask("GET", "/v1/jobs/"+job.ID, "", 404, new(any))
	end := acme.ended(job.ID)
	if again.ID != job.ID || end.Metadata.State != "succeeded" || len(end.Metadata.Stages) < 4 || end.Response.Files != plan.Files {
		t.Errorf("a plan %+v, %s and %+v", plan, again.ID, end)
	}
	acme.reports(job.ID, root)

	acme.key = "kept"
	acme.ask("POST", "/v1/jobs", `{"keep": "newest", "priority": ["."], "protect": ["**/*1*/**"], "min_copies": 3}`, 202, &job)
	acme.ended(job.ID)
	scan := exec.Command(binary(t), "scan", "--format", "json", "--keep", "newest", "--priority", ".", "--protect", "**/*1*/**", "--min-copies", "3", ".")
	scan.Dir = filepath.Join(root, "acme")
	report, _ := scan.Output() // there are problems
	want, got := findingsOf(t, report), acme.report(job.ID)
	if diff := cmp.Diff(want.sorted(), got.sorted()); diff != "" || !strings.Contains(string(got.Groups[0]), `"kept":true`) {
		t.Errorf("with rules (-scan +job):\n%.3000s", diff)
	}
	acme.key = "missing"
	acme.ask("POST", "/v1/jobs", `{"priority": ["none"]}`, 202, &job)
	if end := acme.ended(job.ID); end.Error.Code != "not_found" || len(end.Metadata.Stages) > 0 && end.Metadata.Stages[0].Done > 0 {
		t.Errorf("a rule names what does not exist: %+v", end)
	}

	other.ask("POST", "/v1/jobs", `{}`, 202, &job)
	if o := other.ended(job.ID); o.Metadata.State != "failed" || o.Error.Code != "not_found" {
		t.Errorf("no such folder: %+v", o)
	}

	acme.key = "to cancel"
	acme.ask("POST", "/v1/jobs", `{}`, 202, &job)
	acme.ask("DELETE", "/v1/jobs/"+job.ID, "", 202, new(any))
	if o := acme.ended(job.ID); o.Metadata.State != "cancelled" || o.Error.Code != "cancelled" {
		t.Errorf("cancelled: %+v", o)
	}
	acme.ask("GET", "/v1/jobs/"+job.ID+"/report", "", 404, new(any))

	acme.key = "to fail" // while it runs
	acme.ask("POST", "/v1/jobs", `{}`, 202, &job)
	_, err := c.Invoke(t.Context(), "jobs-api", map[string]any{
		"source": "aws.states", "detail-type": "Step Functions Execution Status Change", "detail": map[string]string{
			"stateMachineArn": machine, "name": jobs.Ref{Tenant: jobs.TenantHash("acme"), ID: job.ID}.Name(), "status": "TIMED_OUT",
		},
	})
	testkit.Must(t, err)
	if o := acme.ended(job.ID); o.Metadata.State != "failed" || o.Error.Code != "failed" {
		t.Errorf("an execution that took too long: %+v", o)
	}
}

// stopsAndGoesOn runs a job that may cost so little that it stops after the walk. With more,
// it ends.
func (a api) stopsAndGoesOn() (id string) {
	a.t.Helper()
	var job operation
	a.ask("POST", "/v1/jobs", `{"max_cost": 0.0065, "max_concurrency": 2}`, 202, &job)
	stop := a.ended(job.ID)
	if m := stop.Metadata; m.State != "stopped" || stop.Error.Code != "limit" || m.Cost.Total <= 0 || m.Cost.Total > 0.0065 || len(m.Stages) == 0 {
		a.t.Errorf("over its limit: %+v", stop)
	}
	a.ask("POST", "/v1/jobs", fmt.Sprintf(`{"continue": %q, "max_cost": 1}`, job.ID), 202, &job)
	if end := a.ended(job.ID); end.ID != stop.ID || end.Metadata.State != "succeeded" || !(end.Metadata.Cost.Total > stop.Metadata.Cost.Total) {
		a.t.Errorf("with a higher limit: %+v", end)
	}
	return job.ID
}

// stopsForGood cancels a job that may cost so little that it does not begin.
func (a api) stopsForGood() {
	a.t.Helper()
	var job operation
	a.ask("POST", "/v1/jobs", `{"max_cost": 0.001}`, 202, &job)
	if stop := a.ended(job.ID); stop.Metadata.State != "stopped" {
		a.t.Errorf("over a lower limit: %+v", stop)
	}
	a.ask("DELETE", "/v1/jobs/"+job.ID, "", 202, new(any))
	if end := a.ended(job.ID); end.Metadata.State != "cancelled" || end.Error.Code != "cancelled" {
		a.t.Errorf("cancelled after it stopped: %+v", end)
	}
}

// progresses runs a job of many units, and looks how many end before they are counted.
func (a api) progresses(machine, root string) {
	a.t.Helper()
	ctx := a.t.Context()
	top, err := s3.Open("s3://" + bucket)
	testkit.Must(a.t, err)
	registry := &jobs.Registry{Store: top.In("api").Versions()}
	runner := &stepfunctions.Runner{Registry: registry, Folder: top.In("jobs"), Machine: machine, Concurrency: 4}
	testkit.Must(a.t, runner.Connect(os.Getenv))
	j, err := registry.Create(ctx, a.tenant, "", jobs.Job{Spec: specOf(root)})
	testkit.Must(a.t, err)
	testkit.Must(a.t, runner.Start(ctx, j.Ref))
	most := 0
	for state := (jobs.State{Phase: jobs.Queued}); !state.Done(); {
		_, state, err = registry.Get(ctx, j.Ref)
		testkit.Must(a.t, err)
		n, err := runner.Ended(ctx, j.Ref, state)
		testkit.Must(a.t, err)
		most = max(most, n)
	}
	a.t.Logf("at most %d units ended before they were counted", most)
	if most == 0 {
		a.t.Error("nobody told how far a round was")
	}
}

// TestEmulatorJobsLimits has jobs stop and go on, and reads nothing twice: there is an index.
func TestEmulatorJobsLimits(t *testing.T) {
	c := newCloud(t)
	c.table = "digests"
	testkit.Must(t, c.CreateTable(c.table))
	machine, root := c.serve()
	acme := api{c, "acme", "first"}
	first := acme.reports(acme.stopsAndGoesOn(), root)
	if first.Stats.Opens == 0 || !first.Index.Used || first.Index.Why != "" {
		t.Errorf("the first job: %+v", first)
	}
	acme.key = "second"
	var job operation
	acme.ask("POST", "/v1/jobs", `{}`, 202, &job)
	acme.ended(job.ID)
	second := acme.reports(job.ID, root)
	if s := second.Stats; s.Opens != 0 || s.Bytes != 0 || s.Known == 0 || !second.Index.Used || second.Index.Why != "" || second.Projection.Total >= first.Projection.Total {
		t.Errorf("the second job: %+v, the first %+v", second, first)
	}
	acme.key = "stopped"
	acme.stopsForGood()
	acme.progresses(machine, root)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for listing := "<Key>"; strings.Contains(listing, "<Key>"); { // until what units found is removed
		b, err := c.Object(ctx, bucket, "?list-type=2&prefix=jobs/")
		if listing = string(b); err != nil {
			t.Fatalf("%v; this is left: %.1000s", err, listing)
		}
	}
}
