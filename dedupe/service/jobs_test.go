package service

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"efsdedupe/dedupe"
	"efsdedupe/dedupe/job"
	"efsdedupe/dedupe/jobs"
	"efsdedupe/dedupe/report"
)

// registry returns an empty registry.
func registry(t testing.TB) *jobs.Registry {
	t.Helper()
	folder, err := jobs.OpenFolder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { folder.Close() })
	return &jobs.Registry{Store: folder}
}

// withJobs adds jobs on this machine to a configuration.
func withJobs(t testing.TB, c Config) Config {
	t.Helper()
	root, err := os.Open(c.Root)
	if err != nil {
		t.Fatal(err)
	}
	r := registry(t)
	local := &jobs.Local{Registry: r, Dir: t.TempDir(), Root: root, AtOnce: 2, Processes: 1, Tool: report.Tool{Name: "test"}}
	t.Cleanup(local.Stop)
	c.Jobs = &Jobs{Registry: r, Runner: local, Root: c.Root}
	return c
}

// operation is a job in an answer.
func operation(t testing.TB, r result) (doc jobJSON) {
	t.Helper()
	if err := json.Unmarshal(r.body, &doc); err != nil {
		t.Fatalf("%v: %s", err, r.body)
	}
	return doc
}

// ended waits until a job ended.
func ended(t testing.TB, h http.Handler, c Caller, id string) jobJSON {
	t.Helper()
	for {
		got := ask(t, h, c, "GET", "/v1/jobs/"+id, "")
		if got.status != 200 {
			t.Fatalf("%d %s", got.status, got.body)
		}
		if doc := operation(t, got); doc.Done {
			return doc
		}
		select {
		case <-t.Context().Done():
			t.Fatal("the job does not end")
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// hungStore is a store of jobs that does not answer.
type hungStore struct{ jobs.Store }

func (hungStore) List(ctx context.Context, _, _ string, _ int) ([]string, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// TestHungJobs asks for jobs when their store does not answer.
func TestHungJobs(t *testing.T) {
	c := Config{Root: t.TempDir(), MaxDuration: time.Millisecond}
	c.Jobs = &Jobs{Registry: &jobs.Registry{Store: hungStore{}}, Root: c.Root}
	h, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	if got := ask(t, h, Caller{}, "GET", "/v1/jobs", ""); got.status != 503 || got.header.Get("Retry-After") == "" {
		t.Errorf("%d %v %s", got.status, got.header, got.body)
	}
}

func inFolder(name string) Caller { return Caller{Claims: map[string]string{"folder": name}} }

// found is what a report says about groups.
type foundGroups struct {
	Complete bool
	Stats    struct {
		Files, Bytes, Directories int64
		Groups                    int64 `json:"duplicate_groups"`
		Reclaimable               int64 `json:"reclaimable_bytes"`
	}
	Sizes, Folders json.RawMessage
	Groups         []struct {
		Size   int64
		Digest string
		Files  []json.RawMessage
		Before int64 `json:"files_before"`
		After  int64 `json:"files_left_out"`
	}
	Problems, Skipped []json.RawMessage
	Selection         json.RawMessage
	Next              string
}

func groupsOf(t testing.TB, body []byte) (doc foundGroups) {
	t.Helper()
	if err := json.Unmarshal(body, &doc); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	return doc
}

// A job finds what a scan finds, and each tenant sees only their own jobs.
func TestJobs(t *testing.T) {
	h := newService(t, withJobs(t, Config{Root: tenants(t), TenantClaim: "folder"}))
	for _, folder := range []string{"alice", "bob"} {
		got := ask(t, h, inFolder(folder), "POST", "/v1/jobs", `{"path": "."}`)
		doc := operation(t, got)
		if got.status != 202 || got.header.Get("Location") != "/v1/jobs/"+doc.ID || got.header.Get("Retry-After") == "" || doc.Metadata.State != jobs.Queued {
			t.Fatalf("%d %v %s", got.status, got.header, got.body)
		}
		other := map[string]string{"alice": "bob", "bob": "alice"}[folder]
		for _, path := range []string{"/v1/jobs/" + doc.ID, "/v1/jobs/" + doc.ID + "/report"} {
			if got := ask(t, h, inFolder(other), "GET", path, ""); got.status != 404 {
				t.Errorf("%s reads %s of %s: %d", other, path, folder, got.status)
			}
		}
		if got := ask(t, h, inFolder(other), "DELETE", "/v1/jobs/"+doc.ID, ""); got.status != 404 {
			t.Errorf("%s cancels a job of %s: %d", other, folder, got.status)
		}
		end := ended(t, h, inFolder(folder), doc.ID)
		if end.Error != nil || end.Response == nil || !end.Response.Complete || end.Metadata.Expires.IsZero() || len(end.Metadata.Stages) == 0 {
			t.Errorf("%+v", end)
		}
		want := groupsOf(t, ask(t, h, inFolder(folder), "POST", "/v1/scans", `{"path": "."}`).body)
		body := ask(t, h, inFolder(folder), "GET", end.Links.Report, "").body
		page := groupsOf(t, body)
		if diff := cmp.Diff(want, page); diff != "" || len(page.Groups) != 1 {
			t.Errorf("%s (-scan +job):\n%s", folder, diff)
		}
		var bill struct {
			Projection struct{ Region, Total json.RawMessage }
		}
		if err := json.Unmarshal(body, &bill); err != nil || string(bill.Projection.Region) != `"us-east-1"` || len(bill.Projection.Total) < 2 {
			t.Errorf("%s: the bill is %s, %v", folder, bill, err)
		}
		var list struct{ Jobs []jobJSON }
		if err := json.Unmarshal(ask(t, h, inFolder(folder), "GET", "/v1/jobs", "").body, &list); err != nil || len(list.Jobs) != 1 || list.Jobs[0].ID != doc.ID {
			t.Errorf("%s lists %+v", folder, list)
		}
		if got := ask(t, h, inFolder(folder), "DELETE", "/v1/jobs/"+doc.ID, ""); got.status != 202 || operation(t, got).Response == nil {
			t.Errorf("cancelling a job that ended: %d %s", got.status, got.body)
		}
	}
	for _, c := range []Caller{{}, inFolder(".."), inFolder("nobody")} {
		got := ask(t, h, c, "POST", "/v1/jobs", `{}`)
		if name := c.Claims["folder"]; name == "nobody" {
			if end := ended(t, h, c, operation(t, got).ID); end.Error == nil || end.Error.Code != jobs.CodeNotFound {
				t.Errorf("%+v", end)
			}
		} else if got.status != 403 {
			t.Errorf("%v: %d", c, got.status)
		}
	}
}

// Whatever leads out of a folder does not exist, as for a scan.
func TestJobsAreConfined(t *testing.T) {
	h := newService(t, withJobs(t, Config{Root: tenants(t), TenantClaim: "folder"}))
	for _, path := range []string{"..", "../bob", "out", "bob", "bob/a", "top", "/", "/etc", "self/sub", "nowhere", "a/x"} {
		got := ask(t, h, inFolder("alice"), "POST", "/v1/jobs", fmt.Sprintf(`{"path": %q}`, path))
		if got.status != 202 {
			t.Errorf("%s: %d %s", path, got.status, got.body)
			continue
		}
		end := ended(t, h, inFolder("alice"), operation(t, got).ID)
		if end.Error == nil || end.Error.Code != jobs.CodeNotFound {
			t.Errorf("%s: %+v %+v", path, end.Error, end.Response)
		}
		if got := ask(t, h, inFolder("alice"), "GET", end.Links.Report, ""); got.status != 404 {
			t.Errorf("%s: report %d", path, got.status)
		}
		plan := ask(t, h, inFolder("alice"), "POST", "/v1/jobs", fmt.Sprintf(`{"path": %q, "dry_run": true}`, path))
		if plan.status != 404 {
			t.Errorf("%s: plan %d %s", path, plan.status, plan.body)
		}
	}
	got := ask(t, h, inFolder("alice"), "POST", "/v1/jobs", `{"dry_run": true}`)
	var plan planJSON
	if err := json.Unmarshal(got.body, &plan); err != nil || got.status != 200 || plan.Files != 3 || !plan.Exact {
		t.Errorf("%d %s", got.status, got.body)
	}
}

// idle is a Runner that only counts.
type idle struct {
	mu      sync.Mutex
	started map[string]int
	ended   int
	err     error
}

func (i *idle) Ended(context.Context, jobs.Ref, jobs.State) (int, error) { return i.ended, i.err }

func (i *idle) Start(_ context.Context, ref jobs.Ref) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.started == nil {
		i.started = make(map[string]int)
	}
	i.started[ref.ID]++
	return i.err
}

func (i *idle) Cancel(context.Context, jobs.Ref) error { return nil }

func (i *idle) Plan(context.Context, job.Spec) (job.Estimate, error) {
	return job.Estimate{}, &dedupe.RootError{}
}

// Without a root, the service has jobs but no scans, and needs no file system.
func TestJobsOnly(t *testing.T) {
	h := newService(t, Config{Jobs: &Jobs{Registry: registry(t), Runner: new(idle), Root: "/mnt/efs"}})
	for request, want := range map[[3]string]int{
		{"POST", "/v1/jobs", `{}`}: 202, {"GET", "/v1/healthz", ""}: 200, {"POST", "/v1/scans", `{}`}: 404, {"POST", "/v1/jobs", `{"dry_run": true}`}: 404,
		{"GET", "/v1/openapi.json", ""}: 200,
	} {
		r := httptest.NewRequest(request[0], request[1], strings.NewReader(request[2]))
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, r); w.Code != want {
			t.Errorf("%v: %d %s", request, w.Code, w.Body)
		}
	}
	if got := ask(t, newService(t, Config{Root: t.TempDir()}), Caller{}, "GET", "/v1/jobs", ""); got.status != 404 {
		t.Errorf("without jobs: %d", got.status)
	}
}

// While units run, the answer says how many have ended, as far as anybody knows.
func TestJobProgress(t *testing.T) {
	r, runner := registry(t), new(idle)
	h := newService(t, Config{Jobs: &Jobs{Registry: r, Runner: runner, Root: "/mnt/efs"}})
	id := operation(t, ask(t, h, Caller{}, "POST", "/v1/jobs", `{}`)).ID
	state := jobs.State{Phase: jobs.Running, Stages: []job.StageCount{{Stage: "walk", Units: 1, Done: 1}, {Stage: "sizes", Units: 5, Done: 2}}}
	if err := r.Tell(t.Context(), jobs.Ref{Tenant: jobs.TenantHash(""), ID: id}, state); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		ended int
		err   error
		want  int
	}{{0, nil, 2}, {2, nil, 4}, {9, nil, 5}, {1, errors.New("no answer"), 2}} {
		runner.ended, runner.err = test.ended, test.err
		if m := operation(t, ask(t, h, Caller{}, "GET", "/v1/jobs/"+id, "")).Metadata; len(m.Stages) != 2 || m.Stages[0].Done != 1 || m.Stages[1].Done != test.want {
			t.Errorf("%+v: %+v", test, m.Stages)
		}
	}
}

func TestCancelJob(t *testing.T) {
	c := withJobs(t, Config{Root: tenants(t)})
	local := c.Jobs.Runner.(*jobs.Local)
	c.Jobs.Runner = new(idle)
	h := newService(t, c)
	id := operation(t, ask(t, h, Caller{}, "POST", "/v1/jobs", `{}`)).ID
	if got := ask(t, h, Caller{}, "GET", "/v1/jobs/"+id+"/report", ""); got.status != 409 || got.header.Get("Retry-After") == "" {
		t.Errorf("too early: %d %v", got.status, got.header)
	}
	got := ask(t, h, Caller{}, "DELETE", "/v1/jobs/"+id, "")
	if doc := operation(t, got); got.status != 202 || doc.Done || !doc.Metadata.Cancelling {
		t.Errorf("%d %s", got.status, got.body)
	}
	if err := local.Resume(t.Context()); err != nil { // nobody ran it so far
		t.Fatal(err)
	}
	if end := ended(t, h, Caller{}, id); end.Error == nil || end.Error.Code != jobs.CodeCancelled {
		t.Errorf("%+v", end)
	}
	if got := ask(t, h, Caller{}, "GET", "/v1/jobs/"+id+"/report", ""); got.status != 404 {
		t.Errorf("the report of a cancelled job: %d", got.status)
	}
}

// Jobs are gone, with their reports, when their time is over.
func TestJobsExpire(t *testing.T) {
	c := withJobs(t, Config{Root: tenants(t)})
	r := c.Jobs.Registry
	r.Keep = time.Hour
	h := newService(t, c)
	code, doc := send(h, "key", `{}`)
	if code != 202 {
		t.Fatal(code)
	}
	end := ended(t, h, Caller{}, doc.ID)
	if err := r.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := ask(t, h, Caller{}, "GET", end.Links.Report, ""); got.status != 200 {
		t.Errorf("%d", got.status)
	}
	r.Now = func() time.Time { return time.Now().Add(2 * time.Hour) }
	for range 2 {
		for _, path := range []string{end.Links.Self, end.Links.Report} {
			if got := ask(t, h, Caller{}, "GET", path, ""); got.status != 404 {
				t.Errorf("%s: %d", path, got.status)
			}
		}
		if code, _ := send(h, "key", `{}`); code == 202 {
			break // the second time, because the first one only removes the job
		}
	}
	if err := r.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if code, again := send(h, "key", `{}`); code != 202 || again.ID == doc.ID {
		t.Errorf("%d %+v", code, again)
	}
	names, err := r.Store.List(t.Context(), "reports/"+jobs.TenantHash("")+"/"+doc.ID+"/", "", 10)
	if err != nil || len(names) > 0 {
		t.Errorf("%v %v", names, err)
	}
}

func TestRefusedJobs(t *testing.T) {
	h := newService(t, withJobs(t, Config{Root: tenants(t)}))
	end := ended(t, h, Caller{}, operation(t, ask(t, h, Caller{}, "POST", "/v1/jobs", `{}`)).ID)
	none := strings.Repeat("0", jobs.IDLength)
	for _, test := range []struct {
		method, path, body string
		status             int
		detail             string
	}{
		{"POST", "/v1/jobs", ``, 400, "EOF"},
		{"POST", "/v1/jobs", `{"root": "/"}`, 400, "unknown field"},
		{"POST", "/v1/jobs", `{"path": null}`, 400, "null"},
		{"POST", "/v1/jobs", `{"limit": 5}`, 400, "unknown field"},
		{"POST", "/v1/jobs", `{"workers": 0}`, 400, "0 workers"},
		{"POST", "/v1/jobs", `{"include": ["["]}`, 400, "bad glob"},
		{"POST", "/v1/jobs", `{"path": "` + strings.Repeat("x", 5000) + `"}`, 400, "the path is longer than 4096 characters"},
		{"POST", "/v1/jobs", `{"path": "` + strings.Repeat("x", 100<<10) + `"}`, 413, "larger than 65536 bytes"},
		{"POST", "/v1/jobs", `{"max_cost": 0}`, 400, "more than 0"},
		{"POST", "/v1/jobs", `{"max_cost": 1e10}`, 400, "at most 1000000000"},
		{"POST", "/v1/jobs", `{"max_concurrency": 0}`, 400, "allowed: 1 to 10000"},
		{"POST", "/v1/jobs", `{"continue": ""}`, 400, "not the ID"},
		{"POST", "/v1/jobs", `{"continue": "` + none + `"}`, 400, "continue takes max_cost"},
		{"POST", "/v1/jobs", `{"continue": "` + none + `", "max_cost": 1, "path": "."}`, 400, "and nothing else"},
		{"POST", "/v1/jobs", `{"continue": "` + none + `", "max_cost": 1, "dry_run": true}`, 400, "and nothing else"},
		{"POST", "/v1/jobs", `{"continue": "` + none + `", "max_cost": 1}`, 404, "no such job"},
		{"POST", "/v1/jobs", `{"continue": "` + end.ID + `", "max_cost": 1}`, 422, "the job has ended"},
		{"PUT", "/v1/jobs", ``, 405, "use GET or POST"},
		{"POST", end.Links.Self, ``, 405, "use DELETE or GET"},
		{"DELETE", end.Links.Report, ``, 405, "use GET"},
		{"GET", "/v1/jobs/" + none, ``, 404, "no such job"},
		{"DELETE", "/v1/jobs/" + none, ``, 404, "no such job"},
		{"GET", "/v1/jobs/" + none + "/report", ``, 404, "no such job"},
		{"GET", "/v1/jobs/" + strings.ToUpper(end.ID), ``, 404, "no such resource"},
		{"GET", "/v1/jobs/", ``, 404, "no such resource"},
		{"GET", "/v1/jobs/..", ``, 404, "no such resource"},
		{"GET", end.Links.Self + "/", ``, 404, "no such resource"},
		{"GET", end.Links.Self + "/x", ``, 404, "no such resource"},
		{"GET", end.Links.Self + "%2freport", ``, 404, "no such resource"},
		{"GET", end.Links.Report + "?limit=0", ``, 400, "limit"},
		{"GET", end.Links.Report + "?limit=10001", ``, 400, "limit"},
		{"GET", end.Links.Report + "?limit=1&limit=1", ``, 400, "more than once"},
		{"GET", end.Links.Report + "?page=1", ``, 400, `unknown parameter \"page\"`},
		{"GET", end.Links.Report + "?next=", ``, 400, "next is empty"},
		{"GET", end.Links.Report + "?next=1", ``, 400, "send it unchanged"},
		{"GET", end.Links.Report + "?next=0-9-1", ``, 400, "send it unchanged"},
		{"GET", end.Links.Report + "?next=7-0-1", ``, 400, "send it unchanged"},
		{"GET", end.Links.Report + "?next=0--1-1", ``, 400, "send it unchanged"},
		{"GET", end.Links.Report + "?next=00-1-1", ``, 400, "send it unchanged"},
		{"GET", "/v1/jobs?limit=101", ``, 400, "limit"},
		{"GET", "/v1/jobs?next=x", ``, 400, "send it unchanged"},
		{"GET", "/v1/jobs?limit=%zz", ``, 400, "can't be read"},
	} {
		got := ask(t, h, Caller{}, test.method, test.path, test.body)
		if got.status != test.status || !bytes.Contains(got.body, []byte(test.detail)) {
			t.Errorf("%s %s %.60s: %d %s, want %d %s", test.method, test.path, test.body, got.status, got.body, test.status, test.detail)
		}
	}
}

// Lists of jobs have pages, the newest job first.
func TestListJobs(t *testing.T) {
	r := registry(t)
	r.Limits.Jobs = 100
	now := time.Now()
	r.Now = func() time.Time { now = now.Add(time.Second); return now }
	h := newService(t, Config{Jobs: &Jobs{Registry: r, Runner: new(idle), Root: "/mnt/efs"}})
	var want, got []string
	for range 7 {
		want = append([]string{operation(t, ask(t, h, Caller{}, "POST", "/v1/jobs", `{}`)).ID}, want...)
	}
	for path := "/v1/jobs?limit=3"; path != ""; {
		var list struct {
			Jobs []jobJSON
			Next string
		}
		if err := json.Unmarshal(ask(t, h, Caller{}, "GET", path, "").body, &list); err != nil || len(list.Jobs) > 3 {
			t.Fatal(err)
		}
		for _, j := range list.Jobs {
			got = append(got, j.ID)
		}
		if path = ""; list.Next != "" {
			path = "/v1/jobs?limit=3&next=" + list.Next
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
