package service

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"efsdedupe/dedupe"
	"efsdedupe/dedupe/job"
	"efsdedupe/dedupe/mount/mounttest"
	"efsdedupe/fixtures/testkit"
)

// The test binary doubles as its own worker process.
func TestMain(m *testing.M) {
	runJobWorker := func(in io.Reader, out io.Writer) (bool, error) { return job.RunWorker(in, out, nil) }
	for _, run := range []func(io.Reader, io.Writer) (bool, error){dedupe.RunWorker, runJobWorker} {
		if isWorker, err := run(os.Stdin, os.Stdout); isWorker {
			if err != nil {
				os.Exit(1)
			}
			os.Exit(0)
		}
	}
	os.Setenv("GORACE", "atexit_sleep_ms=0") // for the workers
	os.Exit(m.Run())
}

// tenants creates a root with folders for two tenants, who have identical files, and
// a secret next to the root.
func tenants(t testing.TB) (root string) {
	t.Helper()
	top := mounttest.TrustedDir(t, 1<<20)
	root = filepath.Join(top, "root")
	for path, content := range map[string]string{
		"root/alice/a": "same", "root/alice/sub/b": "same", "root/alice/c": "else",
		"root/bob/a": "same", "root/bob/b": "same", "root/bob/x": "bob's", "secret": "same",
	} {
		path = filepath.Join(top, path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o777), os.WriteFile(path, []byte(content), 0o666)); err != nil {
			t.Fatal(err)
		}
	}
	for link, target := range map[string]string{"out": "../../secret", "bob": "../bob", "top": "/", "self": "."} {
		if err := os.Symlink(target, filepath.Join(root, "alice", link)); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

type result struct {
	status int
	header http.Header
	body   []byte
}

func (r result) decode(t testing.TB) (doc struct {
	Complete bool
	Detail   string
	ID       string
	Next     string
	Stats    struct{ Files int }
	Groups   []struct {
		Files []struct{ Path string }
	}
	Total float64
}) {
	t.Helper()
	if err := json.Unmarshal(r.body, &doc); err != nil {
		t.Fatalf("%v: %s", err, r.body)
	}
	return doc
}

// ask sends a request and checks the answer against the contract.
func ask(t testing.TB, h http.Handler, c Caller, method, path, body string) result {
	t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r = r.WithContext(WithCaller(r.Context(), c))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	newContract(t).check(t, method, path, w.Code, w.Header(), w.Body.Bytes())
	return result{w.Code, w.Header(), w.Body.Bytes()}
}

func newService(t testing.TB, c Config) http.Handler {
	t.Helper()
	h, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestScan(t *testing.T) {
	root := tenants(t)
	h := newService(t, Config{Root: root})
	for _, mode := range []string{"goroutines", "processes"} {
		got := ask(t, h, Caller{}, "POST", "/v1/scans", fmt.Sprintf(`{"path": "alice", "mode": %q, "workers": 5}`, mode))
		doc := got.decode(t)
		if got.status != 200 || !doc.Complete || doc.Stats.Files != 3 || len(doc.Groups) != 1 || doc.Groups[0].Files[0].Path != "alice/a" || doc.Groups[0].Files[1].Path != "alice/sub/b" {
			t.Errorf("%s: %d %s", mode, got.status, got.body)
		}
		if timing := got.header.Get("Server-Timing"); !strings.HasPrefix(timing, "scan;dur=") {
			t.Errorf("Server-Timing: %q", timing)
		}
	}

	// The whole root, a page at a time.
	got := ask(t, h, Caller{}, "POST", "/v1/scans", `{}`)
	if doc := got.decode(t); doc.Stats.Files != 6 || len(doc.Groups) != 1 || len(doc.Groups[0].Files) != 4 {
		t.Errorf("%s", got.body)
	}
	if err := os.WriteFile(filepath.Join(root, "alice/again"), []byte("else"), 0o666); err != nil {
		t.Fatal(err)
	}
	first := ask(t, h, Caller{}, "POST", "/v1/scans", `{"limit": 1}`).decode(t)
	second := ask(t, h, Caller{}, "POST", "/v1/scans", fmt.Sprintf(`{"limit": 1, "next": %q}`, first.Next)).decode(t)
	if len(first.Groups) != 1 || len(second.Groups) != 1 || first.Next == "" || second.Next != "" || second.Groups[0].Files[0].Path != "alice/again" {
		t.Errorf("pages: %+v, %+v", first, second)
	}

	got = ask(t, h, Caller{}, "POST", "/v1/scans", `{"exclude": ["sub"], "include": ["alice/**"], "min_size": 4, "max_size": 4, "projection": {"calls": 5, "api": "rest", "memory_mb": 512}}`)
	if doc := got.decode(t); doc.Stats.Files != 3 || !bytes.Contains(got.body, []byte(`"api.rest"`)) {
		t.Errorf("%s", got.body)
	}
}

func TestRefusedRequests(t *testing.T) {
	h := newService(t, Config{Root: tenants(t), MaxFiles: 5})
	long := strings.Repeat("x", 5000)
	for _, test := range []struct {
		method, path, body string
		status             int
		detail             string
	}{
		{"POST", "/v1/scans", ``, 400, "EOF"},
		{"POST", "/v1/scans", `[]`, 400, "not the JSON object that /v1/openapi.json describes"},
		{"POST", "/v1/scans", `{"path": "alice"} {}`, 400, "more data after the object"},
		{"POST", "/v1/scans", `{"root": "/"}`, 400, "unknown field"},
		{"POST", "/v1/scans", `{"path": 5}`, 400, "cannot unmarshal"},
		{"POST", "/v1/scans", `{"mode": "threads"}`, 400, "unknown mode"},
		{"POST", "/v1/scans", `{"workers": 0}`, 400, "0 workers"},
		{"POST", "/v1/scans", `{"workers": 201}`, 400, "choose 1 to 200"},
		{"POST", "/v1/scans", `{"workers": 1e99}`, 400, "cannot unmarshal"},
		{"POST", "/v1/scans", `{"limit": 0}`, 400, "limit"},
		{"POST", "/v1/scans", `{"next": "x"}`, 400, "next"},
		{"POST", "/v1/scans", `{"include": ["["]}`, 400, "bad glob"},
		{"POST", "/v1/scans", `{"exclude": ["` + long + `"]}`, 400, "a glob is longer than 1024 characters"},
		{"POST", "/v1/scans", `{"min_size": -1}`, 400, "negative"},
		{"POST", "/v1/scans", `{"projection": {"region": "mars"}}`, 400, "mars"},
		{"POST", "/v1/scans", `{"projection": {"arch": "sparc"}}`, 400, "sparc"},
		{"POST", "/v1/scans", `{"path": "` + long + `"}`, 400, "the path is longer than 4096 characters"},
		{"POST", "/v1/scans", `{"path": "` + strings.Repeat("x", 100<<10) + `"}`, 413, "larger than 65536 bytes"},
		{"POST", "/v1/scans", `{"path": "nowhere"}`, 404, "no directory or file"},
		{"POST", "/v1/scans", `{"path": "."}`, 422, "the limit is 5"},
		{"GET", "/v1/scans", ``, 405, "use POST"},
		{"DELETE", "/v1/healthz", ``, 405, "use GET"},
		{"GET", "/", ``, 404, "no such resource"},
		{"POST", "/v1/projections", `{"calls": -1}`, 400, "calls a month is -1"},
		{"POST", "/v1/projections", `{"extras": "some"}`, 400, "choose all or none"},
		{"POST", "/v1/scans", `{"projection": {"extras": "some"}}`, 400, "choose all or none"},
		{"POST", "/v1/projections", `{"usage": {"throughput": "provisioned", "provisioned_mibps": 3415}}`, 400, "allowed: 1 to 3414"},
		{"POST", "/v1/projections", `{"usage": {"memory_mb": 64}}`, 400, "128 to 10240"},
		{"POST", "/v1/projections", `{"usage": {"duration_ms": 1e300}}`, 400, "duration"},
		{"POST", "/v1/projections", `{"usage": {"known_share": 1.0000000000000002}}`, 400, "1000001, allowed: 0 to 1000000"},
		{"POST", "/v1/projections", `{"usage": {"dynamodb_read_units": -5e-324}}`, 400, "-1, allowed"},
		{"POST", "/v1/projections", `{"usage": {"dynamodb_write_units": 1000000000.0000001}}`, 400, "allowed"},
		{"POST", "/v1/projections", `{"opens": 9000000000000000000}`, 400, "one call"},
	} {
		got := ask(t, h, Caller{}, test.method, test.path, test.body)
		if doc := got.decode(t); got.status != test.status || !strings.Contains(doc.Detail, test.detail) {
			t.Errorf("%s %s %.60s: %d %s, want %d %s", test.method, test.path, test.body, got.status, doc.Detail, test.status, test.detail)
		}
	}
	if got := ask(t, h, Caller{}, "GET", "/v1/healthz", ""); got.status != 200 {
		t.Errorf("health: %d %s", got.status, got.body)
	}
	if got := ask(t, h, Caller{}, "GET", "/v1/openapi.json", ""); got.status != 200 || !bytes.Equal(got.body, openapi) {
		t.Errorf("openapi: %d", got.status)
	}
	got := ask(t, h, Caller{}, "POST", "/v1/projections", `{"bytes_read": 104857600, "opens": 100, "extras": "none", "usage": {"duration_ms": 300, "init_ms": 0}}`)
	if doc := got.decode(t); doc.Total != 148120.12 {
		t.Errorf("projection: %s", got.body)
	}
}

// TestConfined tries every way to leave the root. All answers are identical, so they
// reveal nothing.
func TestConfined(t *testing.T) {
	h := newService(t, Config{Root: tenants(t), TenantClaim: "org"})
	alice := Caller{Claims: map[string]string{"org": "alice"}}
	nowhere := ask(t, h, alice, "POST", "/v1/scans", `{"path": "nowhere"}`)
	for _, path := range []string{
		"..", "../bob", "../../secret", "/", "/etc", "bob", "bob/a", "out", "top/etc", "self", "self/a", "sub/../../bob", "./a", "a/", "sub//b", "a\\u0000",
		"sub/..", "",
	} {
		got := ask(t, h, alice, "POST", "/v1/scans", `{"path": "`+path+`"}`)
		if got.status != 404 || !bytes.Equal(got.body, nowhere.body) {
			t.Errorf("%q: %d %s", path, got.status, got.body)
		}
	}
	got := ask(t, h, alice, "POST", "/v1/scans", `{}`)
	if doc := got.decode(t); doc.Stats.Files != 3 || bytes.Contains(got.body, []byte("bob")) || doc.Groups[0].Files[0].Path != "a" {
		t.Errorf("%s", got.body)
	}
	bob := ask(t, h, Caller{Claims: map[string]string{"org": "bob"}}, "POST", "/v1/scans", `{}`)
	if bytes.Contains(bob.body, []byte("sub/b")) || bob.decode(t).Stats.Files != 3 {
		t.Errorf("%s", bob.body)
	}
	for _, claims := range []map[string]string{
		nil, {}, {"sub": "alice"}, {"org": ""}, {"org": "."}, {"org": ".."}, {"org": "../bob"}, {"org": "alice/sub"}, {"org": "/"}, {"org": "a\x00b"},
		{"org": "alice\n"}, {"org": ".hidden"}, {"org": strings.Repeat("a", 256)}, {"org": "nobody"}, {"org": "al\xffice"}, {"org": `a\b`},
	} {
		if got := ask(t, h, Caller{Claims: claims}, "POST", "/v1/scans", `{}`); got.status != 403 {
			t.Errorf("%q: %d %s", claims, got.status, got.body)
		}
	}
}

// FuzzPath requests arbitrary paths as an arbitrary tenant. No answer may show another
// tenant's files or the secret.
func FuzzPath(f *testing.F) {
	h := newService(f, Config{Root: tenants(f), TenantClaim: "org"})
	for _, path := range []string{".", "sub", "../bob", "/", "a\x00", "bob/.", "top/../..", "\xff", "sub/b"} {
		f.Add(path, "alice")
		f.Add(".", path)
	}
	f.Fuzz(func(t *testing.T, path, claim string) {
		body, err := json.Marshal(map[string]any{"path": path, "workers": 2})
		if err != nil {
			t.Skip(err)
		}
		r := httptest.NewRequest("POST", "/v1/scans", bytes.NewReader(body))
		r = r.WithContext(WithCaller(r.Context(), Caller{Claims: map[string]string{"org": claim}}))
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code >= 500 || claim != "bob" && strings.Contains(w.Body.String(), `"x"`) || strings.Contains(w.Body.String(), "secret") {
			t.Errorf("%q of %q: %d %s", path, claim, w.Code, w.Body)
		}
		if w.Code == 200 && claim != "alice" && claim != "bob" {
			t.Errorf("claim %q got a folder", claim)
		}
	})
}

// TestSwap runs scans while a tenant's folder is swapped, over and over, with a link to
// another tenant's.
func TestSwap(t *testing.T) {
	root := tenants(t)
	h := newService(t, Config{Root: root, TenantClaim: "org", MaxScans: 4})
	in := func(name string) string { return filepath.Join(root, "alice", name) }
	stop := make(chan struct{})
	var swapping, asking sync.WaitGroup
	swapping.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				os.Rename(in("sub"), in("sub.aside"))
				os.Rename(in("bob"), in("sub"))
				os.Rename(in("sub"), in("bob"))
				os.Rename(in("sub.aside"), in("sub"))
			}
		}
	})
	for range 4 {
		asking.Go(func() {
			for range 100 {
				for _, body := range []string{`{"workers": 4}`, `{"path": "sub", "workers": 4}`, `{"path": "bob", "workers": 4}`} {
					r := httptest.NewRequest("POST", "/v1/scans", strings.NewReader(body))
					r = r.WithContext(WithCaller(r.Context(), Caller{Claims: map[string]string{"org": "alice"}}))
					w := httptest.NewRecorder()
					h.ServeHTTP(w, r)
					// Only bob has a file named x.
					if strings.Contains(w.Body.String(), "/x\"") || strings.Contains(w.Body.String(), `bob/`) || w.Code >= 500 {
						t.Errorf("%s: %d %s", body, w.Code, w.Body)
					}
				}
			}
		})
	}
	asking.Wait()
	close(stop)
	swapping.Wait()
}

