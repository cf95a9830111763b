package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/google/go-cmp/cmp"

	"efsdedupe/dedupe/mount/mounttest"
	"efsdedupe/fixtures"
	"efsdedupe/fixtures/lambda/runtimeapi"
	"efsdedupe/fixtures/testkit"
)

// bootstrap builds the program as deployed.
func bootstrap(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "bootstrap")
	testkit.Must(t, testkit.BuildFunction(path, "."))
	return path
}

// start runs a bootstrap that serves root, and discards its logs.
func start(t testing.TB, path, root string, env ...string) (*runtimeapi.Function, error) {
	t.Helper()
	return runtimeapi.Start(t.Context(), func() *exec.Cmd {
		cmd := exec.Command(path)
		cmd.Env = append(append(os.Environ(), "DEDUPE_ROOT="+root), env...)
		return cmd
	})
}

// tree creates two sets of identical files.
func tree(t testing.TB) (root string) {
	t.Helper()
	root = filepath.Join(mounttest.TrustedDir(t, 16<<20), "root")
	if _, err := fixtures.Make(t.Context(), root, fixtures.Spec{Layout: fixtures.TwoSets, Files: 100, Size: 64 << 10, Seed: 1}); err != nil {
		t.Fatal(err)
	}
	return root
}

// groups returns the paths of each duplicate group in a report, sorted by first path.
func groups(t *testing.T, report []byte) [][]string {
	t.Helper()
	var doc struct {
		Complete bool
		Groups   []struct{ Files []struct{ Path string } }
	}
	if err := json.Unmarshal(report, &doc); err != nil || !doc.Complete {
		t.Fatalf("%v: %.200s", err, report)
	}
	all := make([][]string, len(doc.Groups))
	for i, g := range doc.Groups {
		for _, f := range g.Files {
			all[i] = append(all[i], strings.TrimPrefix(f.Path, "./"))
		}
	}
	slices.SortFunc(all, slices.Compare[[]string])
	return all
}

// fromCommandLine returns the report of dedupe scan.
func fromCommandLine(t *testing.T, root string) []byte {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "dedupe")
	testkit.Must(t, testkit.Build(binary, "../dedupe"))
	scan := exec.Command(binary, "scan", "--format", "json", ".")
	scan.Dir = root
	report, err := scan.Output()
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// answered is a response in any format.
type answered struct {
	StatusCode        int
	Headers           map[string]string
	MultiValueHeaders map[string][]string
	Body              string
}

func (a answered) contentType() string {
	if all := a.MultiValueHeaders["Content-Type"]; len(all) > 0 {
		return all[0]
	}
	return a.Headers["Content-Type"]
}

func invoke(t *testing.T, f *runtimeapi.Function, event []byte) answered {
	t.Helper()
	r, err := f.Invoke(t.Context(), event, time.Minute)
	if err != nil || r.ErrorType != "" {
		t.Fatalf("%s: %s, error %v", r.ErrorType, r.ErrorMessage, err)
	}
	var a answered
	if err := json.Unmarshal(r.Body, &a); err != nil {
		t.Fatal(err)
	}
	if a.StatusCode == 0 { // a direct invocation
		return answered{StatusCode: 200, Headers: map[string]string{"Content-Type": "application/json"}, Body: string(r.Body)}
	}
	return a
}

// inMode returns the event with a request for a scan in this mode.
func inMode(t *testing.T, event []byte, mode string) []byte {
	t.Helper()
	other := fmt.Sprintf(`{"path": ".", "mode": %q, "workers": 8}`, mode)
	if !bytes.Contains(event, []byte("isBase64Encoded")) {
		return []byte(other)
	}
	return edit(t, edit(t, event, "body", other), "isBase64Encoded", false)
}

