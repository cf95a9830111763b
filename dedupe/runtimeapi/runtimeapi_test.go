package runtimeapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const role = "DEDUPE_TEST_BOOTSTRAP"

// The test binary is its own bootstrap.
func TestMain(m *testing.M) {
	switch os.Getenv(role) {
	case "":
		os.Exit(m.Run())
	case "bootstrap":
		for {
			id, event, h := next()
			do(id, event, h)
		}
	case "exit":
		os.Exit(7)
	case "end":
		os.Exit(0)
	case "hang":
		time.Sleep(time.Hour)
	case "init error":
		post("init/error", `{"errorType": "Mount", "errorMessage": "no such root"}`, nil)
		os.Exit(1)
	case "asks once":
		client := http.Client{Timeout: 50 * time.Millisecond}
		client.Get(url("invocation/next"))
		os.Exit(3)
	}
}

func url(path string) string {
	return "http://" + os.Getenv("AWS_LAMBDA_RUNTIME_API") + "/2018-06-01/runtime/" + path
}

func next() (id, event string, h http.Header) {
	r, err := http.Get(url("invocation/next"))
	if err != nil {
		os.Exit(9)
	}
	defer r.Body.Close()
	b, _ := io.ReadAll(r.Body)
	return r.Header.Get("Lambda-Runtime-Aws-Request-Id"), string(b), r.Header
}

func post(path, body string, h http.Header) int {
	req, _ := http.NewRequest("POST", url(path), strings.NewReader(body))
	if h != nil {
		req.Header = h
	}
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0
	}
	defer r.Body.Close()
	io.Copy(io.Discard, r.Body)
	return r.StatusCode
}

// do does what the event says, in the bootstrap.
func do(id, event string, h http.Header) {
	respond := func(body string) int { return post("invocation/"+id+"/response", body, nil) }
	fail := func(body string, h http.Header) { post("invocation/"+id+"/error", body, h) }
	verb, rest, _ := strings.Cut(event, " ")
	switch verb {
	case "echo":
		respond(rest)
	case "pid":
		respond(strconv.Itoa(os.Getpid()))
	case "getenv":
		respond(os.Getenv(rest))
	case "header":
		respond(h.Get(rest))
	case "sleep":
		d, _ := time.ParseDuration(rest)
		time.Sleep(d)
		respond("slept")
	case "error":
		fail(`{"errorType": "Problem", "errorMessage": "`+rest+`", "stackTrace": []}`, nil)
	case "bare-error":
		fail(rest, nil)
	case "header-error":
		fail(rest, http.Header{"Lambda-Runtime-Function-Error-Type": {"Function.Header"}})
	case "panic": // says so, then ends, as aws-lambda-go does
		fail(`{"errorType": "string", "errorMessage": "panic"}`, nil)
		os.Exit(1)
	case "exit":
		code, _ := strconv.Atoi(rest)
		os.Exit(code)
	case "kill":
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
		time.Sleep(time.Hour)
	case "hang":
		fmt.Println(os.Getpid())
		time.Sleep(time.Hour)
	case "hang-after":
		respond(strconv.Itoa(os.Getpid()))
		time.Sleep(time.Hour)
	case "exit-after":
		respond(strconv.Itoa(os.Getpid()))
		os.Exit(0)
	case "twice":
		first, second := respond("first"), respond("second")
		id, _, _ := next()
		post("invocation/"+id+"/response", fmt.Sprint(first, " ", second), nil)
	case "stranger":
		status := post("invocation/00000000-0000-4000-8000-000000000000/response", "wrong", nil)
		respond(strconv.Itoa(status))
	case "size":
		n, _ := strconv.Atoi(rest)
		respond(strings.Repeat("x", n))
	}
}

func command(name string) func() *exec.Cmd {
	return func() *exec.Cmd {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), role+"="+name, "GORACE=atexit_sleep_ms=0", "OWN=mine")
		return cmd
	}
}

