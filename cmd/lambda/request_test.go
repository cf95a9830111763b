package main

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"efsdedupe/dedupe/service"
)

// Hosts and an address of sample events.
const (
	api       = "r3pmxmplak.execute-api.us-east-1.amazonaws.com"
	client    = "203.0.113.24:0"
	functions = "z2hz7cxmplxmplh4bcw5exampleh0bqkrz.lambda-url.us-east-1.on.aws"
)

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