// Every kind of event, cold and warm, in both modes, returns the duplicate groups that
// dedupe scan finds.
func TestBootstrap(t *testing.T) {
	path := bootstrap(t)
	root := tree(t)
	want := groups(t, fromCommandLine(t, root))
	if len(want) != 2 {
		t.Fatalf("%d groups", len(want))
	}
	for _, name := range eventFiles(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, err := start(t, path, root)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			event := readEvent(t, name)
			for _, temperature := range []string{"cold", "warm"} {
				a := invoke(t, f, event)
				switch {
				case name == "http-api-bad.json":
					if a.StatusCode < 400 || a.StatusCode > 499 || a.contentType() != "application/problem+json" {
						t.Errorf("%s: %+v", temperature, a)
					}
				case a.StatusCode != 200 || a.contentType() != "application/json" || !json.Valid([]byte(a.Body)):
					t.Errorf("%s: %+v", temperature, a)
				case strings.Contains(name, "scan"):
					if diff := cmp.Diff(want, groups(t, []byte(a.Body))); diff != "" {
						t.Errorf("%s: %s", temperature, diff)
					}
				}
			}
			if !strings.Contains(name, "scan") {
				return
			}
			for _, mode := range []string{"processes", "goroutines", "processes"} {
				a := invoke(t, f, inMode(t, event, mode))
				if diff := cmp.Diff(want, groups(t, []byte(a.Body))); diff != "" {
					t.Errorf("%s: %s", mode, diff)
				}
			}
		})
	}
}

// An event that cannot be answered fails the invocation, but not the function.
func TestBootstrapErrors(t *testing.T) {
	path := bootstrap(t)
	root := tree(t)
	f, err := start(t, path, root)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for event, want := range map[string][2]string{
		`{"Records": []}`:                     {"EventError", "unknown event: "},
		`{"path": "../x"}`:                    {"Problem", ": "},
		`{"path": ".", "mode": "threads"}`:    {"Problem", "Bad Request: "},
		`{"path": ".", "frobnicate": "true"}`: {"Problem", "Bad Request: "},
	} {
		r, err := f.Invoke(t.Context(), []byte(event), time.Minute)
		if err != nil || r.ErrorType != want[0] || !strings.Contains(r.ErrorMessage, want[1]) {
			t.Errorf("%s: %+v, error %v", event, r, err)
		}
	}
	if a := invoke(t, f, readEvent(t, "http-api-health.json")); a.StatusCode != 200 {
		t.Errorf("after errors: %+v", a)
	}
}

// A bootstrap that has a worker's role but no parent says so and exits.
func TestBootstrapWorkerByHand(t *testing.T) {
	cmd := exec.Command(bootstrap(t)) // standard input is not a pipe
	cmd.Env = append(os.Environ(), "DEDUPE_WORKER=hash")
	out, err := cmd.CombinedOutput()
	if err == nil || cmd.ProcessState.ExitCode() != 2 || !bytes.Contains(out, []byte("unset it")) || bytes.Count(out, []byte("\n")) != 1 {
		t.Errorf("%v: %s", err, out)
	}
}

// With a tenant claim, authenticated callers see their own folder, and all others see
// nothing.
func TestBootstrapTenants(t *testing.T) {
	path := bootstrap(t)
	root := t.TempDir()
	for name, content := range map[string]string{"acme/a": "same", "acme/b": "same", "other/c": "same"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, name), []byte(content), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	f, err := start(t, path, root, "DEDUPE_TENANT_CLAIM=tenant")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	jwt := readEvent(t, "http-api-jwt-scan.json")
	if got := groups(t, []byte(invoke(t, f, jwt).Body)); !cmp.Equal(got, [][]string{{"a", "b"}}) {
		t.Errorf("the tenant reads %v", got)
	}
	claims := "requestContext.authorizer.jwt.claims"
	for name, event := range map[string][]byte{
		"no claims":      readEvent(t, "http-api-scan.json"),
		"IAM":            readEvent(t, "http-api-iam-scan.json"),
		"other claims":   edit(t, jwt, claims, map[string]string{"sub": "acme"}),
		"no such folder": edit(t, jwt, claims, map[string]string{"tenant": "nobody"}),
		"the root":       edit(t, jwt, claims, map[string]string{"tenant": "."}),
		"two folders":    edit(t, jwt, claims, map[string]string{"tenant": "acme/../other"}),
	} {
		if a := invoke(t, f, event); a.StatusCode != 403 {
			t.Errorf("%s: %+v", name, a)
		}
	}
	r, err := f.Invoke(t.Context(), readEvent(t, "direct-scan.json"), time.Minute)
	if err != nil || r.ErrorType != "Problem" || !strings.HasPrefix(r.ErrorMessage, "Forbidden") {
		t.Errorf("direct: %+v, error %v", r, err)
	}
}

