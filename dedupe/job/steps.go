package job

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"efsdedupe/dedupe"
	"efsdedupe/dedupe/cost"
	"efsdedupe/dedupe/limits"
	"efsdedupe/dedupe/report"
)

// Helper does the steps of a job that a state machine drives, such as one of AWS Step
// Functions. Each step may run in another process, on another machine. The state machine
// plans a round, runs its units at once, in any order, and plans again, until it is time for
// the report:
//
//	Plan → its units → Plan → … → Report
//
// A step that fails or dies can be repeated. A unit that starts again and again and never
// succeeds is given up: all it was to do becomes problems. One that does not even start, for
// lack of functions, is not, as long as others end.
type Helper struct {
	Store   Store      // of one job
	Prices  *cost.Book // for the bill in the report; nil: none
	MaxCost *MaxCost   // nil: any

	// Index is used by jobs whose Spec names none; nil: none. It has to be the same in all
	// steps of a job.
	Index     *Index
	OpenIndex OpenIndex

	// Run counts how often the job went on after it stopped. A run must not find the units
	// of an earlier one.
	Run int
}

// Round is what a state machine passes from step to step.
type Round struct {
	Next    Next   `json:"next"`              // the step to take now
	Name    string `json:"name,omitempty"`    // begins the names of its units, with a slash at the end
	Units   int    `json:"units,omitempty"`   // to run; at the end, all of the job
	Waiting int    `json:"waiting,omitempty"` // other units without results: they may cost too much
	Attempt int    `json:"attempt,omitempty"` // at the units, from 1 on
	Idle    int    `json:"idle,omitempty"`    // attempts in a row in which no unit ended
	Steps   int    `json:"steps,omitempty"`   // plans so far

	Why    string `json:"why,omitempty"`     // the job failed
	NoRoot bool   `json:"no_root,omitempty"` // it failed because a root can't be read

	// OverQuota says that it failed because its tenant may not read more. Whoever runs the
	// steps sets it.
	OverQuota bool `json:"over_quota,omitempty"`

	// The progress of the job, for those who ask.
	Stages []StageCount `json:"stages,omitempty"`
	Used   cost.Fanout  `json:"used,omitzero"` // by the units that ended
	May    cost.Fanout  `json:"may,omitzero"`  // be used by the units of the round, at most

	// What the report says, after Report.
	Complete *bool `json:"complete,omitempty"`
	Groups   int64 `json:"groups,omitempty"`
	Problems int64 `json:"problems,omitempty"`
}

// StageCount counts the units of a stage. There may be more to come.
type StageCount struct {
	Stage string `json:"stage"`
	Units int    `json:"units"`
	Done  int    `json:"done"`
}

// Next is a step.
type Next string

// The steps that may come next.
const (
	RunUnits    Next = "units"     // Unit for each unit of the round, then Plan
	WriteReport Next = "report"    // Report
	End         Next = "end"       // none: the report is written
	Stopped     Next = "stopped"   // none: it may cost too much, and goes on with a higher MaxCost
	Cancelled   Next = "cancelled" // none: the job was cancelled
	Failed      Next = "failed"    // none: the job can't succeed
)

const (
	// mostTries is how often a unit starts before it is given up, not counting the first
	// attempt at its round, in which nobody counts.
	mostTries = 5

	// mostIdle is how many attempts in a row may end no unit, before those that ran are given
	// up. A unit that dies before it starts looks like one for which no function was free.
	// What differs on AWS is the time: the state machine tries a unit that died again within
	// 15 seconds, so ten attempts take some three minutes. For a free function it waits two
	// minutes on average and four at most, so ten attempts take 20 to 40, and another job's
	// longest units end meanwhile.
	mostIdle = 10

	// mostSteps ends a job that does not end by itself. An execution has at most 25,000
	// events, and a round is 11. Source: AWS Step Functions quotas.
	mostSteps = 2000

	// stepsAtOnce is how many objects a step reads or writes at once.
	stepsAtOnce = 64
)

