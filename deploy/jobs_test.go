//go:build aws

// Package deploy tests what is deployed for jobs, on an emulator of AWS.
package deploy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"efsdedupe/dedupe"
	"efsdedupe/dedupe/job"
	"efsdedupe/dedupe/job/s3"
	"efsdedupe/fixtures"
	"efsdedupe/fixtures/aws"
	"efsdedupe/fixtures/testkit"
)

// cloud is an emulator of AWS with a bucket for jobs.
type cloud struct {
	*aws.Emulator
	t        *testing.T
	programs []string // a bootstrap that is mortal, and the real one
	table    string   // of an index, for helpers that are deployed from now on
	machines int
}

const bucket = "jobs-of-tests"

func newCloud(t *testing.T) *cloud {
	t.Helper()
	if _, err := aws.EmulatorInstalled(); err != nil {
		t.Skip(err)
	}
	t.Setenv("SFN_WAIT_SCALE", "0.05") // the emulator waits less before it tries again
	dir := t.TempDir()
	c := &cloud{t: t, programs: []string{filepath.Join(dir, "bootstrap"), filepath.Join(dir, "immortal")}}
	for i, source := range []string{"./testdata/mortal", "../cmd/lambda"} {
		testkit.Must(t, testkit.BuildFunction(c.programs[i], source))
	}
	e, err := aws.StartEmulator(t.Context(), t.TempDir(), "s3", "stepfunctions", "lambda", "dynamodb", "iam", "sts", "logs", "cloudwatch")
	testkit.Must(t, err)
	t.Cleanup(e.Stop)
	c.Emulator = e
	testkit.Must(t, e.CreateBucket(t.Context(), bucket))
	for name, value := range aws.EnvironmentOf(e.URL) {
		t.Setenv(name, value)
	}
	return c
}

// deploy deploys the state machine with a helper function, whose process dies of a share of
// the events, in percent, that match a regular expression.
func (c *cloud) deploy(dieOf string, percent, concurrency int) (machine string) {
	c.t.Helper()
	c.machines++
	name := fmt.Sprint("jobs-", c.machines)
	environment := map[string]string{"MORTAL_OF": dieOf, "MORTAL_PERCENT": fmt.Sprint(percent)}
	if c.table != "" {
		environment["DEDUPE_INDEX"], environment["DEDUPE_INDEX_ID"] = "dynamodb://"+c.table, "fs-0123abcd"
	}
	helper := c.function(name, concurrency, environment)
	definition, err := os.ReadFile("jobs.asl.json")
	testkit.Must(c.t, err)
	machine, err = c.CreateStateMachine(c.t.Context(), name, strings.NewReplacer(
		"${HelperArn}", helper, "${Bucket}", bucket, "${Partition}", "aws",
		`"MaxConcurrencyPath": "$.concurrency"`, `"MaxConcurrency": 4`, // the emulator ignores the path
	).Replace(string(definition)))
	testkit.Must(c.t, err)
	return machine
}

// function creates a function for jobs, and returns its ARN.
func (c *cloud) function(name string, concurrency int, environment map[string]string) (arn string) {
	c.t.Helper()
	environment["DEDUPE_JOBS"] = "s3://" + bucket
	arn, err := c.CreateFunction(c.t.Context(), aws.Function{
		Name: name, Programs: c.programs, Timeout: 300 * time.Second, Concurrency: concurrency, Environment: environment,
	})
	testkit.Must(c.t, err)
	return arn
}

// start starts a job.
func (c *cloud) start(machine, name string, spec job.Spec) aws.Execution {
	c.t.Helper()
	testkit.Must(c.t, job.Begin(c.store(name), spec))
	x, err := c.StartExecution(c.t.Context(), machine, name, map[string]any{"job": name, "concurrency": 4})
	testkit.Must(c.t, err)
	return x
}

func (c *cloud) store(name string) *s3.Folder {
	c.t.Helper()
	root, err := s3.Open("s3://" + bucket)
	testkit.Must(c.t, err)
	return root.In("jobs").In(name)
}

