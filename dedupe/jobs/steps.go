package jobs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"

	"efsdedupe/dedupe"
	"efsdedupe/dedupe/choose"
	"efsdedupe/dedupe/cost"
	"efsdedupe/dedupe/job"
)

// Record records how far a job is after a step that its state machine took, with what the
// report says if that is written. It returns the round to go on with, which ends the job if
// its tenant may not read more, or if the job has ended for its tenant.
func (r *Registry) Record(ctx context.Context, ref Ref, next job.Round, outcome *Outcome) (job.Round, error) {
	j, s, err := r.Get(ctx, ref)
	if err != nil {
		return next, err
	}
	if s.Done() {
		return over(s, next), nil
	}
	var missing error // what the rules name
	if s.Started.IsZero() && next.Next == job.RunUnits {
		if missing = j.check(ctx); errors.As(missing, new(*choose.MissingError)) {
			next.Next, next.Why = job.Failed, missing.Error()
		} else if missing != nil && !errors.As(missing, new(*dedupe.RootError)) { // the units tell about a folder that is not there
			return next, missing
		}
	}
	s.Phase, s.Told = Running, r.now()
	if s.Started.IsZero() {
		s.Started = r.now()
	}
	if len(next.Stages) > 0 {
		s.Stages = next.Stages
	}
	running := s.MayRead
	s.DataBytes, s.MayRead = max(s.DataBytes, next.Used.DataBytes), next.May.DataBytes
	if next.Used != (cost.Fanout{}) {
		s.Used = next.Used
	}
	if next.Next == job.RunUnits {
		err = r.reserve(ctx, ref, &next)
	}
	if err != nil {
		return next, err
	}
	if (next.Next == job.Cancelled || next.Next == job.Failed) && !next.OverQuota { // nobody counted what the last units read
		s.DataBytes += running
	}
	switch next.Next {
	case job.End:
		s.Phase, s.Outcome = Succeeded, outcome
	case job.Stopped:
		s.Phase, s.Failure = Stopped, failureOf(&stopError{next.Why}, ref.ID)
	case job.Cancelled:
		s.Phase, s.Failure = Cancelled, failureOf(errCancelled, ref.ID)
	case job.Failed:
		s.Phase, s.Failure = Failed, failureIn(next, ref, missing)
	}
	if s.Phase != Running {
		s.Finished, s.MayRead = r.now(), 0
	}
	return next, r.Tell(ctx, ref, s)
}

// over returns the round after a job ended. A step may be repeated because its answer got
// lost.
func over(s State, next job.Round) job.Round {
	switch {
	case s.Phase == Stopped:
		next.Next = job.Stopped
	case s.Phase == Cancelled:
		next.Next = job.Cancelled
	case s.Phase == Failed:
		next.Next, next.Why = job.Failed, s.Failure.Detail
	}
	return next
}

// reserve takes what the units of a round may read of the tenant's quota. If there is no
// more, the job fails.
func (r *Registry) reserve(ctx context.Context, ref Ref, next *job.Round) error {
	_, err := r.Take(ctx, ref, next.Used.DataBytes+next.May.DataBytes)
	if quota := (*QuotaError)(nil); errors.As(err, &quota) {
		next.Next, next.Why, next.OverQuota = job.Failed, quota.Error(), true
		return nil
	}
	return err
}

func failureIn(next job.Round, ref Ref, missing error) *Failure {
	err := cmp.Or(missing, errors.New(next.Why))
	switch {
	case next.NoRoot:
		err = &dedupe.RootError{}
	case next.OverQuota:
		err = &QuotaError{Why: next.Why}
	}
	return failureOf(err, ref.ID)
}

// Broke records that the state machine of a job broke off before its end, in a run. It
// reports whether no end was recorded before. The error is ErrNotFound if there is no
// such job.
func (r *Registry) Broke(ctx context.Context, ref Ref, run int) (bool, error) {
	_, s, err := r.Get(ctx, ref)
	if err != nil || s.Done() || s.Run != run {
		return false, err
	}
	cancelled, err := r.Cancelled(ctx, ref)
	if err != nil {
		return false, err
	}
	why := errors.New("it stopped")
	s.Phase = Failed
	if cancelled {
		s.Phase, why = Cancelled, errCancelled
	}
	s.Finished, s.Failure = r.now(), failureOf(why, ref.ID)
	s.DataBytes, s.MayRead = s.DataBytes+s.MayRead, 0
	return true, r.Tell(ctx, ref, s)
}

// Plan estimates what a job takes whose Spec names a directory of this machine, from a sample
// of its tree. The error for a path that does not exist is a *dedupe.RootError.
func Plan(ctx context.Context, spec job.Spec) (job.Estimate, error) {
	root, err := os.Open(string(spec.Within))
	if err != nil {
		return job.Estimate{}, fmt.Errorf("can't plan the job: %w; check the mount", err)
	}
	defer root.Close()
	return sample(ctx, dedupe.Engine{Within: root}, spec)
}
