package peers

import (
	"context"
	"maps"
	"slices"

	"github.com/dustin/go-humanize"
)

// The experiments that need no tree, and what one of them runs besides dedupe.
const (
	startID  = "start"
	growthID = "growth"
	nothing  = "an empty Go program"
)

// measureStart compares how long dedupe takes to say its version with how long
// a Go program takes that does nothing.
func measureStart(ctx context.Context, b *bench, r *result) error {
	const rounds = 50
	r.base = ours + " version"
	commands := []command{b.command(r.base, b.programs[0].path, "version"), b.command(nothing, b.empty)}
	return interleave(ctx, len(commands), rounds, b.Budget, func(i, round int) (sample, error) {
		s, err := b.launch(ctx, commands[i])
		s.Round = round
		r.Samples = append(r.Samples, s)
		return s, err
	})
}

// measureGrowth compares dedupe's time a file on trees of one shape, each ten
// times as large as the one before.
func measureGrowth(ctx context.Context, b *bench, scale float64, r *result) error {
	var commands []command
	var files []int
	for _, n := range []int{10_000, 100_000, 1_000_000} {
		shape := manyFiles(n, scale)
		s, err := shape.makeSet(ctx, b.Dir, b.Seed)
		if err != nil {
			return err
		}
		c := b.programs[0].command(job{root: s.dir, out: b.out("growth")})
		c.name = humanize.Comma(int64(shape.files)) + " files"
		commands, files = append(commands, c), append(files, shape.files)
		if _, err := b.launch(ctx, c); err != nil { // brings directories into memory
			return err
		}
	}
	err := interleave(ctx, len(commands), b.Runs, b.Budget, func(i, round int) (sample, error) {
		s, err := b.launch(ctx, commands[i])
		s.Round = round
		b.note(r, s)
		return s, err
	})
	if err != nil {
		return err
	}
	var each []float64
	for i, c := range commands {
		if m, ok := median(slices.Collect(maps.Values(r.values(c.name, wall)))); ok {
			each = append(each, m/float64(files[i]))
		}
	}
	if len(each) == len(commands) {
		r.figure(growth, slices.Max(each)/slices.Min(each))
	}
	return nil
}
