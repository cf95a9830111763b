// Package service offers scans over HTTP. The same [http.Handler] runs on a laptop and
// in a Lambda function behind API Gateway.
//
//	POST /v1/scans         scans a directory, answers like dedupe scan --format json
//	POST /v1/projections   turns usage into a bill
//	GET  /v1/healthz       reports whether the root is readable
//	GET  /v1/openapi.json  describes all of this
//
//	service.go     configuration, routes, and what all routes share
//	scans.go       POST /v1/scans
//	projections.go POST /v1/projections
//	caller.go      who is calling, and which folder is theirs
//	problem.go     errors as application/problem+json (RFC 9457)
//	recall.go      the index: digests from earlier scans
//	observe.go     log and metrics
//
// A request can neither read, name nor time anything outside its root. The engine is
// confined to it, see [dedupe.Engine.Within], and paths outside the root return 404.
package service

import (
	"cmp"
	"context"
	"crypto/rand"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"runtime/debug"
	"time"

	"efsdedupe/dedupe"
	"efsdedupe/dedupe/index"
)

// Config configures a service. Only Root is required; zero values suit a laptop.
type Config struct {
	Root        string // the directory to serve
	TenantClaim string // the claim that names the caller's folder in Root; empty: callers share Root

	MemoryMB    int64            // memory of the function, for the bill; 0: as much as a scan needs
	MaxWorkers  int              // per scan; 0: 200
	MaxFiles    int64            // per scan; 0: a million
	MaxScans    int              // scans that run at once, the rest wait; 0: 2
	MaxWaiting  int              // scans that wait, the rest get 429; 0: 100
	MaxDuration time.Duration    // per request; 0: 29 seconds, the limit of API Gateway
	LogPaths    bool             // whether paths may appear in the log
	Log         *slog.Logger     // nil: no log
	Metrics     io.Writer        // gets a line per scan in CloudWatch's embedded metric format; nil: no metrics
	Index       *index.Index     // digests from earlier scans; nil: none. New sets KeepBytes, if 0, to a share of MemoryMB
	Worker      func() *exec.Cmd // see dedupe.Engine
}

const (
	// gatewayTime is the longest that API Gateway waits for an answer: an HTTP API
	// waits 30 seconds, a REST API 29. Source: Amazon API Gateway quotas.
	gatewayTime = 29 * time.Second

	// answerTime is reserved for ending a scan and writing the answer.
	answerTime = time.Second

	// maxAnswer stays below the 6 MB that Lambda accepts. The rest is for the event
	// around the answer, and for escaping every quote of this JSON inside it.
	// Source: AWS Lambda quotas.
	maxAnswer = 4 << 20

	maxRequest = 64 << 10

	// The index may keep 1/keepShare of the memory for later scans, and takes about as
	// much again to manage it. With 1,769 MB that holds the digests of 1.8 million
	// files.
	keepShare = 16
)

//go:embed openapi.json
var openapi []byte

type service struct {
	Config
	root    *os.File
	scans   chan struct{} // one slot per running scan
	waiting chan struct{} // one slot per running or waiting scan
	running attendance

	abandoned dedupe.Abandoned // calls that hang
}

// New returns the handler. It fails if it cannot open c.Root as a directory.
func New(c Config) (http.Handler, error) {
	root, err := os.Open(c.Root)
	if err != nil {
		return nil, fmt.Errorf("cannot serve the root: %w", err)
	}
	if st, err := root.Stat(); err != nil || !st.IsDir() {
		root.Close()
		return nil, fmt.Errorf("cannot serve %q: it is not a directory", c.Root)
	}
	c.MaxWorkers = cmp.Or(c.MaxWorkers, 200)
	c.MaxFiles = cmp.Or(c.MaxFiles, 1_000_000)
	c.MaxScans = cmp.Or(c.MaxScans, 2)
	c.MaxWaiting = cmp.Or(c.MaxWaiting, 100)
	c.MaxDuration = cmp.Or(c.MaxDuration, gatewayTime)
	if c.Index != nil {
		c.Index.KeepBytes = cmp.Or(c.Index.KeepBytes, int(cmp.Or(c.MemoryMB, 1024)<<20/keepShare))
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	s := &service{
		Config:  c,
		root:    root,
		scans:   make(chan struct{}, c.MaxScans),
		waiting: make(chan struct{}, c.MaxScans+c.MaxWaiting),
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/scans", s.handle(s.scan))
	mux.HandleFunc("POST /v1/projections", s.handle(s.project))
	mux.HandleFunc("GET /v1/healthz", s.handle(s.health))
	mux.HandleFunc("GET /v1/openapi.json", s.handle(s.openapi))
	mux.HandleFunc("/", s.handle(s.noRoute(mux)))
	return mux, nil
}

// handle wraps a route. It limits the time and size of the request and answers errors
// and panics.
func (s *service) handle(route func(w http.ResponseWriter, r *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), s.MaxDuration)
		defer cancel()
		r = r.WithContext(ctx)
		r.Body = http.MaxBytesReader(w, r.Body, maxRequest)
		defer func() {
			if p := recover(); p != nil {
				s.failed(w, r, fmt.Sprint("panic: ", p), debug.Stack())
			}
		}()
		err := route(w, r)
		var p *problem
		switch {
		case err == nil:
		case errors.As(err, &p):
			p.write(w, r)
		default:
			s.failed(w, r, err.Error(), nil)
		}
	}
}

// failed answers a failure of the service with an ID, and logs the details under it.
func (s *service) failed(w http.ResponseWriter, r *http.Request, what string, stack []byte) {
	id := rand.Text()
	s.Log.Error("request failed", "event", eventRequestFailed, "id", id, "request_id", callerOf(r.Context()).RequestID,
		"route", r.Pattern, "error", what, "stack", string(stack))
	refuse(http.StatusInternalServerError, "the request failed: look for the ID %s in the log", id).with("id", id).write(w, r)
}

func (s *service) health(w http.ResponseWriter, r *http.Request) error {
	if _, err := os.Stat(s.Root); err != nil {
		return refuse(http.StatusServiceUnavailable, "the root cannot be reached: check the mount")
	}
	return answer(w, map[string]string{"status": "ok"})
}

func (s *service) openapi(w http.ResponseWriter, r *http.Request) error {
	w.Header().Set("Content-Type", "application/json")
	_, err := w.Write(openapi)
	return err
}

// noRoute answers requests that match no route: 405 with the right method if only the
// method is wrong, 404 otherwise.
func (s *service) noRoute(mux *http.ServeMux) func(w http.ResponseWriter, r *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			other := r.Clone(r.Context())
			other.Method = method
			if _, pattern := mux.Handler(other); pattern != "/" {
				w.Header().Set("Allow", method)
				return refuse(http.StatusMethodNotAllowed, "%s does not accept %s: use %s", pattern[len(method)+1:], r.Method, method)
			}
		}
		return refuse(http.StatusNotFound, "no such resource: see /v1/openapi.json")
	}
}

func answer(w http.ResponseWriter, doc any) error {
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(doc)
}

// decode reads the JSON object in the body of a request. Unknown fields and trailing
// data are errors.
func decode(r *http.Request, into any) error {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	err := d.Decode(into)
	if err == nil {
		if _, more := d.Token(); more != io.EOF {
			err = errors.New("there is more data after the object")
		}
	}
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return refuse(http.StatusRequestEntityTooLarge, "the request is larger than %d bytes", tooLarge.Limit)
	case err != nil:
		return refuse(http.StatusBadRequest, "the body is not the JSON object that /v1/openapi.json describes: %v", err)
	}
	return nil
}