func start(t testing.TB) *Function {
	t.Helper()
	f, err := Start(t.Context(), command("bootstrap"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f
}

func invoke(t testing.TB, f *Function, event string) Result {
	t.Helper()
	r, err := f.Invoke(t.Context(), []byte(event), time.Minute)
	if err != nil {
		t.Fatalf("%.50s: %v", event, err)
	}
	return r
}

func TestColdAndWarm(t *testing.T) {
	t.Parallel()
	f := start(t)
	cold, warm := invoke(t, f, "echo one"), invoke(t, f, "echo two")
	if string(cold.Body) != "one" || string(warm.Body) != "two" {
		t.Errorf("answers %q and %q", cold.Body, warm.Body)
	}
	if cold.Init <= 0 || warm.Init != 0 {
		t.Errorf("INIT took %v, and %v when warm", cold.Init, warm.Init)
	}
	if cold.Duration <= 0 || warm.Duration <= 0 || cold.RequestID == warm.RequestID || len(cold.RequestID) != 36 {
		t.Errorf("results %+v and %+v", cold, warm)
	}
	if a, b := invoke(t, f, "pid"), invoke(t, f, "pid"); !bytes.Equal(a.Body, b.Body) {
		t.Errorf("processes %s and %s answered", a.Body, b.Body)
	}
	if r := invoke(t, f, "sleep 30ms"); r.Duration < 30*time.Millisecond || r.Duration > 20*time.Second {
		t.Errorf("30 ms took %v", r.Duration)
	}
}

func TestVariables(t *testing.T) {
	t.Parallel()
	f := start(t)
	for name, want := range map[string]string{
		"_HANDLER":                        "bootstrap",
		"AWS_LAMBDA_FUNCTION_NAME":        "dedupe",
		"AWS_LAMBDA_FUNCTION_VERSION":     "$LATEST",
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1769",
		"LAMBDA_TASK_ROOT":                filepath.Dir(os.Args[0]),
		"OWN":                             "mine",
	} {
		if r := invoke(t, f, "getenv "+name); string(r.Body) != want {
			t.Errorf("%s is %q, want %q", name, r.Body, want)
		}
	}
	if r := invoke(t, f, "getenv AWS_REGION"); len(r.Body) == 0 {
		t.Error("there is no AWS_REGION")
	}
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	f := start(t)
	r := invoke(t, f, "header Lambda-Runtime-Aws-Request-Id")
	if string(r.Body) != r.RequestID {
		t.Errorf("the request id is %q, and %q in the result", r.Body, r.RequestID)
	}
	r = invoke(t, f, "header Lambda-Runtime-Deadline-Ms")
	ms, err := strconv.ParseInt(string(r.Body), 10, 64)
	if left := time.Until(time.UnixMilli(ms)); err != nil || left > time.Minute || left < 30*time.Second {
		t.Errorf("the deadline is %q, in %v", r.Body, left)
	}
	for _, name := range []string{"Lambda-Runtime-Invoked-Function-Arn", "Lambda-Runtime-Trace-Id"} {
		if r := invoke(t, f, "header "+name); len(r.Body) == 0 {
			t.Errorf("there is no %s", name)
		}
	}
}

func TestFunctionErrors(t *testing.T) {
	t.Parallel()
	f := start(t)
	for event, want := range map[string][2]string{
		"error no such folder":             {"Problem", "no such folder"},
		"bare-error not JSON":              {"Unhandled", "not JSON"},
		"bare-error":                       {"Unhandled", ""},
		"header-error not JSON":            {"Function.Header", "not JSON"},
		`bare-error {"a": [1]}`:            {"Unhandled", ""},
		"size " + fmt.Sprint(MaxPayload+1): {"Function.ResponseSizeTooLarge", "an answer of more than 6291456 bytes is above Lambda's limit"},
	} {
		r := invoke(t, f, event)
		if got := [2]string{r.ErrorType, r.ErrorMessage}; got != want || r.Body != nil || r.RequestID == "" {
			t.Errorf("%s: %q, want %q", event, got, want)
		}
	}
	if r := invoke(t, f, "echo after"); string(r.Body) != "after" {
		t.Errorf("after errors: %q", r.Body)
	}
}

func TestPayloadLimits(t *testing.T) {
	t.Parallel()
	f := start(t)
	if r := invoke(t, f, "size "+fmt.Sprint(MaxPayload)); len(r.Body) != MaxPayload {
		t.Errorf("%d bytes, %s", len(r.Body), r.ErrorType)
	}
	event := "echo " + strings.Repeat("x", MaxPayload-5)
	if r := invoke(t, f, event); string(r.Body) != event[5:] {
		t.Errorf("%d bytes came back", len(r.Body))
	}
	if _, err := f.Invoke(t.Context(), make([]byte, MaxPayload+1), time.Minute); err == nil || !strings.Contains(err.Error(), "above Lambda's limit") {
		t.Errorf("error %v", err)
	}
}

func TestAnswersToNothing(t *testing.T) {
	t.Parallel()
	f := start(t)
	if r := invoke(t, f, "twice"); string(r.Body) != "first" {
		t.Errorf("answer %q", r.Body)
	}
	if r := invoke(t, f, "any"); string(r.Body) != "202 400" {
		t.Errorf("the statuses of two answers: %s", r.Body)
	}
	if r := invoke(t, f, "stranger"); string(r.Body) != "400" {
		t.Errorf("the status of an answer to no call: %s", r.Body)
	}
}

// A call that ends without an answer says so, and the next one starts anew.
func TestDies(t *testing.T) {
	t.Parallel()
	f := start(t)
	invoke(t, f, "echo")
	for event, want := range map[string]string{
		"exit 0": "the bootstrap gave no answer: it exited with exit status 0",
		"exit 5": "the bootstrap gave no answer: it exited: exit status 5",
		"kill":   "the bootstrap gave no answer: it exited: signal: killed",
	} {
		if _, err := f.Invoke(t.Context(), []byte(event), time.Minute); err == nil || err.Error() != want {
			t.Errorf("%s: error %v, want %s", event, err, want)
		}
		if r := invoke(t, f, "echo after"); string(r.Body) != "after" || r.Init == 0 {
			t.Errorf("after %s: %+v", event, r)
		}
	}
	if r := invoke(t, f, "panic"); r.ErrorType != "string" || r.ErrorMessage != "panic" {
		t.Errorf("a panic: %+v", r)
	}
	if r := invoke(t, f, "echo after"); string(r.Body) != "after" || r.Init == 0 {
		t.Errorf("after a panic: %+v", r)
	}
}

func TestTimeout(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	f, err := Start(t.Context(), func() *exec.Cmd {
		cmd := command("bootstrap")()
		cmd.Stdout = &out
		return cmd
	})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	before := time.Now()
	_, err = f.Invoke(t.Context(), []byte("hang"), 200*time.Millisecond)
	if !errors.Is(err, ErrTimeout) || !strings.Contains(err.Error(), "200ms") {
		t.Errorf("error %v", err)
	}
	if took := time.Since(before); took > 20*time.Second {
		t.Errorf("it took %v", took)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(out.String()))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, 0); err != syscall.ESRCH {
		t.Errorf("%d is left: %v", pid, err)
	}
	if r := invoke(t, f, "echo after"); string(r.Body) != "after" || r.Init == 0 {
		t.Errorf("after a time-out: %+v", r)
	}
}

// What a process does after its answer is its last call's doing: the next one
// gets another process.
func TestEndsAfterItsAnswer(t *testing.T) {
	t.Parallel()
	for _, event := range []string{"hang-after", "exit-after"} {
		f := start(t)
		first := invoke(t, f, event)
		r, err := f.Invoke(t.Context(), []byte("pid"), 10*time.Second)
		if err != nil || bytes.Equal(r.Body, first.Body) || r.Init == 0 {
			t.Errorf("after %s: %q, error %v", event, r.Body, err)
		}
	}
}

func TestKilledWhileIdle(t *testing.T) {
	t.Parallel()
	f := start(t)
	for range 10 {
		pid, err := strconv.Atoi(string(invoke(t, f, "pid").Body))
		if err != nil {
			t.Fatal(err)
		}
		syscall.Kill(pid, syscall.SIGKILL)
		<-f.env.exited
		if r := invoke(t, f, "echo after"); string(r.Body) != "after" || r.Init == 0 {
			t.Errorf("%+v", r)
		}
	}
}

func TestCancelled(t *testing.T) {
	t.Parallel()
	f := start(t)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := f.Invoke(ctx, []byte("hang"), time.Minute); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
	if _, err := f.Invoke(ctx, []byte("echo"), time.Minute); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("already cancelled: error %v", err)
	}
	if r := invoke(t, f, "echo after"); string(r.Body) != "after" {
		t.Errorf("after it was cancelled: %+v", r)
	}
}

