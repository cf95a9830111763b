package jobs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"efsdedupe/dedupe"
	"efsdedupe/dedupe/cost"
	"efsdedupe/dedupe/job"
	"efsdedupe/dedupe/report"
)

// Local runs the jobs of a registry in processes of this machine, which must run a program
// that calls [job.RunWorker].
type Local struct {
	Registry  *Registry
	Dir       string           // for what units find, until their job ends
	Root      *os.File         // the directory that the Specs name, for plans
	AtOnce    int              // jobs that run at once, the others are queued; 0: 1
	Processes int              // of each job; 0: as many as there are processors
	Tool      report.Tool      // named in reports
	Prices    *cost.Book       // for bills in reports; nil: those of cost.DefaultRegion
	Log       *slog.Logger     // nil: no log
	Command   func() *exec.Cmd // of a process; nil: this program

	abandoned dedupe.Abandoned

	mu      sync.Mutex
	slots   chan struct{}
	stopped bool
	cancels map[Ref]context.CancelCauseFunc // of jobs that are queued or run
	again   map[Ref]bool                    // of these, jobs that somebody started or cancelled meanwhile
	group   sync.WaitGroup
}

// Why a job ends early.
var (
	errCancelled = errors.New("the job was cancelled")
	errStopped   = errors.New("the server ends")
)

// Start runs a job, unless it runs already. It does not wait for its end.
func (l *Local) Start(_ context.Context, ref Ref) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.start(ref)
}

func (l *Local) start(ref Ref) error {
	switch {
	case l.stopped:
		return nil // it goes on when the next server starts
	case l.cancels[ref] != nil:
		l.again[ref] = true // it may just have stopped
		return nil
	case l.cancels == nil:
		l.cancels, l.again = make(map[Ref]context.CancelCauseFunc), make(map[Ref]bool)
		l.slots = make(chan struct{}, max(l.AtOnce, 1))
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	l.cancels[ref] = cancel
	l.group.Go(func() {
		l.inTurn(ctx, ref)
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.cancels, ref)
		cancel(nil)
		if l.again[ref] {
			delete(l.again, ref)
			l.start(ref)
		}
	})
	return nil
}

// Cancel ends a job early. The registry has to know first.
func (l *Local) Cancel(_ context.Context, ref Ref) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if cancel := l.cancels[ref]; cancel != nil {
		cancel(errCancelled)
	}
	return l.start(ref) // it may have stopped
}

// Ended implements the Runner of package service: the registry knows of all units.
func (l *Local) Ended(context.Context, Ref, State) (int, error) { return 0, nil }

// Resume starts all jobs that did not end, except those that stopped, and removes what ended
// ones left.
func (l *Local) Resume(ctx context.Context) error {
	unfinished, err := l.clean(ctx)
	for _, ref := range unfinished {
		err = cmp.Or(err, l.Start(ctx, ref))
	}
	return err
}

// Sweep removes jobs and reports whose time is over, and what they left.
func (l *Local) Sweep(ctx context.Context) error {
	if err := l.Registry.Sweep(ctx); err != nil {
		return err
	}
	_, err := l.clean(ctx)
	return err
}

// clean removes what units found for jobs that ended, and returns those which did not.
func (l *Local) clean(ctx context.Context) ([]Ref, error) {
	entries, err := os.ReadDir(l.Dir) // first: a new job is in the registry before
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	unfinished, stopped, failed := l.Registry.Unfinished(ctx)
	if err = cmp.Or(err, failed); err != nil {
		return nil, err
	}
	keep := make(map[string]bool)
	for _, ref := range slices.Concat(unfinished, stopped) {
		keep[ref.ID] = true
	}
	for _, e := range entries {
		if IsID(e.Name()) && !keep[e.Name()] {
			err = cmp.Or(err, os.RemoveAll(filepath.Join(l.Dir, e.Name())))
		}
	}
	return unfinished, err
}

// Stop interrupts all jobs, and waits until they have ended. Resume continues them.
func (l *Local) Stop() {
	l.mu.Lock()
	l.stopped = true
	for _, cancel := range l.cancels {
		cancel(errStopped)
	}
	l.mu.Unlock()
	l.group.Wait()
}

