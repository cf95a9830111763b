// Package service offers scans over HTTP. The same [http.Handler] runs on a laptop and
// in a Lambda function behind API Gateway.
//
//	POST /v1/scans         scans a directory, answers like dedupe scan --format json
//	POST /v1/jobs          begins a job, which scans a tree of any size
//	GET  /v1/jobs          lists jobs
//	GET  /v1/jobs/ID       says how far a job is; DELETE cancels it
//	GET  /v1/jobs/ID/report answers with a page of its report
//	POST /v1/projections   turns usage into a bill
//	GET  /v1/healthz       reports whether the root is readable
//	GET  /v1/openapi.json  describes all of this
//
//	service.go      configuration, routes, and what all routes share
//	admission.go    which scans may run, and how long others wait
//	scans.go        POST /v1/scans
//	jobs.go         /v1/jobs
//	jobreport.go    GET /v1/jobs/ID/report
//	jobplan.go      what a job will take
//	deadline.go     when a scan must end for its answer to be in time
//	limit.go        the most bytes that a scan may read
//	projections.go  POST /v1/projections
//	openapi.go      GET /v1/openapi.json
//	request.go      bodies of requests
//	rules.go        which copies to keep, and what else to find
//	answer.go       HEAD, compression and versions of answers
//	browser.go      requests that browsers send for pages of other sites
//	caller.go       who is calling, and which folder is theirs
//	problem.go      errors as application/problem+json (RFC 9457)
//	recall.go       the index: digests from earlier scans
//	observe.go      log and metrics
//
// A request can neither read, name nor time anything outside its root. The engine is
// confined to it, see [dedupe.Engine.Within], and paths outside the root return 404.
package service

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"efsdedupe/dedupe"
	"efsdedupe/dedupe/cost"
	"efsdedupe/dedupe/index"
	"efsdedupe/dedupe/jobs"
)

// Config configures a service. Only Root or Jobs is required; zero values suit a laptop.
type Config struct {
	Root        string // the directory to serve; empty: no scans, only jobs
	TenantClaim string // the claim that names the caller's folder in Root; empty: callers share Root

	MemoryMB    int64            // memory of the function, for the bill and for its share of a core; 0: as much as a scan needs, and a core
	MaxWorkers  int              // per scan; 0: 200
	MaxFiles    int64            // per scan; 0: a million
	ScanMemory  int64            // bytes that a scan may use; 0: any number
	MaxBytes    int64            // that a scan may read; 0: any number
	MaxScans    int              // scans that run at once, the rest wait; 0: 2
	MaxWaiting  int              // scans that wait, the rest get 429; 0: 100
	MaxDuration time.Duration    // per request; 0: 29 seconds, the limit of API Gateway
	LogPaths    bool             // whether paths may appear in the log
	Log         *slog.Logger     // nil: no log
	Metrics     io.Writer        // gets a line per scan in CloudWatch's embedded metric format; nil: no metrics
	Stack       string           // value of the metrics' dimension Stack; empty: they have no such dimension
	Index       *index.Index     // digests from earlier scans; nil: none. New sets KeepBytes, if 0, to a share of MemoryMB
	Worker      func() *exec.Cmd // see dedupe.Engine
	Jobs        *Jobs            // nil: none
	Prices      *cost.Book       // for bills of its region, which is the default; nil: of cost.DefaultRegion, see cost.Prices

	// Listen is the address of a server that browsers on this machine can reach, which
	// refuses what they send for pages of other sites. AllowHosts are the names that
	// proxies give it. If Listen is empty, a gateway decides who may call.
	Listen     string
	AllowHosts []string
}

const (
	// gatewayTime is the longest that API Gateway waits for an answer: an HTTP API
	// waits 30 seconds, a REST API 29. Source: Amazon API Gateway quotas.
	gatewayTime = 29 * time.Second

	// defaultMaxWorkers is the bound that openapi.json has.
	defaultMaxWorkers = 200

	// maxAnswer limits a scan's answer as a string inside the answer to an event, of which
	// Lambda accepts 6 MiB. The rest is for its headers, and for base64 of a gzip body:
	// paths of random letters take 4% more that way.
	// Source: AWS Lambda quotas.
	maxAnswer = 6<<20 - 256<<10

	// healthTime is how long a health check waits for the root.
	healthTime = 5 * time.Second

	// The index may keep 1/keepShare of the memory for later scans, and takes about as
	// much again to manage it. With 1,769 MB that holds the digests of 1.8 million
	// files.
	keepShare = 16
)

type service struct {
	Config
	root     *os.File
	routes   map[string]resource
	document func() []byte // the OpenAPI document
	listens  string        // the host in Listen, if it names one
	allowed  []host        // AllowHosts
	gate     gate
	probe    singleflight.Group // of the root
	running  attendance

	abandoned dedupe.Abandoned // calls that hang
}

// resource is what a path does with each method. GET includes HEAD.
type resource map[string]func(w http.ResponseWriter, r *http.Request) error

