package service

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"path"
	"reflect"
	"strconv"
	"strings"
	"time"

	"efsdedupe/dedupe"
	"efsdedupe/dedupe/cost"
	"efsdedupe/dedupe/job"
	"efsdedupe/dedupe/jobs"
)

// Jobs configures the jobs of a service.
type Jobs struct {
	Registry *jobs.Registry
	Runner   Runner
	Root     string     // the directory to scan, by the path that the units find it at
	Index    *job.Index // that the units use; nil: none
}

// Runner runs jobs somewhere. It tells their registry how far they are, and stores the
// reports.
type Runner interface {
	// Start begins a job and returns at once. To start a job again does nothing.
	Start(ctx context.Context, ref jobs.Ref) error

	// Cancel ends a job early, after the registry knows of it. It does not wait for the end.
	Cancel(ctx context.Context, ref jobs.Ref) error

	// Ended returns how many units ended since the registry was told of a state.
	Ended(ctx context.Context, ref jobs.Ref, s jobs.State) (int, error)

	// Plan estimates what a job takes. The error for a path that does not exist is a
	// *dedupe.RootError.
	Plan(ctx context.Context, spec job.Spec) (job.Estimate, error)
}

// jobRequest is the body of POST /v1/jobs.
type jobRequest struct {
	selectionRequest
	rulesRequest
	Workers int  `json:"workers"`
	DryRun  bool `json:"dry_run,omitempty"`

	MaxCost        *float64 `json:"max_cost,omitempty"`
	MaxConcurrency *int     `json:"max_concurrency,omitempty"`
	Continue       *string  `json:"continue,omitempty"` // ID of a job; besides, only MaxCost
}

// jobJSON is a job as an operation of AIP-151.
type jobJSON struct {
	ID       string        `json:"id"`
	Done     bool          `json:"done"`
	Metadata jobMetadata   `json:"metadata"`
	Error    *jobs.Failure `json:"error,omitempty"`
	Response *jobs.Outcome `json:"response,omitempty"`
	Links    jobLinks      `json:"links"`
}

type jobMetadata struct {
	State      jobs.Phase       `json:"state"`
	Cancelling bool             `json:"cancelling,omitempty"`
	Created    time.Time        `json:"created"`
	Started    time.Time        `json:"started,omitzero"`
	Finished   time.Time        `json:"finished,omitzero"`
	Expires    time.Time        `json:"expires,omitzero"`
	Request    json.RawMessage  `json:"request"`
	Stages     []job.StageCount `json:"stages"`
	ReadBytes  int64            `json:"metered_read_bytes"`
	MaxCost    float64          `json:"max_cost,omitempty"`
	Cost       *jobCost         `json:"cost,omitempty"`
}

// jobCost is what a job cost so far, as it would on AWS.
type jobCost struct {
	Region   string  `json:"region"`
	Currency string  `json:"currency"`
	Total    float64 `json:"total"`
	Decimal  string  `json:"total_decimal"`
}

type jobLinks struct {
	Self   string `json:"self"`
	Report string `json:"report"`
}

// pollAfter is when to ask again how far a job is.
const pollAfter = 5 * time.Second

func (s *service) createJob(w http.ResponseWriter, r *http.Request) error {
	key, err := idempotencyKey(r.Header)
	if err != nil {
		return err
	}
	defaults := jobRequest{Workers: min(dedupe.DefaultWorkers, s.MaxWorkers)}
	defaults.MinSize = 1
	q := defaults
	if err := decode(r, &q); err != nil {
		return err
	}
	if err := cmp.Or(q.check(defaults), s.canPrice(q)); err != nil {
		return err
	}
	tenant, err := s.tenant(r.Context())
	if err != nil {
		return err
	}
	var j jobs.Job
	if q.Continue != nil {
		j, err = s.Jobs.Registry.Continue(r.Context(), jobs.Ref{Tenant: jobs.TenantHash(tenant), ID: *q.Continue}, *q.MaxCost)
	} else {
		if j, err = s.asked(q, tenant); err != nil {
			return err
		}
		if q.DryRun {
			return s.planJob(w, r, j.Spec)
		}
		j, err = s.Jobs.Registry.Create(r.Context(), tenant, key, j)
	}
	if err != nil {
		return jobRefusal(err)
	}
	state, err := s.start(r.Context(), j)
	if err != nil {
		return err
	}
	doc, err := s.jobOf(r.Context(), j, state)
	if err != nil {
		return err
	}
	return accepted(w, doc)
}

