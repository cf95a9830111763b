// Package jobs keeps the jobs of tenants: who asked for what, how far it is, what each tenant
// may use, and the reports. Everything is in objects of a [Store], which only ever change by
// conditional writes. So any number of processes may serve the same jobs, and none of them
// needs the file system that the jobs scan.
//
//	jobs.go    the jobs, and their way from the request to the end
//	quota.go   how many jobs a tenant may have at once, and what they may read each month
//	rules.go   which copies a report keeps
//	report.go  stored reports, and pages of them
//	local.go   jobs in processes of this machine
//	steps.go   jobs that a state machine runs
//	store.go   objects, and a folder of them
//
// The objects, where TENANT is a hash and names of jobs sort from the newest to the oldest:
//
//	jobs/TENANT/ID           what was asked for; only its MaxCost changes
//	states/TENANT/ID         its progress, written by what runs the job
//	cancels/TENANT/ID        the job was cancelled
//	keys/TENANT/KEY          which job an Idempotency-Key stands for
//	quotas/TENANT            what the tenant's jobs use
//	reports/TENANT/ID/PART   the lines of a report, and in "head" what pages need of it
package jobs

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/zeebo/blake3"

	"efsdedupe/dedupe"
	"efsdedupe/dedupe/choose"
	"efsdedupe/dedupe/cost"
	"efsdedupe/dedupe/job"
)

// Registry is the jobs in a store.
type Registry struct {
	Store  Store
	Limits Limits
	Keep   time.Duration // how long a job and its report stay after the job ended; 0: a week

	Now func() time.Time // the time; nil: time.Now
}

// Ref names a job.
type Ref struct {
	Tenant string `json:"tenant"` // hash of the tenant
	ID     string `json:"id"`
}

// Name returns a name for the job where those of all tenants are, as part of keys and as the
// name of an execution.
func (ref Ref) Name() string { return ref.Tenant + "-" + ref.ID }

// ParseName returns the Ref with a name, if it is one.
func ParseName(name string) (Ref, bool) {
	tenant, id, _ := strings.Cut(name, "-")
	b, err := hex.DecodeString(tenant)
	return Ref{tenant, id}, err == nil && len(b) == hashLength && hex.EncodeToString(b) == tenant && IsID(id)
}

// Job is a job as it was requested.
type Job struct {
	Ref
	Request        json.RawMessage `json:"request"` // as the API has it
	Spec           job.Spec        `json:"spec"`
	Rules          Rules           `json:"rules,omitzero"`
	MaxCost        float64         `json:"max_cost,omitempty"`        // on AWS, in the currency of its prices; 0: any
	MaxConcurrency int             `json:"max_concurrency,omitempty"` // units at once; 0: as many as whoever runs it
	Created        time.Time       `json:"created"`
	Key            string          `json:"key,omitempty"` // hash of the Idempotency-Key
}

// Limit returns what the job may cost, or nil for any amount.
func (j Job) Limit(prices *cost.Book) *job.MaxCost {
	if j.MaxCost == 0 {
		return nil
	}
	return &job.MaxCost{Prices: prices, Most: new(big.Rat).SetFloat64(j.MaxCost)}
}

// Concurrency returns how many units may run at once if whoever runs the job runs up to n.
func (j Job) Concurrency(n int) int {
	if j.MaxConcurrency == 0 {
		return n
	}
	return min(n, j.MaxConcurrency)
}

// Phase is where a job is on its way.
type Phase string

const (
	Queued    Phase = "queued"
	Running   Phase = "running"
	Stopped   Phase = "stopped" // it may cost too much, and goes on with a higher MaxCost
	Succeeded Phase = "succeeded"
	Failed    Phase = "failed"
	Cancelled Phase = "cancelled"
)

