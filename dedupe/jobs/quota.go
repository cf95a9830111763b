package jobs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"
)

// Limits are what each tenant may use.
type Limits struct {
	Jobs  int   // that did not end, at once; 0: 10
	Bytes int64 // that EFS meters for reading in a calendar month, in UTC; 0: any number
}

const defaultJobs = 10

// QuotaError says that a tenant may not use more now.
type QuotaError struct {
	Why   string
	After time.Duration // when it may help to try again
}

// Error implements error.
func (e *QuotaError) Error() string { return e.Why }

// quota is what the jobs of a tenant use.
type quota struct {
	Month   string            `json:"month"`
	Used    int64             `json:"used"` // bytes, by jobs that ended in this month
	Running map[string]*share `json:"running"`
}

// share is what a job that did not end may use.
type share struct {
	Bytes int64     `json:"bytes"` // that it may read so far
	Since time.Time `json:"since"`
}

// taken is what all jobs used and may use so far.
func (q *quota) taken() int64 {
	n := q.Used
	for _, s := range q.Running {
		n += s.Bytes
	}
	return n
}

// grain is the fewest bytes that a job takes of its tenant's quota at once, so that the object
// does not change with every unit.
const grain = 1 << 30

// mostConflicts is how often others may change the quota before a request gives up.
const mostConflicts = 20

// admit takes a place for a job, or returns a *QuotaError. The state is that in which the
// job stopped, if it did. Then what it read no longer counts as that of a job that ended.
func (r *Registry) admit(ctx context.Context, ref Ref, s State) error {
	return r.changeQuota(ctx, ref, func(q *quota) error {
		if q.Running[ref.ID] != nil {
			return nil
		}
		if err := r.settle(ctx, ref.Tenant, q); err != nil {
			return err
		}
		most := r.Limits.Jobs
		if most == 0 {
			most = defaultJobs
		}
		if len(q.Running) >= most {
			return &QuotaError{fmt.Sprintf("you have %d jobs that did not end, the most that you may have: wait for one, or cancel it", len(q.Running)), patience}
		}
		if r.Limits.Bytes > 0 && q.taken() >= r.Limits.Bytes {
			return r.overQuota()
		}
		q.Running[ref.ID] = &share{Bytes: s.DataBytes, Since: r.now()}
		if s.Finished.UTC().Format(month) == q.Month {
			q.Used = max(q.Used-s.DataBytes, 0)
		}
		return nil
	})
}

// settle removes jobs that ended, or never began. Those that end do so themselves, unless
// something failed.
func (r *Registry) settle(ctx context.Context, tenant string, q *quota) error {
	for id, share := range q.Running {
		ref := Ref{tenant, id}
		s, _, err := r.state(ctx, ref)
		if err != nil {
			return err
		}
		if s.Done() {
			r.end(q, id, s)
			continue
		}
		if _, err := r.job(ctx, ref); errors.Is(err, ErrNotFound) && r.now().Sub(share.Since) > patience {
			delete(q.Running, id)
		} else if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
	}
	return nil
}

// end turns the share of a job into what it used.
func (r *Registry) end(q *quota, id string, s State) {
	if q.Running[id] == nil {
		return
	}
	delete(q.Running, id)
	if s.Finished.UTC().Format(month) == q.Month {
		q.Used += s.DataBytes
	}
}

// leave gives the place of a job back.
func (r *Registry) leave(ctx context.Context, ref Ref, s State) error {
	return r.changeQuota(ctx, ref, func(q *quota) error {
		r.end(q, ref.ID, s)
		return nil
	})
}

// Take makes sure that a job may read so many bytes in all, and returns how many it may read
// without asking again. The error is a *QuotaError if the tenant's quota has no more.
func (r *Registry) Take(ctx context.Context, ref Ref, bytes int64) (granted int64, err error) {
	if r.Limits.Bytes == 0 {
		return 1<<63 - 1, nil
	}
	err = r.changeQuota(ctx, ref, func(q *quota) error {
		s := q.Running[ref.ID]
		if s == nil {
			s = &share{Since: r.now()}
			q.Running[ref.ID] = s
		}
		if granted = s.Bytes; bytes <= granted {
			return nil
		}
		left := r.Limits.Bytes - q.taken()
		if bytes-granted > left {
			return r.overQuota()
		}
		s.Bytes += min(max(bytes-granted, grain), left)
		granted = s.Bytes
		return nil
	})
	return granted, err
}

// overQuota returns the error of a tenant that has read enough this month.
func (r *Registry) overQuota() error {
	now := r.now()
	next := time.Date(now.Year(), now.Month()+1, 1, 0, 0, 0, 0, time.UTC)
	return &QuotaError{fmt.Sprintf("your jobs may read no more than %d bytes a month: wait until %s", r.Limits.Bytes, next.Format(time.DateOnly)), next.Sub(now)}
}

const month = "2006-01"

// changeQuota changes the quota of a tenant, even if others change it at the same time.
func (r *Registry) changeQuota(ctx context.Context, ref Ref, change func(*quota) error) error {
	name := "quotas/" + ref.Tenant
	for range mostConflicts {
		q := new(quota)
		version, err := r.get(ctx, name, q)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if now := r.now().Format(month); q.Month != now {
			q.Month, q.Used = now, 0
		}
		if q.Running == nil {
			q.Running = make(map[string]*share)
		}
		if err := change(q); err != nil {
			return err
		}
		if err := r.put(ctx, name, q, version); !errors.Is(err, ErrChanged) {
			return err
		}
	}
	return &QuotaError{"too many of your requests come at once: try again", time.Second}
}
