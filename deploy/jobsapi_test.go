package deploy

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"efsdedupe/dedupe/jobs"
	"efsdedupe/fixtures"
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
	}
	Error    struct{ Code string }
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
	must(a.t, err)
	var answer struct {
		StatusCode int
		Body       string
	}
	must(a.t, json.Unmarshal(b, &answer))
	if answer.StatusCode != want {
		a.t.Fatalf("%s %s: %s", method, path, b)
	}
	must(a.t, json.Unmarshal([]byte(answer.Body), out))
}

// ended polls a job until it ended.
func (a api) ended(id string) (o operation) {
	a.t.Helper()
	ctx, cancel := context.WithTimeout(a.t.Context(), 10*time.Minute)
	defer cancel()
	for !o.Done {
		must(a.t, ctx.Err())
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
	must(t, json.Unmarshal([]byte(regexp.MustCompile(`"path_base64":"[^"]*",?`).ReplaceAllString(s, "")), &f))
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

// TestEmulatorJobsAPI runs jobs through the function of the API: its report, page by page, is
// that of a scan.
func TestEmulatorJobsAPI(t *testing.T) {
	c := newCloud(t)
	root := t.TempDir()
	_, err := fixtures.Make(t.Context(), filepath.Join(root, "acme"), fixtures.Spec{Files: 3000, Size: 16 << 10, Layout: fixtures.Tree, Seed: 1})
	must(t, err)
	machine := c.deploy("", 0, 0)
	c.function("jobs-api", 0, map[string]string{
		"DEDUPE_JOBS_API": machine, "DEDUPE_JOBS_HELPER": "jobs-1", "DEDUPE_ROOT": root, "DEDUPE_TENANT_CLAIM": "tenant",
		"MORTAL_OF": "", "MORTAL_PERCENT": "0",
	})
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
	scan := exec.Command(binary(t), "scan", "--format", "json", ".")
	scan.Dir = filepath.Join(root, "acme")
	report, _ := scan.Output() // there are problems
	want, got := findingsOf(t, report), acme.report(job.ID)
	if diff := cmp.Diff(fmt.Sprintf("%s", want), fmt.Sprintf("%s", got)); len(got.Groups) <= 50 || diff != "" {
		t.Errorf("%d groups (-scan +job):\n%.3000s", len(got.Groups), diff)
	}

	acme.key = "kept"
	acme.ask("POST", "/v1/jobs", `{"keep": "newest", "priority": ["."], "protect": ["**/*1*/**"], "min_copies": 3}`, 202, &job)
	acme.ended(job.ID)
	scan = exec.Command(binary(t), "scan", "--format", "json", "--keep", "newest", "--priority", ".", "--protect", "**/*1*/**", "--min-copies", "3", ".")
	scan.Dir = filepath.Join(root, "acme")
	report, _ = scan.Output()
	want, got = findingsOf(t, report), acme.report(job.ID)
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
	_, err = c.Invoke(t.Context(), "jobs-api", map[string]any{
		"source": "aws.states", "detail-type": "Step Functions Execution Status Change", "detail": map[string]string{
			"stateMachineArn": machine, "name": jobs.Ref{Tenant: jobs.TenantHash("acme"), ID: job.ID}.Name(), "status": "TIMED_OUT",
		},
	})
	must(t, err)
	if o := acme.ended(job.ID); o.Metadata.State != "failed" || o.Error.Code != "failed" {
		t.Errorf("an execution that took too long: %+v", o)
	}
}