// TestDeadline checks that a scan that runs out of time still answers in time, with what
// it has found.
func TestDeadline(t *testing.T) {
	root := t.TempDir()
	for _, name := range []string{"a", "b"} {
		if err := errors.Join(os.WriteFile(filepath.Join(root, name), []byte("x"), 0o666), os.Truncate(filepath.Join(root, name), 100<<30)); err != nil {
			t.Skip("this file system holds no file of 100 GiB: set TMPDIR to one that does: ", err)
		}
	}
	h := newService(t, Config{Root: root, MaxDuration: time.Second})
	for _, mode := range []string{"goroutines", "processes"} {
		got := ask(t, h, Caller{}, "POST", "/v1/scans", fmt.Sprintf(`{"mode": %q, "workers": 2}`, mode))
		if doc := got.decode(t); got.status != 200 || doc.Complete || len(doc.Groups) != 0 {
			t.Errorf("%s: %d %s", mode, got.status, got.body)
		}
	}

	// One runs, one waits, and the third is refused.
	h = newService(t, Config{Root: root, MaxDuration: time.Second, MaxScans: 1, MaxWaiting: 1})
	statuses := make(chan int, 3)
	for range 3 {
		go func() {
			r := httptest.NewRequest("POST", "/v1/scans", strings.NewReader(`{"workers": 1}`))
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			statuses <- w.Code
		}()
	}
	count := map[int]int{}
	for range 3 {
		count[<-statuses]++
	}
	if count[429] == 0 || count[200] == 0 || count[200]+count[429] != 3 {
		t.Errorf("answers: %v", count)
	}
}

