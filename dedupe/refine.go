package dedupe

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"
)

// Refine splits every group by the ends of its files, or by their digests. It reads
// each inode once, and drops what has no equal. Small files have no ends to split by.
// The order of groups, and of the files in them, does not matter: so a finished report
// can be refined again. r itself stays as it is.
//
// A file that can't be read as it was found is in no group but a problem of the
// report. When ctx is cancelled the groups are those of the files read until
// then, and the report is not complete. A context that is cancelled when the last file
// has been read changes nothing.
func Refine(ctx context.Context, r Report, h Hasher, by Stage, opts Options) Report {
	groups := ordered(r.Groups)
	some := len(groups)
	if by == StageEnds {
		some, _ = slices.BinarySearchFunc(groups, smallMax, func(g Group, size int64) int { return cmp.Compare(size, g.Size) })
	}
	s := newStage(groups[:some], h, by, opts)
	await(ctx, func() { s.run(ctx) })
	s.mu.Lock()
	defer s.mu.Unlock()
	s.abandoned = true
	r.Stats.Work.add(s.work)
	r.Problems = append(r.Problems, s.problems...)
	r.Interrupted = r.Interrupted || s.unread() > 0
	r.Complete = r.Complete && !r.Interrupted && len(r.Problems) == 0
	r.Groups = append(s.split(), groups[some:]...)
	return r
}

// ordered returns the groups in the order in which a stage reads them: the largest
// files first, so that no worker is left alone with one at the end, and in each group
// the names of one inode together. Walk and Refine return them in this order.
func ordered(groups []Group) []Group {
	bySize := func(a, b Group) int { return cmp.Compare(b.Size, a.Size) }
	inOrder := func(g Group) bool { return slices.IsSortedFunc(g.Files, compareInodes) }
	if slices.IsSortedFunc(groups, bySize) && !slices.ContainsFunc(groups, func(g Group) bool { return !inOrder(g) }) {
		return groups
	}
	groups = slices.Clone(groups)
	slices.SortStableFunc(groups, bySize)
	for i := range groups {
		if g := &groups[i]; !inOrder(*g) {
			g.Files = slices.Clone(g.Files)
			slices.SortFunc(g.Files, func(a, b File) int {
				return cmp.Or(compareInodes(a, b), strings.Compare(a.Path, b.Path))
			})
		}
	}
	return groups
}

// stage is a refinement on its way.
type stage struct {
	groups     []Group
	hasher     Hasher
	opts       Options
	by         Stage
	batchLimit int // how many files of a size are done together, at most

	mu      sync.Mutex
	jobs    []job // in the order of groups
	links   [][]uint32
	wholes  []Digest
	next    int // the first job that was not taken
	waiting int // jobs that were not taken, and whose digest is not known
	workers int // that were started

	// Of the group that next is in, or was in: the first job of another, how many
	// batches it is done in, and the job after those that these begin with.
	groupEnd, batches, batchesEnd int

	work      Work
	problems  []*Problem
	failed    int  // jobs of which no name could be read
	abandoned bool // nobody waits for what is found now
}

// job is one inode to be hashed, under any of its names. There may be a million.
type job struct {
	group  uint32
	file   uint32 // of the group, the first name
	links  uint32 // where all names are in the stage's links, plus one; 0 if file is the only one
	whole  uint32 // where the digest of all of it is in the stage's wholes, plus one; 0 if it is not known, or what was asked for
	digest Digest // zero as long as it is not known; the ends, if these were asked for
}

func (j *job) done() bool { return j.digest != Digest{} }

func (j *job) ends() Ends { return Ends(binary.BigEndian.Uint64(j.digest[:])) }

