package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/aws/aws-lambda-go/lambdacontext"

	"efsdedupe/dedupe/service"
)

// parts are the pieces of a request, common to all kinds of events.
type parts struct {
	method string
	path   string // without the stage and the base path
	query  string
	header http.Header
	host   string
	source string // the IP address of the client
	body   []byte
	caller service.Caller
}

// request assembles the pieces like net/http does in a server.
func (p parts) request(ctx context.Context) (*http.Request, error) {
	if p.method == "" {
		return nil, &EventError{"the event has no HTTP method", nil}
	}
	if lc, ok := lambdacontext.FromContext(ctx); ok && p.caller.RequestID == "" {
		p.caller.RequestID = lc.AwsRequestID
	}
	r, err := http.NewRequestWithContext(service.WithCaller(ctx, p.caller), p.method, "/", bytes.NewReader(p.body))
	if err != nil {
		return nil, &EventError{"the event has an invalid HTTP method", err}
	}
	r.URL = location(p.path, p.query)
	r.RequestURI = r.URL.RequestURI()
	r.Header = p.header
	r.Header.Del("Content-Length") // NewRequest took it from the body
	r.Header.Del("Host")
	r.Host = p.host
	r.RemoteAddr = net.JoinHostPort(p.source, "0")
	return r, nil
}

// location returns the URL of a request. API Gateway decodes the paths of some kinds of
// events and not of others. A path that cannot be decoded already has been.
func location(path, query string) *url.URL {
	u := &url.URL{Path: "/" + strings.TrimPrefix(path, "/"), RawQuery: query}
	if decoded, err := url.PathUnescape(u.Path); err == nil {
		u.RawPath, u.Path = u.Path, decoded
	}
	return u
}

// body decodes the body of an event.
func body(text string, isBase64 bool) ([]byte, error) {
	if !isBase64 {
		return []byte(text), nil
	}
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, &EventError{"the event's body is not base64, although isBase64Encoded is true", err}
	}
	return b, nil
}

// route returns the path without stage and base path. The best source is the template
// that API Gateway matched, such as /v1/{proxy+}, filled in with its parameters: it
// has neither. Without a usable template, such as $default, route cuts off the stage.
func route(path, template string, parameters map[string]string, stage string) string {
	pairs := make([]string, 0, 4*len(parameters))
	for _, name := range slices.Sorted(maps.Keys(parameters)) {
		pairs = append(pairs, "{"+name+"}", parameters[name], "{"+name+"+}", parameters[name])
	}
	template = strings.NewReplacer(pairs...).Replace(template)
	if strings.HasPrefix(template, "/") && strings.HasSuffix(path, template) {
		return template
	}
	rest, found := strings.CutPrefix(path, "/"+stage)
	if found && (rest == "" || rest[0] == '/') {
		return rest
	}
	return path
}

func (e httpEvent) isFunctionURL() bool {
	return strings.Contains(e.RequestContext.DomainName, ".lambda-url.")
}

func (e httpEvent) request(ctx context.Context) (*http.Request, error) {
	b, err := body(e.Body, e.IsBase64Encoded)
	if err != nil {
		return nil, err
	}
	header := http.Header(values(nil, e.Headers, http.CanonicalHeaderKey))
	if len(e.Cookies) > 0 {
		header.Set("Cookie", strings.Join(e.Cookies, "; "))
	}
	in := e.RequestContext
	_, template, _ := strings.Cut(in.RouteKey, " ") // such as "POST /v1/scans"
	return parts{
		method: in.HTTP.Method,
		path:   route(e.RawPath, template, e.PathParameters, in.Stage),
		query:  e.RawQueryString,
		header: header,
		host:   cmp.Or(header.Get("Host"), in.DomainName),
		source: in.HTTP.SourceIP,
		body:   b,
		caller: service.Caller{RequestID: in.RequestID, Claims: e.claims()},
	}.request(ctx)
}

// claims returns the claims of the JWT or the IAM principal.
func (e httpEvent) claims() map[string]string {
	authorizer := e.RequestContext.Authorizer
	switch {
	case authorizer == nil:
		return nil
	case authorizer.JWT != nil:
		return authorizer.JWT.Claims
	case authorizer.IAM != nil:
		iam := authorizer.IAM
		return principal(iam.UserARN, iam.AccountID, iam.UserID, iam.CallerID)
	}
	return nil
}

func (e restEvent) request(ctx context.Context) (*http.Request, error) {
	b, err := body(e.Body, e.IsBase64Encoded)
	if err != nil {
		return nil, err
	}
	header := http.Header(values(e.MultiValueHeaders, e.Headers, http.CanonicalHeaderKey))
	header.Del("Accept-Encoding") // a REST API passes base64 on as it is unless all types are binary
	in := e.RequestContext
	stage := in.Stage
	if e.Path != in.Path {
		stage = "" // the path lacks it, as for a REST API with a custom domain
	}
	same := func(name string) string { return name }
	return parts{
		method: e.HTTPMethod,
		path:   route(e.Path, e.Resource, e.PathParameters, stage),
		query:  url.Values(values(e.MultiValueQueryStringParameters, e.QueryStringParameters, same)).Encode(),
		header: header,
		host:   cmp.Or(header.Get("Host"), in.DomainName),
		source: in.Identity.SourceIP,
		body:   b,
		caller: service.Caller{RequestID: in.RequestID, Claims: e.claims()},
	}.request(ctx)
}

// values merges the values of an event, from all if present, else from last, which has
// only the last value of each name. A name may occur in several spellings.
func values(all map[string][]string, last map[string]string, name func(string) string) map[string][]string {
	v := make(map[string][]string, max(len(all), len(last)))
	for _, key := range slices.Sorted(maps.Keys(all)) {
		v[name(key)] = append(v[name(key)], all[key]...)
	}
	if len(all) == 0 {
		for _, key := range slices.Sorted(maps.Keys(last)) {
			v[name(key)] = append(v[name(key)], last[key])
		}
	}
	return v
}

// claims returns the claims of the JWT or the IAM principal. It drops claims that are
// not strings, since they cannot name anything.
func (e restEvent) claims() map[string]string {
	if all, ok := e.RequestContext.Authorizer["claims"].(map[string]any); ok {
		claims := make(map[string]string, len(all))
		for name, value := range all {
			if s, ok := value.(string); ok {
				claims[name] = s
			}
		}
		return claims
	}
	id := e.RequestContext.Identity
	return principal(id.UserArn, id.AccountID, id.User, id.Caller)
}

// principal returns an IAM principal as claims, or nil if there is none.
func principal(arn, account, user, caller string) map[string]string {
	if cmp.Or(arn, user, caller) == "" {
		return nil
	}
	return map[string]string{
		"principal": cmp.Or(arn, user, caller),
		"accountId": account,
		"userId":    user,
		"callerId":  caller,
	}
}

func (e directEvent) request(ctx context.Context) (*http.Request, error) {
	return parts{
		method: http.MethodPost,
		path:   "/v1/scans",
		header: http.Header{"Content-Type": {"application/json"}},
		host:   "lambda",
		source: "127.0.0.1",
		body:   e,
	}.request(ctx)
}
