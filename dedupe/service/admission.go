package service

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"time"
)

// patience is how long a scan waits while no other scan ends. Then it is clear that there
// is no slot soon, and the caller learns it at once instead of at the deadline.
const patience = 5 * time.Second

// gate admits scans in the order in which they come.
type gate struct {
	slots   int // scans that run at once
	waiting int // scans that wait at most

	mu      sync.Mutex
	running int
	queue   []chan struct{} // one for each scan that waits; closed to admit it
	ended   time.Time       // when a scan last ended
}

// enter waits until another scan may run. Call release when the scan is over. The error
// is a problem for the caller.
func (g *gate) enter(ctx context.Context) (release func(), err error) {
	busy := refuse(http.StatusTooManyRequests, "too many scans are running: try again later").after(patience)
	turn, ok := g.line()
	if !ok {
		return nil, busy
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for came := time.Now(); ; {
		select {
		case <-turn:
			return g.leave, nil
		case <-ctx.Done():
			return nil, g.giveUp(turn, busy)
		case <-timer.C:
			moved := g.moved(came)
			if moved <= 0 {
				return nil, g.giveUp(turn, busy)
			}
			timer.Reset(moved)
		}
	}
}

// line gets in line, unless too many scans wait. The channel is closed to admit the scan.
func (g *gate) line() (turn chan struct{}, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	turn = make(chan struct{})
	switch {
	case g.running < g.slots:
		g.running++
		close(turn)
	case len(g.queue) < g.waiting:
		g.queue = append(g.queue, turn)
	default:
		return nil, false
	}
	return turn, true
}

// moved returns how much patience is left since a scan ended, or since one came to wait.
func (g *gate) moved(came time.Time) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ended.After(came) {
		came = g.ended
	}
	return patience - time.Since(came)
}

// giveUp leaves the line and returns why. A scan that was admitted meanwhile passes its
// slot on.
func (g *gate) giveUp(turn chan struct{}, why error) error {
	g.mu.Lock()
	i := slices.Index(g.queue, turn)
	if i >= 0 {
		g.queue = slices.Delete(g.queue, i, i+1)
	}
	g.mu.Unlock()
	if i < 0 {
		g.leave()
	}
	return why
}

// leave ends a scan and admits the next.
func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ended = time.Now()
	if len(g.queue) == 0 {
		g.running--
		return
	}
	close(g.queue[0])
	g.queue = slices.Delete(g.queue, 0, 1)
}
