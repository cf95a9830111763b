package peers

import "strings"

// target is what dedupe is held to on a tree: its ratio to other programs, of
// which the one that it fares worst against counts, or a figure of its own.
type target struct {
	Tree    string   `json:"tree"`
	What    string   `json:"what"`    // a metric, or a figure
	Against []string `json:"against"` // nobody for a figure
	AtMost  float64  `json:"at_most"`
}

// verdict is a target and what came of it.
type verdict struct {
	target
	Measured bool    `json:"measured"`
	Value    float64 `json:"value"`
	Held     bool    `json:"held"`
}

// targets are all of them. Those on opens of trees 1 and 3 go by what dedupe
// counts itself, which the mount of 7a and 7b confirms.
func targets() []target {
	finders := []string{"fclones", "czkawka", "jdupes", "fdupes", "rmlint", "rdfind"}
	return []target{
		{"1", wall, []string{"jdupes"}, 0.40},
		{"1", wall, []string{"b3sum"}, 0.80},
		{"1", wall, []string{"fclones", "czkawka"}, 0.80},
		{"1", wall, []string{reader}, 1.4},
		{"3", wall, []string{"jdupes"}, 0.45},
		{"3", wall, []string{"rdfind"}, 0.40},
		{"3", wall, []string{"fclones"}, 0.80},
		{"4", wall, []string{"fclones"}, 0.80},
		{"4", wall, []string{"jdupes"}, 0.5},
		{"5", wall, []string{"fclones"}, 0.80},
		{"5", wall, []string{"jdupes"}, 0.5},
		{"6", wall, []string{"fclones"}, 0.80},
		{"6", wall, []string{"jdupes"}, 0.5},
		{"7a", wall, []string{reader}, 1.3},
		{"7a", wall, []string{"jdupes"}, 0.15},
		{"7a", wall, []string{"rmlint"}, 0.30},
		{"7a", wall, []string{"fclones"}, 0.5},
		{"7b", wall, []string{"jdupes"}, 0.10},
		{"7b", wall, []string{"fclones"}, 0.5},
		{"8", wall, []string{"fclones"}, 0.80},
		{"8", wall, []string{"jdupes"}, 0.5},
		{"9a", wall, []string{"fclones"}, 0.80},
		{"9a", wall, []string{"jdupes"}, 0.5},
		{"9b", wall, []string{"fclones"}, 0.5},
		{"9b", wall, []string{"jdupes"}, 0.5},

		{"5", memoryEach, nil, 110},
		{"5", memory, []string{"jdupes", "fclones"}, 1},

		{"1", opensEach, nil, 1},
		{"3", opensEach, nil, 1},
		{"4", opensEach, nil, 2},
		{"5", opensEach, nil, 2},
		{"6", opensEach, nil, 2},
		{"7a", opensEach, nil, 1},
		{"7b", opensEach, nil, 1},
		{"8", opensEach, nil, 2},
		{"9a", opensEach, nil, 1},
		{"9b", opensEach, nil, 1},

		{"7a", metered, finders, 1},
		{"7b", metered, finders, 1},
		{"9b", metered, finders, 1},

		{startID, wall, []string{nothing}, 2.5},
		{growthID, growth, nil, 1.3},
	}
}

// judgeAll compares targets with results. What was not measured is not held.
func judgeAll(all []target, results []*result) []verdict {
	var verdicts []verdict
	for _, t := range all {
		v := verdict{target: t}
		for _, r := range results {
			if r.ID == t.Tree {
				v.Value, v.Measured = r.judge(t)
			}
		}
		v.Held = v.Measured && v.Value <= t.AtMost
		verdicts = append(verdicts, v)
	}
	return verdicts
}

// judge returns the figure that a target is about, if it was measured.
func (r *result) judge(t target) (worst float64, measured bool) {
	if len(t.Against) == 0 {
		worst, measured = r.Figures[t.What]
		return worst, measured
	}
	for _, program := range t.Against {
		w, _ := r.row(program)
		if ratio, ok := w.Ratios[t.What]; ok {
			worst, measured = max(worst, ratio), true
		}
	}
	return worst, measured
}

// String is a target in words.
func (t target) String() string {
	if len(t.Against) == 0 {
		return t.What
	}
	return t.What + " against " + strings.Join(t.Against, ", ")
}
