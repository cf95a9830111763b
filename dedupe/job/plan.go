package job

import (
	"context"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"efsdedupe/dedupe"
	"efsdedupe/dedupe/cost"
)

// unitTransitions is how many transitions Step Functions charges for a unit: one to start
// the unit's execution, and one for the only state in it. Source: AWS Step Functions
// Developer Guide, Transitions in Distributed Map state.
const unitTransitions = 2

// used is what a unit used, as it would on AWS.
func (r *result) used() cost.Fanout {
	f := cost.Fanout{Time: r.Took, Units: 1, Transitions: unitTransitions, Puts: int64(1 + len(r.Next) + len(r.Rest) + len(r.Runs)), Gets: 2 + r.Gets}
	f.Reads, f.DataBytes = r.Work.Opens, max(r.Work.BytesRead, leastMetered*r.Work.Opens)
	tree := cost.Tree{Opens: r.Work.Opens}
	if r.Walked != nil {
		tree.Files, tree.Directories = r.Out, r.Walked.Directories
	}
	f.Messages = tree.Cold()
	if r.Index != nil {
		f.ReadUnits, f.WriteUnits = millionths(r.Index.Units.Read), millionths(r.Index.Units.Write)
	}
	return f
}

const million = 1_000_000

func millionths(units float64) int64 { return int64(math.Round(units * million)) }

// most is the most that a unit is expected to use.
func (u *unit) most() cost.Fanout {
	f := cost.Fanout{Time: time.Minute, Units: 1, Transitions: unitTransitions, Puts: 2, Gets: 2 + u.Gets}
	switch u.Stage {
	case walking:
		f.Messages = cost.Messages{Count: u.Weight / weighedEntry, Bytes: u.Weight}
		f.ReadUnits = million / 2 * u.Items // eventually consistent
	case reading, finish:
		f.Reads, f.DataBytes = u.Weight/(leastMetered+openedMetered), u.Weight
	case remembering:
		f.ReadUnits, f.WriteUnits = million*u.Items, million*u.Items
	}
	return f
}

// Estimate is what a tree is taken to be before it is scanned.
type Estimate struct {
	Files, Directories int64
	Bytes              int64 // of the files
	Copies             int64 // files to read
	Large              int64 // those of which the ends are read first
	Again              int64 // those which are then opened a second time
	DataBytes          int64 // that EFS meters for reading
	Exact              bool  // the whole tree was listed, not a sample of it
}

// Reference is a tree that is like a billion files of 100 kB on average, in 162.5 million
// directories: of a thousand files 980 share their size, a third of these have ends, and
// 154 are opened a second time.
func Reference(files int64) Estimate {
	return Estimate{
		Files: files, Directories: files * 1625 / 10_000, Bytes: files * 100_000,
		Copies: files * 980 / 1000, Large: files * 980 / 3000, Again: files * 154 / 1000, DataBytes: files * 51_110,
	}
}

// Fanout returns what a job uses that scans such a tree, without the time.
func (e Estimate) Fanout() cost.Fanout {
	const filled = 0.85 // of the budget of a walk, on average
	l := DefaultLimits()
	walks := units(e.Files+e.Directories, int64(float64(l.Entries)*filled))
	first, second := units(e.Copies, l.Copies), units(e.Again, l.Copies)
	withEnds := int64(0)
	if e.Copies > 0 {
		withEnds = (first*e.Large + e.Copies - 1) / e.Copies
	}
	merges := min(e.Files/l.Merged+1, buckets)
	all := walks + first + second + 3*merges
	opens := e.Copies + e.Again
	return cost.Fanout{
		Reads: opens, DataBytes: e.DataBytes, Units: all, Transitions: unitTransitions * all,
		Messages: cost.Tree{Files: e.Files, Directories: e.Directories, Opens: opens}.Cold(),
		Puts:     2 * all, // results, and packs or what to merge
		Gets:     all + merges*(walks+withEnds+first+second),
	}
}

// units returns how many units of a size some work takes.
func units(n, each int64) int64 { return (n + each - 1) / max(each, 1) }