// State is how far a job is. Whoever runs the job writes it.
type State struct {
	Phase     Phase            `json:"phase"`
	Run       int              `json:"run,omitempty"` // how often it went on after it stopped
	Started   time.Time        `json:"started,omitzero"`
	Finished  time.Time        `json:"finished,omitzero"`
	Told      time.Time        `json:"told,omitzero"` // when a state machine came so far
	Stages    []job.StageCount `json:"stages,omitempty"`
	DataBytes int64            `json:"data_bytes"`         // that EFS metered for reading, at most
	MayRead   int64            `json:"may_read,omitempty"` // by units of a state machine that may still run
	Used      cost.Fanout      `json:"used,omitzero"`      // on AWS, by units that ended
	Outcome   *Outcome         `json:"outcome,omitempty"`
	Failure   *Failure         `json:"failure,omitempty"`
}

// Outcome sums up the report of a job that succeeded.
type Outcome struct {
	Complete         bool   `json:"complete"`
	Reason           string `json:"reason,omitempty"`
	Files            int64  `json:"files"`
	Bytes            int64  `json:"bytes"`
	Directories      int64  `json:"directories"`
	DuplicateGroups  int64  `json:"duplicate_groups"`
	DuplicateFiles   int64  `json:"duplicate_files"`
	ReclaimableBytes int64  `json:"reclaimable_bytes"`
	Problems         int64  `json:"problems"`
}

// Failure says why a job has no report.
type Failure struct {
	Code   Code   `json:"code"`
	Detail string `json:"detail"` // for the caller: it reveals nothing outside the tenant's folder
}

// Code is the kind of a Failure.
type Code string

const (
	CodeCancelled Code = "cancelled"
	CodeNotFound  Code = "not_found" // the path, in the tenant's folder
	CodeQuota     Code = "quota"     // the tenant may not read more this month
	CodeLimit     Code = "limit"     // it may cost more than it may, and can go on
	CodeFailed    Code = "failed"
)

// Done reports whether the job ended. One that stopped may go on.
func (s State) Done() bool { return s.Phase != Queued && s.Phase != Running }

// TenantHash returns the tenant of a Ref.
func TenantHash(tenant string) string { return hashOf(tenant) }

// hashLength is the length of a hash, in bytes.
const hashLength = 16

func hashOf(s string) string {
	sum := blake3.Sum256([]byte(s))
	return hex.EncodeToString(sum[:hashLength])
}

// IDLength is the length of an ID, which is hexadecimal.
const IDLength = 28

// newID returns the ID of a job. Later ones sort first.
func newID(now time.Time) string {
	var random [8]byte
	rand.Read(random[:])
	return fmt.Sprintf("%012x%x", (1<<48-1)-now.UnixMilli(), random)
}

// IsID reports whether a job may have this ID.
func IsID(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(s) == IDLength && hex.EncodeToString(b) == s
}

// Errors of Create.
var (
	// ErrOtherRequest means that the key was used for another request.
	ErrOtherRequest = errors.New("the key was used for another request")
	// ErrInProgress means that a request with the key is being answered just now.
	ErrInProgress = errors.New("a request with the key is in progress")
)

// ErrNotFound means that the tenant has no such job.
var ErrNotFound = errors.New("no such job")

// patience is how long a request may take between two writes. After that it is dead, and
// another one takes its place.
const patience = time.Minute

// claim is what a key stands for. It is there before the job.
type claim struct {
	ID      string    `json:"id"`
	Request string    `json:"request"` // a hash
	Made    time.Time `json:"made"`
}