// lines parses a log with one JSON document per line.
func lines(t *testing.T, log *bytes.Buffer) (all []map[string]any) {
	t.Helper()
	for line := range bytes.Lines(log.Bytes()) {
		var doc map[string]any
		if err := json.Unmarshal(line, &doc); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		all = append(all, doc)
	}
	return all
}

// The log has the gateway's ID of each request, or Lambda's if there is no gateway. It
// has paths only if configured.
func TestBootstrapLogs(t *testing.T) {
	path := bootstrap(t)
	root := tree(t)
	for _, paths := range []string{"false", "true"} {
		var log, metrics bytes.Buffer
		f, err := runtimeapi.Start(t.Context(), func() *exec.Cmd {
			cmd := exec.Command(path)
			cmd.Env = append(os.Environ(), "DEDUPE_ROOT="+root, "DEDUPE_LOG_PATHS="+paths)
			cmd.Stdout, cmd.Stderr = &metrics, &log
			return cmd
		})
		if err != nil {
			t.Fatal(err)
		}
		var ids []any
		for _, name := range []string{"http-api-scan.json", "rest-api-scan.json", "direct-scan.json"} {
			r, err := f.Invoke(t.Context(), readEvent(t, name), time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, r.RequestID)
		}
		ids[0], ids[1] = "JKJaXmPLvHcESHA=", "c6af9ac6-7b61-11e6-9a41-93e8deadbeef"
		f.Close()
		var logged []any
		for _, line := range lines(t, &log) {
			logged = append(logged, line["request_id"])
			if _, logged := line["path"]; fmt.Sprint(logged) != paths {
				t.Errorf("DEDUPE_LOG_PATHS is %s, but logging paths is %v", paths, logged)
			}
		}
		if diff := cmp.Diff(ids, logged); diff != "" {
			t.Error(diff)
		}
		if all := lines(t, &metrics); len(all) != len(ids) || all[0]["_aws"] == nil {
			t.Errorf("metrics %s", &metrics)
		}
	}
}

// Every event brings the function's deadline, which ends a scan. That the answer is in
// time, tests with a clock of their own check, and those in boxes.
func TestBootstrapDeadline(t *testing.T) {
	path := bootstrap(t)
	root := t.TempDir()
	for _, name := range []string{"a", "b"} { // sparse files: cheap to store, slow to hash
		if err := os.WriteFile(filepath.Join(root, name), nil, 0o666); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(filepath.Join(root, name), 100<<30); err != nil {
			t.Fatal(err)
		}
	}
	f, err := start(t, path, root)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	f.Grace = time.Hour
	for _, mode := range []string{"goroutines", "processes"} {
		event := inMode(t, readEvent(t, "http-api-scan.json"), mode)
		r, err := f.Invoke(t.Context(), event, 3*time.Second)
		var a events.APIGatewayV2HTTPResponse
		if err != nil || json.Unmarshal(r.Body, &a) != nil || a.StatusCode != 200 {
			t.Fatalf("%s: %s, error %v", mode, r.Body, err)
		}
		var doc struct {
			Complete *bool
			Reason   string
		}
		if json.Unmarshal([]byte(a.Body), &doc) != nil || doc.Complete == nil || *doc.Complete || doc.Reason != "deadline" {
			t.Errorf("%s: %.200s", mode, a.Body)
		}
	}
	f.Grace = 0
	if _, err := f.Invoke(t.Context(), readEvent(t, "http-api-scan.json"), time.Millisecond); err != nil && !errors.Is(err, runtimeapi.ErrTimeout) {
		t.Errorf("1 ms: error %v", err) // it may just make it
	}
	if a := invoke(t, f, readEvent(t, "http-api-health.json")); a.StatusCode != 200 {
		t.Errorf("after a timeout: %+v", a)
	}
}

