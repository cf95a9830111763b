// Package job scans a tree of any size as units of work that any processes can run, on one
// machine or on many. The report is the same as that of [dedupe.Scan].
//
// A unit is a description of work in a store. It is named by its content, and its result is
// one object named after it, which never changes. So a unit may be lost, repeated or run
// twice at once: the first result counts. Units run in rounds. From the results of a round
// follow the units of the next one; nothing else is remembered.
//
//	walk    directories → files, by size; what is left becomes another round
//	sizes   files of the same sizes meet → packs of copies that share their size
//	read    packs → small copies by digest, others by their ends
//	ends    copies with the same ends meet → packs of copies that may be equal
//	whole   packs → copies by digest
//	confirm on NFS, directories with files that were read → what changed meanwhile
//	groups  copies with the same digest meet → groups, in the order of the report
//	index   copies that were read, by directory → the index, if there is one
//
// A unit is small: a part of a large directory, or of the files of one size. Where copies
// meet, their results are sorted and merged as streams, so no unit holds more than its
// share, however large the tree.
//
//	job.go        a job and its rounds
//	steps.go      steps of a job that a state machine drives
//	run.go        running the rounds: limits, damage, lost units
//	local.go      units in processes of this machine
//	answer.go     results → the report
//	unit.go       a unit and its result
//	walk.go       units that walk
//	sort.go       units that sort copies by size or ends
//	read.go       units that read
//	confirm.go    units that look for changes once more, on NFS
//	group.go      units that make groups
//	shuffle.go    which copies meet where
//	merge.go      sorted streams → one
//	entry.go      a copy in a record, and in the engine
//	record.go     records
//	object.go     sections, blocks and checksums
//	store.go      objects in a folder
//	devices.go    device numbers that are the same on every machine
//	plan.go       what a job will take and cost
//	maxcost.go    what it may cost
//	confined.go   units that cannot leave a directory
//	index.go      units that remember, and what walks recall
//	countable.go  files that are too large to be counted
package job

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/zeebo/blake3"
	"golang.org/x/sys/unix"

	"efsdedupe/dedupe"
	"efsdedupe/dedupe/mount"
)

// Spec says what a job scans, and into which units it is divided. Two jobs with the same
// Spec are the same job.
type Spec struct {
	Selection dedupe.Selection `json:"selection"`
	Dir       []byte           `json:"dir"` // the working directory, which relative roots are below
	Workers   int              `json:"workers"`
	HashAll   bool             `json:"hash_all,omitempty"`
	Within    []byte           `json:"within,omitempty"` // if not empty, a directory that no unit can leave, and that Folder is in
	Index     *Index           `json:"index,omitempty"`  // nil: none
	Folder    []byte           `json:"folder,omitempty"` // which relative roots are below; if empty, Within itself
	Limits    Limits           `json:"limits"`
}

// Limits are the most that a unit takes.
type Limits struct {
	Entries int64 `json:"entries"` // of directories, roughly
	Copies  int64 `json:"copies"`  // to read
	Bytes   int64 `json:"bytes"`   // to read, as EFS meters them
	Merged  int64 `json:"merged"`  // names to merge, roughly
}

// DefaultLimits returns limits with which a unit takes a minute or two on EFS, and at most
// 256 MiB.
func DefaultLimits() Limits {
	return Limits{Entries: 1 << 16, Copies: 32_000, Bytes: 4 << 30, Merged: 250_000}
}

// Job is a job in a store, on which no other process works.
type Job struct {
	Resumed bool // it was begun before

	spec  Spec
	store objects
	dir   string // of the store
	lock  *os.File
	begun time.Time

	maxCost *MaxCost // of steps; nil: any
	again   int      // the Run of a Helper

	nfsAlways bool // in tests

	cpu       time.Duration // that this process had used before
	rounds    []round
	processes int64 // started
}

// beginning is the object that says what a job does, and when it began.
type beginning struct {
	head
	Spec    Spec      `json:"spec"`
	Started time.Time `json:"started"`
}

const (
	beginObject = "begin"
	lockFile    = ".lock"
)