func sample(ctx context.Context, eng dedupe.Engine, spec job.Spec) (job.Estimate, error) {
	return spec.Sample(ctx, eng, planned, rand.New(rand.NewPCG(1, 2))) // the same sample each time
}

// planned is how many entries of a tree a plan looks at.
const planned = 100_000

// Plan estimates what a job takes, from a sample of its tree.
func (l *Local) Plan(ctx context.Context, spec job.Spec) (job.Estimate, error) {
	return sample(ctx, dedupe.Engine{Within: l.Root, Abandoned: &l.abandoned}, spec)
}

// inTurn runs a job when a slot is free, and records how it ended.
func (l *Local) inTurn(ctx context.Context, ref Ref) {
	select {
	case l.slots <- struct{}{}:
		defer func() { <-l.slots }()
	case <-ctx.Done():
	}
	r := &running{l: l, ref: ref}
	err := r.run(ctx)
	if err == nil || context.Cause(ctx) == errStopped || errors.Is(err, ErrNotFound) {
		return
	}
	if failed := r.fail(err); failed != nil {
		l.logger().Error("the end of a job could not be recorded", "event", eventJobFailed, "job", ref.ID, "error", failed)
	}
}

// Values of the field "event" in log lines, which programs match.
const (
	eventJob       = "job"
	eventJobFailed = "job_failed"
)

func (l *Local) logger() *slog.Logger {
	if l.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return l.Log
}

// running is a job that runs.
type running struct {
	l   *Local
	ref Ref

	state   State
	rounds  []job.StageCount // all of them so far
	told    time.Time        // when the state was last recorded
	granted int64            // bytes that it may read without asking the quota
	most    int64            // bytes that it may have read, with what runs now
}

