package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-lambda-go/events"
	"github.com/google/go-cmp/cmp"
)

const eventDir = "../../deploy/events/"

func readEvent(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(eventDir + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// edit returns the event with a new value at a dotted path.
func edit(t testing.TB, event []byte, path string, value any) []byte {
	t.Helper()
	var doc map[string]any
	if err := json.Unmarshal(event, &doc); err != nil {
		t.Fatal(err)
	}
	at, keys := doc, strings.Split(path, ".")
	for _, key := range keys[:len(keys)-1] {
		at = at[key].(map[string]any)
	}
	at[keys[len(keys)-1]] = value
	b, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const scan = `{"path": ".", "mode": "goroutines", "workers": 100}`

func eventFiles(t testing.TB) []string {
	t.Helper()
	paths, err := filepath.Glob(eventDir + "*.json")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no events: %v", err)
	}
	for i, path := range paths {
		paths[i] = filepath.Base(path)
	}
	return paths
}

func TestRoutes(t *testing.T) {
	for _, test := range []struct{ path, template, proxy, stage, want string }{
		{"/v1/scans", "/v1/scans", "", "$default", "/v1/scans"},
		{"/v1/scans", "$default", "", "$default", "/v1/scans"},
		{"/v1/scans", "", "", "$default", "/v1/scans"},
		{"/v1/scans", "", "", "", "/v1/scans"},
		{"/prod/v1/scans", "/v1/scans", "", "prod", "/v1/scans"},
		{"/prod/v1/scans", "$default", "", "prod", "/v1/scans"},
		{"/prod/v1/scans", "/{proxy+}", "v1/scans", "prod", "/v1/scans"},
		{"/prod/v1/scans", "/v1/{proxy+}", "scans", "prod", "/v1/scans"},
		{"/prod/v1/scans", "/{version}/scans", "v1", "prod", "/v1/scans"},
		{"/v1/v1/scans", "$default", "", "v1", "/v1/scans"}, // a stage named like the version
		{"/v1/scans", "/v1/scans", "", "v1", "/v1/scans"},   // the same, but not in the path
		{"/base/v1/scans", "/v1/scans", "", "prod", "/v1/scans"},
		{"/base/prod/v1/scans", "/{proxy+}", "v1/scans", "prod", "/v1/scans"},
		{"/production/v1/scans", "$default", "", "prod", "/production/v1/scans"},
		{"/prod", "$default", "", "prod", ""},
		{"/v1/scans/", "/v1/scans", "", "$default", "/v1/scans/"},
		{"/v1/healthz", "/v1/scans", "", "$default", "/v1/healthz"}, // the path wins over the template
		{"/v1/healthz", "/{proxy+}", "v1/scans", "$default", "/v1/healthz"},
		{"/xv1/scans", "v1/scans", "", "$default", "/xv1/scans"},
		{"", "", "", "", ""},
	} {
		parameters := map[string]string{"proxy": test.proxy, "version": test.proxy}
		if got := route(test.path, test.template, parameters, test.stage); got != test.want {
			t.Errorf("%+v: %s", test, got)
		}
	}
}

// answers returns a handler that always gives this answer.
func answers(status int, header http.Header, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		maps.Copy(w.Header(), header)
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

func call(t *testing.T, h http.Handler, payload []byte) ([]byte, error) {
	t.Helper()
	return function{h}.Invoke(t.Context(), payload)
}

func TestResponses(t *testing.T) {
	header := http.Header{"Content-Type": {"application/json"}, "Vary": {"A", "B"}, "Set-Cookie": {"a=1; Secure", "b=2"}}
	html := `{"a": "<b> & 'c' é"}`
	binary := "\xff\xfe\x00"

	var v2 events.APIGatewayV2HTTPResponse
	for _, name := range []string{"http-api-scan.json", "function-url-scan.json"} {
		b, err := call(t, answers(201, header, html), readEvent(t, name))
		if err != nil || json.Unmarshal(b, &v2) != nil {
			t.Fatalf("%s, error %v", b, err)
		}
		want := events.APIGatewayV2HTTPResponse{
			StatusCode: 201,
			Headers:    map[string]string{"Content-Type": "application/json", "Vary": "A, B"},
			Cookies:    []string{"a=1; Secure", "b=2"},
			Body:       html,
		}
		if diff := cmp.Diff(want, v2); diff != "" {
			t.Error(diff)
		}
		if strings.Contains(string(b), `\u003c`) {
			t.Errorf("escaped for HTML: %s", b)
		}
	}

	b, err := call(t, answers(404, header, binary), readEvent(t, "rest-api-scan.json"))
	var v1 events.APIGatewayProxyResponse
	if err != nil || json.Unmarshal(b, &v1) != nil {
		t.Fatalf("%s, error %v", b, err)
	}
	want := events.APIGatewayProxyResponse{StatusCode: 404, MultiValueHeaders: header, Body: base64.StdEncoding.EncodeToString([]byte(binary)), IsBase64Encoded: true}
	if diff := cmp.Diff(want, v1); diff != "" {
		t.Error(diff)
	}

	b, err = call(t, answers(200, header, html+"\n"), readEvent(t, "direct-scan.json"))
	if err != nil || string(b) != html {
		t.Errorf("direct: %s, error %v", b, err)
	}
}

func TestProblems(t *testing.T) {
	for body, want := range map[string]string{
		`{"title": "Bad Request", "detail": "no such mode"}`: "Bad Request: no such mode",
		`{"title": "Bad Request"}`:                           "Bad Request",
		`{"detail": "no such mode"}`:                         "Bad Request: no such mode",
		"plain text\n":                                       "Bad Request: plain text",
		"":                                                   "Bad Request",
	} {
		_, err := call(t, answers(400, nil, body), readEvent(t, "direct-scan.json"))
		var p *Problem
		if !errors.As(err, &p) || err.Error() != want {
			t.Errorf("%s: error %T %v, want %s", body, err, err, want)
		}
	}
}

func TestRecorder(t *testing.T) {
	for name, test := range map[string]struct {
		handle http.HandlerFunc
		status int
		header http.Header
		body   string
	}{
		"nothing": {func(http.ResponseWriter, *http.Request) {}, 200, http.Header{}, ""},
		"early hints, then two statuses": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(103)
			w.WriteHeader(404)
			w.WriteHeader(500)
		}, 404, http.Header{}, ""},
		"a header set too late": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(204)
			w.Header().Set("Late", "1")
		}, 204, http.Header{}, ""},
		"text without a type": {func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, "te")
			io.WriteString(w, "xt")
		}, 200, http.Header{"Content-Type": {"text/plain; charset=utf-8"}}, "text"},
	} {
		b, err := call(t, test.handle, readEvent(t, "rest-api-scan.json"))
		var got events.APIGatewayProxyResponse
		if err != nil || json.Unmarshal(b, &got) != nil {
			t.Fatalf("%s: %s, error %v", name, b, err)
		}
		want := events.APIGatewayProxyResponse{StatusCode: test.status, MultiValueHeaders: test.header, Body: test.body}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// Escaping or base64 can push a body over the limit.
func TestAnswerTooLarge(t *testing.T) {
	for name, body := range map[string]string{
		"quotes": strings.Repeat(`"`, maxAnswer*2/3),
		"binary": strings.Repeat("\xff", maxAnswer*4/5),
	} {
		b, err := call(t, answers(200, nil, body), readEvent(t, "http-api-scan.json"))
		var got events.APIGatewayV2HTTPResponse
		if err != nil || json.Unmarshal(b, &got) != nil {
			t.Fatalf("%s: %.100s, error %v", name, b, err)
		}
		if got.StatusCode != 422 || got.Headers["Content-Type"] != "application/problem+json" || !strings.Contains(got.Body, "lower limit") {
			t.Errorf("%s: %+v", name, got)
		}
	}
	_, err := call(t, answers(200, nil, `"`+strings.Repeat("x", maxAnswer)+`"`), readEvent(t, "direct-scan.json"))
	var p *Problem
	if !errors.As(err, &p) || !strings.Contains(p.Detail, "lower limit") {
		t.Errorf("direct: error %v", err)
	}
	fits := `"` + strings.Repeat("x", maxAnswer-2) + `"`
	if b, err := call(t, answers(200, nil, fits), readEvent(t, "direct-scan.json")); err != nil || string(b) != fits {
		t.Errorf("direct, at the limit: %d bytes, error %v", len(b), err)
	}
}

func TestDeadlines(t *testing.T) {
	for name, within := range map[string]time.Duration{
		"http-api-scan.json":     gatewayTime,
		"rest-api-scan.json":     gatewayTime,
		"function-url-scan.json": 2 * time.Minute,
		"direct-scan.json":       2 * time.Minute,
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute) // the function's timeout
		defer cancel()
		var left time.Duration
		h := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			deadline, _ := r.Context().Deadline()
			left = time.Until(deadline)
		})
		function{h}.Invoke(ctx, readEvent(t, name))
		if left > within || left < within-10*time.Second {
			t.Errorf("%s: %v left of %v", name, left, within)
		}
	}
}