// Create adds a job for a tenant. It sets Ref, Created and Key, and takes the rest from j. If
// the tenant used the key before, it returns the job of that time. An empty key is new each
// time. The error is a *QuotaError if the tenant may have no more jobs now, and may be
// ErrOtherRequest or ErrInProgress.
func (r *Registry) Create(ctx context.Context, tenant, key string, j Job) (Job, error) {
	now := r.now()
	j.Ref, j.Created = Ref{TenantHash(tenant), newID(now)}, now
	if key == "" {
		return r.add(ctx, j)
	}
	j.Key = hashOf(key)
	c := claim{ID: j.ID, Request: hashOf(string(j.Request)), Made: now}
	err := r.put(ctx, j.object("keys"), c, "")
	if errors.Is(err, ErrChanged) {
		return r.claimed(ctx, j, c)
	}
	if err != nil {
		return Job{}, err
	}
	added, err := r.add(ctx, j)
	if err != nil { // the key is free again
		return Job{}, errors.Join(err, r.Store.Remove(context.WithoutCancel(ctx), j.object("keys")))
	}
	return added, nil
}

// claimed returns the job that a key stands for. If whoever claimed the key died before the
// job was there, it adds the job.
func (r *Registry) claimed(ctx context.Context, j Job, now claim) (Job, error) {
	var c claim
	_, err := r.get(ctx, j.object("keys"), &c)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Job{}, ErrInProgress // the request that had the key was refused just now
	case err != nil:
		return Job{}, err
	case c.Request != now.Request:
		return Job{}, ErrOtherRequest
	}
	j.ID = c.ID
	earlier, err := r.job(ctx, j.Ref)
	switch {
	case err == nil:
		return earlier, r.renew(ctx, earlier.Ref)
	case !errors.Is(err, ErrNotFound):
		return Job{}, err
	case now.Made.Sub(c.Made) < patience:
		return Job{}, ErrInProgress
	}
	j.Created = c.Made
	return r.add(ctx, j)
}

// renew frees the key of a job whose time is over, for the next request that has it.
func (r *Registry) renew(ctx context.Context, ref Ref) error {
	s, _, err := r.state(ctx, ref)
	if err == nil && r.expired(s) {
		err = cmp.Or(r.remove(ctx, ref), ErrInProgress)
	}
	return err
}

// add adds a job if the tenant may have it.
func (r *Registry) add(ctx context.Context, j Job) (Job, error) {
	if err := r.admit(ctx, j.Ref, State{}); err != nil {
		return Job{}, err
	}
	err := r.put(ctx, j.object("jobs"), j, "")
	if errors.Is(err, ErrChanged) {
		return r.job(ctx, j.Ref)
	}
	if err != nil {
		return Job{}, errors.Join(err, r.leave(context.WithoutCancel(ctx), j.Ref, State{}))
	}
	return j, nil
}

// job returns a job, whatever its state is.
func (r *Registry) job(ctx context.Context, ref Ref) (j Job, err error) {
	_, err = r.get(ctx, ref.object("jobs"), &j)
	if errors.Is(err, fs.ErrNotExist) {
		err = ErrNotFound
	}
	return j, err
}

// Get returns a job and its state. The error is ErrNotFound if there is none, or if its time
// is over.
func (r *Registry) Get(ctx context.Context, ref Ref) (Job, State, error) {
	j, err := r.job(ctx, ref)
	if err != nil {
		return j, State{}, err
	}
	s, _, err := r.state(ctx, ref)
	if err == nil && r.expired(s) {
		err = ErrNotFound
	}
	return j, s, err
}

// state returns the state of a job, and its version.
func (r *Registry) state(ctx context.Context, ref Ref) (s State, version string, err error) {
	version, err = r.get(ctx, ref.object("states"), &s)
	if errors.Is(err, fs.ErrNotExist) {
		return State{Phase: Queued}, "", nil
	}
	return s, version, err
}

// Expires returns when a job and its report go, or the zero time if the job did not end.
func (r *Registry) Expires(s State) time.Time {
	if !s.Done() {
		return time.Time{}
	}
	keep := r.Keep
	if keep == 0 {
		keep = 7 * 24 * time.Hour
	}
	return s.Finished.Add(keep)
}

func (r *Registry) expired(s State) bool { return s.Done() && r.now().After(r.Expires(s)) }

