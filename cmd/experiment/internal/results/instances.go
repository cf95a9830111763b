package results

import (
	"fmt"
	"math/big"
	"slices"
	"time"

	"github.com/dustin/go-humanize"
)

// fleet is the first n instances of a run together.
type fleet struct {
	n               int
	cost            *big.Rat // of all their calls; nil if they can't be priced
	median, slowest time.Duration
}

// fleets returns fleets of 1, 2, 5, 10 and so on instances, and of all: each figure is the
// median of the runs.
func (r *row) fleets(instances int, p *pricer) []fleet {
	if len(r.runs) == 0 {
		return nil
	}
	var all []fleet
	for _, n := range Steps(instances) {
		var first []Call
		for _, c := range r.Calls {
			if c.Instance < n {
				first = append(first, c)
			}
		}
		if len(first) == 0 {
			all = append(all, fleet{n: n})
			continue
		}
		part := *r.Series
		part.Calls = first
		runs := runsOf(&part, p)
		t := typical(runs)
		var slowest []time.Duration
		for _, r := range runs {
			slowest = append(slowest, r.slowest)
		}
		all = append(all, fleet{n, t.cost, t.median, percentile(slowest, 50)})
	}
	return all
}

// Steps returns 1, 2, 5, 10, 20 and so on, and most, which is at least 1, as the last.
func Steps(most int) []int {
	var all []int
	for unit := 1; unit < most && unit < 1e9; unit *= 10 {
		for _, n := range []int{unit, 2 * unit, 5 * unit} {
			if n < most {
				all = append(all, n)
			}
		}
	}
	return append(all, most)
}

// fleetFigures are the charts of instances against cost and time. They have points where
// there is more than one instance.
func (w *workload) fleetFigures(r *results, p *pictures) ([]figure, error) {
	var figures []figure
	for _, f := range []struct {
		title string
		value func(c fleet) float64
	}{
		{"Cost of all calls of so many instances at once, USD × 10⁻⁶", func(c fleet) float64 {
			if c.cost == nil {
				return 0
			}
			return quotient(c.cost, big.NewRat(1, 1e6))
		}},
		{"Slowest of so many instances, all calls together, in ms", func(c fleet) float64 { return inMS(c.slowest) }},
		{"Median of so many instances, all calls together, in ms", func(c fleet) float64 { return inMS(c.median) }},
	} {
		var lines []line
		for _, m := range w.modes {
			if row := m.rows[len(m.rows)-1]; len(row.runs) > 0 && !row.lost() { // of the largest size
				lines = append(lines, row.fleetLine(r, f.value))
			}
		}
		c := chart{xName: "instances", xLabel: humanize.Comma, left: lines, leftOn: scaleOf(lines)}
		svg, err := c.draw()
		if err != nil {
			return nil, err
		}
		if svg != "" {
			note := c.leftOn.note(lines)
			figures = append(figures, figure{f.title, note, p.titled(svg, fmt.Sprintf("%s, %s: %s", quoteUnprintable(w.name), f.title, note))})
		}
	}
	return figures, nil
}

func (r *row) fleetLine(all *results, value func(c fleet) float64) line {
	l := line{class: all.class(r.Mode)}
	for _, c := range r.fleets(all.Setup.Instances, all.prices) {
		if v := value(c); v > 0 {
			l.points = append(l.points, point{x: float64(c.n), y: v})
		}
	}
	return l
}

// fleetRows are the rows with several instances a run.
func (w *workload) fleetRows() []*row {
	return slices.DeleteFunc(w.rows(), func(r *row) bool { return len(r.runs) == 0 })
}

const fleetsAbout = "So many instances at once: what all their calls cost in millionths of a USD, and the slowest instance in ms"

func fleetHeads(instances int) []string {
	heads := []string{"mode", "memory MB"}
	for _, n := range Steps(instances) {
		heads = append(heads, humanize.Comma(int64(n)))
	}
	return heads
}

func (r *row) fleetCells(all *results) []string {
	cells := []string{quoteUnprintable(r.Mode), humanize.Comma(r.MemoryMB)}
	for _, c := range r.fleets(all.Setup.Instances, all.prices) {
		usd := none
		if c.cost != nil {
			usd = money(new(big.Rat).Mul(c.cost, big.NewRat(1e6, 1)), false)
		}
		cells = append(cells, fmt.Sprintf("%s, %s", usd, ms(c.slowest)))
	}
	return cells
}