// failedObject says why a job can't succeed.
const failedObject = "failed"

// failure is the object that says why a job can't succeed.
type failure struct {
	head
	Why []byte `json:"why"`
}

// Begin begins a job in a store, unless it was begun before. The helpers must find the roots
// under the same paths, whatever their working directory is.
func Begin(s Store, spec Spec) error {
	if err := spec.Selection.Validate(); err != nil {
		return err
	}
	b := beginning{Spec: spec, Started: time.Now()}
	o, err := object(&b, &b.head, nil)
	if err != nil {
		return err
	}
	return s.Put(beginObject, o)
}

// Cancel ends the steps of a job that was begun, wherever they run.
func Cancel(s Store) error { return (&Job{store: objects{s}}).Cancel() }

// IsCancelled reports whether an unfinished job was cancelled.
func IsCancelled(s Store) bool { return objects{s}.has(cancelObject) }

// open opens the job.
func (h *Helper) open() (*Job, error) {
	j := &Job{store: objects{h.Store}, cpu: limits.CPUTime()}
	var b beginning
	if _, _, err := j.store.header(beginObject, &b); err != nil {
		return nil, err
	}
	j.spec, j.begun, j.maxCost, j.again = b.Spec, b.Started, h.MaxCost, h.Run
	if j.spec.Index == nil {
		j.spec.Index = h.Index
	}
	return j, nil
}

// Plan finds out what is to be done after the last round, the zero value at first. It stores
// the units of the next round. Its error is about the store: another attempt may succeed.
func (h *Helper) Plan(ctx context.Context, last Round) (Round, error) {
	j, err := h.open()
	if err != nil {
		return Round{}, err
	}
	return j.planWhole(ctx, last)
}

// planWhole plans although objects are damaged.
func (j *Job) planWhole(ctx context.Context, last Round) (Round, error) {
	for range mostRepairs {
		r, err := j.plan(ctx, last)
		damaged := (*damage)(nil)
		if !errors.As(err, &damaged) {
			return r, err
		}
		if err := j.repair(damaged.object); err != nil {
			return Round{}, err
		}
	}
	return Round{Next: Failed, Why: errDamaging.Error()}, nil
}

func (j *Job) plan(ctx context.Context, last Round) (Round, error) {
	next := Round{Steps: last.Steps + 1}
	if err := j.ended(&next); err != nil || next.Next != "" {
		return next, err
	}
	for j.rounds = nil; ; {
		r, err := j.next()
		if r == nil || err != nil {
			next.Next = WriteReport
			return next, err
		}
		missing, err := j.readAll(ctx, r)
		if err != nil {
			return next, err
		}
		if len(missing) > 0 {
			next.follow(last, j.prefix(r), len(missing))
			if next.Attempt > 1 {
				missing, err = j.abandon(r, missing, next.lost(last))
			}
			if err != nil {
				return next, err
			}
		}
		next.count(r)
		if len(missing) > 0 {
			return j.beginUnits(ctx, next, r, missing)
		}
		j.rounds = append(j.rounds, *r)
	}
}

// prefix begins the names of attempts at a round.
func (j *Job) prefix(r *round) string {
	name := fmt.Sprintf("round-%d-%s-", len(j.rounds), r.stage)
	if j.again > 0 {
		name = fmt.Sprintf("run-%d-%s", j.again, name)
	}
	return name
}

// beginUnits stores those units that are missing in a round and may run.
func (j *Job) beginUnits(ctx context.Context, next Round, r *round, missing []int) (Round, error) {
	n, most, err := j.maxCost.affordable(next.Used, r, missing)
	if errors.As(err, new(*CostError)) {
		return Round{Next: Stopped, Why: err.Error(), Steps: next.Steps, Stages: next.Stages, Used: next.Used}, nil
	}
	if err != nil {
		return next, err
	}
	next.Units, next.Waiting, next.May = n, len(missing)-n, most
	return next, j.publish(ctx, next, r, missing[:n])
}

