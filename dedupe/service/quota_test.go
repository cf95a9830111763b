package service

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"efsdedupe/dedupe/cost"
	"efsdedupe/dedupe/jobs"
	"efsdedupe/fixtures/testkit"
)

// costly returns a directory of which a walk is cheap, and reading the whole files is not.
func costly(t *testing.T) string {
	root := t.TempDir()
	for _, name := range []string{"a", "b", "c", "d"} {
		path := filepath.Join(root, name)
		if err := errors.Join(os.WriteFile(path, nil, 0o666), os.Truncate(path, 64<<20)); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestQuotas(t *testing.T) {
	r := registry(t)
	r.Limits = jobs.Limits{Jobs: 3, Bytes: 1000}
	h := newService(t, Config{Jobs: &Jobs{Registry: r, Runner: new(idle), Root: "/mnt/efs"}, TenantClaim: "folder"})
	var group sync.WaitGroup
	results := make([]result, 20)
	for i := range results {
		group.Go(func() { results[i] = ask(t, h, inFolder("alice"), "POST", "/v1/jobs", `{}`) })
	}
	group.Wait()
	var begun []string
	for _, got := range results {
		switch {
		case got.status == 202:
			begun = append(begun, operation(t, got).ID)
		case got.status != 429 || got.header.Get("Retry-After") == "":
			t.Errorf("%d %v", got.status, got.header)
		}
	}
	if len(begun) != 3 {
		t.Fatalf("%d jobs began", len(begun))
	}
	if got := ask(t, h, inFolder("bob"), "POST", "/v1/jobs", `{}`); got.status != 202 {
		t.Errorf("another tenant: %d", got.status)
	}
	ref := jobs.Ref{Tenant: jobs.TenantHash("alice"), ID: begun[0]}
	tell := func(s jobs.State) {
		t.Helper()
		if err := r.Tell(t.Context(), ref, s); err != nil {
			t.Fatal(err)
		}
	}
	// One ends, and takes half of the month's bytes.
	tell(jobs.State{Phase: jobs.Succeeded, Finished: time.Now(), DataBytes: 500, Outcome: &jobs.Outcome{}})
	got := ask(t, h, inFolder("alice"), "POST", "/v1/jobs", `{}`)
	if got.status != 202 {
		t.Fatalf("after one ended: %d %s", got.status, got.body)
	}
	ref.ID = operation(t, got).ID
	if granted, err := r.Take(t.Context(), ref, 400); err != nil || granted != 500 {
		t.Errorf("400 of 500 bytes: %d, %v", granted, err)
	}
	if _, err := r.Take(t.Context(), jobs.Ref{Tenant: ref.Tenant, ID: begun[1]}, 1); !errors.As(err, new(*jobs.QuotaError)) {
		t.Errorf("1 of 0 bytes: %v", err)
	}
	tell(jobs.State{Phase: jobs.Failed, Finished: time.Now(), DataBytes: 600, Failure: &jobs.Failure{Code: jobs.CodeFailed}})
	got = ask(t, h, inFolder("alice"), "POST", "/v1/jobs", `{}`)
	if got.status != 429 || !strings.Contains(got.decode(t).Detail, "1000 bytes a month") {
		t.Errorf("over the month's bytes: %d %s", got.status, got.body)
	}
	next := time.Now().UTC().AddDate(0, 1, 0)
	r.Now = func() time.Time { return next }
	if got := ask(t, h, inFolder("alice"), "POST", "/v1/jobs", `{}`); got.status != 202 {
		t.Errorf("in the next month: %d %s", got.status, got.body)
	}
}

// A job that reads more than its tenant may stops, and says so.
func TestQuotaWhileRunning(t *testing.T) {
	c := withJobs(t, Config{Root: tenants(t)})
	c.Jobs.Registry.Limits.Bytes = 100_000 // metered: a file is 40 KiB
	h := newService(t, c)
	end := ended(t, h, Caller{}, operation(t, ask(t, h, Caller{}, "POST", "/v1/jobs", `{}`)).ID)
	if end.Error == nil || end.Error.Code != jobs.CodeQuota || end.Metadata.ReadBytes > 100_000 {
		t.Errorf("%+v %+v", end.Error, end.Metadata)
	}
}

// A job stops before it may cost more than its max_cost, also after a restart of the server,
// and goes on with a higher one: same job, same work.
func TestMaxCost(t *testing.T) {
	c := withJobs(t, Config{Root: costly(t)})
	local := c.Jobs.Runner.(*jobs.Local)
	h := newService(t, c)
	want := groupsOf(t, ask(t, h, Caller{}, "POST", "/v1/scans", `{}`).body)
	stop := ended(t, h, Caller{}, operation(t, ask(t, h, Caller{}, "POST", "/v1/jobs", `{"max_cost": 0.003, "max_concurrency": 1}`)).ID)
	if m := stop.Metadata; stop.Error == nil || stop.Error.Code != jobs.CodeLimit || m.State != jobs.Stopped || m.MaxCost != 0.003 || m.Cost == nil ||
		m.Cost.Total <= 0 || m.Cost.Total > 0.003 || m.Expires.IsZero() || len(m.Stages) == 0 || !strings.Contains(stop.Error.Detail, "stopped before it may cost more than 0.003 USD") {
		t.Fatalf("%+v %+v", stop.Error, m)
	}
	if got := ask(t, h, Caller{}, "GET", stop.Links.Report, ""); got.status != 404 {
		t.Errorf("a report of a job that stopped: %d", got.status)
	}
	if err := errors.Join(local.Resume(t.Context()), local.Sweep(t.Context())); err != nil { // nothing goes on by itself
		t.Fatal(err)
	}
	goOn := func(maxCost float64, status int) jobJSON {
		got := ask(t, h, Caller{}, "POST", "/v1/jobs", fmt.Sprintf(`{"continue": %q, "max_cost": %v}`, stop.ID, maxCost))
		if got.status != status {
			t.Fatalf("%d %s", got.status, got.body)
		}
		if status != 202 {
			return jobJSON{}
		}
		return ended(t, h, Caller{}, operation(t, got).ID)
	}
	still := goOn(0.0031, 202)
	if still.ID != stop.ID || still.Error == nil || still.Error.Code != jobs.CodeLimit || still.Metadata.Cost.Total != stop.Metadata.Cost.Total {
		t.Errorf("a limit that is hardly higher: %+v %+v", still.Error, still.Metadata)
	}
	end := goOn(1, 202)
	if end.Error != nil || end.Response == nil || !end.Response.Complete || end.Metadata.MaxCost != 1 || end.Metadata.Cost.Total <= stop.Metadata.Cost.Total {
		t.Fatalf("%+v %+v", end.Error, end.Metadata)
	}
	if diff := cmp.Diff(want, groupsOf(t, ask(t, h, Caller{}, "GET", end.Links.Report, "").body)); diff != "" {
		t.Errorf("(-scan +job):\n%s", diff)
	}
	goOn(2, 422) // it has ended
	local.Stop() // it may be removing what units found
	if entries, err := os.ReadDir(local.Dir); err != nil || len(entries) > 0 {
		t.Errorf("it left %v, %v", entries, err)
	}
}

// A limit that nobody could keep, for lack of prices, is refused.
func TestMaxCostWithoutPrices(t *testing.T) {
	book, err := cost.Prices("us-east-2")
	if err != nil {
		t.Fatal(err)
	}
	h := newService(t, withJobs(t, Config{Root: tenants(t), Prices: book}))
	if got := ask(t, h, Caller{}, "POST", "/v1/jobs", `{"max_cost": 1}`); got.status != 422 || !strings.Contains(string(got.body), "states.transitions") {
		t.Errorf("%d %s", got.status, got.body)
	}
	if end := ended(t, h, Caller{}, operation(t, ask(t, h, Caller{}, "POST", "/v1/jobs", `{}`)).ID); end.Error != nil || end.Metadata.Cost != nil {
		t.Errorf("%+v", end)
	}
}

// A job that stopped has its place back and counts for the quota once, however it ends.
func TestMaxCostQuota(t *testing.T) {
	c := withJobs(t, Config{Root: costly(t)})
	c.Jobs.Registry.Limits = jobs.Limits{Jobs: 1, Bytes: 1 << 40}
	h := newService(t, c)
	used := func() (q struct {
		Used    int64
		Running map[string]any
	}) {
		testkit.Eventually(t, "a job that ended to leave the quota", func() bool {
			q.Running = nil
			b, _, err := c.Jobs.Registry.Store.Get(t.Context(), "quotas/"+jobs.TenantHash(""))
			if err := errors.Join(err, json.Unmarshal(b, &q)); err != nil {
				t.Fatal(err)
			}
			return len(q.Running) == 0
		})
		return q
	}
	var bytes int64
	for _, how := range []string{"go on", "cancel"} {
		stop := ended(t, h, Caller{}, operation(t, ask(t, h, Caller{}, "POST", "/v1/jobs", `{"max_cost": 0.004}`)).ID)
		if stop.Error == nil || stop.Error.Code != jobs.CodeLimit {
			t.Fatalf("%s: %+v", how, stop.Error)
		}
		if q := used(); q.Used != bytes+stop.Metadata.ReadBytes {
			t.Errorf("%s: stopped: %+v, %+v", how, q, stop.Metadata)
		}
		code, status := jobs.CodeCancelled, 202
		if how == "cancel" {
			if got := ask(t, h, Caller{}, "DELETE", stop.Links.Self, ""); got.status != status {
				t.Errorf("%d %s", got.status, got.body)
			}
		} else {
			code = ""
			ask(t, h, Caller{}, "POST", "/v1/jobs", `{"continue": "`+stop.ID+`", "max_cost": 1}`)
		}
		end := ended(t, h, Caller{}, stop.ID)
		if (end.Error == nil) != (code == "") || code != "" && end.Error.Code != code {
			t.Errorf("%s: %+v", how, end.Error)
		}
		bytes += end.Metadata.ReadBytes
		if q := used(); q.Used != bytes {
			t.Errorf("%s: %+v, want %d", how, q, bytes)
		}
	}
}
