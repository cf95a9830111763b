// Package peers compares dedupe with the duplicate finders that people would use
// instead: the same trees, whole processes, in turn, and the same answers.
//
// Each program runs once a round, in an order that rotates, so that a disturbance
// of the machine hits all of them. A ratio is the median, over the rounds, of
// dedupe's figure divided by the other program's in the same round.
//
//	peers.go     what to compare, in order
//	programs.go  the programs: how each is asked for the same answer
//	parse.go     what they print, as groups of names
//	groups.go    their groups against the true ones
//	trees.go     the trees, made once and then reused
//	shapes.go    the trees that package fixtures does not make
//	rounds.go    programs in turn, and what each used
//	measure.go   a tree from its making to its result
//	extra.go     starting, growing, the process mode
//	result.go    medians and ratios
//	targets.go   what dedupe is held to
//	text.go      results for a terminal, for README.md, for machines
//	launch/      the small parent of each program that is measured
//	read/        the reference: a program that only opens and reads files
//	empty/       a program that does nothing
package peers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Options say what to compare, and how. See [Defaults].
type Options struct {
	Trees    string        // which ones, such as "1,3,7a,start"; empty for all
	Runs     int           // of each program on each tree
	Seed     uint64        // other seeds make files of other contents
	Scale    float64       // times as many files in each tree
	Budget   time.Duration // a program that has used so much time on a tree runs no more, but once
	Limit    time.Duration // a program that runs so long is killed
	Dir      string        // for the trees, and everything else that is written
	Dedupe   string        // the program to compare
	Markdown string        // a file for the table of README.md; empty for none
	JSON     string        // a file for all samples; empty for none
}

// Defaults compares build/dedupe with all programs on all trees.
func Defaults() Options {
	return Options{Runs: 10, Seed: 1, Scale: 1, Budget: time.Minute, Limit: 10 * time.Minute, Dir: "build/_peers", Dedupe: "build/dedupe"}
}

func (o *Options) validate() error {
	switch {
	case o.Runs < 1:
		return fmt.Errorf("--runs %d: choose at least 1", o.Runs)
	case !(0 < o.Scale && o.Scale <= 10):
		return fmt.Errorf("--scale %v: choose more than 0, at most 10", o.Scale)
	}
	return nil
}

// Run compares the programs, writes tables to out and how far it is to log. It must
// run inside this module, some of whose programs it builds. Its error names what
// could not be compared, and where dedupe was wrong; the rest has its results.
func Run(ctx context.Context, o Options, out, log io.Writer) error {
	if err := o.validate(); err != nil {
		return err
	}
	selected, err := choose(comparisons(o.Scale), o.Trees)
	if err != nil {
		return err
	}
	b, err := newBench(ctx, o, log)
	if err != nil {
		return err
	}
	return b.run(ctx, selected, out)
}

// comparison is something that is measured and has one result.
type comparison struct {
	id    string
	title string
	run   func(ctx context.Context, b *bench, r *result) error
}

// comparisons are all of them, in order.
func comparisons(scale float64) []comparison {
	var all []comparison
	for _, t := range trees(scale) {
		all = append(all, comparison{t.id, t.title, func(ctx context.Context, b *bench, r *result) error {
			return b.measure(ctx, t, r)
		}})
	}
	return append(all,
		comparison{startID, "starting and ending, against a Go program that does nothing", measureStart},
		comparison{growthID, "time a file, at more and more files of the shape of tree 5", func(ctx context.Context, b *bench, r *result) error {
			return measureGrowth(ctx, b, scale, r)
		}})
}

// choose returns the experiments that a list of ids names: 7 stands for 7a and
// 7b, and nothing for all.
func choose(all []comparison, list string) ([]comparison, error) {
	if list == "" {
		return all, nil
	}
	var chosen []comparison
	for id := range strings.SplitSeq(list, ",") {
		matches := func(c comparison) bool { return c.id == id || strings.TrimRight(c.id, "ab") == id }
		if !slices.ContainsFunc(all, matches) {
			var ids []string
			for _, c := range all {
				ids = append(ids, c.id)
			}
			return nil, fmt.Errorf("there is no tree %q; choose from %s", id, strings.Join(ids, ", "))
		}
		for _, c := range all {
			if matches(c) {
				chosen = append(chosen, c)
			}
		}
	}
	return chosen, nil
}

// run makes the comparisons and writes what came of them. One that can't be made
// here is left out, and named in the error at the end.
func (b *bench) run(ctx context.Context, selected []comparison, out io.Writer) error {
	report := document{
		Machine:  machine(),
		Floor:    b.floor,
		Settings: settings{b.Runs, b.Seed, b.Scale, b.Budget, b.Limit},
		Programs: b.programs,
		Missing:  b.missing,
	}
	if err := report.writeHead(out); err != nil {
		return err
	}
	var failed []error
	for i, c := range selected {
		fmt.Fprintf(b.log, "\n%d of %d: %s: %s\n", i+1, len(selected), c.id, c.title)
		r := &result{ID: c.id, Title: c.title}
		err := c.run(ctx, b, r)
		if ctx.Err() != nil {
			return errors.New("interrupted")
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", c.id, err))
			fmt.Fprintf(b.log, "left out: %v\n", err)
			continue
		}
		r.summarise()
		report.Results = append(report.Results, r)
		if err := r.writeText(out); err != nil {
			return err
		}
		failed = append(failed, r.wrong())
	}
	report.Verdicts = judgeAll(targets(), report.Results)
	return errors.Join(append(failed, report.writeTargets(out), report.save(b.Options))...)
}