// Sample estimates a tree from a sample of about as many entries of directories. It lists
// and reads nothing else. Its errors are those of dedupe.Walk.
//
// Files that share their size with no other are not read. In a sample most of the others are
// missing, so there every file counts as read: the estimate is what a job uses at most.
func Sample(ctx context.Context, sel dedupe.Selection, entries int64, rnd *rand.Rand) (Estimate, error) {
	return Spec{Selection: sel}.Sample(ctx, dedupe.Engine{}, entries, rnd)
}

// Sample does the same for a job, with an engine whose Within is the open directory of the
// Spec, if it has one.
func (spec Spec) Sample(ctx context.Context, eng dedupe.Engine, entries int64, rnd *rand.Rand) (Estimate, error) {
	if len(spec.Folder) > 0 {
		within, err := spec.openFolder(ctx, eng)
		if err != nil {
			return Estimate{}, err
		}
		defer within.Close()
		eng.Within = within
	}
	eng.Mode, eng.Workers = dedupe.Goroutines, mostWorkers
	s := sampler{ctx: ctx, sel: spec.Selection, eng: eng, rnd: rnd, exact: true, sizes: make(map[int64]sampledSize), left: make(map[int]*stratum)}
	if err := s.walk(nil, max(entries, 1), 1); err != nil {
		return Estimate{}, err
	}
	for len(s.left) > 0 {
		depth := slices.Min(slices.Collect(maps.Keys(s.left)))
		of := s.left[depth]
		delete(s.left, depth)
		if len(of.frontiers) > mostSampled {
			s.exact = false
			rnd.Shuffle(len(of.frontiers), func(i, j int) { of.frontiers[i], of.frontiers[j] = of.frontiers[j], of.frontiers[i] })
			of.frontiers = of.frontiers[:mostSampled]
		}
		if err := s.walk(of.frontiers, max(entries/4, 1), of.all/float64(len(of.frontiers))); err != nil {
			return Estimate{}, err
		}
	}
	return s.estimate(), nil
}

// sampler walks a part of a tree. What it finds counts as often as there are such parts.
// Frontiers stand for others of their depth, because directories of a depth are most alike.
type sampler struct {
	ctx                context.Context
	sel                dedupe.Selection
	eng                dedupe.Engine
	rnd                *rand.Rand
	exact              bool
	files, directories float64
	sizes              map[int64]sampledSize
	left               map[int]*stratum // by depth
}

// stratum is frontiers of one depth, and how many they stand for.
type stratum struct {
	frontiers []dedupe.Frontier
	all       float64
}

// sampledSize counts files of a size: those found, and those estimated.
type sampledSize struct {
	found int64
	files float64
}

// mostSampled is how many of the frontiers that are left are walked in a sample.
const mostSampled = 16

func (s *sampler) walk(from []dedupe.Frontier, entries int64, times float64) error {
	eng := s.eng
	eng.Budget = entries
	v, left, err := dedupe.Walk(s.ctx, s.sel, from, eng)
	if err == nil && v.Interrupted {
		err = context.Cause(s.ctx)
	}
	if err != nil {
		return err
	}
	s.files += times * float64(v.Files)
	s.directories += times * float64(v.Directories)
	for f := range v.All() {
		n := s.sizes[f.Size]
		s.sizes[f.Size] = sampledSize{n.found + 1, n.files + times}
	}
	for _, f := range left {
		depth := len(strings.FieldsFunc(f.Dir, func(r rune) bool { return r == '/' }))
		if s.left[depth] == nil {
			s.left[depth] = new(stratum)
		}
		s.left[depth].frontiers = append(s.left[depth].frontiers, f)
		s.left[depth].all += times
	}
	return nil
}

func (s *sampler) estimate() Estimate {
	var bytes, copies, large, again, data float64
	for size, n := range s.sizes {
		bytes += n.files * float64(size)
		if s.exact && n.found < 2 {
			continue
		}
		f := dedupe.File{Size: size}
		copies += n.files
		data += n.files * float64(cost.MeteredRead(size))
		if f.EndsLength() < size {
			large += n.files
		}
		if f.Large() {
			again += n.files
			data += n.files * float64(f.EndsLength())
		}
	}
	return Estimate{
		Files: int64(s.files), Directories: int64(s.directories), Bytes: int64(bytes),
		Copies: int64(copies), Large: int64(large), Again: int64(again), DataBytes: int64(data), Exact: s.exact,
	}
}
