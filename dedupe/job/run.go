package job

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"efsdedupe/dedupe"
	"efsdedupe/dedupe/cost"
)

// Progress tells how far a job is.
type Progress struct {
	Stage       string
	Done, Units int         // of the round
	Earlier     bool        // a unit was done in an earlier run
	Round       int         // from 0 on; if it is less than before, some rounds run again
	Used        cost.Fanout // by all units that ended
}

// Options say how to run a job.
type Options struct {
	Concurrency int // most units at once, at least 1

	// Spend, if set, is asked before a unit runs: all that the units which ended used, and
	// the most that those which are about to run may use. Its error stops the job.
	Spend func(used cost.Fanout, next cost.Fanout) error

	// Observe, if set, is called with every step, from one goroutine at a time.
	Observe func(Progress)
}

// perform runs a unit, until its result is in the store. An error that is neither a *damage
// nor about the store means that the unit failed, as it would if the process died.
type perform func(context.Context, unit) error

// lostError is the error of a unit that did not survive.
type lostError struct{ error }

// mostRepairs is how often objects may turn out to be damaged before the store is to blame.
const mostRepairs = 100

// run runs the units that have no results yet, until all have. If it returns an error,
// another Run continues where it stopped.
func (j *Job) run(ctx context.Context, o Options, do perform) error {
	for range mostRepairs {
		err := j.runRounds(ctx, o, do)
		if err == nil {
			err = j.verify()
		}
		damaged := (*damage)(nil)
		if !errors.As(err, &damaged) {
			return err
		}
		if err := j.repair(damaged.object); err != nil {
			return err
		}
	}
	return errDamaging
}

// errDamaging is the error of a job whose objects are damaged again and again.
var errDamaging = errors.New("the store keeps damaging what is written to it: choose another --store")

// repair removes a damaged object and the result of the unit that made it, which then runs
// again. If it makes something else now, the units that read it are others, too.
func (j *Job) repair(name string) error {
	if producer, _, ok := strings.Cut(name, "-"); ok && producer != "inputs" {
		if err := j.store.Remove(resultOf(producer)); err != nil {
			return err
		}
	}
	return j.store.Remove(name)
}

func (j *Job) runRounds(ctx context.Context, o Options, do perform) error {
	j.rounds = nil
	for {
		r, err := j.next()
		if r == nil || err != nil {
			return err
		}
		if err := j.runRound(ctx, r, o, do); err != nil {
			return err
		}
		j.rounds = append(j.rounds, *r)
	}
}

// runRound runs the units of a round that have no results, and reads all results.
func (j *Job) runRound(ctx context.Context, r *round, o Options, do perform) error {
	r.results = make([]outcome, len(r.units))
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	c := roundRunner{o: o, stop: stop, free: make(chan struct{}, max(o.Concurrency, 1)), progress: Progress{Stage: string(r.stage), Units: len(r.units), Round: len(j.rounds)}}
	c.before(j)
	var missing []int
	for i := range r.units {
		if j.read(r, i) == nil {
			c.done(nil, r.results[i].result)
		} else {
			missing = append(missing, i)
		}
	}
	losses := make([]error, len(r.units))
	for _, i := range missing {
		c.run(ctx, &r.units[i], func() (*result, error) {
			err := do(ctx, r.units[i])
			if lost := (lostError{}); errors.As(err, &lost) && ctx.Err() == nil {
				losses[i] = lost
				return nil, nil
			}
			if err == nil {
				err = j.read(r, i)
			}
			return r.results[i].result, err
		})
	}
	c.group.Wait()
	if err := context.Cause(ctx); err != nil {
		return err
	}
	return j.giveUpAll(r, losses)
}

// giveUpAll gives up the units of a round that were lost. It comes after all others: if these
// fail, too, the units are not to blame, and another run tries them again.
func (j *Job) giveUpAll(r *round, losses []error) error {
	for i, lost := range losses {
		if lost == nil {
			continue
		}
		if err := j.giveUp(r.units[i], lost); err != nil {
			return err
		}
		if err := j.read(r, i); err != nil {
			return err
		}
	}
	return nil
}

