package peers

import (
	"strings"
	"testing"
	"time"

	"efsdedupe/fixtures/efs"
)

func TestMedian(t *testing.T) {
	for _, test := range []struct {
		values []float64
		want   float64
	}{
		{[]float64{3}, 3},
		{[]float64{3, 1}, 2},
		{[]float64{9, 1, 2}, 2},
		{[]float64{4, 100, 1, 2}, 3},
	} {
		if got, ok := median(test.values); !ok || got != test.want {
			t.Errorf("%v: %v", test.values, got)
		}
	}
	if m, ok := median(nil); ok {
		t.Errorf("none of nothing: %v", m)
	}
}

// timed returns samples of a program, of so many milliseconds in each round.
func timed(program string, ms ...int) []sample {
	var all []sample
	for round, n := range ms {
		all = append(all, sample{Program: program, Round: round, Wall: time.Duration(n) * time.Millisecond, CPU: time.Second, Memory: 30 << 20})
	}
	return all
}

// TestRatios has figures whose ratio of medians is not the median of ratios: a
// machine that is slow for one round is slow for both.
func TestRatios(t *testing.T) {
	r := &result{ID: "x", Files: 1 << 20, MustRead: 50, base: ours}
	r.Samples = append(r.Samples, timed(ours, 10, 1000, 30)...)
	r.Samples = append(r.Samples, timed("a", 20, 2000, 30)...)
	r.Samples = append(r.Samples, timed("once", 5)...)
	r.Samples = append(r.Samples, sample{Program: "dies", Failure: "exit status 1", Wall: time.Hour})
	for i := range 3 {
		r.Samples[i].Own = new(own)
		r.Samples[i].Own.Stats.Opens = 100
	}
	r.summarise()
	for name, want := range map[string]float64{"a": 0.5, "once": 2} {
		if w, ok := r.row(name); !ok || w.Ratios[wall] != want {
			t.Errorf("%s: %+v, want %v", name, w, want)
		}
	}
	if w, ok := r.row("a"); !ok || w.Medians[wall] != 0.03 || w.Ratios[cpu] != 1 || w.Runs != 3 {
		t.Errorf("%+v", w)
	}
	if w, ok := r.row("dies"); !ok || w.Failure != "exit status 1" || w.Runs != 0 || len(w.Ratios) > 0 || len(w.Medians) > 0 {
		t.Errorf("%+v", w)
	}
	if r.Figures[opensEach] != 2 || r.Figures[memoryEach] != 10 {
		t.Errorf("%v", r.Figures)
	}
}

// TestCounted checks that what the mount counts goes before what dedupe says.
func TestCounted(t *testing.T) {
	r := &result{ID: "7a", Files: 10, MustRead: 10, base: ours}
	r.Samples = append(timed(ours, 1), timed("jdupes", 10)...)
	r.Samples[0].Own = new(own)
	r.Samples[0].EFS = &efs.Counters{Opens: 20, MeteredReadBytes: 100, MeteredMetadataBytes: 50}
	r.Samples[1].EFS = &efs.Counters{Opens: 40, MeteredReadBytes: 60, MeteredMetadataBytes: 40}
	r.summarise()
	w, _ := r.row("jdupes")
	if r.Figures[opensEach] != 2 || w.Ratios[opens] != 0.5 || w.Ratios[metered] != 1.5 {
		t.Errorf("%v, %v", r.Figures, w.Ratios)
	}
}

// TestJudge holds results against targets that are held, missed and unmeasured.
func TestJudge(t *testing.T) {
	r := &result{ID: "1", base: ours, Figures: map[string]float64{opensEach: 1}}
	r.Samples = append(append(timed(ours, 10), timed("fclones", 20)...), timed("czkawka", 12)...)
	r.summarise()
	verdicts := judgeAll([]target{
		{"1", wall, []string{"fclones"}, 0.5},
		{"1", wall, []string{"fclones", "czkawka"}, 0.8}, // the faster of the two counts
		{"1", wall, []string{"jdupes"}, 0.5},
		{"1", wall, []string{"fclones", "jdupes"}, 0.6}, // as far as they are here
		{"1", opensEach, nil, 1},
		{"1", growth, nil, 1},
		{"2", wall, []string{"fclones"}, 1},
	}, []*result{r})
	var got strings.Builder
	for _, v := range verdicts {
		switch {
		case v.Held:
			got.WriteString("held ")
		case v.Measured:
			got.WriteString("missed ")
		default:
			got.WriteString("unknown ")
		}
	}
	if want := "held missed unknown held held unknown unknown "; got.String() != want {
		t.Errorf("%s, want %s", got.String(), want)
	}
}

// TestTargets checks that targets are about what there is.
func TestTargets(t *testing.T) {
	ids := make(map[string]bool)
	for _, e := range comparisons(1) {
		ids[e.id] = true
	}
	names := map[string]bool{nothing: true}
	for _, p := range known(ours, reader) {
		names[p.Name] = true
	}
	for _, target := range targets() {
		if !ids[target.Tree] {
			t.Errorf("there is no tree %s", target.Tree)
		}
		for _, name := range target.Against {
			if !names[name] {
				t.Errorf("there is no program %s", name)
			}
		}
	}
}
