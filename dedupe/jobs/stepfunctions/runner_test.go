package stepfunctions

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"efsdedupe/dedupe/job"
	"efsdedupe/dedupe/job/s3"
	"efsdedupe/dedupe/jobs"
	"efsdedupe/fixtures/aws"
	"efsdedupe/fixtures/testkit"
)

const machine = "arn:aws:states:us-east-1:123456789012:stateMachine:dedupe-jobs"

// cloud answers for Step Functions and a bucket. It keeps objects and the operations that it
// saw.
type cloud struct {
	mu         sync.Mutex
	objects    map[string]bool
	operations []string
	answer     string // of Step Functions, an error; empty: success
	runs       string // of maps
}

func (c *cloud) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	switch operation := r.Header.Get("X-Amz-Target"); {
	case operation != "":
		c.operations = append(c.operations, operation+" "+string(body))
		switch {
		case strings.HasSuffix(operation, "MapRuns"):
			fmt.Fprint(w, c.runs)
		case strings.HasSuffix(operation, "DescribeMapRun"):
			fmt.Fprint(w, `{"mapRunArn": "the last", "itemCounts": {"succeeded": 7, "failed": 1, "running": 2}}`)
		case c.answer != "":
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprintf(w, `{"__type": %q, "message": "it said so"}`, c.answer)
		}
	case r.Method == http.MethodPut:
		c.objects[r.URL.Path] = true
	case !c.objects[r.URL.Path]:
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, "<Error><Code>NoSuchKey</Code></Error>")
	}
}

// newRunner returns a runner of at most seven functions, and what answers it.
func newRunner(t *testing.T) (*cloud, *Runner) {
	t.Helper()
	c := &cloud{objects: map[string]bool{}}
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	env := aws.EnvironmentOf(server.URL)
	for name, value := range env {
		t.Setenv(name, value)
	}
	store, err := jobs.OpenFolder(t.TempDir())
	testkit.Must(t, err)
	t.Cleanup(func() { store.Close() })
	bucket, err := s3.Open("s3://bucket")
	testkit.Must(t, err)
	r := &Runner{Registry: &jobs.Registry{Store: store}, Folder: bucket.In("jobs"), Machine: machine, Concurrency: 7}
	testkit.Must(t, r.Connect(env.Get))
	return c, r
}

// TestRunner starts and cancels a job twice each.
func TestRunner(t *testing.T) {
	c, r := newRunner(t)
	spec := job.Spec{Limits: job.DefaultLimits()}
	spec.Selection.Roots = []string{"."}
	j, err := r.Registry.Create(t.Context(), "acme", "", jobs.Job{Spec: spec})
	testkit.Must(t, err)
	name := j.Name()

	start := fmt.Sprintf(`AWSStepFunctions.StartExecution {"input":"{\"job\":\"%s\",\"concurrency\":7}","name":"%[1]s","stateMachineArn":"%s"}`, name, machine)
	stop := fmt.Sprintf(`AWSStepFunctions.StopExecution {"error":"Cancelled","executionArn":"arn:aws:states:us-east-1:123456789012:execution:dedupe-jobs:%s"}`, name)
	testkit.Must(t, r.Start(t.Context(), j.Ref))
	c.answer = "ExecutionAlreadyExists"
	testkit.Must(t, r.Start(t.Context(), j.Ref))
	testkit.Must(t, r.Cancel(t.Context(), j.Ref)) // the execution may never have started
	c.answer = ""
	testkit.Must(t, r.Cancel(t.Context(), j.Ref))
	if want := []string{start, start, start, stop}; !slices.Equal(c.operations, want) {
		t.Errorf("%s", strings.Join(c.operations, "\n"))
	}
	if folder := "/bucket/jobs/" + name; !c.objects[folder+"/begin"] || !c.objects[folder+"/cancel"] || len(c.objects) != 2 {
		t.Errorf("objects: %v", c.objects)
	}
	c.answer = "com.amazonaws.states#StateMachineDoesNotExist"
	if err := r.Start(t.Context(), j.Ref); err == nil || !strings.Contains(err.Error(), "StartExecution of Step Functions failed: StateMachineDoesNotExist: it said so") {
		t.Errorf("no state machine: %v", err)
	}
}

