package job

import (
	"context"
	"errors"
	"iter"
	"os"
	"slices"
	"strings"
	"time"

	"efsdedupe/dedupe"
	"efsdedupe/dedupe/cost"
	"efsdedupe/dedupe/index"
	"efsdedupe/dedupe/limits"
	"efsdedupe/dedupe/report"
)

// Answer returns the report of a job whose units have all run, and what of it does not fit
// in memory. After the parts were read, failed says why they are not whole; nil if they are.
func (j *Job) Answer() (r dedupe.Report, parts report.Parts, failed *error) {
	sel := j.spec.Selection
	r = dedupe.Report{
		Mode: dedupe.Goroutines, Workers: j.spec.Workers, Filter: sel.Filter,
		Roots: slices.Compact(slices.Sorted(slices.Values(sel.Roots))), Started: j.begun, Finished: time.Now(),
	}
	s := &r.Stats
	s.Elapsed, s.WorkerProcesses = r.Finished.Sub(r.Started), j.processes
	s.CPU, s.PeakMemory = limits.CPUTime()-j.cpu, limits.PeakMemory(os.Getpid(), true)
	var bytes total
	var problems int64
	for o := range j.outcomes() {
		s.CPU += o.CPU
		s.PeakMemory = max(s.PeakMemory, o.PeakMemory)
		s.Work.Add(o.Work)
		s.DuplicateGroups += o.Found.Groups
		s.DuplicateFiles += o.Found.Duplicates
		s.ReclaimableBytes += o.Found.Reclaimable
		bytes.add(o.Bytes)
		problems += o.Problems
		o.Index.describe(&r)
		if o.Walked != nil {
			s.Files += o.Out
			s.Directories += o.Walked.Directories
			j.locate(&r, o.Walked)
		}
	}
	s.Bytes = int64(bytes.Low)
	if r.Complete = problems == 0 && j.addsUp(); !r.Complete {
		r.Reason = dedupe.ReasonProblems
	}
	failed = new(error)
	return r, report.Parts{Groups: j.groups(failed), Problems: j.problems(failed), Skipped: j.skipped(failed)}, failed
}

// Bill prices calls that each do what the job did and otherwise use what u says, as the
// report of a scan with the rules of the options does. What an index in a table charged is on
// it. Its error is about the rules.
func (j *Job) Bill(book *cost.Book, u cost.Usage, r dedupe.Report, parts report.Parts, o report.Options) (*cost.Projection, error) {
	took, reads, units, err := j.charges(r, parts, o)
	if err != nil {
		return nil, err
	}
	u = cost.Measured(u, took, reads)
	if units != (index.Units{}) {
		u = cost.Charged(u, units.Read, units.Write)
	}
	p := cost.Project(book, u)
	p.Warn(took)
	return &p, nil
}

// charges returns the figures of the report that a bill depends on, as those of a scan with
// the rules of the options, and what the index charged. Its error is about the rules.
func (j *Job) charges(r dedupe.Report, parts report.Parts, o report.Options) (took cost.Scan, reads cost.Reads, units index.Units, err error) {
	took = report.TookParts(r, parts.Groups)
	for out := range j.outcomes() {
		reads.Merge(out.Reads)
		took.Stored.Merge(out.Stored)
		took.Reclaimable.Merge(out.Found.Freed)
		if out.Index != nil {
			units.Add(out.Index.Units)
		}
	}
	return took, reads, units, report.Choose(&took, r, parts.Groups, o)
}

// locate sets the file systems of the roots, which are in another order in the report.
func (j *Job) locate(r *dedupe.Report, w *walked) {
	if r.FileSystems != nil || len(j.spec.Within) > 0 { // a scan in a directory does not name them either
		return
	}
	for _, root := range r.Roots {
		if i := slices.Index(j.spec.Selection.Roots, root); i < len(w.FileSystems) {
			r.FileSystems = append(r.FileSystems, w.FileSystems[i])
		}
	}
}

// addsUp reports whether every name that was found got to the end of its way: nothing was
// lost between the units.
func (j *Job) addsUp() bool {
	in := func(r *result) int64 { return r.In }
	out := func(r *result) int64 { return r.Out }
	for o := range j.outcomes() {
		if o.In != o.Out+o.Dropped+o.Failed {
			return false
		}
	}
	return j.count(in, sizing) == j.count(out, walking) &&
		j.count(in, reading) == j.count(out, sizing) &&
		j.count(in, ending) == j.count(endsOnly, reading) &&
		j.count(in, finish) == j.count(out, ending) &&
		j.count(in, grouping) == j.count(out, reading, finish)-j.count(endsOnly, reading)
}