// List returns up to n jobs of a tenant that come after an ID, the newest first. If there are
// more, next is the ID to go on after.
func (r *Registry) List(ctx context.Context, tenant, after string, n int) (all []Ref, next string, err error) {
	of := Ref{Tenant: TenantHash(tenant)}
	from := ""
	if after != "" {
		from = Ref{of.Tenant, after}.object("jobs")
	}
	names, err := r.Store.List(ctx, "jobs/"+of.Tenant+"/", from, n+1)
	for i, name := range names {
		if i == n {
			return all, all[n-1].ID, err
		}
		all = append(all, Ref{of.Tenant, path.Base(name)})
	}
	return all, "", err
}

// Cancel records that a job has to end. A stopped job is queued again, so that its next run
// ends it.
func (r *Registry) Cancel(ctx context.Context, ref Ref) error {
	err := r.put(ctx, ref.object("cancels"), struct{}{}, "")
	if err != nil && !errors.Is(err, ErrChanged) {
		return err
	}
	s, version, err := r.state(ctx, ref)
	if err != nil || s.Phase != Stopped {
		return err
	}
	return r.again(ctx, ref, s, version)
}

// ErrEnded means that a job ended for good.
var ErrEnded = errors.New("the job has ended")

// Continue sets the most that a job may cost, and queues it again if it had stopped. The error
// is ErrEnded if the job ended otherwise, and a *QuotaError if the tenant may have no more
// jobs now.
func (r *Registry) Continue(ctx context.Context, ref Ref, maxCost float64) (Job, error) {
	if _, _, err := r.Get(ctx, ref); err != nil {
		return Job{}, err
	}
	s, stateVersion, err := r.state(ctx, ref)
	switch {
	case err != nil:
		return Job{}, err
	case s.Done() && s.Phase != Stopped:
		return Job{}, ErrEnded
	}
	var j Job
	version, err := r.get(ctx, ref.object("jobs"), &j)
	if err != nil {
		return j, err
	}
	j.MaxCost = maxCost
	if err := r.put(ctx, ref.object("jobs"), j, version); errors.Is(err, ErrChanged) {
		return j, ErrInProgress // another request changes it just now
	} else if err != nil || s.Phase != Stopped {
		return j, err
	}
	if err := r.admit(ctx, ref, s); err != nil {
		return j, err
	}
	return j, r.again(ctx, ref, s, stateVersion)
}

// again queues a job that stopped, unless another request did.
func (r *Registry) again(ctx context.Context, ref Ref, s State, version string) error {
	s.Phase, s.Finished, s.Failure = Queued, time.Time{}, nil
	s.Run++
	err := r.put(ctx, ref.object("states"), s, version)
	if errors.Is(err, ErrChanged) {
		return nil
	}
	return err
}