// read reads the result of a unit. One that is torn is removed.
func (j *Job) read(r *round, i int) error {
	o := outcome{result: new(result), unit: r.units[i].name()}
	name := resultOf(o.unit)
	var size int64
	var err error
	o.at, o.sum, size, err = j.store.sizedHeader(name, o.result)
	if err == nil && (o.at+o.Length != size || len(o.ends()) != sectionCount+1) {
		err = &damage{object: name}
	}
	if damaged := (*damage)(nil); errors.As(err, &damaged) && !damaged.missing {
		j.store.Remove(name)
	}
	if err != nil {
		return err
	}
	r.results[i] = o
	return nil
}

// roundRunner runs the units of a round, at most a number of them at once.
type roundRunner struct {
	o     Options
	stop  context.CancelCauseFunc
	free  chan struct{}
	group sync.WaitGroup

	mu         sync.Mutex
	progress   Progress
	used, next cost.Fanout
}

// before counts what the rounds before used.
func (c *roundRunner) before(j *Job) {
	for o := range j.outcomes() {
		c.used.Add(o.used(), 1)
	}
}

// run waits until a unit may run, and runs it.
func (c *roundRunner) run(ctx context.Context, u *unit, do func() (*result, error)) {
	select {
	case c.free <- struct{}{}:
	case <-ctx.Done():
		return
	}
	if ctx.Err() != nil {
		return
	}
	if err := c.spend(u); err != nil {
		c.stopAfter(err)
		return
	}
	c.group.Go(func() {
		r, err := do()
		if err != nil {
			c.stop(err)
		}
		c.done(u, r)
		<-c.free
	})
}

// stopAfter stops the job once the units that run have ended.
func (c *roundRunner) stopAfter(err error) {
	c.group.Wait()
	c.stop(err)
}

func (c *roundRunner) spend(u *unit) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next.Add(u.most(), 1)
	if c.o.Spend == nil {
		return nil
	}
	return c.o.Spend(c.used, c.next)
}

func (c *roundRunner) done(u *unit, r *result) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if u != nil {
		c.next.Add(u.most(), -1)
	}
	if r == nil {
		return
	}
	c.used.Add(r.used(), 1)
	c.progress.Done++
	c.progress.Earlier, c.progress.Used = u == nil, c.used
	if c.o.Observe != nil {
		c.o.Observe(c.progress)
	}
}

// giveUp stores a result for a unit that no process survives: all it was to do is a problem.
func (j *Job) giveUp(u unit, why error) error {
	r := new(result)
	err := fmt.Errorf("the process that worked on it died: %w", why)
	switch {
	case u.Stage == walking && u.Pack != "":
		r.Walked = new(walked)
		frontiers, failed := unpack(j.store, u.Pack, (*taker).takeFrontier)
		if failed != nil {
			return failed
		}
		for _, f := range frontiers {
			r.problem(&dedupe.Problem{Op: "walk", Path: joinPath(f.Root, f.Dir), Err: err})
		}
	case u.Stage == reading || u.Stage == finish:
		copies, failed := unpack(j.store, u.Pack, takeCopy)
		if failed != nil {
			return failed
		}
		for _, c := range copies {
			r.In += names(c)
			r.problem(&dedupe.Problem{Op: "read", Path: c.Path, Err: err})
			for _, path := range c.OtherPaths {
				r.problem(&dedupe.Problem{Op: "read", Path: path, Err: err})
			}
		}
		r.Failed = r.In
	case u.Stage == remembering:
		r.Index = &indexed{Why: err.Error()}
	default:
		return fmt.Errorf("a unit of stage %q fails again and again: %w", u.Stage, why)
	}
	return j.store.putResult(u.name(), r)
}

// joinPath joins a root and a path below it.
func joinPath(root, dir string) string {
	if dir == "" || strings.HasSuffix(root, "/") {
		return root + dir
	}
	return root + "/" + dir
}