func TestManyCallers(t *testing.T) {
	t.Parallel()
	f := start(t)
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			want := strconv.Itoa(i)
			if r, err := f.Invoke(t.Context(), []byte("echo "+want), time.Minute); err != nil || string(r.Body) != want {
				t.Errorf("call %s: %q, error %v", want, r.Body, err)
			}
		})
	}
	all.Wait()
}

func TestDoesNotStart(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"exit":       "the bootstrap did not start: it exited: exit status 7",
		"end":        "the bootstrap did not start: it exited with exit status 0",
		"init error": "the bootstrap did not start: Mount: no such root",
	} {
		if _, err := Start(t.Context(), command(name)); err == nil || err.Error() != want {
			t.Errorf("%s: error %v, want %s", name, err, want)
		}
	}
	missing := func() *exec.Cmd { return exec.Command("/no/such/bootstrap") }
	if _, err := Start(t.Context(), missing); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := Start(ctx, command("hang")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("it hangs: error %v", err)
	}
}

func TestHangsInInit(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes initTime")
	}
	if _, err := Start(t.Context(), command("hang")); err == nil || !strings.Contains(err.Error(), "it asked for no event within 10s") {
		t.Errorf("error %v", err)
	}
}

// One that always ends before a call can reach it is an error, not a loop.
func TestNeverTakesACall(t *testing.T) {
	t.Parallel()
	f, err := Start(t.Context(), command("asks once"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	<-f.env.exited
	if r, err := f.Invoke(t.Context(), []byte("echo"), time.Minute); err == nil {
		t.Errorf("answer %+v", r)
	}
}

func TestClose(t *testing.T) {
	t.Parallel()
	f, err := Start(t.Context(), command("bootstrap"))
	if err != nil {
		t.Fatal(err)
	}
	pid, _ := strconv.Atoi(string(invoke(t, f, "pid").Body))
	f.Close()
	f.Close()
	if err := syscall.Kill(pid, 0); err != syscall.ESRCH {
		t.Errorf("%d is left: %v", pid, err)
	}
}

func TestErrorsAreJSON(t *testing.T) {
	b, err := json.Marshal(functionError{"T", "m"})
	if err != nil || string(b) != `{"errorType":"T","errorMessage":"m"}` {
		t.Errorf("%s, error %v", b, err)
	}
}

// BenchmarkInvoke is what the Runtime API adds to a call.
func BenchmarkInvoke(b *testing.B) {
	f := start(b)
	b.ReportAllocs()
	for b.Loop() {
		invoke(b, f, "echo")
	}
}