// run runs a job to its end, unless it ended before.
func (r *running) run(ctx context.Context) error {
	j, state, err := r.l.Registry.Get(context.WithoutCancel(ctx), r.ref)
	if err != nil || state.Done() {
		return err
	}
	cancelled, err := r.l.Registry.Cancelled(context.WithoutCancel(ctx), r.ref)
	switch {
	case err != nil:
		return err
	case cancelled:
		return errCancelled
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	r.state = state
	r.state.Phase = Running
	if r.state.Started.IsZero() {
		r.state.Started = r.l.Registry.now()
	}
	if err := r.l.Registry.Tell(ctx, r.ref, r.state); err != nil {
		return err
	}
	if err := j.check(ctx); err != nil {
		return cmp.Or(context.Cause(ctx), err)
	}
	work, err := r.open(ctx, j.Spec)
	if err != nil {
		return err
	}
	defer work.Close()
	local := job.Local{Command: r.l.Command}
	options := job.Options{Concurrency: j.Concurrency(cmp.Or(r.l.Processes, runtime.NumCPU())), Spend: r.spend, Observe: r.observe}
	if err := local.Run(ctx, work, options); err != nil {
		return cmp.Or(context.Cause(ctx), err)
	}
	return r.answer(ctx, work)
}

// open opens what the units found so far. A process that died may have left some which end
// only now.
func (r *running) open(ctx context.Context, spec job.Spec) (*job.Job, error) {
	for {
		work, err := job.Open(filepath.Join(r.l.Dir, r.ref.ID), spec)
		if !errors.Is(err, job.ErrBusy) || ctx.Err() != nil {
			return work, err
		}
	}
}

// answer stores the report of a job whose units have all run, and ends the job.
func (r *running) answer(ctx context.Context, work *job.Job) error {
	whole, parts, failed := work.Answer()
	book, err := r.l.prices()
	if err != nil {
		return err
	}
	parts.Bill = func(o report.Options) (*cost.Projection, error) {
		return work.Bill(book, cost.DefaultUsage(), whole, parts, o)
	}
	outcome, err := r.l.Registry.WriteReport(ctx, r.ref, whole, parts, failed, r.l.Tool)
	if err != nil {
		return cmp.Or(context.Cause(ctx), err)
	}
	s := whole.Stats
	r.state.Outcome = outcome
	if err := r.end(Succeeded); err != nil {
		return err
	}
	r.l.logger().Info("job", "event", eventJob, "job", r.ref.ID, "complete", whole.Complete, "files", s.Files, "bytes", s.Bytes, "opens", s.Opens,
		"bytes_read", s.BytesRead, "problems", outcome.Problems, "duplicate_groups", outcome.DuplicateGroups, "reclaimable_bytes", outcome.ReclaimableBytes,
		"elapsed_ms", report.Milliseconds(s.Elapsed), "cpu_ms", report.CPUMilliseconds(s))
	return nil
}

func (l *Local) prices() (*cost.Book, error) {
	if l.Prices != nil {
		return l.Prices, nil
	}
	return Prices()
}

// Prices returns the prices of jobs whose runner has no others.
func Prices() (*cost.Book, error) { return cost.Prices(cost.DefaultRegion) }

// fail ends a job without a report.
func (r *running) fail(why error) error {
	phase := Failed
	limit := (*job.CostError)(nil)
	switch {
	case errors.Is(why, errCancelled):
		phase = Cancelled
	case errors.As(why, &limit):
		phase, why = Stopped, &stopError{limit.Error()}
	}
	r.state.Failure = failureOf(why, r.ref.ID)
	if r.state.Failure.Code == CodeFailed { // the log has the details
		r.l.logger().Error("a job failed", "event", eventJobFailed, "job", r.ref.ID, "error", why.Error())
	}
	r.state.DataBytes = max(r.state.DataBytes, r.most)
	return r.end(phase)
}

// end records how the job ended, and removes what its units found, unless it may go on.
func (r *running) end(phase Phase) error {
	r.state.Phase, r.state.Finished = phase, r.l.Registry.now()
	if err := r.l.Registry.Tell(context.Background(), r.ref, r.state); err != nil {
		return err
	}
	if phase == Stopped {
		return nil
	}
	return os.RemoveAll(filepath.Join(r.l.Dir, r.ref.ID))
}

// spend takes what the job is about to read of its tenant's quota, if it may cost so much.
func (r *running) spend(used, next cost.Fanout) error {
	r.most = used.DataBytes // without the units that run now: they end first
	if err := r.admit(used, next); err != nil {
		return err
	}
	r.most += next.DataBytes
	if r.most <= r.granted {
		return nil
	}
	granted, err := r.l.Registry.Take(context.Background(), r.ref, r.most)
	if err != nil {
		r.most = used.DataBytes
		return fmt.Errorf("the job stopped: %w", err)
	}
	r.granted = granted
	return nil
}

// admit returns a *job.CostError if the job may cost too much. Its limit may have changed.
func (r *running) admit(used, next cost.Fanout) error {
	j, err := r.l.Registry.job(context.Background(), r.ref)
	if err != nil || j.MaxCost == 0 {
		return err
	}
	prices, err := r.l.prices()
	if err != nil {
		return err
	}
	return j.Limit(prices).Admit(used, next)
}

// tellEvery is how often the state of a job is recorded, besides at the end of each round.
const tellEvery = time.Second

// observe records how far the job is.
func (r *running) observe(p job.Progress) {
	r.rounds = append(r.rounds[:min(p.Round, len(r.rounds))], job.StageCount{Stage: p.Stage, Units: p.Units, Done: p.Done})
	if p.Done < p.Units && time.Since(r.told) < tellEvery {
		return
	}
	r.told = time.Now()
	r.state.Stages, r.state.DataBytes, r.state.Used = stagesOf(r.rounds), p.Used.DataBytes, p.Used
	if err := r.l.Registry.Tell(context.Background(), r.ref, r.state); err != nil {
		r.l.logger().Warn("the state of a job could not be recorded", "job", r.ref.ID, "error", err.Error())
	}
}

// stagesOf adds up the rounds of each stage, in their order.
func stagesOf(rounds []job.StageCount) (all []job.StageCount) {
	for _, s := range rounds {
		if n := len(all); n > 0 && all[n-1].Stage == s.Stage {
			all[n-1].Units += s.Units
			all[n-1].Done += s.Done
		} else {
			all = append(all, s)
		}
	}
	return all
}
