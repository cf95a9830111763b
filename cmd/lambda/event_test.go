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
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-lambda-go/events"
	"github.com/google/go-cmp/cmp"

	"efsdedupe/dedupe/service"
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

// summary is the part of a request that the tests look at.
type summary struct {
	Method, Path, Query, Body string
	Host, RemoteAddr          string
}

func requestOf(t *testing.T, payload []byte) *http.Request {
	t.Helper()
	e, err := parse(payload)
	if err != nil {
		t.Fatal(err)
	}
	r, err := e.request(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func summarize(t *testing.T, r *http.Request) summary {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil || int64(len(b)) != r.ContentLength {
		t.Errorf("read %d of %d bytes of the body, error %v", len(b), r.ContentLength, err)
	}
	return summary{r.Method, r.URL.Path, r.URL.RawQuery, string(b), r.Host, r.RemoteAddr}
}

const scan = `{"path": ".", "mode": "goroutines", "workers": 100}`

// Hosts and an address of sample events.
const (
	api       = "r3pmxmplak.execute-api.us-east-1.amazonaws.com"
	client    = "203.0.113.24:0"
	functions = "z2hz7cxmplxmplh4bcw5exampleh0bqkrz.lambda-url.us-east-1.on.aws"
)

// userClaims are the claims of an IAM user.
var userClaims = map[string]string{
	"principal": "arn:aws:iam::123456789012:user/example-user",
	"accountId": "123456789012",
	"userId":    "AIDAEXAMPLEUSERID",
	"callerId":  "AIDAEXAMPLEUSERID",
}

// directScan is an event without an API.
const directScan = `{
  "path": ".",
  "mode": "goroutines",
  "workers": 100
}
`

// requestTests are sample events, and the requests that they become.
var requestTests = map[string]struct {
	want     summary
	id       string
	claims   map[string]string
	header   http.Header // some of them
	patience time.Duration
}{
	"http-api-scan.json": {
		want: summary{"POST", "/v1/scans", "", scan, api, client}, id: "JKJaXmPLvHcESHA=",
		header:   http.Header{"Content-Type": {"application/json"}, "User-Agent": {"curl/8.11.1"}, "Host": nil, "Content-Length": nil},
		patience: gatewayTime,
	},
	"http-api-bad.json": {
		want: summary{"POST", "/v1/scans", "", `{"path": "../other-tenant", "mode": "goroutines", "workers": 100}`, api, client}, id: "JKJaXmPLvHcESHA=",
		patience: gatewayTime,
	},
	"http-api-health.json": {
		want: summary{"GET", "/v1/healthz", "", "", api, client}, id: "JKJaXmPLvHcESHA=",
		patience: gatewayTime,
	},
	"http-api-iam-scan.json": { // with a stage
		want: summary{"POST", "/v1/scans", "", scan, api, client}, id: "JKJaXmPLvHcESHA=",
		claims: map[string]string{
			"principal": "arn:aws:sts::123456789012:assumed-role/dedupe-caller/nightly",
			"accountId": "123456789012",
			"userId":    "AROAEXAMPLEROLEID:nightly",
			"callerId":  "AROAEXAMPLEROLEID:nightly",
		},
		patience: gatewayTime,
	},
	"http-api-jwt-scan.json": { // base64, cookies, a repeated query parameter
		want: summary{"POST", "/v1/scans", "trace=1&trace=2&note=a%20b", scan, api, client}, id: "JKJaXmPLvHcESHA=",
		claims: map[string]string{
			"aud": "dedupe", "exp": "1795400721", "iat": "1795397121", "iss": "https://idp.example.com/", "scope": "scan",
			"sub": "7d1f0c2e-5a3b-4c6d-8e9f-0a1b2c3d4e5f", "tenant": "acme", "groups": "[readers admins]",
		},
		header:   http.Header{"Cookie": {"session=7f3b; theme=dark"}, "Content-Type": {"application/x-www-form-urlencoded"}},
		patience: gatewayTime,
	},
	"rest-api-scan.json": { // with a base path, repeated headers and query parameters
		want: summary{"POST", "/v1/scans", "note=a+b&trace=1&trace=2", scan, "api.example.com", client}, id: "c6af9ac6-7b61-11e6-9a41-93e8deadbeef",
		claims:   userClaims,
		header:   http.Header{"Cookie": {"session=7f3b; theme=dark"}, "X-Note": {"one", "two"}, "Host": nil},
		patience: gatewayTime,
	},
	"rest-api-projection.json": { // a greedy path parameter
		want: summary{"POST", "/v1/projections", "", `{"calls": 50000000, "region": "us-east-1", "bytes_read": 104857600, "opens": 100}`, "gy415nuibc.execute-api.us-east-1.amazonaws.com", client},
		id:   "c6af9ac6-7b61-11e6-9a41-93e8deadbeef",
		claims: map[string]string{
			"sub": "7d1f0c2e-5a3b-4c6d-8e9f-0a1b2c3d4e5f", "iss": "https://cognito-idp.us-east-1.amazonaws.com/us-east-1_EXAMPLE",
			"cognito:username": "example", "aud": "1example23456789", "token_use": "id", "custom:tenant": "acme",
		},
		patience: gatewayTime,
	},
	"function-url-scan.json": {
		want: summary{"POST", "/v1/scans", "", scan, functions, client}, id: "d3f1a3ce-0f0e-4f0b-9b3a-2f6f5c1d7e21",
		claims:   userClaims,
		patience: functionTime,
	},
	"direct-scan.json": {
		want:     summary{"POST", "/v1/scans", "", directScan, "lambda", "127.0.0.1:0"},
		header:   http.Header{"Content-Type": {"application/json"}},
		patience: functionTime,
	},
}

func TestRequests(t *testing.T) {
	for name, test := range requestTests {
		t.Run(name, func(t *testing.T) {
			payload := readEvent(t, name)
			r, caller := requestOf(t, payload), callerOf(t, payload)
			if diff := cmp.Diff(test.want, summarize(t, r)); diff != "" {
				t.Error(diff)
			}
			if caller.RequestID != test.id {
				t.Errorf("request ID %q, want %q", caller.RequestID, test.id)
			}
			if diff := cmp.Diff(test.claims, caller.Claims); diff != "" {
				t.Error(diff)
			}
			for key, want := range test.header {
				if !slices.Equal(r.Header[key], want) {
					t.Errorf("%s: %q, want %q", key, r.Header[key], want)
				}
			}
			if e, _ := parse(payload); e.patience() != test.patience {
				t.Errorf("patience %v, want %v", e.patience(), test.patience)
			}
		})
	}
	for _, file := range eventFiles(t) {
		if _, ok := requestTests[file]; !ok {
			t.Errorf("%s has no test", file)
		}
	}
}

// callerOf returns the caller that an event names.
func callerOf(t *testing.T, payload []byte) service.Caller {
	t.Helper()
	e, err := parse(payload)
	if err != nil {
		t.Fatal(err)
	}
	switch e := e.(type) {
	case httpEvent:
		return service.Caller{RequestID: e.RequestContext.RequestID, Claims: e.claims()}
	case restEvent:
		return service.Caller{RequestID: e.RequestContext.RequestID, Claims: e.claims()}
	}
	return service.Caller{} // the request ID comes from Lambda
}

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

// All known forms of paths from a REST API, and from an HTTP API in its format.
func TestRESTPaths(t *testing.T) {
	base := readEvent(t, "rest-api-projection.json")
	for _, test := range []struct{ resource, path, inContext, stage, want string }{
		{"/{proxy+}", "/v1/projections", "/prod/v1/projections", "prod", "/v1/projections"},
		{"/v1/projections", "/v1/projections", "/v1/v1/projections", "v1", "/v1/projections"},
		{"/v1/projections", "/base/v1/projections", "/base/v1/projections", "prod", "/v1/projections"},
		{"/v1/projections", "/base/prod/v1/projections", "/base/prod/v1/projections", "prod", "/v1/projections"},
		{"/v1/projections", "/prod/v1/projections", "/prod/v1/projections", "prod", "/v1/projections"},
		{"$default", "/prod/v1/projections", "/prod/v1/projections", "prod", "/v1/projections"},
		{"$default", "/v1/projections", "/v1/v1/projections", "v1", "/v1/projections"},
	} {
		event := edit(t, base, "resource", test.resource)
		event = edit(t, event, "path", test.path)
		event = edit(t, event, "requestContext.path", test.inContext)
		event = edit(t, event, "requestContext.stage", test.stage)
		if got := requestOf(t, event).URL.Path; got != test.want {
			t.Errorf("%+v: %s", test, got)
		}
	}
}

func TestEscapedPaths(t *testing.T) {
	base := readEvent(t, "function-url-scan.json")
	for path, want := range map[string]string{
		"/v1/a%20b":   "/v1/a b",
		"/v1/a b":     "/v1/a b",
		"/v1/100%":    "/v1/100%",
		"v1/scans":    "/v1/scans",
		"//host/v1":   "//host/v1",
		"/v1/a?b=c":   "/v1/a?b=c",
		"":            "/",
		"/v1/é%C3%A9": "/v1/éé",
	} {
		r := requestOf(t, edit(t, base, "rawPath", path))
		if r.URL.Path != want || r.URL.RawQuery != "" {
			t.Errorf("%q: %q", path, r.URL.Path)
		}
		if r.RequestURI == "" || strings.Contains(r.RequestURI, " ") {
			t.Errorf("%q: request URI %q", path, r.RequestURI)
		}
	}
}

// Some gateways send only one value per name.
func TestRESTWithoutMultiValues(t *testing.T) {
	event := readEvent(t, "rest-api-scan.json")
	event = edit(t, event, "multiValueHeaders", nil)
	event = edit(t, event, "multiValueQueryStringParameters", nil)
	r := requestOf(t, event)
	if r.URL.RawQuery != "note=a+b&trace=2" || r.Header.Get("X-Note") != "two" || r.Host != "api.example.com" {
		t.Errorf("%s %v %s", r.URL.RawQuery, r.Header, r.Host)
	}
}

func TestClaims(t *testing.T) {
	rest := readEvent(t, "rest-api-projection.json")
	http2 := readEvent(t, "http-api-jwt-scan.json")
	for name, test := range map[string]struct {
		event []byte
		want  map[string]string
	}{
		"some not strings":       {edit(t, rest, "requestContext.authorizer.claims", map[string]any{"a": "b", "c": 1, "d": nil, "e": []string{"f"}}), map[string]string{"a": "b"}},
		"claims not an object":   {edit(t, rest, "requestContext.authorizer.claims", "admin"), nil},
		"Lambda, REST":           {edit(t, rest, "requestContext.authorizer", map[string]any{"principalId": "admin"}), nil},
		"no authorizer, REST":    {edit(t, rest, "requestContext.authorizer", nil), nil},
		"no authorizer, HTTP":    {edit(t, http2, "requestContext.authorizer", nil), nil},
		"empty authorizer, HTTP": {edit(t, http2, "requestContext.authorizer", map[string]any{}), nil},
		"Lambda, HTTP":           {edit(t, http2, "requestContext.authorizer", map[string]any{"lambda": map[string]any{"tenant": "acme"}}), nil},
		"IAM without an ARN": {
			edit(t, http2, "requestContext.authorizer", map[string]any{"iam": map[string]any{"userId": "AIDA"}}),
			map[string]string{"principal": "AIDA", "userId": "AIDA", "accountId": "", "callerId": ""},
		},
		"IAM without anything": {edit(t, http2, "requestContext.authorizer", map[string]any{"iam": map[string]any{"accountId": "1"}}), nil},
	} {
		if diff := cmp.Diff(test.want, callerOf(t, test.event).Claims); diff != "" {
			t.Errorf("%s: %s", name, diff)
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

func TestConfig(t *testing.T) {
	read := func(env map[string]string) (service.Config, error) {
		return configFrom(func(name string) string { return env[name] })
	}
	got, err := read(nil)
	if want := (service.Config{Root: "/mnt/efs", MaxDuration: functionTime}); err != nil || !cmp.Equal(got, want) {
		t.Errorf("%+v, error %v", got, err)
	}
	got, err = read(map[string]string{
		"DEDUPE_ROOT": "/mnt/x", "DEDUPE_TENANT_CLAIM": "tenant", "DEDUPE_LOG_PATHS": "true",
		"DEDUPE_MAX_WORKERS": "50", "DEDUPE_MAX_FILES": "7", "DEDUPE_MAX_MIB": "3", "DEDUPE_STACK": "mine", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1769",
	})
	want := service.Config{Root: "/mnt/x", TenantClaim: "tenant", LogPaths: true, MaxWorkers: 50, MaxFiles: 7, MaxBytes: 3 << 20, Stack: "mine", MemoryMB: 1769, MaxDuration: functionTime}
	if err != nil || !cmp.Equal(got, want) {
		t.Errorf("%+v, error %v", got, err)
	}
	for name, value := range map[string]string{"DEDUPE_LOG_PATHS": "perhaps", "DEDUPE_MAX_WORKERS": "0", "DEDUPE_MAX_FILES": "many", "DEDUPE_MAX_MIB": "0"} {
		if _, err := read(map[string]string{name: value}); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s=%s: error %v", name, value, err)
		}
	}
}

// An index is a table or a file. Every error about it is one line that
// names the variable.
func TestConfigIndex(t *testing.T) {
	t.Setenv("AWS_REGION", "us-east-1")
	read := func(index, id string) (service.Config, error) {
		env := map[string]string{"DEDUPE_INDEX": index, "DEDUPE_INDEX_ID": id}
		return configFrom(func(name string) string { return env[name] })
	}
	dir := t.TempDir()
	for _, name := range []string{"dynamodb://digests", filepath.Join(dir, "below", "index.db")} {
		c, err := read(name, "fs-0123abcd")
		if err != nil || c.Index == nil || c.Index.FileSystem != "fs-0123abcd" {
			t.Errorf("%s: %+v, error %v", name, c, err)
		}
	}
	if c, err := read("", "fs-0123abcd"); err != nil || c.Index != nil {
		t.Errorf("none: %+v, error %v", c, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "text"), []byte("this is no index, but a text"), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, test := range [][3]string{
		{"dynamodb://", "", "DEDUPE_INDEX: "}, {"dynamodb://a/b", "", "DEDUPE_INDEX: "}, {"s3://digests", "", "dynamodb://TABLE or a file"},
		{dir, "", "DEDUPE_INDEX: "}, {filepath.Join(dir, "text"), "", "is not an index"}, {filepath.Join(dir, "text", "index.db"), "", "DEDUPE_INDEX: "},
		{"dynamodb://digests", "fs-0123abcd\n", "DEDUPE_INDEX_ID is"}, {"dynamodb://digests", "my files", "DEDUPE_INDEX_ID is"},
	} {
		if c, err := read(test[0], test[1]); err == nil || c.Index != nil || !strings.Contains(err.Error(), test[2]) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: error %v", test, err)
		}
	}
	t.Setenv("AWS_REGION", "")
	t.Setenv("AWS_DEFAULT_REGION", "")
	if _, err := read("dynamodb://digests", ""); err == nil || !strings.Contains(err.Error(), "AWS_REGION") {
		t.Errorf("no region: error %v", err)
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