// mostCost and mostConcurrency limit what a job may be given.
const (
	mostCost        = 1e9
	mostConcurrency = 10_000 // executions of a distributed map; source: AWS Step Functions quotas
)

// check refuses limits that no job can have, and changes that a continued job can't make.
func (q *jobRequest) check(defaults jobRequest) error {
	switch {
	case q.MaxCost != nil && !(*q.MaxCost > 0 && *q.MaxCost <= mostCost):
		return refuse(http.StatusBadRequest, "max_cost is %v: it must be more than 0, and at most %.0f", *q.MaxCost, mostCost)
	case q.MaxConcurrency != nil && (*q.MaxConcurrency < 1 || *q.MaxConcurrency > mostConcurrency):
		return refuse(http.StatusBadRequest, "max_concurrency is %d, allowed: 1 to %d", *q.MaxConcurrency, mostConcurrency)
	case q.Continue == nil:
		return nil
	case !jobs.IsID(*q.Continue):
		return refuse(http.StatusBadRequest, "continue is not the ID of a job")
	}
	defaults.Continue, defaults.MaxCost = q.Continue, q.MaxCost
	if q.MaxCost == nil || !reflect.DeepEqual(*q, defaults) {
		return refuse(http.StatusBadRequest, "continue takes max_cost, and nothing else: a job goes on as it began")
	}
	return nil
}

// asked returns the job that a request asks for, in the folder of a tenant.
func (s *service) asked(q jobRequest, tenant string) (j jobs.Job, err error) {
	if j.Spec, j.Rules, err = s.spec(q, tenant); err != nil {
		return j, err
	}
	if q.MaxCost != nil {
		j.MaxCost = *q.MaxCost
	}
	if q.MaxConcurrency != nil {
		j.MaxConcurrency = *q.MaxConcurrency
	}
	j.Request, err = json.Marshal(q)
	return j, err
}

// canPrice refuses a limit of the cost if prices are missing to keep it.
func (s *service) canPrice(q jobRequest) error {
	if q.MaxCost == nil {
		return nil
	}
	book, err := s.book(s.region())
	if err == nil {
		_, err = book.Fanout(job.Reference(1000).Fanout())
	}
	if missing := (*cost.PriceError)(nil); errors.As(err, &missing) {
		return refuse(http.StatusUnprocessableEntity, "max_cost can't be kept: %v", err)
	}
	return err
}

// spec returns what a request asks for, in the folder of a tenant. A path that does not exist
// is the job's own failure, because whoever answers requests may not see the file system.
func (s *service) spec(q jobRequest, tenant string) (job.Spec, jobs.Rules, error) {
	o, err := s.order(scanRequest{selectionRequest: q.selectionRequest, rulesRequest: q.rulesRequest, Mode: dedupe.Goroutines, Workers: q.Workers, Limit: 1})
	return job.Spec{
		Selection: o.sel, Workers: q.Workers, Within: []byte(s.Jobs.Root), Folder: []byte(tenant), Index: s.Jobs.Index,
		Limits: job.DefaultLimits(),
	}, jobs.RulesOf(o.rules), err
}

// start starts a job that did not begin yet, perhaps because an earlier request could not.
func (s *service) start(ctx context.Context, j jobs.Job) (jobs.State, error) {
	_, state, err := s.Jobs.Registry.Get(ctx, j.Ref)
	if err == nil && state.Phase == jobs.Queued {
		err = s.Jobs.Runner.Start(ctx, j.Ref)
	}
	return state, err
}