// TestPanic checks that a panic becomes a 500 whose ID is in the log.
func TestPanic(t *testing.T) {
	var log bytes.Buffer
	s := &service{Config: Config{Log: slog.New(slog.NewJSONHandler(&log, nil)), MaxDuration: time.Second}}
	h := s.handle(func(http.ResponseWriter, *http.Request) error { panic("oh") })
	got := ask(t, h, Caller{RequestID: "r1"}, "POST", "/v1/scans", "")
	id := got.decode(t).ID
	if got.status != 500 || id == "" || !strings.Contains(log.String(), id) || !strings.Contains(log.String(), `"panic: oh"`) || !strings.Contains(log.String(), "r1") {
		t.Errorf("%d %s, log %s", got.status, got.body, &log)
	}
	if bytes.Contains(got.body, []byte("oh")) {
		t.Errorf("the answer reveals the cause: %s", got.body)
	}
}

// TestObserved checks that log and metrics have the numbers of a scan, and no path
// unless configured.
func TestObserved(t *testing.T) {
	var log, metrics bytes.Buffer
	c := Config{Root: tenants(t), TenantClaim: "org", Log: slog.New(slog.NewJSONHandler(&log, nil)), Metrics: &metrics, Stack: "mine"}
	caller := Caller{RequestID: "r1", Claims: map[string]string{"org": "alice"}}
	ask(t, newService(t, c), caller, "POST", "/v1/scans", `{"path": "sub"}`)
	ask(t, newService(t, c), caller, "POST", "/v1/scans", `{"path": "wrong-path"}`)
	var line struct {
		RequestID string `json:"request_id"`
		Tenant    string
		Files     int
		Opens     *int
		Cost      string `json:"cost_usd"`
	}
	if err := json.Unmarshal(bytes.SplitAfter(log.Bytes(), []byte("\n"))[0], &line); err != nil {
		t.Fatal(err)
	}
	if line.RequestID != "r1" || line.Tenant != "alice" || line.Files != 1 || line.Opens == nil || !strings.HasPrefix(line.Cost, "0.0000") {
		t.Errorf("log: %s", &log)
	}
	if strings.Contains(log.String(), "sub") || strings.Contains(log.String(), "wrong-path") {
		t.Errorf("the log shows a path: %s", &log)
	}
	var emf struct {
		AWS struct {
			CloudWatchMetrics []struct {
				Dimensions [][]string
				Metrics    []struct{ Name string }
			}
		} `json:"_aws"`
	}
	var values map[string]any
	if err := errors.Join(json.Unmarshal(metrics.Bytes(), &emf), json.Unmarshal(metrics.Bytes(), &values)); err != nil {
		t.Fatalf("%v: %s", err, &metrics)
	}
	for _, d := range emf.AWS.CloudWatchMetrics[0].Dimensions[0] {
		if value, ok := values[d].(string); !ok || value == "" {
			t.Errorf("the dimension %s has no value: %s", d, &metrics)
		}
	}
	if values["Stack"] != "mine" || !slices.Contains(emf.AWS.CloudWatchMetrics[0].Dimensions[0], "Stack") {
		t.Errorf("the metrics do not have their stack: %s", &metrics)
	}
	for _, m := range emf.AWS.CloudWatchMetrics[0].Metrics {
		if _, ok := values[m.Name].(float64); !ok {
			t.Errorf("the metric %s has no value: %s", m.Name, &metrics)
		}
	}
	c.LogPaths = true
	ask(t, newService(t, c), caller, "POST", "/v1/scans", `{"path": "sub"}`)
	if !strings.Contains(log.String(), `"path":"sub"`) {
		t.Errorf("LogPaths is set, but the log has no path: %s", &log)
	}
}