// follow makes the round another attempt at the last one if it has the same name, and else
// the first.
func (r *Round) follow(last Round, name string, missing int) {
	r.Next, r.Attempt, r.Idle = RunUnits, 1, 0
	if strings.HasPrefix(last.Name, name) {
		r.Attempt = last.Attempt + 1
		if missing == last.Units+last.Waiting {
			r.Idle = last.Idle + 1
		}
	}
	r.Name = fmt.Sprint(name, r.Attempt, "/")
}

// lost returns how many of the units that are missing, the first ones, are to be given up
// because they never start.
func (r *Round) lost(last Round) int {
	if r.Idle >= mostIdle {
		return last.Units
	}
	return 0
}

// count adds the units of a round to those of its stage, and what they read.
func (r *Round) count(of *round) {
	last := len(r.Stages) - 1
	if last < 0 || r.Stages[last].Stage != string(of.stage) {
		r.Stages = append(r.Stages, StageCount{Stage: string(of.stage)})
		last++
	}
	s := &r.Stages[last]
	s.Units += len(of.units)
	for _, o := range of.results {
		if o.result != nil {
			s.Done++
			r.Used.Add(o.used(), 1)
		}
	}
}

// ended sets the next step if the job was cancelled or can't succeed.
func (j *Job) ended(next *Round) error {
	var f failure
	_, _, err := j.store.header(failedObject, &f)
	switch {
	case err == nil:
		next.Next, next.Why, next.NoRoot = Failed, string(f.Why), true
	case !errors.As(err, new(*damage)):
		return err
	case j.store.has(cancelObject):
		next.Next = Cancelled
	case next.Steps > mostSteps:
		next.Next, next.Why = Failed, fmt.Sprintf("the job did not end within %d rounds", mostSteps)
	}
	return nil
}

// readAll reads all results of a round, and returns the units that have none.
func (j *Job) readAll(ctx context.Context, r *round) (missing []int, err error) {
	r.results = make([]outcome, len(r.units))
	err = atOnce(ctx, len(r.units), func(i int) error {
		err := j.read(r, i)
		if errors.As(err, new(*damage)) {
			return nil
		}
		return err
	})
	for i := range r.results {
		if r.results[i].result == nil {
			missing = append(missing, i)
		}
	}
	return missing, err
}

// unitObject is the object that describes a unit of a round.
type unitObject struct {
	head
	Unit    unit `json:"unit"`
	Counted bool `json:"counted,omitempty"` // each try is recorded
}

// publish stores the units of a round that have no results.
func (j *Job) publish(ctx context.Context, to Round, r *round, missing []int) error {
	return atOnce(ctx, len(missing), func(i int) error {
		o := unitObject{Unit: r.units[missing[i]], Counted: to.Attempt > 1}
		b, err := object(&o, &o.head, nil)
		if err != nil {
			return err
		}
		return j.store.Put(to.Name+o.Unit.name(), b)
	})
}

// tryOf names the object that records a try at a unit, from 1 on.
func tryOf(u unit, n int) string { return fmt.Sprintf("try-%d-%s", n, u.name()) }

// try records a try at a unit.
func (j *Job) try(u unit) error {
	b, err := object(new(head), new(head), nil)
	if err != nil {
		return err
	}
	n := 1
	for n < mostTries && j.store.has(tryOf(u, n)) {
		n++
	}
	return j.store.Put(tryOf(u, n), b)
}

// abandon gives up units of a round that were tried often enough, and the first ones that
// are lost, and returns the others.
func (j *Job) abandon(r *round, missing []int, lost int) (left []int, err error) {
	why := errors.New("every attempt failed")
	for n, i := range missing {
		u := r.units[i]
		switch {
		case n >= lost && !j.store.has(tryOf(u, mostTries)):
			left = append(left, i)
			continue
		case u.Pack == "": // its files are not known
			err = j.giveUpRoots(u, why)
		default:
			err = j.giveUp(u, why)
		}
		if err == nil {
			err = j.read(r, i)
		}
		if err != nil {
			return nil, err
		}
	}
	return left, nil
}