// New returns the handler. It fails if it cannot open c.Root as a directory.
func New(c Config) (http.Handler, error) {
	root, err := openRoot(c)
	if err != nil {
		return nil, err
	}
	c.MaxWorkers = cmp.Or(c.MaxWorkers, defaultMaxWorkers)
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
	s := &service{Config: c, root: root, gate: gate{slots: c.MaxScans, waiting: c.MaxWaiting}}
	if s.allowed, err = parseHosts(c.AllowHosts); err != nil {
		return nil, err
	}
	if name, _, err := net.SplitHostPort(c.Listen); err == nil {
		s.listens = normalHost(name)
	}
	s.document = sync.OnceValue(s.describe)
	s.routes = map[string]resource{
		"/v1/projections":  {http.MethodPost: s.project},
		"/v1/healthz":      {http.MethodGet: s.health},
		"/v1/openapi.json": {http.MethodGet: s.openapi},
	}
	if s.root != nil {
		s.routes["/v1/scans"] = resource{http.MethodPost: s.scan}
	}
	if s.Jobs != nil {
		s.routes["/v1/jobs"] = resource{http.MethodPost: s.createJob, http.MethodGet: s.listJobs}
		s.routes["/v1/jobs/{id}"] = resource{http.MethodGet: s.getJob, http.MethodDelete: s.cancelJob}
		s.routes["/v1/jobs/{id}/report"] = resource{http.MethodGet: s.jobReport}
	}
	return s.handle(s.serve), nil
}

// openRoot opens the directory to serve, or returns nil if there are only jobs.
func openRoot(c Config) (*os.File, error) {
	if c.Root == "" && c.Jobs != nil {
		return nil, nil
	}
	root, err := os.Open(c.Root)
	if err != nil {
		return nil, fmt.Errorf("can't serve the root: %w", err)
	}
	if st, err := root.Stat(); err != nil || !st.IsDir() {
		root.Close()
		return nil, fmt.Errorf("can't serve %q: it is not a directory", c.Root)
	}
	return root, nil
}

// find returns the resource at a path. It sets the path value "id" of the request if the path has an ID.
func (s *service) find(r *http.Request) (resource, bool) {
	if strings.Contains(strings.ToLower(r.URL.EscapedPath()), "%2f") {
		return nil, false
	}
	path := r.URL.Path
	if rest, ok := strings.CutPrefix(path, "/v1/jobs/"); ok {
		id, _, _ := strings.Cut(rest, "/")
		if !jobs.IsID(id) {
			return nil, false
		}
		r.SetPathValue("id", id)
		path = "/v1/jobs/{id}" + rest[len(id):]
	}
	to, ok := s.routes[path]
	return to, ok
}

// serve answers a request by its path and method. Paths are not cleaned: a redirect would
// turn a POST into a GET.
func (s *service) serve(w http.ResponseWriter, r *http.Request) error {
	if err := s.checkPage(r); err != nil {
		return err
	}
	to, ok := s.find(r)
	if !ok {
		return refuse(http.StatusNotFound, "no such resource: see /v1/openapi.json")
	}
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	do := to[method]
	if do == nil {
		methods := slices.Sorted(maps.Keys(to))
		w.Header().Set("Allow", strings.Replace(strings.Join(methods, ", "), "GET", "GET, HEAD", 1))
		return refuse(http.StatusMethodNotAllowed, "%s does not accept %s: use %s", r.URL.Path, r.Method, strings.Join(methods, " or "))
	}
	if method == http.MethodPost {
		if err := s.checkForm(r); err != nil {
			return err
		}
	}
	return do(w, r)
}

// handle wraps a route. It limits the time and size of the request and answers errors
// and panics.
func (s *service) handle(route func(w http.ResponseWriter, r *http.Request) error) http.HandlerFunc {
	return func(plain http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), s.MaxDuration)
		defer cancel()
		r = r.WithContext(ctx)
		r.Body = http.MaxBytesReader(plain, r.Body, maxRequest)
		w := &answerWriter{ResponseWriter: plain, request: r}
		defer w.end()
		w.Header().Set("Cache-Control", "no-store")
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
		case !w.begun && ctx.Err() != nil && errors.Is(err, ctx.Err()):
			refuse(http.StatusServiceUnavailable, "no answer in time: try again later").after(patience).write(w, r)
		default:
			s.failed(w, r, err.Error(), nil)
		}
	}
}

// failed answers a failure of the service with an ID, and logs the details under it.
func (s *service) failed(w *answerWriter, r *http.Request, what string, stack []byte) {
	id := rand.Text()
	s.Log.Error("request failed", "event", eventRequestFailed, "id", id, "request_id", callerOf(r.Context()).RequestID,
		"route", r.Method+" "+r.URL.Path, "error", what, "stack", string(stack))
	if w.begun { // what is there would only get worse
		return
	}
	refuse(http.StatusInternalServerError, "the request failed: look for the ID %s in the log", id).with("id", id).write(w, r)
}

// health checks the root. All requests share one check, so that a mount that hangs keeps
// one thread, however many requests there are.
func (s *service) health(w http.ResponseWriter, r *http.Request) error {
	if s.Root == "" && s.Jobs != nil {
		return answer(w, map[string]string{"status": "ok"})
	}
	checked := s.probe.DoChan("", func() (any, error) { return os.Stat(s.Root) })
	ctx, cancel := context.WithTimeout(r.Context(), healthTime)
	defer cancel()
	select {
	case result := <-checked:
		if result.Err == nil {
			return answer(w, map[string]string{"status": "ok"})
		}
	case <-ctx.Done():
	}
	return refuse(http.StatusServiceUnavailable, "the root cannot be reached: check the mount").after(healthTime)
}
