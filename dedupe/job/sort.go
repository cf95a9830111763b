package job

import (
	"iter"
	"math"
	"math/bits"

	"efsdedupe/dedupe"
)

// total is a sum of file sizes. It may be more than 64 bits hold.
type total struct {
	High uint64 `json:"high,omitempty"`
	Low  uint64 `json:"low,omitempty"`
}

func (t *total) add(n total) {
	var carry uint64
	t.Low, carry = bits.Add64(t.Low, n.Low, 0)
	t.High += n.High + carry
}

// tooMuch reports whether it is more than a report can hold.
func (t total) tooMuch() bool { return t.High > 0 || t.Low > math.MaxInt64 }

// inputs lists what a unit merges.
type inputs struct {
	head
	Parts []input `json:"parts"`
}

// gets counts the requests that it takes to get all parts, at most.
func (in *inputs) gets() (n int64) {
	for _, p := range in.Parts {
		n += units(p.To-p.From, in.chunk(p))
	}
	return n
}

// size is how many bytes all parts have.
func (in *inputs) size() (n int64) {
	for _, p := range in.Parts {
		n += p.To - p.From
	}
	return n
}

// chunk returns how many bytes of a part to get at once.
func (in *inputs) chunk(p input) int64 { return min(chunkFor(len(in.Parts)), p.To-p.From) }

// input is some sections of a result. Its sum stands for the content of the result: if that
// has to be made again and differs, the units that merge it are others.
type input struct {
	Name string `json:"name"`
	From int64  `json:"from"`
	To   int64  `json:"to"`
	Sum  uint64 `json:"sum"`
}

// merged yields the copies that a unit merges, in the order of a shuffle.
func (w *worker) merged(u *unit, s shuffle, failed *error) iter.Seq[placed] {
	var in inputs
	if _, _, *failed = w.store.header(u.Inputs, &in); *failed != nil {
		return func(func(placed) bool) {}
	}
	take := func(t *taker) placed {
		c, flags := t.takeCopy()
		begun := uint64(0)
		if s.by == dedupe.StageWalk {
			begun = t.uint()
		}
		if t.bad {
			return placed{}
		}
		p := s.place(c)
		p.flags, p.begun = flags, int64(begun)
		return p
	}
	parts := make([]*blocks, len(in.Parts))
	sources := make([]source[placed], len(in.Parts))
	for i, p := range in.Parts {
		parts[i] = &blocks{store: w.store, name: p.Name, at: p.From, end: p.To, chunk: in.chunk(p)}
		sources[i] = records(parts[i], take)
	}
	*failed = prefetch(parts)
	return merge(sources, s.compare, failed)
}

// sortSizes drops the files that nothing can equal, because no other inode has their size,
// and packs the others.
func (w *worker) sortSizes(u unit) (*result, error) {
	r := new(result)
	var failed error
	var last *entry
	counted := func(yield func(*entry) bool) {
		for p := range w.merged(&u, bySize, &failed) {
			r.In++
			if u.Beyond > 0 && p.Size >= u.Beyond {
				r.Failed++
				r.problem(uncountable(p.entry))
				continue
			}
			if last == nil || last.Size != p.Size || !sameInode(&last.File, &p.File) {
				r.Bytes.add(total{0, uint64(p.Size)})
				r.Stored.Add(p.Size, p.Allocated, 1)
			}
			last = p.entry
			if !yield(p.entry) {
				return
			}
		}
	}
	p := &packer{w: w, u: &u, next: reading, r: r}
	for e := range sharing(counted) {
		if p.add(e); p.failed != nil {
			break
		}
	}
	return r, p.end(failed)
}

// sharing yields the inodes that share their size with another, each with all its names.
func sharing(files iter.Seq[*entry]) iter.Seq[*entry] {
	return func(yield func(*entry) bool) {
		var last *entry
		shared := false // with the one before
		end := func(alike bool) bool {
			wanted := !shared && !alike || yield(last)
			shared = alike
			return wanted
		}
		path := "" // the last one of last
		for e := range files {
			switch {
			case last != nil && last.Size == e.Size && sameInode(&last.File, &e.File):
				if e.Path != path {
					last.OtherPaths = append(last.OtherPaths, e.Path)
				}
				if last.Known == nil {
					last.Known = e.Known
				}
			case last != nil && !end(last.Size == e.Size):
				return
			default:
				last = e
			}
			path = e.Path
		}
		if last != nil {
			end(false)
		}
	}
}

// sameInode reports whether two files are names of one inode.
func sameInode(a, b *dedupe.File) bool {
	return a.Device == b.Device && a.Inode == b.Inode && a.ModTime == b.ModTime && a.ChangeTime == b.ChangeTime
}

// sortEnds drops the copies that nothing can equal, because no other copy has their ends,
// and packs the others.
func (w *worker) sortEnds(u unit) (*result, error) {
	r := new(result)
	var failed error
	counted := func(yield func(*entry) bool) {
		for p := range w.merged(&u, byEnds, &failed) {
			r.In += names(p.entry)
			if !yield(p.entry) {
				return
			}
		}
	}
	p := &packer{w: w, u: &u, next: finish, r: r}
	p.addClasses(classes(dedupe.StageEnds, counted))
	return r, p.end(failed)
}

// packer packs copies for units of the next stage. All names of a copy are in one pack, but
// the copies of a size may be in many.
type packer struct {
	w    *worker
	u    *unit // which packs
	next stage
	r    *result

	sections        *sections
	writer          writer
	copies          int64
	weight, pathLen int64
	failed          error
}

func (p *packer) addClasses(classes iter.Seq[iter.Seq[*entry]]) {
	for class := range classes {
		for c := range class {
			p.add(c)
			if p.failed != nil {
				return
			}
		}
	}
}

func (p *packer) add(c *entry) {
	if p.sections == nil {
		p.sections = new(sections)
		p.sections.begin()
	}
	p.sections.block = p.writer.appendCopy(p.sections.block, c, 0)
	if p.sections.ended() {
		p.writer = writer{}
	}
	p.copies++
	p.r.Out += names(c)
	p.weight += metered(c)
	p.pathLen += int64(len(c.Path))
	for _, path := range c.OtherPaths {
		p.pathLen += int64(len(path))
	}
	limits := p.w.spec.Limits
	if p.copies >= limits.Copies || p.weight >= limits.Bytes || p.pathLen >= mostPathBytes/2 {
		p.flush()
	}
}

// flush stores the pack, and makes a unit that reads it.
func (p *packer) flush() {
	if p.copies == 0 || p.failed != nil {
		return
	}
	name, err := p.w.putPart(p.u, "pack", p.sections)
	p.r.Next = append(p.r.Next, unit{Stage: p.next, Pack: name, Weight: p.weight, NFS: p.u.NFS, Gets: packGets(p.sections)})
	p.failed = err
	p.sections, p.writer, p.copies, p.weight, p.pathLen = nil, writer{}, 0, 0, 0
}

// end stores the last pack, and counts. Merging the copies may have failed.
func (p *packer) end(failed error) error {
	if failed != nil {
		return failed
	}
	p.flush()
	p.r.Dropped = p.r.In - p.r.Out - p.r.Failed
	return p.failed
}

// What EFS meters for a file: the least for reading from it, and what opening and closing
// it costs.
const (
	leastMetered  = 32 << 10
	openedMetered = 8 << 10
)

// metered is the most that EFS meters for reading a copy.
func metered(c *entry) int64 {
	if c.Known != nil && c.Known.Digest != (dedupe.Digest{}) {
		return 0
	}
	return max(c.Size, leastMetered) + openedMetered
}