// giveUpRoots stores a result for a unit that may have been about any files below the roots.
// They do not add up in the end.
func (j *Job) giveUpRoots(u unit, why error) error {
	r := new(result)
	if u.Stage == walking {
		r.Walked = new(walked)
	}
	for _, root := range j.spec.Selection.Roots {
		r.problem(&dedupe.Problem{Op: u.Stage.verb(), Path: root, Err: fmt.Errorf("the process that worked on it died: %w", why)})
	}
	return j.store.putResult(u.name(), r)
}

// atOnce calls do for 0 to n-1, many at once. It stops at the first error.
func atOnce(ctx context.Context, n int, do func(i int) error) error {
	group, running := errgroup.WithContext(ctx)
	group.SetLimit(stepsAtOnce)
	for i := range n {
		if running.Err() != nil {
			break
		}
		group.Go(func() error { return do(i) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return context.Cause(ctx)
}

// Unit runs a unit of a round, by the name of its object, and stores the result. If its
// context has a deadline, it ends before, and stores a unit for the rest. If it returns nil,
// Plan knows how it went: the unit may have been cancelled, or have found that the job can't
// succeed.
func (h *Helper) Unit(ctx context.Context, name string) error {
	j, err := h.open()
	if err != nil {
		return err
	}
	var o unitObject
	_, _, err = j.store.header(name, &o)
	if err == nil && o.Unit.name() != path.Base(name) {
		err = &damage{object: name}
	}
	if err == nil && o.Counted {
		err = j.try(o.Unit)
	}
	if err == nil && !j.store.has(resultOf(o.Unit.name())) {
		w := newWorker(j.store, j.spec, nil)
		w.open = h.OpenIndex
		err = w.run(ctx, o.Unit)
		w.close()
	}
	damaged := (*damage)(nil)
	switch {
	case errors.As(err, &damaged):
		return j.repair(damaged.object)
	case errors.Is(err, errCancelled):
		return nil
	case errors.As(err, new(*dedupe.RootError)):
		f := failure{Why: []byte(err.Error())}
		b, err := object(&f, &f.head, nil)
		if err != nil {
			return err
		}
		return j.store.Put(failedObject, b)
	}
	return err
}

// Write writes a report. After the parts were written, failed says why they are not whole;
// nil if they are.
type Write func(r dedupe.Report, parts report.Parts, o report.Options, failed *error) error

// Report has the report of the job written. If an object turns out to be damaged, the round
// has the units that have to run again.
func (h *Helper) Report(ctx context.Context, last Round, write Write) (Round, error) {
	j, err := h.open()
	if err != nil {
		return Round{}, err
	}
	next, err := j.planWhole(ctx, last)
	if err != nil || next.Next != WriteReport {
		return next, err
	}
	r, parts, failed := j.Answer()
	if h.Prices != nil {
		parts.Bill = func(o report.Options) (*cost.Projection, error) {
			return j.Bill(h.Prices, cost.DefaultUsage(), r, parts, o)
		}
	}
	err = write(r, parts, report.Options{Dir: string(j.spec.Dir)}, failed)
	if damaged := (*damage)(nil); errors.As(*failed, &damaged) {
		if err := j.repair(damaged.object); err != nil {
			return Round{}, err
		}
		return j.planWhole(ctx, next)
	}
	if err = errors.Join(*failed, err); err != nil {
		return Round{}, err
	}
	next.Next, next.Complete, next.Groups = End, &r.Complete, r.Stats.DuplicateGroups
	next.Problems = j.count(func(r *result) int64 { return r.Problems })
	for _, r := range j.rounds {
		next.Units += len(r.units)
	}
	return next, nil
}