func (s *service) listJobs(w http.ResponseWriter, r *http.Request) error {
	const most = 100
	limit, next, err := pageOf(r, 20, most)
	if err != nil {
		return err
	}
	if next != "" && !jobs.IsID(next) {
		return refuse(http.StatusBadRequest, "next is not from an answer: send it unchanged, or leave it out for the first page")
	}
	tenant, err := s.tenant(r.Context())
	if err != nil {
		return err
	}
	refs, next, err := s.Jobs.Registry.List(r.Context(), tenant, next, limit)
	if err != nil {
		return err
	}
	doc := struct {
		Jobs []jobJSON `json:"jobs"`
		Next string    `json:"next,omitempty"`
	}{Jobs: []jobJSON{}, Next: next}
	for _, ref := range refs {
		j, state, err := s.Jobs.Registry.Get(r.Context(), ref)
		if errors.Is(err, jobs.ErrNotFound) {
			continue // its time was over just now
		}
		if err != nil {
			return err
		}
		one, err := s.jobOf(r.Context(), j, state)
		if err != nil {
			return err
		}
		doc.Jobs = append(doc.Jobs, one)
	}
	return answerVersion(w, r, doc)
}

func (s *service) getJob(w http.ResponseWriter, r *http.Request) error {
	j, state, err := s.job(r)
	if err != nil {
		return err
	}
	s.catchUp(r.Context(), j.Ref, &state)
	doc, err := s.jobOf(r.Context(), j, state)
	if err != nil {
		return err
	}
	return answerVersion(w, r, doc)
}

func (s *service) cancelJob(w http.ResponseWriter, r *http.Request) error {
	j, state, err := s.job(r)
	if err != nil {
		return err
	}
	if !state.Done() || state.Phase == jobs.Stopped {
		if err := s.Jobs.Registry.Cancel(r.Context(), j.Ref); err != nil {
			return err
		}
		if err := s.Jobs.Runner.Cancel(r.Context(), j.Ref); err != nil {
			return err
		}
		if _, state, err = s.Jobs.Registry.Get(r.Context(), j.Ref); err != nil {
			return err
		}
	}
	doc, err := s.jobOf(r.Context(), j, state)
	if err != nil {
		return err
	}
	return accepted(w, doc)
}

// job returns the job that the path of a request names, if it is the caller's.
func (s *service) job(r *http.Request) (jobs.Job, jobs.State, error) {
	tenant, err := s.tenant(r.Context())
	if err != nil {
		return jobs.Job{}, jobs.State{}, err
	}
	j, state, err := s.Jobs.Registry.Get(r.Context(), jobs.Ref{Tenant: jobs.TenantHash(tenant), ID: r.PathValue("id")})
	return j, state, jobRefusal(err)
}

// catchUp adds the units that ended since whoever runs a job told how far it is. Without an
// answer, the state is of that time.
func (s *service) catchUp(ctx context.Context, ref jobs.Ref, state *jobs.State) {
	if state.Phase != jobs.Running || len(state.Stages) == 0 {
		return
	}
	n, err := s.Jobs.Runner.Ended(ctx, ref, *state)
	if err != nil {
		s.Log.LogAttrs(ctx, slog.LevelWarn, "nobody tells how far a job is", slog.String("event", "job_progress_failed"), slog.String("job", ref.ID), slog.String("error", err.Error()))
		return
	}
	last := &state.Stages[len(state.Stages)-1]
	last.Done = min(last.Done+n, last.Units)
}

// jobOf returns a job for its tenant.
func (s *service) jobOf(ctx context.Context, j jobs.Job, state jobs.State) (jobJSON, error) {
	self := "/v1/jobs/" + j.ID
	doc := jobJSON{ID: j.ID, Done: state.Done(), Error: state.Failure, Response: state.Outcome, Links: jobLinks{self, self + "/report"}}
	doc.Metadata = jobMetadata{
		State: state.Phase, Created: j.Created, Started: state.Started, Finished: state.Finished, Expires: s.Jobs.Registry.Expires(state),
		Request: j.Request, Stages: append([]job.StageCount{}, state.Stages...), ReadBytes: state.DataBytes,
		MaxCost: j.MaxCost, Cost: s.costOf(state),
	}
	var err error
	if !doc.Done {
		doc.Metadata.Cancelling, err = s.Jobs.Registry.Cancelled(ctx, j.Ref)
	}
	return doc, err
}

// costOf returns what a job cost so far, or nil if it used nothing yet, or if a price is
// missing.
func (s *service) costOf(state jobs.State) *jobCost {
	book, err := s.book(s.region())
	if err != nil || state.Used == (cost.Fanout{}) {
		return nil
	}
	bill, err := book.Fanout(state.Used)
	if err != nil {
		return nil
	}
	c := &jobCost{Region: bill.Region, Currency: bill.Currency, Decimal: cost.Decimal(bill.Total, 9)}
	c.Total, _ = bill.Total.Float64()
	return c
}

