package lab

import "time"

// pace tells how long an experiment will still take, from how long its series
// took before.
type pace struct {
	last map[*series]time.Duration
}

func (p *pace) took(s *series, d time.Duration) {
	if p.last == nil {
		p.last = make(map[*series]time.Duration)
	}
	p.last[s] = d
}

// left is the time that is left when so many turns are done. A series that had
// none yet is thought to take as long as others with its share of a core.
func (p *pace) left(all []*series, runs, done int) time.Duration {
	if len(p.last) == 0 {
		return 0
	}
	var known, share float64 // seconds, and what they are expected to be in proportion to
	for s, d := range p.last {
		known += d.Seconds()
		share += s.slowness()
	}
	var round, rest float64 // of all series, and of those without a turn
	for _, s := range all {
		if d, ok := p.last[s]; ok {
			round += d.Seconds()
			continue
		}
		guess := known * s.slowness() / share
		round += guess
		rest += guess
	}
	if rest > 0 { // the first run is under way
		return seconds(rest + float64(runs-1)*round)
	}
	return seconds(round * float64(runs*len(all)-done) / float64(len(all)))
}

// slowness is in proportion to how long a series may take.
func (s *series) slowness() float64 { return 1 + 1769/float64(s.MemoryMB) }

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
