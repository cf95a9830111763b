package job

import (
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/zeebo/blake3"

	"efsdedupe/dedupe"
	"efsdedupe/dedupe/cost"
	"efsdedupe/dedupe/index"
	"efsdedupe/dedupe/limits"
	"efsdedupe/dedupe/mount"
)

// unit is a piece of work for one process. It says what to do and never who does it. Its
// name is a digest of its content, so equal work has one name and one result.
type unit struct {
	Stage  stage  `json:"stage"`
	Pack   string `json:"pack,omitempty"`   // object with the copies to read, or the frontiers to walk from; none means the roots
	Inputs string `json:"inputs,omitempty"` // object that lists what to merge
	Weight int64  `json:"weight,omitempty"` // bytes that EFS meters at most
	NFS    bool   `json:"nfs,omitempty"`    // the files may be on NFS
	Gets   int64  `json:"gets,omitempty"`   // to get what Pack or Inputs hold, at most
	Items  int64  `json:"items,omitempty"`  // of an index in a table, to read and perhaps to write, as expected at most
	Beyond int64  `json:"beyond,omitempty"` // files of this size or more bring the sum of all above what a report can hold
}

// stage is a step of a job. Its units run in rounds: the units of a round do not need each
// other.
type stage string

const (
	walking     stage = "walk"    // directories → files by size
	sizing      stage = "sizes"   // files by size → packs of copies that share their size
	reading     stage = "read"    // packs → copies by digest if they are small, else by ends
	ending      stage = "ends"    // copies by ends → packs of copies that may be equal
	finish      stage = "whole"   // packs → copies by digest
	confirming  stage = "confirm" // directories with files that were opened, on NFS → what changed meanwhile
	grouping    stage = "groups"  // copies by digest → groups
	remembering stage = "index"   // copies that were read, by directory → the index
)

// verb says what a stage does with files.
func (s stage) verb() string {
	switch s {
	case sizing, ending:
		return "sort"
	case grouping:
		return "group"
	}
	return string(s)
}

func (u *unit) name() string {
	b, _ := json.Marshal(u) // cannot fail: numbers and texts
	sum := blake3.Sum256(b)
	return hex.EncodeToString(sum[:16])
}

func resultOf(name string) string { return name + "-result" }

// result is the header of what a unit found. In counts of names, In is what the unit was
// given, and Out, Dropped and Failed are what became of these. The rest is in Rest.
type result struct {
	head
	In      int64 `json:"in,omitempty"`
	Out     int64 `json:"out,omitempty"`
	Dropped int64 `json:"dropped,omitempty"` // nothing can equal them
	Failed  int64 `json:"failed,omitempty"`  // they have problems

	Rest []unit `json:"rest,omitempty"` // of the same stage: what the unit did not get to
	Next []unit `json:"next,omitempty"` // of the next stage
	Ends int64  `json:"ends,omitempty"` // copies that are signed by their ends only

	Walked *walked `json:"walked,omitempty"` // by a unit that walks
	Bytes  total   `json:"bytes,omitzero"`   // each inode once; by a unit that sorts sizes

	Runs  []string `json:"runs,omitempty"` // objects with groups, each in the order of the report
	Found found    `json:"found,omitzero"` // by a unit that groups

	Stored cost.Objects `json:"stored,omitzero"` // each inode once; by a unit that sorts sizes
	Reads  cost.Reads   `json:"reads,omitzero"`
	Gets   int64        `json:"gets,omitempty"`  // as in the unit
	Index  *indexed     `json:"index,omitempty"` // if there is one

	Problems   int64         `json:"problems,omitempty"`
	Work       dedupe.Work   `json:"work,omitzero"`
	CPU        time.Duration `json:"cpu,omitempty"`
	Took       time.Duration `json:"took,omitempty"`
	PeakMemory int64         `json:"peak_memory,omitempty"`

	sections *sections
	problems []line
	skipped  []line
}

// walked is what a walk tells besides files.
type walked struct {
	Directories int64              `json:"directories"`
	FileSystems []mount.FileSystem `json:"file_systems"` // of the roots
	NFS         bool               `json:"nfs"`
}

// found counts groups.
type found struct {
	Groups      int64 `json:"groups,omitempty"`
	Duplicates  int64 `json:"duplicates,omitempty"`
	Reclaimable int64 `json:"reclaimable,omitempty"`

	Freed cost.Objects `json:"freed,omitzero"` // copies that free storage when deleted
}

