package job

import (
	"cmp"
	"context"
	"errors"
	"iter"

	"efsdedupe/dedupe"
)

// mostConfirmed is how many names are looked at again at once.
const mostConfirmed = 20_000

// confirm looks again at the files in directories where files were opened, because a change
// that another NFS client made may show only now. What changed is a problem, and is marked
// for the units that make the groups.
func (w *worker) confirm(ctx context.Context, u unit) (*result, error) {
	c := confirmation{w: w, r: new(result), opened: make(map[string]bool)}
	var failed error
	last := ""
	for p := range w.merged(&u, byDirectory, &failed) {
		c.r.In++
		dir := directoryOf(p.Path)
		if dir != last && len(c.names) >= mostConfirmed || len(c.names) >= 2*mostConfirmed {
			if err := c.look(ctx, dir == last && c.opened[last]); err != nil {
				return nil, err
			}
		}
		last = dir
		c.names = append(c.names, p)
		if p.flags&wasOpened != 0 {
			c.opened[dir] = true
		}
	}
	if failed != nil {
		return nil, failed
	}
	c.r.Dropped = c.r.In
	if err := c.look(ctx, false); err != nil {
		return nil, err
	}
	c.r.sections = new(sections)
	byDigest.write(c.r.sections, c.changed)
	return c.r, nil
}

// confirmation is what a unit confirms, and what it found changed.
type confirmation struct {
	w       *worker
	r       *result
	names   []placed
	opened  map[string]bool // directories, with a slash at the end
	changed []placed
}

// look looks at the names that were collected. If more names of the last directory follow,
// it remembers that a file was opened there.
func (c *confirmation) look(ctx context.Context, more bool) error {
	eng := c.w.engine()
	copies := make([]*dedupe.Copy, 0, len(c.names))
	of := make(map[*dedupe.Copy]placed, len(c.names))
	opened := make(map[string]bool, len(c.opened))
	last := ""
	for _, p := range c.names {
		if last = directoryOf(p.Path); !c.opened[last] {
			continue
		}
		f := p.File
		c.w.devices.toLocal(&f)
		one := dedupe.CopyOf(f)
		copies = append(copies, one)
		of[one] = p
		opened[withoutSlash(last)] = true
	}
	changed, finished := eng.Confirm(ctx, copies, opened)
	if !finished {
		return cmp.Or(context.Cause(ctx), errors.New("interrupted"))
	}
	for one, problems := range changed {
		c.change(of[one], problems[0])
	}
	c.names = c.names[:0]
	clear(c.opened)
	c.opened[last] = more
	return nil
}

// withoutSlash returns a directory as the engine has it in its paths.
func withoutSlash(dir string) string {
	switch dir {
	case "":
		return "."
	case "/":
		return "/"
	}
	return dir[:len(dir)-1]
}

// change records that a copy changed: all its names are problems.
func (c *confirmation) change(p placed, why *dedupe.Problem) {
	for _, path := range append([]string{p.Path}, p.OtherPaths...) {
		c.r.problem(&dedupe.Problem{Op: why.Op, Path: path, Err: why.Err})
	}
	if p.Known != nil && p.Known.Digest != (dedupe.Digest{}) {
		mark := byDigest.place(p.entry)
		mark.flags = isChanged
		c.changed = append(c.changed, mark)
	}
}

// unchanged yields the copies that are not marked as changed, by any record of their inode,
// and counts their names.
func unchanged(all iter.Seq[placed], in *int64) iter.Seq[*entry] {
	return func(yield func(*entry) bool) {
		var same []*entry // records of one inode
		marked := false
		flush := func() bool {
			for _, c := range same {
				if !marked && !yield(c) {
					return false
				}
			}
			same, marked = same[:0], false
			return true
		}
		for p := range all {
			if len(same) > 0 && (same[0].Known.Digest != p.Known.Digest || !sameInode(&same[0].File, &p.File)) && !flush() {
				return
			}
			same = append(same, p.entry)
			if p.flags&isChanged != 0 {
				marked = true
			} else {
				*in += names(p.entry)
			}
		}
		flush()
	}
}