func newStage(groups []Group, h Hasher, by Stage, opts Options) *stage {
	s := &stage{groups: groups, hasher: h, opts: opts, by: by, batchLimit: opts.batchLimit()}
	copies := 0
	for _, g := range groups {
		copies += int(g.Copies())
	}
	s.jobs = make([]job, 0, copies)
	todo := Event{Stage: s.by}
	for i := range groups {
		s.add(uint32(i), &todo)
	}
	s.waiting = int(todo.Files)
	opts.observe(todo)
	return s
}

// add makes a job of each inode of a group, and adds to todo what is not yet known. It
// relies on the names of an inode being together, see ordered.
func (s *stage) add(group uint32, todo *Event) {
	g := &s.groups[group]
	inode := -1
	for i := range g.Files {
		if i > 0 && g.Files[i].inode() == g.Files[i-1].inode() {
			s.link(&s.jobs[len(s.jobs)-1], uint32(i))
			continue
		}
		inode++
		j := job{group: group, file: uint32(i)}
		if g.wholes != nil {
			j.digest = g.wholes[inode]
		}
		if !j.done() {
			todo.Files++
			todo.Bytes += s.most(g.Files[i])
		}
		s.jobs = append(s.jobs, j)
	}
}

// most is how much of a file may be read: all of those with equal ends, unless they
// are large.
func (s *stage) most(f File) int64 {
	if s.by == StageEnds && f.Large() {
		return f.EndsLength()
	}
	return f.Size
}

func (s *stage) link(j *job, file uint32) {
	if j.links == 0 {
		s.links = append(s.links, []uint32{j.file})
		j.links = uint32(len(s.links))
	}
	s.links[j.links-1] = append(s.links[j.links-1], file)
}

// names returns the names of a job's inode, as indexes of the group's files.
func (s *stage) names(j job) []uint32 {
	if j.links > 0 {
		return s.links[j.links-1]
	}
	return []uint32{j.file}
}

// hash has jobs done.
func (s *stage) hash(ctx context.Context, claims []claim) {
	if len(claims) == 1 {
		t := claims[0]
		s.settle(ctx, t, s.one(ctx, t.job, s.names(t.job)))
		return
	}
	files := make([]File, len(claims))
	for i, t := range claims {
		files[i] = s.file(t.job, s.names(t.job))
	}
	var answers []Hashed
	if s.by == StageEnds {
		more := int64(len(files)) < s.groups[claims[0].group].Copies()
		answers = s.hasher.HashEnds(ctx, files, Others{Exist: more})
	} else {
		answers = s.hasher.HashInStep(ctx, files)
	}
	for i, a := range answers {
		s.settle(ctx, claims[i], a)
	}
}

// file is the inode of a job under the first of names.
func (s *stage) file(j job, names []uint32) File { return s.groups[j.group].Files[names[0]] }

func (s *stage) one(ctx context.Context, j job, names []uint32) (a Hashed) {
	f := s.file(j, names)
	if s.by == StageEnds {
		return s.hasher.HashEnds(ctx, []File{f}, Others{Exist: true})[0]
	}
	a.Digest, a.Work, a.Err = s.hasher.Hash(ctx, f)
	return a
}

// settle takes what became of a job under its first name, and tries its others
// until one can be read.
func (s *stage) settle(ctx context.Context, t claim, a Hashed) {
	j, names := t.job, s.names(t.job)
	var work Work
	var problems []*Problem
	for {
		work.add(a.Work)
		if a.Err == nil {
			break
		}
		if ctx.Err() != nil {
			problems = nil
			break
		}
		var p *Problem
		if !errors.As(a.Err, &p) {
			p = &Problem{Op: "hash", Path: s.file(j, names).Path, Err: a.Err}
		}
		problems = append(problems, p)
		if names = names[1:]; len(names) == 0 {
			break
		}
		a = s.one(ctx, j, names)
	}
	s.finish(t.at, j, names, a, work, problems)
}