// worker runs units of one job.
type worker struct {
	store   objects
	spec    Spec
	own     []os.FileInfo // files that the walk leaves out
	devices *devices
	within  *os.File                   // see Spec.Within; nil until the first unit
	open    OpenIndex                  // nil: there is no index
	index   *index.Index               // nil until the first unit, or if there is none
	late    func(context.Context) bool // is the deadline of the unit near?
}

func newWorker(store objects, spec Spec, own []identity) *worker {
	w := &worker{store: store, spec: spec, devices: newDevices(), late: nearDeadline}
	for _, id := range own {
		w.own = append(w.own, id.info())
	}
	return w
}

// margin is how long before its deadline a unit stops to write what it has.
const margin = 30 * time.Second

func nearDeadline(ctx context.Context) bool {
	deadline, limited := ctx.Deadline()
	return limited && time.Until(deadline) < margin
}

// errCancelled is the error of a unit, and of a job, that was cancelled.
var errCancelled = errors.New("the job was cancelled")

// cancelObject cancels a job.
const cancelObject = "cancel"

// run runs a unit and stores its result, unless another attempt did that before.
func (w *worker) run(ctx context.Context, u unit) error {
	if w.store.has(cancelObject) {
		return errCancelled
	}
	if err := cmp.Or(w.confine(ctx), w.openIndex()); err != nil {
		return err
	}
	started, cpu := time.Now(), limits.CPUTime()
	var r *result
	var err error
	switch u.Stage {
	case walking:
		r, err = w.walk(ctx, u)
	case sizing:
		r, err = w.sortSizes(u)
	case reading, finish:
		r, err = w.read(ctx, u)
	case ending:
		r, err = w.sortEnds(u)
	case confirming:
		r, err = w.confirm(ctx, u)
	case grouping:
		r, err = w.group(u)
	case remembering:
		r, err = w.remember(ctx, u)
	default:
		err = errors.New("unknown stage " + string(u.Stage))
	}
	if err != nil {
		return err
	}
	r.Gets = u.Gets
	r.Took, r.CPU, r.PeakMemory = time.Since(started), limits.CPUTime()-cpu, limits.PeakMemory(os.Getpid(), true)
	return w.store.putResult(u.name(), r)
}

// putResult stores a result. Its lines are the last sections.
func (o objects) putResult(name string, r *result) error {
	s := r.sections
	if s == nil {
		s = new(sections)
	}
	for len(s.starts) < problemSection {
		s.begin()
	}
	writeLines(s, r.problems)
	writeLines(s, r.skipped)
	r.Problems = int64(len(r.problems))
	b, err := object(r, &r.head, s)
	if err != nil {
		return err
	}
	return o.Put(resultOf(name), b)
}

// putPart stores an object that a result refers to. Its name begins with that of the unit
// which made it, and ends with a digest of its content.
func (w *worker) putPart(u *unit, kind string, s *sections) (name string, err error) {
	var h head
	b, err := object(&h, &h, s)
	if err != nil {
		return "", err
	}
	sum := blake3.Sum256(b)
	name = u.name() + "-" + kind + "-" + hex.EncodeToString(sum[:8])
	return name, w.store.Put(name, b)
}

// open returns the blocks of all sections of a part.
func (o objects) open(name string, chunk int64) (*blocks, error) {
	var h head
	at, _, err := o.header(name, &h)
	if err != nil {
		return nil, err
	}
	return &blocks{store: o, name: name, at: at, end: at + h.Length, chunk: chunk}, nil
}

// identity is a file of this machine.
type identity struct {
	Device uint64 `json:"device"`
	Inode  uint64 `json:"inode"`
}

// fileInfo is an os.FileInfo that only knows an identity.
type fileInfo struct {
	os.FileInfo
	st syscall.Stat_t
}

func (f *fileInfo) Sys() any { return &f.st }

func (id identity) info() os.FileInfo {
	f := new(fileInfo)
	f.st.Ino = id.Inode
	setDevice(&f.st.Dev, id.Device)
	return f
}

// setDevice sets a device number, whose type differs between systems.
func setDevice[T int32 | uint64](to *T, device uint64) { *to = T(device) }

func identityOf(info os.FileInfo) (id identity, ok bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if ok {
		id = identity{uint64(st.Dev), st.Ino}
	}
	return id, ok
}

func (r *result) problem(p *dedupe.Problem) {
	r.problems = append(r.problems, line{p.Path, p.Op, p.Err.Error()})
}

func (r *result) skip(all []dedupe.Skipped) {
	r.skipped = slices.Grow(r.skipped, len(all))
	for _, s := range all {
		r.skipped = append(r.skipped, line{s.Path, s.Rule, ""})
	}
}
