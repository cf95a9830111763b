package service

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestStrictBodies sends bodies that a lenient decoder takes for a request of everything.
func TestStrictBodies(t *testing.T) {
	h := newService(t, Config{Root: tenants(t), MaxWorkers: 100})
	for _, test := range []struct {
		body   string
		status int
		detail string
	}{
		{`null`, 400, "it is null"},
		{`"x"`, 400, "it is a string"},
		{`{"path": null}`, 400, "/path is null"},
		{`{"path_base64": null}`, 400, "/path_base64 is null"},
		{`{"include": [null]}`, 400, "/include/0 is null"},
		{`{"projection": {"calls": null}}`, 400, "/projection/calls is null"},
		{`{"PATH": "alice"}`, 400, "unknown field /PATH"},
		{`{"path": "alice", "Path": "bob"}`, 400, "unknown field /Path"},
		{`{"path": "alice", "path": "bob"}`, 400, "duplicate"},
		{`{"path": "alice", "p\u0061th": "bob"}`, 400, "duplicate"},
		{`{"projection": {"api": "http", "api": "rest"}}`, 400, "duplicate"},
		{"{\"path\": \"al\xffice\"}", 400, "invalid UTF-8"},
		{`{"path": "\ud800"}`, 400, "invalid surrogate"},
		{"\xef\xbb\xbf{}", 400, "invalid character"},
		{strings.Repeat("[", 20_000), 400, "an array"},
		{`{"include": ` + strings.Repeat("[", 20_000) + `}`, 400, "depth"},
		{`{"workers": 0}`, 400, "choose 1 to 100"},
		{`{"workers": 101}`, 400, "choose 1 to 100"},
		{`{"workers": 1e999999999}`, 400, "/workers: cannot unmarshal"},
		{`{"workers": 1.5}`, 400, "whole number"},
		{`{"min_size": 9223372036854775808}`, 400, "whole number"},
		{`{"min_size": 1.0, "workers": 1e1}`, 200, ""},
		{`{"projection": {"memory_mb": 1}, "max_size": 1}`, 400, "128 to 10240"},
		{`{"newer": "2026-01-01T00:00:00Z", "older": "2026-01-02T00:00:00.5+01:00", "min_copies": 3}`, 200, ""},
		{`{"newer": "yesterday"}`, 400, "write a time such as"},
		{`{"older": ""}`, 400, "write a time such as"},
		{`{"min_copies": 1}`, 400, "at least 2"},
		{`{"min_copies": 1000000001}`, 400, "choose 0, or 2 to 1000000000"},
		{`{"kept": "oldest"}`, 400, "unknown field"},
		{`{"projection": {"api": ""}}`, 400, "cannot be empty"},
		{`{"path": "."}` + strings.Repeat(" ", 70<<10), 413, "larger than 65536"},
		{strings.Repeat("x", 70<<10), 413, "larger than 65536"},
		{`{"path_base64": "YWxpY2U="}`, 200, ""},
		{`{"path_base64": "YWxpY2U=", "path": "alice"}`, 200, ""},
		{`{"path_base64": "YWxpY2U=", "path": "bob"}`, 400, "different paths"},
		{`{"path_base64": "*"}`, 400, "base64"},
		{`{"path_base64": ""}`, 404, "no directory or file"},
		{`{"path_base64": "Li4="}`, 404, "no directory or file"}, // ..
	} {
		got := ask(t, h, Caller{}, "POST", "/v1/scans", test.body)
		if doc := got.decode(t); got.status != test.status || !strings.Contains(doc.Detail, test.detail) {
			t.Errorf("%.60q: %d %.200s, want %d %s", test.body, got.status, doc.Detail, test.status, test.detail)
		}
	}
	for _, body := range []string{`null`, `{"calls": null}`, `{"Calls": 1}`, `{"bytes_read": 2, "usage": {"metered_access_bytes": -1}}`, `{"usage": {"api": "", "free_tier": false}}`, `{"usage": {"memory_mb": 128, "memory_mb": 256}}`} {
		if got := ask(t, h, Caller{}, "POST", "/v1/projections", body); got.status != 400 {
			t.Errorf("%s: %d %s", body, got.status, got.body)
		}
	}
}

// TestPathInBase64 scans a folder whose name is not UTF-8.
func TestPathInBase64(t *testing.T) {
	root := t.TempDir()
	for _, name := range []string{"a", "b"} {
		path := filepath.Join(root, "caf\xe9", name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o777), os.WriteFile(path, []byte("same"), 0o666)); err != nil {
			t.Skip("this file system holds only names in UTF-8: set TMPDIR to one that holds others, such as ext4: ", err)
		}
	}
	h := newService(t, Config{Root: root})
	for _, body := range []string{`{"path_base64": "Y2Fm6Q=="}`, `{"path_base64": "Y2Fm6Q==", "path": "caf\ufffd"}`} {
		if got := ask(t, h, Caller{}, "POST", "/v1/scans", body); got.status != 200 || got.decode(t).Stats.Files != 2 {
			t.Errorf("%s: %d %s", body, got.status, got.body)
		}
	}
}

