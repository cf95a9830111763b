// Package service is the scan as an HTTP API, one [http.Handler] that runs
// behind API Gateway in a Lambda function as it does on a laptop.
//
//	POST /v1/scans         a directory in, the report of dedupe scan --format json out
//	POST /v1/projections   usage in, bill out
//	GET  /v1/healthz       whether the root can be reached
//	GET  /v1/openapi.json  all of this, for programs
//
//	service.go     the configuration, the routes, what holds for all of them
//	scans.go       POST /v1/scans
//	projections.go POST /v1/projections
//	caller.go      who asks, and which folder is theirs
//	problem.go     errors as application/problem+json (RFC 9457)
//	recall.go      the index: what earlier scans have read
//	observe.go     the log and the metrics of a scan
//
// A request can neither read, name nor time anything outside its root: the
// engine is confined to it, see [dedupe.Engine.Within], and what is outside is
// as what does not exist.
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

	"efsdedupe/dedupe/index"
)

// Config is what a service is made of. Its zero values are those of a laptop.
type Config struct {
	Root        string // the directory that is served
	TenantClaim string // the claim that names a caller's folder in Root; empty: all callers have all of it

	MemoryMB    int64            // of the function, for the bill; 0: what a scan needs
	MaxWorkers  int              // of one scan; 0: 200
	MaxFiles    int64            // of one scan; 0: a million
	MaxScans    int              // at once; more wait; 0: 2
	MaxWaiting  int              // for those; more are refused; 0: 100
	MaxDuration time.Duration    // of one request; 0: what API Gateway waits
	LogPaths    bool             // paths are in the log
	Log         *slog.Logger     // nil: none
	Metrics     io.Writer        // a line for each scan in CloudWatch's embedded metric format; nil: none
	Index       *index.Index     // digests that are remembered between scans; nil: none. KeepBytes 0: a share of MemoryMB
	Worker      func() *exec.Cmd // see dedupe.Engine
}

const (
	// gatewayTime is how long an HTTP API waits for an answer, at most; a REST API
	// waits a second less. Source: Amazon API Gateway quotas.
	gatewayTime = 29 * time.Second

	// answerTime is kept for ending a scan and writing the answer.
	answerTime = time.Second

	// maxAnswer is below the 6 MB that Lambda takes as a response, with room for
	// the event around it, in which every quote of this JSON is quoted.
	// Source: AWS Lambda quotas.
	maxAnswer = 4 << 20

	maxRequest = 64 << 10

	// keepShare is what part of the memory the index keeps for further scans, at
	// most, with about as much again to keep it in: the digests of 1.8 million files
	// in 1,769 MB.
	keepShare = 16
)

//go:embed openapi.json
var openapi []byte

type service struct {
	Config
	root    *os.File
	scans   chan struct{} // a place for each scan that runs
	waiting chan struct{} // a place for each that runs or waits
	running attendance
}

// New returns the handler. It fails if the root is no directory that can be
// opened.
func New(c Config) (http.Handler, error) {
	root, err := os.Open(c.Root)
	if err != nil {
		return nil, fmt.Errorf("can't serve the root: %w", err)
	}
	if st, err := root.Stat(); err != nil || !st.IsDir() {
		root.Close()
		return nil, fmt.Errorf("can't serve %q: it is no directory", c.Root)
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
	mux.HandleFunc("/", s.handle(s.elsewhere(mux)))
	return mux, nil
}

// handle is around every route: it bounds the request in time and size, and
// turns errors, and panics, into answers.
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
		var told *problem
		switch {
		case err == nil:
		case errors.As(err, &told):
			told.write(w, r)
		default:
			s.failed(w, r, err.Error(), nil)
		}
	}
}

// failed answers for a failure of ours: with an id, under which the log has the
// rest.
func (s *service) failed(w http.ResponseWriter, r *http.Request, what string, stack []byte) {
	id := rand.Text()
	s.Log.Error("request failed", "event", eventRequestFailed, "id", id, "request_id", callerOf(r.Context()).RequestID,
		"route", r.Pattern, "error", what, "stack", string(stack))
	refuse(http.StatusInternalServerError, "the request failed; the log has more under %s", id).with("id", id).write(w, r)
}

func (s *service) health(w http.ResponseWriter, r *http.Request) error {
	if _, err := os.Stat(s.Root); err != nil {
		return refuse(http.StatusServiceUnavailable, "the root can't be reached")
	}
	return answer(w, map[string]string{"status": "ok"})
}

func (s *service) openapi(w http.ResponseWriter, r *http.Request) error {
	w.Header().Set("Content-Type", "application/json")
	_, err := w.Write(openapi)
	return err
}

// elsewhere answers for what is no route: another method of one, or nothing.
func (s *service) elsewhere(mux *http.ServeMux) func(w http.ResponseWriter, r *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			other := r.Clone(r.Context())
			other.Method = method
			if _, pattern := mux.Handler(other); pattern != "/" {
				w.Header().Set("Allow", method)
				return refuse(http.StatusMethodNotAllowed, "%s is not for %s: use %s", r.Method, pattern[len(method)+1:], method)
			}
		}
		return refuse(http.StatusNotFound, "there is no such resource: see /v1/openapi.json")
	}
}

func answer(w http.ResponseWriter, doc any) error {
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(doc)
}

// decode reads a request's JSON object, and nothing that it does not know.
func decode(r *http.Request, into any) error {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	err := d.Decode(into)
	if err == nil {
		if _, more := d.Token(); more != io.EOF {
			err = errors.New("there is more after the object")
		}
	}
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return refuse(http.StatusRequestEntityTooLarge, "the request is above %d bytes", tooLarge.Limit)
	case err != nil:
		return refuse(http.StatusBadRequest, "the body is not the JSON that this resource takes: %v", err)
	}
	return nil
}