// groups yields all groups in the order of the report.
func (j *Job) groups(failed *error) iter.Seq[report.Group] {
	var runs []string
	for o := range j.outcomes(grouping) {
		runs = append(runs, o.Runs...)
	}
	d := newDevices()
	all := mergeParts(j.store, runs, (*taker).takeGroup, compareGroups, failed)
	return func(yield func(report.Group) bool) {
		for g := range all {
			g.Files, g.Names = d.files(g.all(j.store, failed)), g.files
			if !yield(g.Group) {
				return
			}
		}
	}
}

// mergeParts merges parts.
func mergeParts[T any](store objects, names []string, take func(*taker) T, compare func(a, b T) int, failed *error) iter.Seq[T] {
	return func(yield func(T) bool) {
		sources := make([]source[T], len(names))
		err := atOnce(context.Background(), len(names), func(i int) error {
			b, err := store.open(names[i], chunkFor(len(names)))
			if err != nil {
				return err
			}
			sources[i] = records(b, take)
			return b.begin()
		})
		if err != nil {
			*failed = err
			return
		}
		merge(sources, compare, failed)(yield)
	}
}

// all yields the files of a group, by path.
func (g *group) all(store objects, failed *error) iter.Seq[groupFile] {
	if len(g.objects) > 0 {
		return mergeParts(store, g.objects, takeGroupFile, compareFiles, failed)
	}
	return func(yield func(groupFile) bool) {
		for i, f := range g.inline {
			if !yield(groupFile{f, g.links[i]}) {
				return
			}
		}
	}
}

func takeGroupFile(t *taker) groupFile {
	c, flags := t.takeCopy()
	return groupFile{c, flags&isHardLink != 0}
}

// files yields files with the devices of this machine.
func (d *devices) files(all iter.Seq[groupFile]) iter.Seq2[dedupe.File, bool] {
	return func(yield func(dedupe.File, bool) bool) {
		for f := range all {
			d.toLocal(&f.File)
			if !yield(f.File, f.hardLink) {
				return
			}
		}
	}
}

// lines yields the lines in a section of all results, in the order of compare.
func (j *Job) lines(section int, compare func(a, b line) int, failed *error) iter.Seq[line] {
	return func(yield func(line) bool) {
		var in []*blocks
		for o := range j.outcomes() {
			if ends := o.ends(); ends[section] < ends[section+1] {
				in = append(in, &blocks{store: j.store, name: resultOf(o.unit), at: o.at + ends[section], end: o.at + ends[section+1]})
			}
		}
		sources := make([]source[line], len(in))
		for i, b := range in {
			b.chunk = min(chunkFor(len(in)), b.end-b.at)
			sources[i] = records(b, (*taker).takeLine)
		}
		if err := prefetch(in); err != nil {
			*failed = err
			return
		}
		merge(sources, compare, failed)(yield)
	}
}

func (j *Job) problems(failed *error) iter.Seq[*dedupe.Problem] {
	return func(yield func(*dedupe.Problem) bool) {
		var last line
		for l := range j.lines(problemSection, line.compare, failed) {
			if l == last { // several units met it
				continue
			}
			last = l
			if !yield(&dedupe.Problem{Path: l.path, Op: l.what, Err: errors.New(l.why)}) {
				return
			}
		}
	}
}

func (j *Job) skipped(failed *error) iter.Seq[dedupe.Skipped] {
	return func(yield func(dedupe.Skipped) bool) {
		for l := range j.lines(skippedSection, func(a, b line) int { return strings.Compare(a.path, b.path) }, failed) {
			if !yield(dedupe.Skipped{Path: l.path, Rule: l.what}) {
				return
			}
		}
	}
}

// verify reads everything that the report is made of, so that damage shows while the units
// which made it can still run again.
func (j *Job) verify() (err error) {
	for range j.lines(problemSection, line.compare, &err) {
	}
	for range j.lines(skippedSection, line.compare, &err) {
	}
	for g := range j.groups(&err) {
		for range g.Files {
		}
	}
	return err
}
