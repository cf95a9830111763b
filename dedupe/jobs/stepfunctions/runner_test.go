package stepfunctions

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"efsdedupe/dedupe/job"
	"efsdedupe/dedupe/job/s3"
	"efsdedupe/dedupe/jobs"
)

const machine = "arn:aws:states:us-east-1:123456789012:stateMachine:dedupe-jobs"

// cloud answers for Step Functions and a bucket. It keeps objects and the operations that it
// saw.
type cloud struct {
	mu         sync.Mutex
	objects    map[string]bool
	operations []string
	answer     string // of Step Functions, an error; empty: success
}

func (c *cloud) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	switch operation := r.Header.Get("X-Amz-Target"); {
	case operation != "":
		c.operations = append(c.operations, operation+" "+string(body))
		if c.answer != "" {
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

// TestRunner starts and cancels a job twice each.
func TestRunner(t *testing.T) {
	c := &cloud{objects: map[string]bool{}}
	server := httptest.NewServer(c)
	defer server.Close()
	for name, value := range map[string]string{"AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL": server.URL, "AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret"} {
		t.Setenv(name, value)
	}
	store, err := jobs.OpenFolder(t.TempDir())
	must(t, err)
	defer store.Close()
	bucket, err := s3.Open("s3://bucket")
	must(t, err)
	r := &Runner{Registry: &jobs.Registry{Store: store}, Folder: bucket.In("jobs"), Machine: machine, Concurrency: 7}
	must(t, r.Connect(func(name string) string {
		return map[string]string{"AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL": server.URL, "AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret"}[name]
	}))
	spec := job.Spec{Limits: job.DefaultLimits()}
	spec.Selection.Roots = []string{"."}
	j, err := r.Registry.Create(t.Context(), "acme", "", jobs.Job{Spec: spec})
	must(t, err)
	name := j.Name()

	start := fmt.Sprintf(`AWSStepFunctions.StartExecution {"input":"{\"job\":\"%s\",\"concurrency\":7}","name":"%[1]s","stateMachineArn":"%s"}`, name, machine)
	stop := fmt.Sprintf(`AWSStepFunctions.StopExecution {"error":"Cancelled","executionArn":"arn:aws:states:us-east-1:123456789012:execution:dedupe-jobs:%s"}`, name)
	must(t, r.Start(t.Context(), j.Ref))
	c.answer = "ExecutionAlreadyExists"
	must(t, r.Start(t.Context(), j.Ref))
	must(t, r.Cancel(t.Context(), j.Ref)) // the execution may never have started
	c.answer = ""
	must(t, r.Cancel(t.Context(), j.Ref))
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
	must(t, err)
	defer store.Close()
	r := &Runner{Registry: &jobs.Registry{Store: store}, Machine: machine}
	j, err := r.Registry.Create(t.Context(), "acme", "", jobs.Job{})
	must(t, err)
	var log strings.Builder
	handle := func(machine, name, status string) jobs.Phase {
		t.Helper()
		e, ok := ParseEvent(fmt.Appendf(nil, `{"source": "aws.states", "detail-type": "Step Functions Execution Status Change",
			"detail": {"stateMachineArn": %q, "name": %q, "status": %q, "cause": "the reason"}}`, machine, name, status))
		if !ok {
			t.Fatal("no event")
		}
		must(t, r.Handle(t.Context(), e, slog.New(slog.NewJSONHandler(&log, nil))))
		_, s, err := r.Registry.Get(t.Context(), j.Ref)
		must(t, err)
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

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
