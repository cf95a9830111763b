package dedupe

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"iter"
	"os"
	"slices"
	"strings"
	"time"

	"efsdedupe/dedupe/limits"
	"efsdedupe/dedupe/mount"
	"efsdedupe/dedupe/pool"
)

// Scan finds the groups of identical files below the roots. It walks, reads the ends of
// files that share a size, then the whole of those that may still be equal. When ctx is
// cancelled, it soon returns what it knows by then. Complete is false unless everything
// was already read.
//
// Its error is about the selection, the engine or a root. Anything else that goes wrong
// is a problem in the report.
func Scan(ctx context.Context, sel Selection, eng Engine) (Report, error) {
	if err := cmp.Or(sel.Validate(), eng.Validate()); err != nil {
		return Report{}, err
	}
	eng.Budget = 0 // a report covers everything
	eng.Workers = eng.RunnableWorkers()
	eng.mounts = mount.Read()
	m := newMeter(&eng, !sel.OneFileSystem)
	found, _, err := Walk(ctx, sel, nil, eng)
	if err != nil {
		return Report{}, err
	}
	found.stored, found.whole = eng.Stored, sel.Unique || eng.Folder != nil
	eng.NFS, eng.remote = eng.NFS || found.NFS(), found.remote()
	room, fits := eng.roomForGroups(ctx, &found)
	if !fits {
		return Report{}, eng.outOfMemory(found.Files)
	}
	eng.copies = len(found.copies)
	stop := func() pool.Usage { return pool.Usage{} }
	if eng.Hasher == nil {
		eng.Hasher, stop = eng.start(len(found.copies))
	}
	if eng.Recall != nil && !eng.recall(ctx, found, m) {
		found.Interrupted, found.copies = true, []*Copy{} // what is left behind still changes them
	}
	var did tally
	groups, fits := eng.groups(ctx, &found, &did, room)
	if !fits {
		stop()
		return Report{}, eng.outOfMemory(found.Files)
	}
	r := Report{
		Mode: eng.Mode, Workers: eng.Workers, Roots: slices.Clone(sel.Roots), Filter: sel.Filter,
		Groups: groups, Problems: append(found.Problems, did.problems...), Skipped: found.Skipped,
		Interrupted: found.Interrupted || did.interrupted(),
		Stats:       Stats{Files: found.Files, Bytes: found.Bytes, Directories: found.Directories, Work: did.work},
	}
	if found.whole && !r.Interrupted {
		r.Unique = found.unique(r.Groups, r.Problems)
	}
	r.Complete = !r.Interrupted && len(r.Problems) == 0
	r.Reason = reasonOf(ctx, &r)
	m.measure(&r, &found, stop)
	r.sort()
	if eng.Within == nil {
		r.FileSystems = found.FileSystems(r.Roots)
	}
	return r, nil
}

// groups reads the copies of an inventory, and returns those that are equal. They fit
// unless they take more than room bytes.
func (e *Engine) groups(ctx context.Context, found *Inventory, did *tally, room int64) (groups []Group, fit bool) {
	if e.NFS {
		did.opened = make(map[string]bool)
	}
	copies := found.Copies()
	if !e.HashAll {
		large, small := found.split(smallMax) // small files have no ends
		ends := Read(ctx, did.expect(large), StageEnds, *e)
		alike, _ := sortSigned(did.count(ends), StageEnds, len(found.copies))
		copies = chain(flatten(only(found.wanted, Join(StageEnds, slices.Values(alike)))), small)
	}
	signed := did.count(Read(ctx, did.expect(copies), StageWhole, *e))
	equal, n := sortSigned(signed, StageWhole, len(found.copies))
	if e.NFS {
		equal = did.confirm(ctx, equal, found.copies, e)
	}
	if room < groupMemory*int64(n) {
		return nil, false
	}
	groups = make([]Group, 0, n)
	grouped := equal[:0] // overwrites only what Join has already taken
	for class := range Join(StageWhole, slices.Values(equal)) {
		first := len(grouped)
		grouped = slices.AppendSeq(grouped, class)
		groups = append(groups, groupOf(grouped[first:len(grouped):len(grouped)]))
	}
	return groups, true
}

// meter measures what a scan uses.
type meter struct {
	eng   *Engine
	start time.Time
	cpu   time.Duration // of this process, before
	wire  *mount.Meter
	below bool // the scan enters mounts below its roots
}

func newMeter(eng *Engine, below bool) *meter {
	return &meter{eng: eng, wire: eng.mounts.NewMeter(), start: time.Now(), cpu: limits.CPUTime(), below: below}
}

// measure adds to a report what the scan used. It stops the hasher.
func (m *meter) measure(r *Report, found *Inventory, stop func() pool.Usage) {
	r.Started, r.Stats.Elapsed = m.start, time.Since(m.start)
	r.Finished = r.Started.Add(r.Stats.Elapsed)
	r.Stats.PeakMemory = limits.PeakMemory(os.Getpid(), m.eng.Mode != Processes)
	used := stop()
	r.Stats.NFS = m.sent(found)
	r.Stats.CPU = used.CPU + limits.CPUTime() - m.cpu
	r.Stats.PeakMemory += used.PeakMemory
	r.Stats.WorkerProcesses = used.Started
	if m.eng.Alone != nil && !m.eng.Alone() {
		r.Stats.CPU, r.Stats.CPUUnknown = 0, true
	}
}

