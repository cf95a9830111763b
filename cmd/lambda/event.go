package main

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/aws/aws-lambda-go/events"
)

// event is an event that this function answers, of any kind.
type event interface {
	request(ctx context.Context) (*http.Request, error)
	response(w *recorder) (any, error)

	// patience is how long the invoker waits for the answer.
	patience() time.Duration
}

// The kinds of events.
type (
	httpEvent   events.APIGatewayV2HTTPRequest // of an HTTP API, or of a function URL
	restEvent   events.APIGatewayProxyRequest  // of a REST API, or of an HTTP API with payload format 1.0
	directEvent json.RawMessage                // a scan's request
)

const (
	// gatewayTime is below what API Gateway waits, 29 s a REST API and 30 s an HTTP
	// API, by as much as a cold start and the way to here may have taken of that.
	// Source: Amazon API Gateway quotas.
	gatewayTime = 28 * time.Second

	// functionTime is the longest that Lambda runs a function; the time-out that
	// this one has comes with each event. Source: AWS Lambda quotas.
	functionTime = 15 * time.Minute
)

// EventError says why an event is not answered. Lambda tells the invoker the name
// of this type.
type EventError struct {
	Reason string
	Err    error // nil, or the cause
}

func (e *EventError) Error() string {
	if e.Err == nil {
		return e.Reason
	}
	return e.Reason + ": " + e.Err.Error()
}

func (e *EventError) Unwrap() error { return e.Err }

// shape is what tells the kinds of events apart.
type shape struct {
	Version        string          `json:"version"`
	HTTPMethod     json.RawMessage `json:"httpMethod"`
	Path           json.RawMessage `json:"path"`
	RequestContext *struct {
		HTTP json.RawMessage `json:"http"`
		ELB  json.RawMessage `json:"elb"`
	} `json:"requestContext"`
}

// parse tells the kind of an event by its shape. A direct invocation must name
// the path, though a request may leave it out: no event of another source that
// is sent here by mistake may start a scan.
func parse(payload []byte) (event, error) {
	var s shape
	if err := json.Unmarshal(payload, &s); err != nil {
		return nil, &EventError{"the event is not a JSON object that this function knows", err}
	}
	gateway := s.RequestContext
	switch {
	case gateway == nil && s.HTTPMethod == nil && s.Path != nil:
		return directEvent(payload), nil
	case gateway != nil && gateway.ELB != nil:
		return nil, &EventError{"the event is that of a load balancer, which this function does not take: put API Gateway in front of it", nil}
	case gateway != nil && gateway.HTTP != nil && s.Version == "2.0":
		return decode[httpEvent](payload)
	case gateway != nil && s.HTTPMethod != nil && (s.Version == "" || s.Version == "1.0"):
		return decode[restEvent](payload)
	}
	return nil, &EventError{`the event is none of API Gateway (format 1.0 or 2.0), of a function URL, or a scan's request such as {"path": "."}`, nil}
}

func decode[E event](payload []byte) (event, error) {
	var e E
	if err := json.Unmarshal(payload, &e); err != nil {
		return nil, &EventError{"the event of API Gateway is malformed", err}
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
