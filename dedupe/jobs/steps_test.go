package jobs

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"efsdedupe/dedupe/choose"
	"efsdedupe/dedupe/cost"
	"efsdedupe/dedupe/job"
)

// TestRecord takes jobs through the steps of a state machine to each end.
func TestRecord(t *testing.T) {
	ctx := t.Context()
	units := job.Round{Next: job.RunUnits, Stages: []job.StageCount{{Stage: "walk", Units: 3, Done: 1}}, Used: read(100), May: read(200)}
	for _, test := range []struct {
		name      string
		next      job.Round
		cancelled bool // the execution stopped, after somebody cancelled the job, or by itself
		phase     Phase
		code      Code
		read      int64
	}{
		{"it succeeds", job.Round{Next: job.End, Used: read(150)}, false, Succeeded, "", 150},
		{"somebody cancels it", job.Round{Next: job.Cancelled}, false, Cancelled, CodeCancelled, 300},
		{"no root", job.Round{Next: job.Failed, Why: "/mnt/efs/secret is missing", NoRoot: true}, false, Failed, CodeNotFound, 300},
		{"a failure", job.Round{Next: job.Failed, Why: "too many rounds"}, false, Failed, CodeFailed, 300},
		{"over the quota", job.Round{Next: job.RunUnits, Used: read(100), May: read(1 << 40)}, false, Failed, CodeQuota, 100},
		{"over its limit", job.Round{Next: job.Stopped, Why: "it may cost too much", Used: read(120)}, false, Stopped, CodeLimit, 120},
		{"it stops", job.Round{}, false, Failed, CodeFailed, 300},
		{"it is stopped", job.Round{}, true, Cancelled, CodeCancelled, 300},
	} {
		r := &Registry{Store: open(t, t.TempDir()), Limits: Limits{Jobs: 1, Bytes: 1 << 31}}
		j, err := r.Create(ctx, "acme", "", Job{})
		if err != nil {
			t.Fatal(err)
		}
		if next, err := r.Record(ctx, j.Ref, units, nil); err != nil || next.Next != job.RunUnits {
			t.Errorf("%s: %+v, %v", test.name, next, err)
		}
		if _, s, err := r.Get(ctx, j.Ref); err != nil || s.Phase != Running || s.Started.IsZero() || len(s.Stages) != 1 || s.DataBytes != 100 {
			t.Errorf("%s: it runs: %+v, %v", test.name, s, err)
		}
		if test.cancelled {
			err = r.Cancel(ctx, j.Ref)
		}
		if test.next.Next != "" {
			_, again := r.Record(ctx, j.Ref, test.next, &Outcome{Files: 7})
			err = errors.Join(err, again)
		} else {
			broke, again := r.Broke(ctx, j.Ref, 0)
			if err = errors.Join(err, again); !broke {
				t.Errorf("%s: nothing was recorded", test.name)
			}
		}
		_, s, failed := r.Get(ctx, j.Ref)
		if err = errors.Join(err, failed); err != nil || s.Phase != test.phase || s.Finished.IsZero() || (s.Outcome != nil) != (test.phase == Succeeded) ||
			s.Failure != nil && (s.Failure.Code != test.code || strings.Contains(s.Failure.Detail, "secret")) || s.DataBytes != test.read {
			t.Errorf("%s: %+v, %v", test.name, s, err)
		}
		if broke, err := r.Broke(ctx, j.Ref, 0); broke || err != nil { // what comes later changes nothing
			t.Errorf("%s: twice: %v", test.name, err)
		}
		if next, err := r.Record(ctx, j.Ref, units, nil); err != nil || test.phase == Failed != (next.Next == job.Failed) || test.phase == Stopped != (next.Next == job.Stopped) || test.phase == Cancelled != (next.Next == job.Cancelled) {
			t.Errorf("%s: a repeated step: %+v, %v", test.name, next, err)
		}
		if _, err := r.Create(ctx, "acme", "", Job{}); err != nil {
			t.Errorf("%s: its place is not free: %v", test.name, err)
		}
	}
}

func read(bytes int64) cost.Fanout { return cost.Fanout{DataBytes: bytes} }

func TestParseName(t *testing.T) {
	ref := Ref{TenantHash("acme"), newID((&Registry{}).now())}
	if got, ok := ParseName(ref.Name()); !ok || got != ref {
		t.Errorf("%s: %+v", ref.Name(), got)
	}
	for _, name := range []string{"", "normal", "-", ref.ID, ref.Tenant, ref.Name() + "0", "x" + ref.Name()[1:], strings.ToUpper(ref.Name())} {
		if got, ok := ParseName(name); ok {
			t.Errorf("%q: %+v", name, got)
		}
	}
}

// TestRecordRules ends a job whose rules name what does not exist, before any unit runs. What
// a link leads to does not exist, and what is outside of the tenant's folder neither.
func TestRecordRules(t *testing.T) {
	ctx := t.Context()
	root := t.TempDir()
	for _, dir := range []string{"acme/master", "other/master"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("../other/master", filepath.Join(root, "acme/link")); err != nil {
		t.Fatal(err)
	}
	units := job.Round{Next: job.RunUnits, Stages: []job.StageCount{{Stage: "walk", Units: 1}}}
	for path, wanted := range map[string]bool{"master": true, "link": false, "other/master": false, "none": false} {
		r := &Registry{Store: open(t, t.TempDir())}
		spec := job.Spec{Within: []byte(root), Folder: []byte("acme")}
		j, err := r.Create(ctx, "acme", "", Job{Spec: spec, Rules: RulesOf(choose.Rules{Keep: choose.Oldest, Priority: []string{path}})})
		if err != nil {
			t.Fatal(err)
		}
		next, err := r.Record(ctx, j.Ref, units, nil)
		_, s, failed := r.Get(ctx, j.Ref)
		if err = errors.Join(err, failed); err != nil || (next.Next == job.RunUnits) != wanted || (s.Phase == Running) != wanted {
			t.Errorf("%s: %+v, %+v, %v", path, next, s, err)
		}
		if !wanted && (s.Failure.Code != CodeNotFound || !strings.Contains(s.Failure.Detail, "/priority/0 is ")) {
			t.Errorf("%s: %+v", path, s.Failure)
		}
		if again, err := r.Record(ctx, j.Ref, units, nil); err != nil || again.Next != next.Next {
			t.Errorf("%s, a repeated step: %+v, %v", path, again, err)
		}
	}
}

// Rules survive JSON with any bytes in paths.
func TestRules(t *testing.T) {
	want := choose.Rules{Keep: choose.Newest, Priority: []string{"a", "caf\xe9"}, Protect: []string{"\xff*"}, MinCopies: 3}
	b, err := json.Marshal(Job{Rules: RulesOf(want)})
	if err != nil {
		t.Fatal(err)
	}
	var j Job
	if err := json.Unmarshal(b, &j); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, j.Rules.rules()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