// TestLoad sends 1,000 requests over TCP, 50 at a time and half of them hostile, and
// checks that the service leaks no memory, descriptors or goroutines.
func TestLoad(t *testing.T) {
	server := httptest.NewServer(newService(t, Config{Root: tenants(t)}))
	defer server.Close()
	hostile := []string{`{"path": "../../.."}`, `{"path": "/etc"}`, `{`, strings.Repeat("x", 70<<10), `{"workers": 1e9}`, `{"path": "alice/top/etc"}`, `{"mode": "x"}`}
	round := func() {
		var clients sync.WaitGroup
		requests := make(chan int)
		for range 50 {
			clients.Go(func() {
				for i := range requests {
					body, want := `{"path": "alice", "workers": 8}`, 200
					if i%2 == 1 {
						body, want = hostile[i/2%len(hostile)], 4
					}
					if status := post(t, server, body); status != want && status/100 != want {
						t.Errorf("%.50s: %d", body, status)
					}
				}
			})
		}
		for i := range 1000 {
			requests <- i
		}
		close(requests)
		clients.Wait()
		server.Client().CloseIdleConnections()
	}
	round()
	before := held(t)
	round()
	more := func(h holdings) bool {
		return h.descriptors > before.descriptors+10 || h.goroutines > before.goroutines+10 || h.heap > before.heap+8<<20
	}
	after := before
	defer func() { t.Logf("held %+v before, %+v after", before, after) }()
	testkit.Eventually(t, "connections to be closed, and what they held to be freed", func() bool {
		after = held(t)
		return !more(after)
	})
}