// result is what the state machine says of a job that ended well.
type result struct {
	Report   string
	Complete bool
	Units    int
}

// succeeded waits for a job, and returns its report. Nothing else may be left of it.
func (c *cloud) succeeded(x aws.Execution, name string) (r result, report string) {
	c.t.Helper()
	x = c.ended(x, name)
	if x.Status != "SUCCEEDED" {
		c.t.Fatalf("%s: %+v", name, x)
	}
	testkit.Must(c.t, json.Unmarshal([]byte(x.Output), &r))
	key, ok := strings.CutPrefix(r.Report, "s3://"+bucket+"/")
	if !ok {
		c.t.Fatalf("%s: the report is %q", name, r.Report)
	}
	b, err := c.Object(c.t.Context(), bucket, key)
	testkit.Must(c.t, err)
	return r, string(b)
}

func (c *cloud) ended(x aws.Execution, name string) aws.Execution {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 15*time.Minute)
	defer cancel()
	x, err := c.Await(ctx, x)
	testkit.Must(c.t, err)
	listing, err := c.Object(c.t.Context(), bucket, "?list-type=2&prefix=jobs/"+name+"/")
	if err != nil || strings.Contains(string(listing), "<Key>") {
		c.t.Errorf("%s: %v is left: %s", name, err, listing)
	}
	return x
}

// measured matches what differs between a job and a scan.
var measured = regexp.MustCompile(`"(started|finished|elapsed_ms|cpu_ms|peak_memory_bytes|worker_processes|opens|bytes_read|files_hashed|files_compared|files_known|opens_spared|bytes_spared)":("[^"]*"|[0-9.]+),?|"nfs":null`)

// same returns what of a report does not differ between a job and a scan: neither has the
// bill.
func same(t *testing.T, report string) string {
	t.Helper()
	var doc map[string]json.RawMessage
	testkit.Must(t, json.Unmarshal([]byte(report), &doc))
	delete(doc, "projection")
	b, err := json.Marshal(doc)
	testkit.Must(t, err)
	return strings.ReplaceAll(measured.ReplaceAllString(string(b), ""), `{"path"`, "\n"+`{"path"`)
}

// scanned returns the report of dedupe scan.
func scanned(t *testing.T, root string) string {
	t.Helper()
	report, err := exec.Command(binary(t), "scan", "--format", "json", "--workers", "8", root).Output()
	if exit := (*exec.ExitError)(nil); err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 1) { // there are problems
		t.Fatal(err)
	}
	return string(report)
}

// binary builds dedupe.
func binary(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "dedupe")
	testkit.Must(t, testkit.Build(binary, "../cmd/dedupe"))
	return binary
}

// specOf returns a job of about some hundred units.
func specOf(root string) job.Spec {
	return job.Spec{
		Selection: dedupe.Selection{Roots: []string{root}, Filter: dedupe.Filter{MinSize: 1}}, Dir: []byte("/"), Workers: 8,
		Limits: job.Limits{Entries: 600, Copies: 400, Bytes: 64 << 20, Merged: 4000},
	}
}