// TestHandle gets events of executions that are not the job's, and then the one that is.
func TestHandle(t *testing.T) {
	store, err := jobs.OpenFolder(t.TempDir())
	testkit.Must(t, err)
	defer store.Close()
	r := &Runner{Registry: &jobs.Registry{Store: store}, Machine: machine}
	j, err := r.Registry.Create(t.Context(), "acme", "", jobs.Job{})
	testkit.Must(t, err)
	var log strings.Builder
	handle := func(machine, name, status string) jobs.Phase {
		t.Helper()
		testkit.Must(t, r.Handle(t.Context(), event(t, machine, name, status), slog.New(slog.NewJSONHandler(&log, nil))))
		_, s, err := r.Registry.Get(t.Context(), j.Ref)
		testkit.Must(t, err)
		return s.Phase
	}
	other := jobs.Ref{Tenant: j.Tenant, ID: strings.Repeat("0", jobs.IDLength)}
	for _, e := range [][3]string{{machine + "-2", j.Name(), "FAILED"}, {machine, "normal", "FAILED"}, {machine, other.Name(), "FAILED"}, {machine, j.Name(), "RUNNING"}} {
		if phase := handle(e[0], e[1], e[2]); phase != jobs.Queued || log.Len() > 0 {
			t.Errorf("%v: %s, %s", e, phase, log.String())
		}
	}
	if phase := handle(machine, j.Name(), "FAILED"); phase != jobs.Failed || !strings.Contains(log.String(), "the reason") || !strings.Contains(log.String(), j.ID) {
		t.Errorf("%s: %s", phase, log.String())
	}
	for _, payload := range []string{`{}`, `[]`, `{"source": "aws.states"}`, `{"path": "."}`} {
		if _, ok := ParseEvent([]byte(payload)); ok {
			t.Errorf("%s is an event", payload)
		}
	}
}

// event returns what EventBridge says of an execution.
func event(t *testing.T, machine, name, status string) Event {
	t.Helper()
	e, ok := ParseEvent(fmt.Appendf(nil, `{"source": "aws.states", "detail-type": "Step Functions Execution Status Change",
		"detail": {"stateMachineArn": %q, "name": %q, "status": %q, "cause": "the reason"}}`, machine, name, status))
	if !ok {
		t.Fatal("no event")
	}
	return e
}

// TestContinue has a job stop and go on, in an execution of its own. What an earlier one
// tells then changes nothing.
func TestContinue(t *testing.T) {
	c, r := newRunner(t)
	spec := job.Spec{Limits: job.DefaultLimits()}
	spec.Selection.Roots = []string{"."}
	j, err := r.Registry.Create(t.Context(), "acme", "", jobs.Job{Spec: spec, MaxCost: 1, MaxConcurrency: 3})
	testkit.Must(t, err)
	testkit.Must(t, r.Start(t.Context(), j.Ref))
	_, err = r.Registry.Record(t.Context(), j.Ref, job.Round{Next: job.Stopped, Why: "it may cost too much"}, nil)
	testkit.Must(t, err)
	_, err = r.Registry.Continue(t.Context(), j.Ref, 2)
	testkit.Must(t, err)
	testkit.Must(t, r.Start(t.Context(), j.Ref))
	name := func(i int, want string) {
		t.Helper()
		if o := c.operations[i]; !strings.Contains(o, want) || !strings.Contains(o, `\"concurrency\":3`) || !strings.Contains(o, `{\"job\":\"`+j.Name()+`\"`) {
			t.Errorf("%s, want %s", o, want)
		}
	}
	name(0, fmt.Sprintf(`"name":%q`, j.Name()))
	name(1, fmt.Sprintf(`"name":%q`, j.Name()+"-1"))
	for _, run := range []struct {
		name  string
		phase jobs.Phase
	}{{j.Name(), jobs.Queued}, {j.Name() + "-2", jobs.Queued}, {j.Name() + "-01", jobs.Queued}, {j.Name() + "-1", jobs.Failed}} {
		testkit.Must(t, r.Handle(t.Context(), event(t, machine, run.name, "TIMED_OUT"), slog.New(slog.DiscardHandler)))
		if _, s, err := r.Registry.Get(t.Context(), j.Ref); err != nil || s.Phase != run.phase {
			t.Errorf("%s: %+v, %v", run.name, s, err)
		}
	}
	if _, err := r.Registry.Continue(t.Context(), j.Ref, 3); !errors.Is(err, jobs.ErrEnded) {
		t.Errorf("a job that failed: %v", err)
	}
}

// TestEnded counts the units of a round that is not counted yet, and of no other.
func TestEnded(t *testing.T) {
	c, r := newRunner(t)
	ref := jobs.Ref{Tenant: jobs.TenantHash("acme"), ID: strings.Repeat("0", jobs.IDLength)}
	told := time.Unix(1000, 500e6)
	for runs, want := range map[string]int{
		`{"mapRuns": []}`: 0,
		`{"mapRuns": [{"mapRunArn": "one", "startDate": 1000.4, "stopDate": 1000.45}]}`:                                                                    0,
		`{"mapRuns": [{"mapRunArn": "one", "startDate": 900}, {"mapRunArn": "the last", "startDate": 1000.6}, {"mapRunArn": "two", "startDate": 1000.4}]}`: 7,
	} {
		c.runs, c.operations = runs, nil
		n, err := r.Ended(t.Context(), ref, jobs.State{Told: told, Run: 2})
		all := strings.Join(c.operations, "\n")
		if err != nil || n != want || !strings.Contains(all, `:execution:dedupe-jobs:`+ref.Name()+`-2"`) || (want > 0) != strings.Contains(all, `{"mapRunArn":"the last"}`) {
			t.Errorf("%s: %d, %v, %s", runs, n, err, all)
		}
	}
}
