package main

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/aws/aws-lambda-go/events"
)

// event is any kind of event that this function answers.
type event interface {
	request(ctx context.Context) (*http.Request, error)
	response(w *recorder) (any, error)

	// patience is how long the invoker waits for the answer.
	patience() time.Duration
}

// The kinds of events.
type (
	httpEvent   events.APIGatewayV2HTTPRequest // from an HTTP API or a function URL
	restEvent   events.APIGatewayProxyRequest  // from a REST API, or an HTTP API with payload format 1.0
	directEvent json.RawMessage                // the body of POST /v1/scans, without HTTP
)

const (
	// gatewayTime leaves time for a cold start and the way here: a REST API waits
	// 29 s, an HTTP API 30 s. Source: Amazon API Gateway quotas.
	gatewayTime = 28 * time.Second

	// functionTime is the longest that Lambda runs any function. Each event brings
	// the timeout configured for this one. Source: AWS Lambda quotas.
	functionTime = 15 * time.Minute
)

// EventError says why the function cannot answer an event. Lambda passes the name of
// this type to the invoker.
type EventError struct {
	Reason string
	Err    error // the cause, or nil
}

func (e *EventError) Error() string {
	if e.Err == nil {
		return e.Reason
	}
	return e.Reason + ": " + e.Err.Error()
}

func (e *EventError) Unwrap() error { return e.Err }

// shape holds the fields that tell the kinds of events apart.
type shape struct {
	Version        string          `json:"version"`
	HTTPMethod     json.RawMessage `json:"httpMethod"`
	Path           json.RawMessage `json:"path"`
	RequestContext *struct {
		HTTP json.RawMessage `json:"http"`
		ELB  json.RawMessage `json:"elb"`
	} `json:"requestContext"`
}

// parse recognizes an event by its shape. Unlike an HTTP request, a direct invocation
// must name the path, so that a stray event from another source cannot start a scan.
func parse(payload []byte) (event, error) {
	var s shape
	if err := json.Unmarshal(payload, &s); err != nil {
		return nil, &EventError{"the event is not a JSON object that this function understands", err}
	}
	gateway := s.RequestContext
	switch {
	case gateway == nil && s.HTTPMethod == nil && s.Path != nil:
		return directEvent(payload), nil
	case gateway != nil && gateway.ELB != nil:
		return nil, &EventError{"the event comes from a load balancer, which this function does not support: use API Gateway instead", nil}
	case gateway != nil && gateway.HTTP != nil && s.Version == "2.0":
		return decode[httpEvent](payload)
	case gateway != nil && s.HTTPMethod != nil && (s.Version == "" || s.Version == "1.0"):
		return decode[restEvent](payload)
	}
	return nil, &EventError{`unknown event: send one from API Gateway (format 1.0 or 2.0), from a function URL, or a scan request such as {"path": "."}`, nil}
}

func decode[E event](payload []byte) (event, error) {
	var e E
	if err := json.Unmarshal(payload, &e); err != nil {
		return nil, &EventError{"the API Gateway event is malformed", err}
	}
	return e, nil
}

func (e httpEvent) patience() time.Duration {
	if e.isFunctionURL() {
		return functionTime
	}
	return gatewayTime
}

func (restEvent) patience() time.Duration { return gatewayTime }

func (directEvent) patience() time.Duration { return functionTime }
