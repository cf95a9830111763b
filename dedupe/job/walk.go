package job

import (
	"cmp"
	"context"
	"slices"

	"efsdedupe/dedupe"
)

// engine returns how a unit scans.
func (w *worker) engine() dedupe.Engine {
	return dedupe.Engine{
		Mode: dedupe.Goroutines, Workers: min(w.spec.Workers, mostWorkers), HashAll: w.spec.HashAll,
		Memory: unitMemory, Ignore: w.ignored(), Within: w.within,
	}
}

const (
	// unitMemory is what a unit is made to fit in, with room to spare.
	unitMemory = 256 << 20

	// mostWorkers is how many files a unit has in flight at most. They and their buffers
	// fit in unitMemory.
	mostWorkers = 48

	// mostPathBytes ends a unit early where paths are long.
	mostPathBytes = 32 << 20
)

// walk lists directories up to the budget of a unit. The files go to whoever sorts their
// sizes; the directories that are left become further units.
func (w *worker) walk(ctx context.Context, u unit) (*result, error) {
	r := &result{Walked: new(walked)}
	budget := w.spec.Limits.Entries
	var copies []placed
	var lookups []*dedupe.Copy // the same, if there is an index
	var paths int64
	var left []dedupe.Frontier
	if u.Pack != "" {
		var err error
		if left, err = unpack(w.store, u.Pack, (*taker).takeFrontier); err != nil {
			return nil, err
		}
	}
	for first := true; first || len(left) > 0; first = false {
		found := r.Out + r.Walked.Directories + int64(len(r.problems)+len(r.skipped))
		if !first && (found >= budget || paths >= mostPathBytes || w.late(ctx) || slices.ContainsFunc(left, isPart)) {
			break
		}
		if w.store.has(cancelObject) {
			return nil, errCancelled
		}
		eng := w.engine()
		eng.Budget = max(budget-found, budget/4, 1)
		v, more, err := dedupe.Walk(ctx, w.spec.Selection, left, eng)
		if err == nil && v.Interrupted {
			err = cmp.Or(context.Cause(ctx), context.Canceled)
		}
		if err != nil {
			return nil, err
		}
		left = more
		for f := range v.All() {
			paths += int64(len(f.Path))
			if w.index != nil {
				lookups = append(lookups, dedupe.CopyOf(f))
			}
			w.devices.toCommon(&f)
			copies = append(copies, bySize.place(&entry{File: f}))
		}
		r.Out += v.Files
		r.Walked.Directories += v.Directories
		r.Walked.FileSystems, r.Walked.NFS = v.FileSystems(w.spec.Selection.Roots), v.NFS()
		for _, p := range v.Problems {
			r.problem(p)
		}
		r.skip(v.Skipped)
	}
	r.In = r.Out
	w.recall(ctx, r, lookups, copies)
	r.sections = new(sections)
	bySize.write(r.sections, copies)
	var err error
	r.Rest, err = w.walks(&u, left, r)
	return r, err
}

// walks divides frontiers into units, so that each may use up its budget if its directories
// are like those that a unit found.
func (w *worker) walks(u *unit, left []dedupe.Frontier, like *result) (units []unit, err error) {
	const mostBytes = 1 << 20 // of names in a unit
	entries := (like.Out + like.Walked.Directories) / max(like.Walked.Directories, 1)
	most := int(max(w.spec.Limits.Entries/max(entries, 1)/2, 1))
	slices.SortFunc(left, func(a, b dedupe.Frontier) int {
		return cmp.Or(cmp.Compare(a.Root, b.Root), cmp.Compare(a.Dir, b.Dir), cmp.Compare(a.Of, b.Of), cmp.Compare(a.Part, b.Part))
	})
	for len(left) > 0 && err == nil {
		s := new(sections)
		s.begin()
		var to writer
		n, bytes := 0, 0
		for ; n < min(most, len(left)) && bytes < mostBytes && (n == 0 || !isPart(left[n]) && !isPart(left[n-1])); n++ {
			bytes += len(left[n].Root) + len(left[n].Dir)
			s.block = to.appendFrontier(s.block, left[n])
			if s.ended() {
				to = writer{}
			}
		}
		left = left[n:]
		next := w.spec.walk()
		next.Pack, err = w.putPart(u, "pack", s)
		next.Gets = packGets(s)
		units = append(units, next)
	}
	return units, err
}

// walk returns a unit that walks from the roots, up to its budget.
func (spec Spec) walk() unit {
	return unit{Stage: walking, Weight: spec.Limits.Entries * weighedEntry, Items: spec.Index.items(spec.Limits.Entries)}
}

// isPart reports whether a frontier is a part of a large directory. Such a part is alone in a
// unit: to find out that it does not fit in what is left of a budget takes a list of the whole
// directory.
func isPart(f dedupe.Frontier) bool { return f.Of > 1 }

// weighedEntry is the most that EFS meters to list an entry, on average.
const weighedEntry = 256