// sent returns what was sent so far to the NFS servers of what was found.
func (m *meter) sent(found *Inventory) *mount.Traffic {
	return m.wire.Traffic(found.places(), m.below)
}

// recall asks the index about the copies of an inventory. If they are on NFS and were not
// listed afresh, it also asks the server about those that the index knows. It reports
// whether ctx lasted until the end.
func (e *Engine) recall(ctx context.Context, v Inventory, m *meter) (finished bool) {
	if !e.Abandoned.await(ctx, one, func() { e.Recall(ctx, &v) }) {
		return false
	}
	return !e.NFS || m.sent(&v).Listed(v.Directories) || e.recheck(ctx, v.copies)
}

// reasonOf says why a report is incomplete.
func reasonOf(ctx context.Context, r *Report) string {
	switch {
	case r.Complete:
		return ""
	case r.Interrupted && errors.Is(context.Cause(ctx), context.DeadlineExceeded):
		return ReasonDeadline
	case r.Interrupted:
		return ReasonInterrupted
	}
	return ReasonProblems
}

// only yields the classes with a file at a path, or all if the path is empty.
func only(path string, classes iter.Seq[iter.Seq[*Copy]]) iter.Seq[iter.Seq[*Copy]] {
	if path == "" {
		return classes
	}
	return func(yield func(iter.Seq[*Copy]) bool) {
		for class := range classes {
			all := slices.Collect(class)
			has := func(c *Copy) bool { return c.hasPath(func(p string) bool { return p == path }) }
			if slices.ContainsFunc(all, has) && !yield(slices.Values(all)) {
				return
			}
		}
	}
}

// flatten yields the copies of all classes.
func flatten(classes iter.Seq[iter.Seq[*Copy]]) iter.Seq[*Copy] {
	return func(yield func(*Copy) bool) {
		for class := range classes {
			for c := range class {
				if !yield(c) {
					return
				}
			}
		}
	}
}

// chain yields the copies of a, then those of b.
func chain(a, b iter.Seq[*Copy]) iter.Seq[*Copy] {
	return func(yield func(*Copy) bool) {
		for _, copies := range []iter.Seq[*Copy]{a, b} {
			for c := range copies {
				if !yield(c) {
					return
				}
			}
		}
	}
}

// tally counts what goes into Read and what comes out.
type tally struct {
	work     Work
	problems []*Problem
	in, out  int // names
	stopped  bool
	opened   map[string]bool // directories where files were opened; nil unless some are on NFS
}

// expect counts the copies to be read.
func (t *tally) expect(copies iter.Seq[*Copy]) iter.Seq[*Copy] {
	return func(yield func(*Copy) bool) {
		for c := range copies {
			t.in += c.names()
			if !yield(c) {
				return
			}
		}
	}
}

// count counts what was signed.
func (t *tally) count(signed iter.Seq[Signed]) iter.Seq[Signed] {
	return func(yield func(Signed) bool) {
		for s := range signed {
			t.work.Add(s.Work)
			t.out++
			if t.opened != nil && s.Work.Opens > 0 {
				dir, _ := splitPath(s.Path)
				t.opened[dir] = true
			}
			switch {
			case s.Problem == nil:
				t.out += s.names - 1
			case errors.Is(s.Problem.Err, context.Canceled), errors.Is(s.Problem.Err, context.DeadlineExceeded):
				t.stopped = true
			default:
				t.problems = append(t.problems, s.Problem)
			}
			if !yield(s) {
				return
			}
		}
	}
}

// confirm returns the copies that were signed and are still as they were. It counts a
// problem for those of all copies that are not.
func (t *tally) confirm(ctx context.Context, signed, all []*Copy, eng *Engine) []*Copy {
	changed, finished := eng.Confirm(ctx, all, t.opened)
	t.stopped = t.stopped || !finished
	known := make(map[string]bool, len(t.problems))
	for _, p := range t.problems {
		known[p.Path] = true
	}
	for _, problems := range changed {
		for _, p := range problems {
			if !known[p.Path] {
				t.problems = append(t.problems, p)
			}
		}
	}
	return slices.DeleteFunc(signed, func(c *Copy) bool { return changed[c] != nil })
}

// interrupted reports whether some copy was neither read nor reported as a problem.
func (t *tally) interrupted() bool { return t.stopped || t.out < t.in }

// sort puts the report into its canonical order, which does not depend on the mode, the
// number of workers or the order of roots. It also counts the duplicates.
func (r *Report) sort() {
	slices.Sort(r.Roots)
	r.Roots = slices.Compact(r.Roots)
	for i := range r.Groups {
		g := &r.Groups[i]
		r.Stats.DuplicateFiles += int64(len(g.Copies)) - 1
		r.Stats.ReclaimableBytes += g.Reclaimable
	}
	r.Stats.DuplicateGroups = int64(len(r.Groups))
	slices.SortFunc(r.Groups, func(a, b Group) int {
		return cmp.Or(cmp.Compare(b.Reclaimable, a.Reclaimable), bytes.Compare(a.Digest[:], b.Digest[:]))
	})
	slices.SortFunc(r.Problems, func(a, b *Problem) int {
		return cmp.Or(strings.Compare(a.Path, b.Path), strings.Compare(a.Op, b.Op))
	})
	slices.SortFunc(r.Skipped, func(a, b Skipped) int { return strings.Compare(a.Path, b.Path) })
}
