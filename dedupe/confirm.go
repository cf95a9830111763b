package dedupe

import (
	"context"
	"io"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Confirm looks once more at the copies in the directories where files were opened, as
// the server sees them now. It returns the copies that changed, with a problem for each
// name, and reports whether ctx lasted until the end. Only NFS needs it: there a change
// that another machine makes may show late.
func (e *Engine) Confirm(ctx context.Context, copies []*Copy, opened map[string]bool) (changed map[*Copy][]*Problem, finished bool) {
	c := confirmer{
		ctx:      ctx,
		at:       confinedDir{within: e.Within},
		crew:     newCrew(e.Workers),
		problems: make(map[name]*Problem),
	}
	in := make(map[string][]name)
	for _, copy := range copies {
		for path := range copy.paths() {
			if dir, _ := splitPath(path); opened[dir] {
				in[dir] = append(in[dir], name{copy, path})
			}
		}
	}
	finished = e.Abandoned.await(ctx, c.crew.calls, func() {
		for dir, names := range in {
			c.crew.spawn(func() { c.directory(dir, names) })
		}
		c.crew.wait()
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	c.abandoned = true
	return c.changed(), finished && ctx.Err() == nil
}

// recheck asks the server for the attributes of each known copy. It forgets what is known
// of those that changed, so the scan reads them. It reports whether ctx lasted until the
// end.
func (e *Engine) recheck(ctx context.Context, copies []*Copy) (finished bool) {
	at := confinedDir{within: e.Within}
	crew := newCrew(e.Workers)
	var mu sync.Mutex
	var changed []*Copy
	finished = e.Abandoned.await(ctx, crew.calls, func() {
		for _, c := range copies {
			if c.known == nil || ctx.Err() != nil {
				continue
			}
			crew.spawn(func() {
				if at.stillHas(c.File(), askServer) != nil {
					mu.Lock()
					defer mu.Unlock()
					changed = append(changed, c)
				}
			})
		}
		crew.wait()
	})
	mu.Lock()
	defer mu.Unlock()
	for _, c := range changed {
		c.known = nil
	}
	return finished && ctx.Err() == nil
}

// name is one of the names of a copy.
type name struct {
	*Copy
	path string
}

// base returns the name in its directory.
func (n name) base() string {
	_, base := splitPath(n.path)
	return base
}

type confirmer struct {
	ctx  context.Context
	at   confinedDir
	crew *crew

	mu        sync.Mutex
	problems  map[name]*Problem
	abandoned bool // the caller stopped waiting; drop further results
}

// namesPerCall is how many names of a directory one goroutine looks at.
const namesPerCall = 256

// directory lists a directory, so that the client has the attributes of all its files
// from the server, and then looks at the names.
func (c *confirmer) directory(dir string, names []name) {
	if c.ctx.Err() != nil {
		return
	}
	fd, err := c.at.openListed(dir)
	if err != nil {
		c.failed(names, err)
		return
	}
	listed := make(map[string]bool, len(names)) // by name in the directory
	for _, n := range names {
		listed[n.base()] = false
	}
	var entries listing
	entries.open(fd, true)
	defer entries.close()
	for {
		entry, _, err := entries.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			c.failed(names, err)
			return
		}
		if _, ours := listed[string(entry)]; ours {
			listed[string(entry)] = true
		}
	}
	var looking sync.WaitGroup
	for some := range slices.Chunk(names, namesPerCall) {
		looking.Add(1)
		c.crew.spawn(func() {
			defer looking.Done()
			c.look(fd, some, listed)
		})
	}
	looking.Wait()
}

// look compares names in a directory with what the walk found. It asks the server about
// names that were not listed, because the client may still remember removed files.
func (c *confirmer) look(fd int, names []name, listed map[string]bool) {
	for _, n := range names {
		if c.ctx.Err() != nil {
			return
		}
		flags := unix.AT_SYMLINK_NOFOLLOW
		if !listed[n.base()] {
			flags |= askServer
		}
		now, err := statAt(fd, n.base(), flags)
		if err == nil {
			err = n.file(n.path).unchanged(&now)
		}
		if err == nil && !c.at.holds(fd) {
			err = unix.ENOENT
		}
		if err != nil {
			c.problem(n, err)
		}
	}
}

// failed records why a directory could not be listed: its names cannot be confirmed.
func (c *confirmer) failed(names []name, err error) {
	for _, n := range names {
		c.problem(n, err)
	}
}

func (c *confirmer) problem(n name, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.abandoned {
		c.problems[n] = problem("stat", n.path, err)
	}
}

// changed returns the copies with problems. All names of a copy have one if one has.
func (c *confirmer) changed() map[*Copy][]*Problem {
	all := make(map[*Copy][]*Problem)
	for n, p := range c.problems {
		if all[n.Copy] != nil {
			continue
		}
		for path := range n.paths() {
			of := c.problems[name{n.Copy, path}]
			if of == nil {
				of = &Problem{Op: p.Op, Path: path, Err: p.Err}
			}
			all[n.Copy] = append(all[n.Copy], of)
		}
	}
	return all
}

// splitPath returns the directory of a path, and the name in it.
func splitPath(path string) (dir, name string) {
	i := strings.LastIndexByte(path, '/')
	switch {
	case i < 0:
		return ".", path
	case i == 0:
		return "/", path[1:]
	}
	return path[:i], path[i+1:]
}
