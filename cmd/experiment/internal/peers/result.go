package peers

import (
	"errors"
	"fmt"
	"maps"
	"slices"
)

// same is the verdict on a finder whose groups are the true ones.
const same = "same"

// result is what an experiment has found.
type result struct {
	ID       string   `json:"id"`
	Title    string   `json:"title"`
	Files    int      `json:"files,omitempty"`
	MustRead int      `json:"must_read,omitempty"` // files of a size that another has
	Groups   int      `json:"groups,omitempty"`    // of copies
	Samples  []sample `json:"samples"`

	// Verdicts are on the groups of each finder: the same, or how they differ.
	Verdicts map[string]string `json:"verdicts,omitempty"`

	Rows []row `json:"rows"`
	// Figures are of dedupe alone.
	Figures map[string]float64 `json:"figures,omitempty"`

	base string // the program that ratios are of; none without
}

// row is a program in a result.
type row struct {
	Program string `json:"program"`
	Runs    int    `json:"runs"`
	Failure string `json:"failure,omitempty"`

	// Medians are the program's own, and Ratios those of dedupe to it, by metric.
	Medians map[string]float64 `json:"medians"`
	Ratios  map[string]float64 `json:"ratios,omitempty"`
}

// The metrics, which samples have.
const (
	wall    = "wall"   // seconds
	cpu     = "cpu"    // seconds
	memory  = "memory" // bytes
	opens   = "opens"
	volume  = "bytes"   // read from the mount
	metered = "metered" // bytes that EFS bills
)

// The figures, which results have.
const (
	opensEach   = "opens a file that must be read"
	memoryEach  = "bytes of memory a path, above 20 MiB"
	growth      = "time a file, most to least"
	processEach = "seconds more a file in process mode"
)

// value returns a metric of a sample, if it has it.
func (s sample) value(metric string) (float64, bool) {
	switch {
	case s.Failure != "":
	case metric == wall:
		return s.Wall.Seconds(), true
	case metric == cpu:
		return s.CPU.Seconds(), true
	case metric == memory:
		return float64(s.Memory), true
	case s.EFS == nil:
	case metric == opens:
		return float64(s.EFS.Opens), true
	case metric == volume:
		return float64(s.EFS.BytesRead), true
	case metric == metered:
		return float64(s.EFS.MeteredReadBytes + s.EFS.MeteredMetadataBytes), true
	}
	return 0, false
}

// median returns the middle of values, or of the two in the middle the mean. Of
// none there is none.
func median(values []float64) (float64, bool) {
	n := len(values)
	if n == 0 {
		return 0, false
	}
	sorted := slices.Sorted(slices.Values(values))
	return (sorted[(n-1)/2] + sorted[n/2]) / 2, true
}

// values returns a metric of a program, by round.
func (r *result) values(program, metric string) map[int]float64 {
	all := make(map[int]float64)
	for _, s := range r.Samples {
		if v, ok := s.value(metric); ok && s.Program == program {
			all[s.Round] = v
		}
	}
	return all
}

// pairs returns what f makes of the figures of two programs in each round that
// both took part in.
func (r *result) pairs(a, b, metric string, f func(a, b float64) float64) []float64 {
	var all []float64
	of := r.values(b, metric)
	for round, v := range r.values(a, metric) {
		if w, ok := of[round]; ok && w != 0 {
			all = append(all, f(v, w))
		}
	}
	return all
}

func quotient(a, b float64) float64   { return a / b }
func difference(a, b float64) float64 { return a - b }

// summarise makes rows and figures of the samples.
func (r *result) summarise() {
	var names []string
	for _, s := range r.Samples {
		if !slices.Contains(names, s.Program) {
			names = append(names, s.Program)
		}
	}
	for _, name := range names {
		w := row{Program: name, Medians: make(map[string]float64), Ratios: make(map[string]float64)}
		for _, metric := range []string{wall, cpu, memory, opens, volume, metered} {
			own := r.values(name, metric)
			w.Runs = max(w.Runs, len(own))
			if m, ok := median(slices.Collect(maps.Values(own))); ok {
				w.Medians[metric] = m
			}
			if m, ok := median(r.pairs(r.base, name, metric, quotient)); ok && name != r.base {
				w.Ratios[metric] = m
			}
		}
		for _, s := range r.Samples {
			if s.Program == name && s.Failure != "" {
				w.Failure = s.Failure
			}
		}
		r.Rows = append(r.Rows, w)
	}
	if r.MustRead > 0 {
		r.addFigures()
	}
}

// addFigures adds what dedupe is held to on its own on a tree. Its opens are
// those that the mount counts, where there is one.
func (r *result) addFigures() {
	var opened, above, more []float64
	for _, s := range r.Samples {
		if s.Program != ours || s.Own == nil {
			continue
		}
		n := s.Own.Stats.Opens
		if s.EFS != nil {
			n = s.EFS.Opens
		}
		opened = append(opened, float64(n)/float64(r.MustRead))
		above = append(above, max(0, float64(s.Memory-20<<20)/float64(r.Files)))
	}
	for _, d := range r.pairs(processes, ours, wall, difference) {
		more = append(more, d/float64(r.Files))
	}
	for name, values := range map[string][]float64{opensEach: opened, memoryEach: above, processEach: more} {
		if m, ok := median(values); ok {
			r.figure(name, m)
		}
	}
}

func (r *result) figure(name string, value float64) {
	if r.Figures == nil {
		r.Figures = make(map[string]float64)
	}
	r.Figures[name] = value
}

func (r *result) verdict(program, verdict string) {
	if r.Verdicts == nil {
		r.Verdicts = make(map[string]string)
	}
	r.Verdicts[program] = verdict
}

// row returns the row of a program, if it took part.
func (r *result) row(program string) (row, bool) {
	for _, w := range r.Rows {
		if w.Program == program {
			return w, true
		}
	}
	return row{}, false
}

// wrong is an error if dedupe failed, or its groups are not the true ones.
func (r *result) wrong() error {
	var all []error
	for _, name := range []string{ours, processes} {
		if w, ok := r.row(name); ok && w.Failure != "" {
			all = append(all, fmt.Errorf("%s: %s: %s", r.ID, name, w.Failure))
		}
		if v, ok := r.Verdicts[name]; ok && v != same {
			all = append(all, fmt.Errorf("%s: %s: %s", r.ID, name, v))
		}
	}
	return errors.Join(all...)
}