// timeout is the error of a connection whose deadline is over, as net has it.
type timeout struct{}

func (timeout) Error() string   { return "read tcp 127.0.0.1:8080->127.0.0.1:4711: i/o timeout" }
func (timeout) Timeout() bool   { return true }
func (timeout) Temporary() bool { return true }

// TestBrokenBodies checks that errors of the network do not show its addresses.
func TestBrokenBodies(t *testing.T) {
	h := newService(t, Config{Root: tenants(t)})
	for err, want := range map[error]int{
		timeout{}:           408,
		io.ErrUnexpectedEOF: 400,
		errors.New("read tcp 127.0.0.1:8080->127.0.0.1:4711: connection reset"): 400,
	} {
		r := httptest.NewRequest("POST", "/v1/scans", io.MultiReader(strings.NewReader(`{"path":`), iotestErr{err}))
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		newContract(t).check(t, "POST", "/v1/scans", w.Code, w.Header(), w.Body.Bytes())
		if w.Code != want || strings.Contains(w.Body.String(), "127.0.0.1") {
			t.Errorf("%v: %d %s", err, w.Code, w.Body)
		}
	}
}

type iotestErr struct{ err error }

func (r iotestErr) Read([]byte) (int, error) { return 0, r.err }

// TestGate checks, by a clock of its own, that a scan learns as soon as it is clear that
// there is no slot, and waits while other scans end.
func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), gatewayTime)
		defer cancel()
		g := gate{slots: 1, waiting: 1}
		leave, err := g.enter(ctx)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if _, err := g.enter(ctx); err == nil || time.Since(start) != patience {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
		admitted := make(chan func(), 1)
		go func() {
			leave, err := g.enter(ctx)
			if err != nil {
				t.Error(err)
			}
			admitted <- leave
		}()
		synctest.Wait()
		start = time.Now()
		var p *problem
		if _, err := g.enter(ctx); !errors.As(err, &p) || p.status != 429 || p.retry < 1 || time.Since(start) != 0 {
			t.Errorf("with the line full, after %v: %v", time.Since(start), err)
		}
		leave()
		leave = <-admitted
		ended, end := context.WithCancel(ctx)
		end()
		if _, err := g.enter(ended); err == nil {
			t.Error("admitted after its request was over")
		}
		leave()
		if g.running != 0 || len(g.queue) != 0 {
			t.Errorf("%d scans run, %d wait", g.running, len(g.queue))
		}
	})
}

// TestGateMoves checks that a scan waits longer than its patience while others end.
func TestGateMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := gate{slots: 1, waiting: 10}
		leave, _ := g.enter(t.Context())
		served := make(chan int, 4)
		for i := range 4 {
			go func() {
				leave, err := g.enter(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				time.Sleep(patience * 3 / 4)
				leave()
				served <- i
			}()
			synctest.Wait()
		}
		time.Sleep(patience * 3 / 4)
		leave()
		for want := range 4 {
			if got := <-served; got != want {
				t.Errorf("scan %d is served before %d", got, want)
			}
		}
	})
}

// TestAdmissionFirst checks that a request that finds no slot touches no file system.
func TestAdmissionFirst(t *testing.T) {
	s := &service{gate: gate{}, Config: Config{MaxWorkers: 1}} // without a root, touching it panics
	body := strings.NewReader(`{"workers": 1}`)
	err := s.scan(httptest.NewRecorder(), httptest.NewRequest("POST", "/v1/scans", body))
	var p *problem
	if !errors.As(err, &p) || p.status != 429 {
		t.Fatalf("error %v", err)
	}
	w := httptest.NewRecorder()
	p.write(w, httptest.NewRequest("POST", "/v1/scans", nil))
	if w.Header().Get("Retry-After") != "5" || !strings.Contains(w.Body.String(), `"retry_after_seconds":5`) {
		t.Errorf("%v %s", w.Header(), w.Body)
	}
}

// TestHealthHangs checks that a root that hangs makes health checks fail in time, and
// that they share one call.
func TestHealthHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &service{}
		hung := make(chan struct{})
		var calls atomic.Int64
		s.probe.DoChan("", func() (any, error) { calls.Add(1); <-hung; return nil, nil })
		for range 3 {
			start := time.Now()
			err := s.health(httptest.NewRecorder(), httptest.NewRequest("GET", "/v1/healthz", nil))
			var p *problem
			if !errors.As(err, &p) || p.status != 503 || time.Since(start) != healthTime {
				t.Errorf("after %v: %v", time.Since(start), err)
			}
		}
		close(hung)
		if calls.Load() != 1 {
			t.Errorf("%d calls", calls.Load())
		}
	})
}

