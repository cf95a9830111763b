package service

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"efsdedupe/dedupe"
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
	q := jobRequest{Workers: min(dedupe.DefaultWorkers, s.MaxWorkers)}
	q.MinSize = 1
	if err := decode(r, &q); err != nil {
		return err
	}
	tenant, err := s.tenant(r.Context())
	if err != nil {
		return err
	}
	spec, rules, err := s.spec(q, tenant)
	if err != nil {
		return err
	}
	if q.DryRun {
		return s.planJob(w, r, spec)
	}
	request, err := json.Marshal(q)
	if err != nil {
		return err
	}
	j, err := s.Jobs.Registry.Create(r.Context(), tenant, key, jobs.Job{Request: request, Spec: spec, Rules: rules})
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
	if !state.Done() {
		if err := s.Jobs.Registry.Cancel(r.Context(), j.Ref); err != nil {
			return err
		}
		if err := s.Jobs.Runner.Cancel(r.Context(), j.Ref); err != nil {
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

// jobOf returns a job for its tenant.
func (s *service) jobOf(ctx context.Context, j jobs.Job, state jobs.State) (jobJSON, error) {
	self := "/v1/jobs/" + j.ID
	doc := jobJSON{ID: j.ID, Done: state.Done(), Error: state.Failure, Response: state.Outcome, Links: jobLinks{self, self + "/report"}}
	doc.Metadata = jobMetadata{
		State: state.Phase, Created: j.Created, Started: state.Started, Finished: state.Finished, Expires: s.Jobs.Registry.Expires(state),
		Request: j.Request, Stages: append([]job.StageCount{}, state.Stages...), ReadBytes: state.DataBytes,
	}
	var err error
	if !doc.Done {
		doc.Metadata.Cancelling, err = s.Jobs.Registry.Cancelled(ctx, j.Ref)
	}
	return doc, err
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
