package dedupe

import (
	"sync/atomic"

	"golang.org/x/sync/errgroup"
)

// crew runs functions, at most a number of them at once. Without a queue it cannot
// deadlock, even if the functions spawn others.
type crew struct {
	group   errgroup.Group
	workers int
	running atomic.Int64 // spawned functions
}

func newCrew(workers int) *crew {
	c := &crew{workers: workers}
	c.group.SetLimit(workers)
	return c
}

// spawn runs f in its own goroutine if a worker is free, else at once in this one.
func (c *crew) spawn(f func()) {
	c.running.Add(1)
	run := func() error {
		defer c.running.Add(-1)
		f()
		return nil
	}
	if !c.group.TryGo(run) {
		run()
	}
}

// wait waits until all functions have ended.
func (c *crew) wait() { c.group.Wait() }

// calls returns the largest number of system calls the crew can be in at once.
func (c *crew) calls() int { return min(int(c.running.Load()), c.workers) }