// Open opens the job of a Spec in a folder, or begins it. Other jobs may have their places in
// the same folder. An error says which root contains the folder, or that another process
// works on the job.
func Open(dir string, spec Spec) (*Job, error) {
	if err := spec.Selection.Validate(); err != nil {
		return nil, err
	}
	b, err := json.Marshal(spec)
	if err != nil {
		return nil, err
	}
	sum := blake3.Sum256(append([]byte(magic), b...))
	j := &Job{spec: spec, dir: filepath.Join(dir, "job-"+hex.EncodeToString(sum[:8]))}
	j.store = objects{folder{j.dir}}
	if err := j.apart(dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(j.dir, 0o777); err != nil {
		return nil, fmt.Errorf("can't create the store: %w; choose another --store", err)
	}
	if err := j.acquire(); err != nil {
		return nil, err
	}
	j.Resumed = j.store.has(beginObject)
	if err := j.begin(); err != nil {
		j.lock.Close()
		return nil, err
	}
	return j, nil
}

// begin reads when the job began, or begins it now.
func (j *Job) begin() error {
	for range 2 {
		var b beginning
		_, _, err := j.store.header(beginObject, &b)
		j.begun = b.Started
		if damaged := (*damage)(nil); !errors.As(err, &damaged) {
			return err
		}
		b = beginning{Spec: j.spec, Started: time.Now()}
		o, err := object(&b, &b.head, nil)
		if err == nil {
			err = j.store.Remove(beginObject)
		}
		if err == nil {
			err = j.store.Put(beginObject, o)
		}
		if err != nil {
			return err
		}
	}
	return errors.New("the store does not keep what is written to it: choose another --store")
}

// apart returns an error if a root contains the store: the walk would find its objects.
func (j *Job) apart(dir string) error {
	roots := j.spec.Selection.Roots
	if len(j.spec.Within) > 0 {
		roots = []string{string(j.spec.Within)}
	}
	for _, root := range roots {
		if inside, err := Inside(dir, root); err != nil {
			return err
		} else if inside {
			return fmt.Errorf("the store %q is inside the root %q, where the scan would find it: choose another --store", dir, root)
		}
	}
	return nil
}

// Inside reports whether a directory, which may not exist yet, is in the tree below a root.
func Inside(dir, root string) (bool, error) {
	real, err := realPath(dir)
	if err != nil {
		return false, err
	}
	r, err := mount.RealPath(root)
	return err == nil && mount.IsBelow(real, r), nil
}

// realPath returns the absolute path without links of a directory that may not exist yet.
func realPath(dir string) (string, error) {
	real, err := mount.RealPath(dir)
	if !errors.Is(err, fs.ErrNotExist) {
		return real, err
	}
	parent := filepath.Dir(filepath.Clean(dir))
	if parent == dir {
		return "", err
	}
	if parent, err = realPath(parent); err != nil {
		return "", err
	}
	return filepath.Join(parent, filepath.Base(filepath.Clean(dir))), nil
}

// ErrBusy is in the error of Open if another process works on the job.
var ErrBusy = errors.New("another process works on this job")

// lockPatience is how long to wait for the lock of a process that was just killed: until a
// worker process that it was starting has begun, that has the lock, too.
const lockPatience = time.Second

// acquire makes sure that no other process works on the job.
func (j *Job) acquire() error {
	lock, err := os.OpenFile(filepath.Join(j.dir, lockFile), os.O_CREATE|os.O_RDWR|unix.O_CLOEXEC, 0o666)
	if err != nil {
		return err
	}
	for start := time.Now(); err == nil || time.Since(start) < lockPatience; time.Sleep(lockPatience / 100) {
		if err = unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err == nil {
			break
		}
	}
	if err != nil {
		lock.Close()
		return fmt.Errorf("%w in %q: wait for it, or choose another --store", ErrBusy, j.dir)
	}
	j.lock = lock
	return nil
}

// Cancel stops the units of the job, wherever they run. Run then returns an error.
func (j *Job) Cancel() error {
	b, err := object(new(head), new(head), nil)
	if err != nil {
		return err
	}
	return j.store.Put(cancelObject, b)
}

// Close lets other processes work on the job.
func (j *Job) Close() error { return j.lock.Close() }

// Remove removes everything that the store has of the job.
func (j *Job) Remove() error { return j.store.RemoveAll() }

// round is a set of units that do not need each other, and their results.
type round struct {
	stage   stage
	units   []unit
	results []outcome
}

// outcome is the result of a unit.
type outcome struct {
	*result
	unit string // its name
	at   int64  // where its sections begin
	sum  uint64 // stands for its content
}

// next returns the round that follows from those before it, or nil after the last.
func (j *Job) next() (*round, error) {
	if len(j.rounds) == 0 {
		return &round{stage: walking, units: []unit{j.spec.walk()}}, nil
	}
	last := &j.rounds[len(j.rounds)-1]
	if rest := last.collect(func(r *result) []unit { return r.Rest }); len(rest) > 0 {
		return &round{stage: last.stage, units: rest}, nil
	}
	next := last.collect(func(r *result) []unit { return r.Next })
	for i := range next {
		next[i].NFS = j.nfs()
	}
	switch last.stage {
	case walking:
		return j.mergers(sizing, bySize, func(r *result) int64 { return r.Out }, walking)
	case sizing:
		var bytes total
		for o := range j.outcomes(sizing) {
			bytes.add(o.Bytes)
		}
		if bytes.tooMuch() {
			return j.sortCountable()
		}
		if len(next) > 0 {
			return &round{stage: reading, units: next}, nil
		}
		return nil, nil
	case reading:
		if j.count(endsOnly, reading) > 0 {
			return j.mergers(ending, byEnds, endsOnly, reading)
		}
	case ending:
		if len(next) > 0 {
			return &round{stage: finish, units: next}, nil
		}
	case confirming:
		return j.mergers(grouping, byDigest, signed, reading, finish, confirming)
	case grouping:
		if j.spec.Index == nil {
			return nil, nil
		}
		return j.mergers(remembering, byDirectory, func(r *result) int64 { return r.Out }, reading, finish)
	case remembering:
		return nil, nil
	}
	if j.nfs() {
		return j.mergers(confirming, byDirectory, signed, reading, finish)
	}
	return j.mergers(grouping, byDigest, signed, reading, finish)
}

func endsOnly(r *result) int64 { return r.Ends }
func signed(r *result) int64   { return r.Out - r.Ends }

// collect returns the units that the results of a round ask for.
func (r *round) collect(of func(*result) []unit) (units []unit) {
	for _, o := range r.results {
		units = append(units, of(o.result)...)
	}
	return units
}

// outcomes yields the outcomes of stages, or of all stages if none is named.
func (j *Job) outcomes(of ...stage) iter.Seq[outcome] {
	return func(yield func(outcome) bool) {
		for _, r := range j.rounds {
			if len(of) > 0 && !slices.Contains(of, r.stage) {
				continue
			}
			for _, o := range r.results {
				if !yield(o) {
					return
				}
			}
		}
	}
}

// count sums up a figure of the results of stages.
func (j *Job) count(figure func(*result) int64, of ...stage) (n int64) {
	for o := range j.outcomes(of...) {
		n += figure(o.result)
	}
	return n
}

// nfs reports whether some files may be on NFS.
func (j *Job) nfs() bool {
	if j.nfsAlways {
		return true
	}
	for o := range j.outcomes(walking) {
		if o.Walked != nil && o.Walked.NFS {
			return true
		}
	}
	return false
}

// mergers returns a round whose units share the buckets of the results of stages. Names
// counts what a result has to merge.
func (j *Job) mergers(to stage, s shuffle, names func(*result) int64, of ...stage) (*round, error) {
	n := min(int(j.count(names, of...)/j.spec.Limits.Merged)+1, buckets)
	r := &round{stage: to}
	const mostLists = 32 // in memory
	for first := 0; first < n; first += mostLists {
		lists := make([]inputs, min(mostLists, n-first))
		for o := range j.outcomes(of...) {
			ends, name := o.ends(), resultOf(o.unit)
			for i := range lists {
				from, to := ends[s.first+(first+i)*buckets/n], ends[s.first+(first+i+1)*buckets/n]
				if from < to {
					lists[i].Parts = append(lists[i].Parts, input{name, o.at + from, o.at + to, o.sum})
				}
			}
		}
		units := make([]unit, len(lists))
		if err := atOnce(context.Background(), len(lists), func(i int) (err error) {
			units[i], err = j.merger(to, &lists[i])
			return err
		}); err != nil {
			return nil, err
		}
		r.units = append(r.units, units...)
	}
	return r, nil
}

// merger stores what a unit merges, and returns the unit.
func (j *Job) merger(s stage, list *inputs) (unit, error) {
	b, err := object(list, &list.head, nil)
	if err != nil {
		return unit{}, err
	}
	sum := blake3.Sum256(b)
	name := "inputs-" + hex.EncodeToString(sum[:16])
	u := unit{Stage: s, Inputs: name, Gets: list.gets()}
	if s == remembering {
		u.Items = j.spec.Index.items(list.size() / leastRecord)
	}
	return u, j.store.Put(name, b)
}
