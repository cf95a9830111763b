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
	if l.stopped || l.cancels[ref] != nil {
		return nil // it goes on when the next server starts
	}
	if l.cancels == nil {
		l.cancels = make(map[Ref]context.CancelCauseFunc)
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
	return nil
}

// Resume starts all jobs that did not end, and removes what ended ones left.
func (l *Local) Resume(ctx context.Context) error {
	unfinished, err := l.Registry.Unfinished(ctx)
	if err != nil {
		return err
	}
	going := make(map[string]bool)
	for _, ref := range unfinished {
		going[ref.ID] = true
		if err := l.Start(ctx, ref); err != nil {
			return err
		}
	}
	entries, err := os.ReadDir(l.Dir)
	for _, e := range entries {
		if IsID(e.Name()) && !going[e.Name()] {
			err = cmp.Or(err, os.RemoveAll(filepath.Join(l.Dir, e.Name())))
		}
	}
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// Stop interrupts all jobs, and waits until they have ended. Another Resume goes on with them.
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
	options := job.Options{Concurrency: cmp.Or(r.l.Processes, runtime.NumCPU()), Spend: r.spend, Observe: r.observe}
	if err := local.Run(ctx, work, options); err != nil {
		return cmp.Or(context.Cause(ctx), err)
	}
	return r.answer(ctx, j, work)
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
func (r *running) answer(ctx context.Context, j Job, work *job.Job) error {
	whole, parts, failed := work.Answer()
	err := j.withOptions(ctx, r.l.Tool, func(o report.Options) error {
		took, reads, _, err := work.Charges(whole, parts, o)
		if err == nil {
			parts.Projection, err = r.bill(took, reads)
		}
		return err
	})
	if err != nil {
		return err
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

// bill prices calls that each do what the job did, with the defaults of a bill.
func (r *running) bill(took cost.Scan, reads cost.Reads) (*cost.Projection, error) {
	book := r.l.Prices
	if book == nil {
		var err error
		if book, err = cost.Prices(cost.DefaultRegion); err != nil {
			return nil, err
		}
	}
	p := cost.Project(book, cost.Measured(cost.DefaultUsage(), took, reads))
	p.Warn(took)
	return &p, nil
}

// fail ends a job without a report.
func (r *running) fail(why error) error {
	phase := Failed
	if errors.Is(why, errCancelled) {
		phase = Cancelled
	}
	r.state.Failure = failureOf(why, r.ref.ID)
	if r.state.Failure.Code == CodeFailed { // the log has the details
		r.l.logger().Error("a job failed", "event", eventJobFailed, "job", r.ref.ID, "error", why.Error())
	}
	r.state.DataBytes = max(r.state.DataBytes, r.most)
	return r.end(phase)
}

// end records how the job ended, and removes what its units found.
func (r *running) end(phase Phase) error {
	r.state.Phase, r.state.Finished = phase, r.l.Registry.now()
	if err := r.l.Registry.Tell(context.Background(), r.ref, r.state); err != nil {
		return err
	}
	return os.RemoveAll(filepath.Join(r.l.Dir, r.ref.ID))
}

// spend takes what the job is about to read of its tenant's quota.
func (r *running) spend(used, next cost.Fanout) error {
	r.most = used.DataBytes + next.DataBytes
	if r.most <= r.granted {
		return nil
	}
	granted, err := r.l.Registry.Take(context.Background(), r.ref, r.most)
	if err != nil {
		r.most = used.DataBytes // the units that run now end first
		return fmt.Errorf("the job stopped: %w", err)
	}
	r.granted = granted
	return nil
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
	r.state.Stages, r.state.DataBytes = stagesOf(r.rounds), p.Used.DataBytes
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
