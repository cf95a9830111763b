package service

import (
	"cmp"
	"context"
	"time"

	"efsdedupe/dedupe"
	"efsdedupe/dedupe/choose"
	"efsdedupe/dedupe/cost"
)

// What a scan still has to do when its time is up: the time on a whole core, about twice
// what was measured, because the garbage collector and the kernel are busy then, too.
const (
	answerTime = time.Second            // of any scan, however slow the core: calls that hang, and the way of the answer
	foundTime  = 700 * time.Nanosecond  // to sort a file that was found, and to count each inode once
	groupTime  = 4000 * time.Nanosecond // to group a file that was read
	keepTime   = 8000 * time.Nanosecond // to choose whether to keep a file, and put it where it belongs
	ruleTime   = 1000 * time.Nanosecond // to compare a file with a folder or a glob of a rule
	loneTime   = 3000 * time.Nanosecond // to find the folder of a file, or that it has no duplicate
	byteTime   = 40 * time.Nanosecond   // to encode a byte of the answer, as JSON and again for Lambda
	fileAnswer = 200                    // bytes of a file in the answer
)

// progress is what a scan has done so far.
type progress struct {
	found int64 // files
	done  int64 // files that were read, or need not be

	choice time.Duration // to apply the rules to a file that was found
}

// choiceTime returns how long rules take for a file.
func choiceTime(r choose.Rules) (each time.Duration) {
	if r.Kept() {
		each = keepTime + ruleTime*time.Duration(len(r.Priority)+len(r.Protect))
	}
	if r.Unique || r.Folders {
		each += loneTime
	}
	return each
}

// add adds a step.
func (p *progress) add(e dedupe.Event) {
	switch {
	case e.Stage == dedupe.StageWalk:
		p.found += e.Files
	case e.Work != (dedupe.Work{}):
		p.done++
	}
}

// reserve returns how long it takes to end the scan and to write the answer, in a
// function of some memory.
func (p *progress) reserve(memoryMB int64) time.Duration {
	work := time.Duration(p.found)*(foundTime+p.choice) + time.Duration(p.done)*groupTime +
		time.Duration(min(p.done*fileAnswer, maxAnswer))*byteTime
	return answerTime + work*cost.DefaultMemoryMB/time.Duration(min(cmp.Or(memoryMB, cost.DefaultMemoryMB), cost.DefaultMemoryMB))
}

// endInTime ends a scan early enough to answer before the deadline of ctx. The more files
// the scan has found and read, and the more rules there are, the earlier, but not in the first
// half of its time. It observes the engine, so call it after Observe is set.
func (s *service) endInTime(ctx context.Context, eng *dedupe.Engine, r choose.Rules) (context.Context, context.CancelFunc) {
	deadline, _ := ctx.Deadline()
	half := time.Until(deadline) / 2
	p := progress{choice: choiceTime(r)}
	end := func() time.Time { return deadline.Add(-min(p.reserve(s.MemoryMB), half)) }

	ctx, stop := context.WithDeadline(ctx, end())
	ctx, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(time.Until(end()), func() { cancel(context.DeadlineExceeded) })
	observe := eng.Observe
	eng.Observe = func(e dedupe.Event) {
		observe(e)
		p.add(e)
		timer.Reset(time.Until(end()))
	}
	return ctx, func() {
		timer.Stop()
		cancel(nil)
		stop()
	}
}
