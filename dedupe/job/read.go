package job

import (
	"context"
	"errors"
	"io"
	"iter"
	"slices"
	"sync"
	"time"

	"efsdedupe/dedupe"
)

// read reads the copies of a pack: small ones whole, and the others by their ends, unless
// that was done before. What it does not get to becomes another unit.
func (w *worker) read(ctx context.Context, u unit) (*result, error) {
	all, err := unpack(w.store, u.Pack, takeCopy)
	if err != nil {
		return nil, err
	}
	r := new(result)
	p := &pass{w: w, r: r, eng: w.engine(), of: make(map[string]int, len(all)), left: make([]int64, len(all))}
	p.eng.NFS = u.NFS
	p.noteTimes()
	for i, c := range all {
		r.In += names(c)
		w.devices.toLocal(&c.File)
		p.left[i] = names(c)
		p.of[c.Path] = i
		for _, path := range c.OtherPaths {
			p.of[path] = i
		}
	}
	if u.NFS && u.Stage == reading {
		if err := p.recheck(ctx, all); err != nil {
			return nil, err
		}
	}
	p.isRecalled = func(e *entry) bool { return u.Stage == reading || e.Large() }
	whole := all
	if u.Stage == reading && !w.spec.HashAll {
		var large []*entry
		whole = nil
		for _, c := range all {
			if c.EndsLength() < c.Size {
				large = append(large, c)
			} else {
				whole = append(whole, c)
			}
		}
		err = p.read(ctx, large, dedupe.StageEnds, &p.ends)
	}
	if err == nil {
		err = p.read(ctx, whole, dedupe.StageWhole, &p.digests)
	}
	if err != nil {
		return nil, err
	}
	return r, p.end(&u, all)
}

// unpack returns the records of a pack.
func unpack[T any](store objects, name string, take func(*taker) T) (all []T, err error) {
	b, err := store.open(name, packChunk)
	if err != nil {
		return nil, err
	}
	for next := records(b, take); ; {
		v, err := next()
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
}

// packChunk is how many bytes of a pack to get at once.
const packChunk = 1 << 20

// packGets counts the requests that it takes to get a pack which was just stored, besides its
// header.
func packGets(s *sections) int64 { return units(int64(len(s.data)), packChunk) }

// pass is one reading of a pack.
type pass struct {
	w    *worker
	r    *result
	eng  dedupe.Engine
	of   map[string]int // index of the copy with a name
	left []int64        // names of each copy that were not signed yet
	late bool

	isRecalled func(*entry) bool // what is known of it comes from the index

	mu    sync.Mutex
	begun map[string]time.Time // when reading a file began, if there is an index

	ends, digests, looked []placed
}

// read reads copies until the deadline is near, and adds those that are signed to out.
func (p *pass) read(ctx context.Context, entries []*entry, depth dedupe.Stage, out *[]placed) error {
	if len(entries) == 0 || p.late {
		return nil
	}
	s := byDigest
	if depth == dedupe.StageEnds {
		s = byEnds
	}
	reading, stop := context.WithCancel(ctx)
	defer stop()
	n := 0
	for signed := range dedupe.Read(reading, p.copies(entries), depth, p.eng) {
		if n++; n%1000 == 0 && p.w.store.has(cancelObject) {
			return errCancelled
		}
		if !p.late && p.w.late(ctx) {
			p.late = true
			stop()
		}
		p.r.Work.Add(signed.Work)
		p.r.Reads.Add(signed.Work.BytesRead, signed.Work.BytesSpared)
		if signed.Problem != nil && isEnd(signed.Problem.Err) {
			continue
		}
		if signed.Problem != nil {
			p.left[p.of[signed.Path]]--
			p.r.Failed++
			p.r.problem(signed.Problem)
			continue
		}
		e := entryOf(signed.Copy)
		p.left[p.of[signed.Path]] -= names(e)
		p.r.Out += names(e)
		p.w.devices.toCommon(&e.File)
		*out = append(*out, s.place(e))
		if p.eng.NFS || p.w.index != nil {
			p.look(e, signed)
		}
	}
	return ctx.Err()
}

// copies yields the copies for the engine.
func (p *pass) copies(entries []*entry) iter.Seq[*dedupe.Copy] {
	return func(yield func(*dedupe.Copy) bool) {
		for _, e := range entries {
			c := e.copy()
			if p.isRecalled(e) {
				c = e.recalled()
			}
			if !yield(c) {
				return
			}
		}
	}
}

// look adds the names of a copy to those that are looked at again, on NFS. The first one,
// which may have been opened, is also for the index: begun says when reading it began, in
// nanoseconds since 1970, or is 1 if the file was not read.
func (p *pass) look(e *entry, signed dedupe.Signed) {
	all := append([]string{e.Path}, e.OtherPaths...)
	for i, path := range all {
		c := *e
		c.Path, c.OtherPaths = path, slices.Concat(all[:i], all[i+1:])
		name := byDirectory.place(&c)
		if i == 0 {
			name.flags = flagIf(wasOpened, signed.Work.Opens > 0)
			name.begun = p.whenBegun(signed.Path)
		} else if !p.eng.NFS {
			break
		}
		p.looked = append(p.looked, name)
	}
}

// isEnd reports whether a file was not read only because the context ended.
func isEnd(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// end puts what was signed into the result, and what was not into another unit.
func (p *pass) end(u *unit, all []*entry) error {
	p.r.sections = new(sections)
	byDigest.write(p.r.sections, p.digests)
	byEnds.write(p.r.sections, p.ends)
	byDirectory.write(p.r.sections, p.looked)
	for _, c := range p.ends {
		p.r.Ends += names(c.entry)
	}
	rest := &packer{w: p.w, u: u, next: u.Stage, r: new(result)}
	for i, c := range all {
		if p.left[i] > 0 {
			p.w.devices.toCommon(&c.File)
			rest.add(c)
		}
	}
	err := rest.end(nil)
	p.r.Rest, p.r.In = rest.r.Next, p.r.In-rest.r.Out
	return err
}
