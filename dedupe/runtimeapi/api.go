package runtimeapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// functionError is an error as a bootstrap reports it.
type functionError struct {
	Type    string `json:"errorType"`
	Message string `json:"errorMessage"`
}

func (e functionError) Error() string { return e.Type + ": " + e.Message }

// api is the Runtime API, version 2018-06-01, for one environment.
func (e *environment) api() http.Handler {
	const runtime = "/2018-06-01/runtime"
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+runtime+"/invocation/next", e.next)
	mux.HandleFunc("POST "+runtime+"/invocation/{id}/response", e.response)
	mux.HandleFunc("POST "+runtime+"/invocation/{id}/error", e.failure)
	mux.HandleFunc("POST "+runtime+"/init/error", e.initFailure)
	return mux
}

// next hands out the next event, when there is one.
func (e *environment) next(w http.ResponseWriter, r *http.Request) {
	e.asks.Do(func() { close(e.asked) })
	select {
	case c := <-e.calls:
		e.deliver(w, c)
	case <-r.Context().Done():
	}
}

func (e *environment) deliver(w http.ResponseWriter, c *call) {
	c.start = time.Now()
	e.mu.Lock()
	e.current = c
	e.mu.Unlock()

	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(c.event)))
	h.Set("Lambda-Runtime-Aws-Request-Id", c.id)
	h.Set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(c.start.Add(c.timeout).UnixMilli(), 10))
	h.Set("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:us-east-1:123456789012:function:dedupe")
	h.Set("Lambda-Runtime-Trace-Id", fmt.Sprintf("Root=1-%08x-%s;Sampled=0", c.start.Unix(), c.id[:8]+"0123456789abcdef"))
	w.Write(c.event)
}

// take returns the call that id names, which nobody else can answer then.
func (e *environment) take(id string) *call {
	e.mu.Lock()
	defer e.mu.Unlock()
	c := e.current
	if c == nil || c.id != id {
		return nil
	}
	e.current = nil
	return c
}

func (e *environment) response(w http.ResponseWriter, r *http.Request) {
	e.answer(w, r, func(body []byte) Result { return Result{Body: body} })
}

func (e *environment) failure(w http.ResponseWriter, r *http.Request) {
	e.answer(w, r, func(body []byte) Result {
		failure := parseError(r.Header, body)
		return Result{ErrorType: failure.Type, ErrorMessage: failure.Message}
	})
}

// answer ends the call that the request names with what result makes of the
// request's body. A body that Lambda would not take ends it, too.
func (e *environment) answer(w http.ResponseWriter, r *http.Request, result func(body []byte) Result) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxPayload))
	tooLarge := errors.As(err, new(*http.MaxBytesError))
	if err != nil && !tooLarge {
		return // the process is gone
	}
	c := e.take(r.PathValue("id"))
	if c == nil {
		reply(w, http.StatusBadRequest, functionError{"InvalidRequestID", "no call with this id waits for an answer"})
		return
	}
	var answer Result
	if tooLarge {
		failure := functionError{"Function.ResponseSizeTooLarge", fmt.Sprintf("an answer of more than %d bytes is above Lambda's limit", MaxPayload)}
		answer.ErrorType, answer.ErrorMessage = failure.Type, failure.Message
		reply(w, http.StatusRequestEntityTooLarge, failure)
	} else {
		answer = result(body)
		reply(w, http.StatusAccepted, map[string]string{"status": "OK"})
	}
	answer.RequestID, answer.Duration = c.id, time.Since(c.start)
	c.answered <- answer
}

func (e *environment) initFailure(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxPayload))
	if err != nil {
		return
	}
	select {
	case e.initError <- parseError(r.Header, body):
	default: // it has said so before
	}
	reply(w, http.StatusAccepted, map[string]string{"status": "OK"})
}

// parseError reads an error as far as it can be read: the type may be in a
// header alone, and the body may be anything.
func parseError(h http.Header, body []byte) functionError {
	var e functionError
	if json.Unmarshal(body, &e) != nil {
		e = functionError{Message: string(body)}
	}
	if e.Type == "" {
		e.Type = h.Get("Lambda-Runtime-Function-Error-Type")
	}
	if e.Type == "" {
		e.Type = "Unhandled"
	}
	return e
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}