// post asks for a scan, again if the server is too busy, and returns the status of the answer.
func post(t *testing.T, server *httptest.Server, body string) (status int) {
	for status == 0 || status == http.StatusTooManyRequests {
		response, err := server.Client().Post(server.URL+"/v1/scans", "application/json", strings.NewReader(body))
		if err != nil {
			t.Error(err)
			return 0
		}
		io.Copy(io.Discard, response.Body)
		response.Body.Close()
		status = response.StatusCode
	}
	return status
}

type holdings struct {
	descriptors, goroutines int
	heap                    uint64
}

func held(t *testing.T) holdings {
	var memory runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&memory)
	entries, _ := os.ReadDir("/dev/fd")
	return holdings{len(entries), runtime.NumGoroutine(), memory.HeapAlloc}
}

func TestNew(t *testing.T) {
	if _, err := New(Config{Root: "nowhere"}); err == nil {
		t.Error("served a root that does not exist")
	}
	if _, err := New(Config{Root: "service.go"}); err == nil {
		t.Error("served a file as the root")
	}
	// The service turns unhealthy when its root disappears.
	root := t.TempDir()
	h := newService(t, Config{Root: root})
	os.Remove(root)
	if got := ask(t, h, Caller{}, "GET", "/v1/healthz", ""); got.status != 503 {
		t.Errorf("%d %s", got.status, got.body)
	}
}