// TestAnswers checks compression, versions and HEAD.
func TestAnswers(t *testing.T) {
	h := newService(t, Config{Root: tenants(t)})
	request := func(method, path string, header http.Header) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, path, strings.NewReader(`{}`))
		r.Header = header
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	for _, test := range []struct {
		accept []string
		want   bool
	}{
		{nil, false}, {[]string{""}, false}, {[]string{"gzip"}, true}, {[]string{"GZIP;q=1.0"}, true}, {[]string{"br, gzip;q=0.5"}, true},
		{[]string{"gzip;q=0"}, false}, {[]string{"gzip; q=0.000"}, false}, {[]string{"*"}, true}, {[]string{"*;q=0"}, false}, {[]string{"*", "gzip;q=0"}, false},
		{[]string{"br", "gzip"}, true}, {[]string{"identity", "gzip;q=0.5"}, false}, {[]string{"identity;q=0.5, gzip;q=0.8"}, true},
		{[]string{"gzip;q=NaN"}, false}, {[]string{"gzip;q=2"}, false}, {[]string{"gzipped"}, false}, {[]string{"gzip;x=y;q=0"}, false},
	} {
		w := request("POST", "/v1/scans", http.Header{"Accept-Encoding": test.accept})
		body := io.Reader(w.Body)
		if got := w.Header().Get("Content-Encoding") == "gzip"; got != test.want {
			t.Errorf("%q: compressed %v", test.accept, got)
		} else if got {
			var err error
			if body, err = gzip.NewReader(w.Body); err != nil {
				t.Fatal(err)
			}
		}
		b, err := io.ReadAll(body)
		if err != nil || w.Header().Get("Vary") != "Accept-Encoding" {
			t.Errorf("%q: Vary %q, error %v", test.accept, w.Header().Get("Vary"), err)
		}
		newContract(t).check(t, "POST", "/v1/scans", w.Code, w.Header(), b)
	}

	first := request("GET", "/v1/openapi.json", nil)
	tag := first.Header().Get("ETag")
	if tag == "" || !strings.Contains(first.Header().Get("Cache-Control"), "max-age") {
		t.Errorf("headers %v", first.Header())
	}
	for match, want := range map[string]int{tag: 304, strings.TrimPrefix(tag, "W/"): 304, `"x", ` + tag: 304, "*": 304, `"x"`: 200, "": 200} {
		for _, method := range []string{"GET", "HEAD"} {
			w := request(method, "/v1/openapi.json", http.Header{"If-None-Match": {match}, "Accept-Encoding": {"gzip"}})
			if w.Code != want || (w.Body.Len() > 0) != (want == 200 && method == "GET") || w.Header().Get("ETag") != tag {
				t.Errorf("%s, If-None-Match %s: %d, %d bytes, %v", method, match, w.Code, w.Body.Len(), w.Header())
			}
		}
	}
	for path, want := range map[string]int{"/v1/healthz": 200, "/v1/scans": 405, "/nowhere": 404, "/": 404} {
		if w := request("HEAD", path, nil); w.Code != want || w.Body.Len() > 0 {
			t.Errorf("HEAD %s: %d %s", path, w.Code, w.Body)
		}
	}
}

// TestDocumentHasBounds checks that the document has the bounds of its service.
func TestDocumentHasBounds(t *testing.T) {
	got := ask(t, newService(t, Config{Root: t.TempDir(), MaxWorkers: 7}), Caller{}, "GET", "/v1/openapi.json", "")
	if bytes.Count(got.body, []byte(`"maximum":7,`)) != 2 || !bytes.Contains(got.body, []byte(`9223372036854775807`)) {
		t.Errorf("%d %.300s", got.status, got.body)
	}
}

// TestPagesOfHugeGroup turns the pages of a group that is larger than an answer.
func TestPagesOfHugeGroup(t *testing.T) {
	root := t.TempDir()
	const files = 5000
	name := strings.Repeat("\u00e9", 120) // 240 bytes
	dirs := filepath.Join(name, name, name, name, name)
	if err := os.MkdirAll(filepath.Join(root, dirs), 0o777); err != nil {
		t.Fatal(err)
	}
	for i := range files {
		if err := os.WriteFile(filepath.Join(root, dirs, fmt.Sprint(i)), []byte("x"), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	h := newService(t, Config{Root: root})
	seen := make(map[string]bool)
	pages, next := 0, ""
	for ; pages == 0 || next != ""; pages++ {
		got := ask(t, h, Caller{}, "POST", "/v1/scans", fmt.Sprintf(`{"next": %q}`, next))
		if got.status != 200 || len(got.body) > maxAnswer {
			t.Fatalf("%d, %d bytes: %.200s", got.status, len(got.body), got.body)
		}
		doc := got.decode(t)
		for _, f := range doc.Groups[0].Files {
			seen[f.Path] = true
		}
		next = doc.Next
	}
	if len(seen) != files || pages < 2 {
		t.Errorf("%d files on %d pages", len(seen), pages)
	}
}