// finish takes what became of a job, at last a. Names are those that could be read,
// or weren't needed.
func (s *stage) finish(i int, j job, names []uint32, a Hashed, work Work, problems []*Problem) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.abandoned {
		return
	}
	if j.links > 0 {
		s.links[j.links-1] = names
	}
	switch {
	case a.Err != nil && len(problems) > 0:
		s.failed++
	case a.Err != nil: // interrupted
	case s.by == StageWhole:
		j.digest = a.Digest
	default:
		binary.BigEndian.PutUint64(j.digest[:], uint64(a.Ends)) // which is in order
		if a.Digest != (Digest{}) {
			s.wholes = append(s.wholes, a.Digest)
			j.whole = uint32(len(s.wholes))
		}
	}
	s.jobs[i] = j
	s.work.add(work)
	s.problems = append(s.problems, problems...)
	s.opts.observe(Event{Stage: s.by, Work: work})
}

// unread counts the jobs that were neither done nor found to be a problem.
func (s *stage) unread() int {
	n := -s.failed
	for i := range s.jobs {
		if !s.jobs[i].done() {
			n++
		}
	}
	return n
}

// split makes a group of what inodes of a group share, each of them with another.
func (s *stage) split() (finer []Group) {
	keys := newMaybeDuplicated(len(s.jobs))
	for i := range s.jobs {
		keys.add(s.key(&s.jobs[i]))
	}
	jobs := slices.DeleteFunc(s.jobs, func(j job) bool { return !j.done() || !keys.twice(s.key(&j)) })
	slices.SortFunc(jobs, func(a, b job) int {
		if a.group != b.group {
			return cmp.Compare(a.group, b.group)
		}
		return cmp.Or(bytes.Compare(a.digest[:], b.digest[:]), cmp.Compare(a.file, b.file))
	})
	for len(jobs) > 0 {
		n := 1
		for n < len(jobs) && jobs[n].group == jobs[0].group && s.alike(&jobs[0], &jobs[n]) {
			n++
		}
		if n > 1 {
			finer = append(finer, s.group(jobs[:n]))
		}
		jobs = jobs[n:]
	}
	return finer
}

// alike reports whether two jobs of a group may be of equal files. The first comes
// before the other by its digest: of the same first bytes, if these are what is asked
// for, one whose last are not known comes before all others.
func (s *stage) alike(a, b *job) bool {
	if s.by == StageEnds {
		return a.ends().Like(b.ends())
	}
	return a.digest == b.digest
}

// key is the same for jobs of one group that are alike.
func (s *stage) key(j *job) uint64 {
	if s.by == StageEnds {
		return uint64(j.group) ^ uint64(j.ends().first())<<32
	}
	return uint64(j.group) ^ binary.LittleEndian.Uint64(j.digest[:])
}

// group makes a group of jobs that have one digest.
func (s *stage) group(jobs []job) Group {
	digest := jobs[0].digest
	slices.SortFunc(jobs, func(a, b job) int { return cmp.Compare(a.file, b.file) }) // back in the order of inodes
	files := s.groups[jobs[0].group].Files
	g := Group{Size: files[0].Size, Digest: digest, Files: make([]File, 0, len(jobs)), inodes: len(jobs)}
	if len(s.wholes) > 0 {
		g.wholes = make([]Digest, len(jobs))
	}
	for n, j := range jobs {
		if j.whole > 0 {
			g.wholes[n] = s.wholes[j.whole-1]
		}
		for _, i := range s.names(j) {
			g.Files = append(g.Files, files[i])
		}
	}
	return g
}

// hungAfter is how long a cancelled stage waits for its goroutines. One that is
// in a system call on a mount that hangs can't be interrupted, and is left.
const hungAfter = 250 * time.Millisecond

// await runs run beside the caller until it ends, or until ctx is cancelled and it
// hangs. It reports which.
func await(ctx context.Context, run func()) (finished bool) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		run()
	}()
	select {
	case <-ended:
		return true
	case <-ctx.Done():
	}
	select {
	case <-ended:
		return true
	case <-time.After(hungAfter):
		return false
	}
}