func TestUnusableEvents(t *testing.T) {
	gateway, rest := readEvent(t, "http-api-scan.json"), readEvent(t, "rest-api-scan.json")
	for payload, want := range map[string]string{
		"":                       "not a JSON object",
		"null":                   "unknown event: ",
		"[]":                     "not a JSON object",
		`"text"`:                 "not a JSON object",
		"{":                      "not a JSON object",
		"{}":                     "unknown event: ",
		`{"path": "."}x`:         "not a JSON object",
		`{"mode": "goroutines"}`: "unknown event: ",
		`{"Records": [{"eventSource": "aws:s3"}]}`:                          "unknown event: ",
		`{"version": "0", "detail-type": "Scheduled Event"}`:                "unknown event: ",
		`{"path": "/", "httpMethod": "GET"}`:                                "unknown event: ",
		`{"path": "/", "requestContext": {}}`:                               "unknown event: ",
		`{"requestContext": {"connectionId": "a"}}`:                         "unknown event: ", // a WebSocket API's
		`{"requestContext": {"elb": {}}, "httpMethod": "GET", "path": "/"}`: "load balancer",
		`{"requestContext": 1}`:                                             "not a JSON object that this function understands",
		string(edit(t, gateway, "version", "3.0")):                          "unknown event: ",
		string(edit(t, rest, "version", "2.0")):                             "unknown event: ",
		string(edit(t, gateway, "headers", []string{"a"})):                  "the API Gateway event is malformed",
		string(edit(t, rest, "isBase64Encoded", "yes")):                     "the API Gateway event is malformed",
		string(edit(t, gateway, "isBase64Encoded", true)):                   "not base64",
		string(edit(t, rest, "isBase64Encoded", true)):                      "not base64",
		string(edit(t, gateway, "requestContext.http.method", "")):          "has no HTTP method",
		string(edit(t, gateway, "requestContext.http.method", "G T")):       "invalid HTTP method",
		string(edit(t, rest, "httpMethod", "")):                             "has no HTTP method",
	} {
		called := false
		b, err := call(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { called = true }), []byte(payload))
		var e *EventError
		if !errors.As(err, &e) || !strings.Contains(err.Error(), want) || b != nil || called {
			t.Errorf("%.80s: %s, error %T %v, want %s", payload, b, err, err, want)
		}
	}
}