// Cancelled reports whether the job was cancelled.
func (r *Registry) Cancelled(ctx context.Context, ref Ref) (bool, error) {
	_, _, err := r.Store.Get(ctx, ref.object("cancels"))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// Tell records how far a job is. A job that ended stays as it is.
func (r *Registry) Tell(ctx context.Context, ref Ref, s State) error {
	for range mostConflicts {
		old, version, err := r.state(ctx, ref)
		if err != nil || old.Done() {
			return err
		}
		err = r.put(ctx, ref.object("states"), s, version)
		switch {
		case errors.Is(err, ErrChanged): // somebody else was faster
			continue
		case err == nil && s.Done():
			err = r.leave(ctx, ref, s)
		}
		return err
	}
	return ErrChanged
}

// Unfinished returns all jobs that did not end, of all tenants, and those that stopped.
func (r *Registry) Unfinished(ctx context.Context) (all, stopped []Ref, err error) {
	err = r.each(ctx, func(ref Ref, s State) error {
		switch {
		case !s.Done():
			all = append(all, ref)
		case s.Phase == Stopped:
			stopped = append(stopped, ref)
		}
		return nil
	})
	slices.SortFunc(all, func(a, b Ref) int { return -compareIDs(a, b) }) // the oldest first
	return all, stopped, err
}

func compareIDs(a, b Ref) int { return slices.Compare([]byte(a.ID), []byte(b.ID)) }

// Sweep removes jobs and reports whose time is over.
func (r *Registry) Sweep(ctx context.Context) error {
	return r.each(ctx, func(ref Ref, s State) error {
		if !r.expired(s) {
			return nil
		}
		return r.remove(ctx, ref)
	})
}

// each calls do for all jobs.
func (r *Registry) each(ctx context.Context, do func(Ref, State) error) error {
	const atOnce = 1000
	for after := ""; ; {
		names, err := r.Store.List(ctx, "jobs/", after, atOnce)
		if err != nil {
			return err
		}
		for _, name := range names {
			ref := Ref{path.Base(path.Dir(name)), path.Base(name)}
			s, _, err := r.state(ctx, ref)
			if err == nil {
				err = do(ref, s)
			}
			if err != nil {
				return err
			}
		}
		if len(names) < atOnce {
			return nil
		}
		after = names[len(names)-1]
	}
}

// remove removes everything of a job. The job itself goes last, so that a call that fails
// can be repeated.
func (r *Registry) remove(ctx context.Context, ref Ref) error {
	j, err := r.job(ctx, ref)
	if err != nil {
		return err
	}
	if err := r.removeReport(ctx, ref); err != nil {
		return err
	}
	names := []string{ref.object("cancels")}
	if j.Key != "" {
		names = append(names, j.object("keys"))
	}
	for _, name := range append(names, ref.object("states"), ref.object("jobs")) {
		if err := r.Store.Remove(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// object returns the name of an object of a job.
func (ref Ref) object(kind string) string { return kind + "/" + ref.Tenant + "/" + ref.ID }

// object returns the name of an object of a job, or of its key.
func (j Job) object(kind string) string {
	if kind == "keys" {
		return kind + "/" + j.Tenant + "/" + j.Key
	}
	return j.Ref.object(kind)
}

func (r *Registry) get(ctx context.Context, name string, into any) (version string, err error) {
	b, version, err := r.Store.Get(ctx, name)
	if err != nil {
		return "", err
	}
	if err := json.Unmarshal(b, into); err != nil {
		return "", fmt.Errorf("object %s is damaged: %w", name, err)
	}
	return version, nil
}

func (r *Registry) put(ctx context.Context, name string, doc any, version string) error {
	b, err := json.Marshal(doc)
	if err != nil {
		return err
	}
	return r.Store.Put(ctx, name, b, version)
}

func (r *Registry) now() time.Time {
	if r.Now != nil {
		return r.Now().UTC()
	}
	return time.Now().UTC()
}

// stopError is the error of a job that stopped.
type stopError struct{ why string }

func (e *stopError) Error() string { return e.why }

// failureOf returns why a job failed, for its caller.
func failureOf(err error, id string) *Failure {
	root := (*dedupe.RootError)(nil)
	quota := (*QuotaError)(nil)
	limit := (*stopError)(nil)
	missing := (*choose.MissingError)(nil)
	switch {
	case errors.As(err, &limit):
		return &Failure{CodeLimit, limit.why + `; to go on, send {"continue": "` + id + `"} with a higher max_cost`}
	case errors.Is(err, errCancelled):
		return &Failure{CodeCancelled, errCancelled.Error()}
	case errors.As(err, &root):
		return &Failure{CodeNotFound, "no directory or file at that path: use a path relative to your root, without symbolic links"}
	case errors.As(err, &missing):
		return &Failure{CodeNotFound, missing.Error()}
	case errors.As(err, &quota):
		return &Failure{CodeQuota, quota.Error()}
	}
	return &Failure{CodeFailed, "the job failed: look for its ID, " + id + ", in the log"}
}