// TestEmulatorJobs runs jobs with the state machine and the function that are deployed. Each
// report must be that of a scan, if nothing dies for good.
func TestEmulatorJobs(t *testing.T) {
	c := newCloud(t)
	root := filepath.Join(t.TempDir(), "tree")
	_, err := fixtures.Make(t.Context(), root, fixtures.Spec{Files: 20_000, Size: 16 << 10, Layout: fixtures.Tree, Seed: 1})
	testkit.Must(t, err)
	want := same(t, scanned(t, root))
	check := func(t *testing.T, x aws.Execution, name string) {
		t.Helper()
		r, got := c.succeeded(x, name)
		if got = same(t, got); got != want {
			t.Errorf("%s (-scan +job):\n%.5000s", name, cmp.Diff(want, got))
		}
		if name == "many" && r.Units < 2000 || r.Units < 100 {
			t.Errorf("%s: %d units", name, r.Units)
		}
		t.Logf("%d units", r.Units)
	}
	healthy := c.deploy("", 0, 0)

	t.Run("normal", func(t *testing.T) {
		check(t, c.start(healthy, "normal", specOf(root)), "normal")
	})
	t.Run("crashing", func(t *testing.T) {
		check(t, c.start(c.deploy("", 10, 0), "crashing", specOf(root)), "crashing")
	})
	t.Run("two at once", func(t *testing.T) {
		one, two := c.start(healthy, "one", specOf(root)), c.start(healthy, "two", specOf(root))
		check(t, one, "one")
		check(t, two, "two")
	})
	t.Run("throttled", func(t *testing.T) {
		check(t, c.start(c.deploy("", 0, 1), "throttled", specOf(root)), "throttled")
	})
	t.Run("many units", func(t *testing.T) {
		const patience = 12 * time.Minute // on a busy machine
		if end, limited := t.Deadline(); limited && time.Until(end) < patience {
			t.Skip("2,000 units may take longer than go test has left: make test-aws runs them")
		}
		spec := specOf(root)
		spec.Limits.Entries, spec.Limits.Copies = 24, 24
		check(t, c.start(healthy, "many", spec), "many")
	})
	t.Run("cancelled", func(t *testing.T) { c.cancels(t, c.start(healthy, "cancelled", specOf(root)), "cancelled") })
	t.Run("no root", func(t *testing.T) {
		if x := c.ended(c.start(healthy, "none", specOf(root+"/none")), "none"); x.Status != "FAILED" || !strings.Contains(x.Cause, root+"/none") {
			t.Errorf("%+v", x)
		}
	})
}

// cancels cancels a job once one of its units has ended. It has no report.
func (c *cloud) cancels(t *testing.T, x aws.Execution, name string) {
	for listing := ""; !strings.Contains(listing, "-result"); {
		b, err := c.Object(t.Context(), bucket, "?list-type=2&prefix=jobs/"+name+"/")
		testkit.Must(t, err)
		listing = string(b)
	}
	testkit.Must(t, job.Cancel(c.store(name)))
	if x = c.ended(x, name); x.Status != "SUCCEEDED" || !strings.Contains(x.Output, `"cancelled": true`) {
		t.Errorf("%+v", x)
	}
	if b, err := c.Object(t.Context(), bucket, "reports/"+name+".json"); err == nil {
		t.Errorf("a report: %.100s", b)
	}
}

// TestEmulatorJobsDying has the helper die whenever it gets certain units. The job ends all
// the same. Its report says that it is not complete, and the counts show what is missing.
func TestEmulatorJobsDying(t *testing.T) {
	c := newCloud(t)
	root := filepath.Join(t.TempDir(), "tree")
	_, err := fixtures.Make(t.Context(), root, fixtures.Spec{Files: 500, Size: 16 << 10, Layout: fixtures.Tree, Seed: 1})
	testkit.Must(t, err)
	for name, test := range map[string]struct{ of, problem string }{
		"reading":    {`"unit": "[^"]*-read-`, "read"},
		"everything": {`"do": "unit"`, "walk"}, // as the emulator writes it
	} {
		var doc struct {
			Complete bool
			Reason   string
			Stats    struct{ Files int }
		}
		r, report := c.succeeded(c.start(c.deploy(test.of, 100, 0), name, specOf(root)), name)
		testkit.Must(t, json.Unmarshal([]byte(report), &doc))
		if r.Complete || doc.Complete || doc.Reason != "problems" || !strings.Contains(report, `"op":"`+test.problem+`","error":"the process that worked on it died: every attempt failed"`) ||
			(doc.Stats.Files > 0) != (name == "reading") {
			t.Errorf("%s: %+v, %.1000s", name, r, report)
		}
	}
}