// filteredEvents returns the events that the template's metric filters count.
func filteredEvents(t *testing.T) (events []string) {
	t.Helper()
	template, err := os.ReadFile("../../deploy/template.yaml")
	if err != nil {
		t.Fatal(err)
	}
	byEvent := regexp.MustCompile(`^\{ \$\.event = "([a-z_]+)" \}$`)
	for _, filter := range regexp.MustCompile(`FilterPattern: *'(.*)'`).FindAllStringSubmatch(string(template), -1) {
		event := byEvent.FindStringSubmatch(filter[1])
		if event == nil {
			t.Errorf("the metric filter %s must match the field event", filter[1])
			continue
		}
		events = append(events, event[1])
	}
	if filters := strings.Count(string(template), "AWS::Logs::MetricFilter"); len(events) != filters || filters == 0 {
		t.Errorf("the template has %d metric filters, but the events %v", filters, events)
	}
	return events
}

func TestBootstrapDoesNotStart(t *testing.T) {
	path := bootstrap(t)
	var log bytes.Buffer
	for name, env := range map[string][]string{
		"missing root":   {"DEDUPE_ROOT=/no/such/root"},
		"not a number":   {"DEDUPE_ROOT=" + t.TempDir(), "DEDUPE_MAX_WORKERS=many"},
		"file as root":   {"DEDUPE_ROOT=" + path},
		"bad index name": {"DEDUPE_ROOT=" + t.TempDir(), "DEDUPE_INDEX=s3://digests"},
	} {
		log.Reset()
		f, err := runtimeapi.Start(t.Context(), func() *exec.Cmd {
			cmd := exec.Command(path)
			cmd.Env = append(os.Environ(), env...)
			cmd.Stderr = &log
			return cmd
		})
		if err == nil {
			f.Close()
			t.Errorf("%s: the function starts", name)
			continue
		}
		var line map[string]any
		if json.Unmarshal(log.Bytes(), &line) != nil || line["level"] != "ERROR" || line["event"] != "function_ended" {
			t.Errorf("%s: the log is %q (%v)", name, &log, slices.Sorted(maps.Keys(line)))
		}
	}
}

// BenchmarkBootstrap measures the INIT phase and a call that scans nothing.
func BenchmarkBootstrap(b *testing.B) {
	path := bootstrap(b)
	root := b.TempDir()
	health := readEvent(b, "http-api-health.json")
	b.Run("cold", func(b *testing.B) {
		var init time.Duration
		for b.Loop() {
			f, err := start(b, path, root)
			if err != nil {
				b.Fatal(err)
			}
			r, err := f.Invoke(b.Context(), health, time.Minute)
			if err != nil {
				b.Fatal(err)
			}
			init += r.Init
			f.Close()
		}
		b.ReportMetric(float64(init.Microseconds())/1e3/float64(b.N), "ms-INIT")
	})
	b.Run("warm", func(b *testing.B) {
		f, err := start(b, path, root)
		if err != nil {
			b.Fatal(err)
		}
		defer f.Close()
		for b.Loop() {
			if _, err := f.Invoke(b.Context(), health, time.Minute); err != nil {
				b.Fatal(err)
			}
		}
	})
}