// accepted answers with a job that goes on.
func accepted(w http.ResponseWriter, doc jobJSON) error {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Location", doc.Links.Self)
	w.Header().Set("Retry-After", strconv.Itoa(int(pollAfter.Seconds())))
	w.WriteHeader(http.StatusAccepted)
	return json.NewEncoder(w).Encode(doc)
}

// answerVersion answers with a document, or with 304 to a client that has it.
func answerVersion(w http.ResponseWriter, r *http.Request, doc any) error {
	var b bytes.Buffer
	if err := json.NewEncoder(&b).Encode(doc); err != nil {
		return err
	}
	return writeVersion(w, r, "application/json", ownOnly, b.Bytes())
}

// ownOnly is the Cache-Control of what only its tenant may see, and what changes.
const ownOnly = "private, no-cache"

// writeVersion answers with a body of a media type, or with 304 to a client that has it.
func writeVersion(w http.ResponseWriter, r *http.Request, kind, caching string, body []byte) error {
	tag := fmt.Sprintf(`W/"%x"`, sha256.Sum256(body)) // weak: the same for a compressed body
	w.Header().Set("Cache-Control", caching)
	w.Header().Set("ETag", tag)
	if isCurrent(r.Header, tag) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	w.Header().Set("Content-Type", kind)
	_, err := w.Write(body)
	return err
}

// jobRefusal turns an error of the registry into a problem for the caller.
func jobRefusal(err error) error {
	var quota *jobs.QuotaError
	switch {
	case errors.Is(err, jobs.ErrNotFound):
		return refuse(http.StatusNotFound, "you have no such job: it may be over for long")
	case errors.Is(err, jobs.ErrEnded):
		return refuse(http.StatusUnprocessableEntity, "the job has ended: begin another one")
	case errors.Is(err, jobs.ErrOtherRequest):
		return refuse(http.StatusUnprocessableEntity, "this Idempotency-Key was used for another request: use a new one for each request")
	case errors.Is(err, jobs.ErrInProgress):
		return refuse(http.StatusConflict, "a request with this Idempotency-Key is in progress: send this one again later").after(time.Second)
	case errors.As(err, &quota):
		return refuse(http.StatusTooManyRequests, "%v", quota).after(max(quota.After, time.Second))
	}
	return err
}

// maxKey limits an Idempotency-Key, in characters.
const maxKey = 255

// idempotencyKey returns the Idempotency-Key of a request, or "". It is a string as in
// structured fields (RFC 9651), or the same without its quotes.
func idempotencyKey(h http.Header) (string, error) {
	values := h.Values("Idempotency-Key")
	if len(values) == 0 {
		return "", nil
	}
	key := strings.TrimSpace(values[0])
	if len(key) >= 2 && key[0] == '"' && key[len(key)-1] == '"' {
		key = key[1 : len(key)-1]
	}
	bad := func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' }
	if len(values) > 1 || key == "" || len(key) > maxKey || strings.ContainsFunc(key, bad) {
		return "", refuse(http.StatusBadRequest, "the Idempotency-Key is not one string of 1 to %d printable ASCII characters, such as a UUID", maxKey)
	}
	return key, nil
}

// pageOf returns the parameters of a page in the query of a request: how many entries, and
// what the page before it said. Others are refused: a typing error must not select a default.
func pageOf(r *http.Request, limit, most int) (int, string, error) {
	bad := func(what string) (int, string, error) {
		return 0, "", refuse(http.StatusBadRequest, "%s: %s takes limit, from 1 to %d, and next, each once", what, path.Base(r.URL.Path), most)
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return bad("the query can't be read")
	}
	next := ""
	for name, values := range query {
		switch {
		case name != "limit" && name != "next":
			return bad(fmt.Sprintf("unknown parameter %q", name))
		case len(values) > 1:
			return bad(name + " is there more than once")
		case name == "next":
			if next = values[0]; next == "" {
				return bad("next is empty")
			}
			continue
		}
		if limit, err = strconv.Atoi(values[0]); err != nil || limit < 1 || limit > most {
			return bad(fmt.Sprintf("limit is %q", values[0]))
		}
	}
	return limit, next, nil
}