// No event causes a panic, and Lambda accepts every answer.
func FuzzEvent(f *testing.F) {
	for _, file := range eventFiles(f) {
		f.Add(readEvent(f, file))
	}
	f.Add([]byte(`{"requestContext": {"http": {}}, "version": "2.0"}`))
	f.Add([]byte(`{"requestContext": {"elb": {}}, "httpMethod": "GET"}`))
	f.Add([]byte(`{"path": 1}`))
	f.Add([]byte("null"))
	echo := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/") || r.Method == "" || r.RequestURI == "" {
			panic(r.Method + " " + r.RequestURI)
		}
		b, err := io.ReadAll(r.Body)
		if err != nil || int64(len(b)) != r.ContentLength {
			panic(err)
		}
		maps.Copy(w.Header(), r.Header)
		w.Write(b)
	})
	f.Fuzz(func(t *testing.T, payload []byte) {
		answer, err := function{echo}.Invoke(t.Context(), payload)
		if err != nil {
			if e := (*EventError)(nil); !errors.As(err, &e) || err.Error() == "" {
				t.Errorf("error %T %v", err, err)
			}
			return
		}
		if len(answer) > maxAnswer || !json.Valid(answer) || !utf8.Valid(answer) && !bytes.Contains(payload, answer) {
			t.Errorf("%q: answer %q", payload, answer)
		}
		again, err := function{echo}.Invoke(t.Context(), payload)
		if err != nil || !bytes.Equal(again, answer) {
			t.Errorf("%q: answer %q, then %q", payload, answer, again)
		}
	})
}
