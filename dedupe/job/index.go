package job

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"efsdedupe/dedupe"
	"efsdedupe/dedupe/index"
)

// Index names an index of digests that a job uses. Every process opens it for itself.
type Index struct {
	Name       string `json:"name"` // as OpenIndex takes it
	FileSystem string `json:"file_system,omitempty"`
	Table      bool   `json:"table,omitempty"` // in DynamoDB, where its items cost money
}

// items returns n if the index is in a table, and otherwise 0.
func (x *Index) items(n int64) int64 {
	if x != nil && x.Table {
		return n
	}
	return 0
}

// OpenIndex opens an index.
type OpenIndex func(Index) (*index.Index, error)

// indexed is what a unit did with the index.
type indexed struct {
	Used  bool        `json:"used,omitempty"`
	Why   string      `json:"why,omitempty"` // it was not used for everything
	Units index.Units `json:"units,omitzero"`
}

// describe adds it to a report. The index was used if any unit used it.
func (x *indexed) describe(r *dedupe.Report) {
	if x == nil {
		return
	}
	if r.Index == nil {
		r.Index = new(dedupe.IndexUse)
	}
	r.Index.Used = r.Index.Used || x.Used
	r.Index.Why = cmp.Or(r.Index.Why, x.Why)
}

// add adds what the unit did with the index for other files.
func (x *indexed) add(y indexed) {
	x.Used = x.Used || y.Used
	x.Why = cmp.Or(x.Why, y.Why)
	x.Units.Add(y.Units)
}

// openIndex opens the index of the job, if it has one.
func (w *worker) openIndex() (err error) {
	if w.spec.Index == nil || w.index != nil {
		return nil
	}
	if w.open == nil {
		return errors.New("the job has an index, and this program can't open any: leave the index out")
	}
	if w.index, err = w.open(*w.spec.Index); err != nil {
		return fmt.Errorf("can't open the index: %w", err)
	}
	return nil
}

// close lets others use the index.
func (w *worker) close() {
	if w.index != nil {
		w.index.Store.Close()
	}
}

// ignored lists the files that the walk leaves out.
func (w *worker) ignored() []os.FileInfo {
	if w.index == nil {
		return w.own
	}
	return slices.Concat(w.own, w.index.Store.Files())
}

// recall looks up all files that a unit found, in their order. It stores nothing: other units
// may have files in the same directories.
func (w *worker) recall(ctx context.Context, r *result, found []*dedupe.Copy, files []placed) {
	if w.index == nil {
		return
	}
	s := w.index.Lookup(ctx, w.spec.Selection.Roots, w.within, slices.Values(found))
	r.Index = usedBy(s, s.Err())
	for i, c := range found {
		if ends, digest := c.Known(); ends != 0 || digest != (dedupe.Digest{}) {
			files[i].Known = &known{ends, digest}
			r.Index.Used = true
		}
	}
}

// usedBy returns how a unit used the index, and why not for everything.
func usedBy(s *index.Scan, err error) *indexed {
	var r dedupe.Report
	x := new(indexed)
	if err != nil {
		x.Why = strings.Join(strings.Fields(err.Error()), " ")
	}
	s.Describe(&r, "")
	x.Used, x.Units = r.Index.Used, s.Units()
	return x
}

// noteTimes notes when reading each file begins, for the index.
func (p *pass) noteTimes() {
	if p.w.index == nil {
		return
	}
	p.begun = make(map[string]time.Time)
	p.eng.Now = p.w.index.Now
	p.eng.Remember = func(_ context.Context, begun time.Time, signed []dedupe.Signed) {
		p.mu.Lock()
		defer p.mu.Unlock()
		for i := range signed {
			p.begun[signed[i].Path] = begun
		}
	}
}

// notRead is when reading began of a file that was not read.
const notRead = 1

// whenBegun returns when reading a file began, in nanoseconds since 1970, or notRead.
func (p *pass) whenBegun(path string) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if begun, read := p.begun[path]; read {
		return begun.UnixNano()
	}
	return notRead
}

// recheck asks the server about the copies that the index knows, on NFS, and forgets what is
// known of those that changed. So they are read, which finds the change.
func (p *pass) recheck(ctx context.Context, all []*entry) error {
	of := make(map[*dedupe.Copy]*entry)
	in := make(map[string]bool)
	var known []*dedupe.Copy
	for _, e := range all {
		if e.Known == nil {
			continue
		}
		c := e.copy()
		known, of[c] = append(known, c), e
		for f := range c.Files() {
			in[withoutSlash(directoryOf(f.Path))] = true
		}
	}
	if len(known) == 0 {
		return nil
	}
	changed, finished := p.eng.Confirm(ctx, known, in)
	if !finished {
		return errors.New("interrupted")
	}
	for c := range changed {
		of[c].Known = nil
	}
	return nil
}

// mostRemembered is how many files are remembered at once.
const mostRemembered = 50_000

// remember stores what reading files revealed. No other unit has files in the same
// directories, so none of it is lost.
func (w *worker) remember(ctx context.Context, u unit) (*result, error) {
	r := &result{Index: new(indexed)}
	var failed error
	var files []placed
	last := ""
	for p := range w.merged(&u, byDirectory, &failed) {
		r.In++
		dir := directoryOf(p.Path)
		if dir != last && len(files) >= mostRemembered || len(files) >= 2*mostRemembered {
			w.rememberAll(ctx, r, files)
			files = files[:0]
		}
		if last = dir; p.begun > 0 {
			files = append(files, p)
		}
	}
	if failed != nil {
		return nil, failed
	}
	w.rememberAll(ctx, r, files)
	r.Dropped = r.In
	return r, ctx.Err()
}

func (w *worker) rememberAll(ctx context.Context, r *result, files []placed) {
	if len(files) == 0 {
		return
	}
	copies := make([]*dedupe.Copy, len(files))
	for i := range files {
		w.devices.toLocal(&files[i].File)
		copies[i] = dedupe.CopyOf(files[i].File)
	}
	s := w.index.Lookup(ctx, w.spec.Selection.Roots, w.within, slices.Values(copies))
	for _, f := range files {
		if f.begun > notRead && f.Known != nil {
			s.Remember(ctx, time.Unix(0, f.begun), []dedupe.Signed{{File: f.File, Ends: f.Known.Ends, Digest: f.Known.Digest}})
		}
	}
	r.Index.add(*usedBy(s, s.Flush(context.WithoutCancel(ctx))))
}
