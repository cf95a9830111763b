package choose

import (
	"cmp"
	"path/filepath"
	"strings"
)

// Root is a root of the scan.
type Root struct {
	Path  string   // as given
	Names []string // other ones, such as the absolute path
}

// spellings are all known names of a folder or a file, each clean.
type spellings []string

// Spell returns other names of a path, such as the absolute path, and whether there is
// something at that path.
type Spell func(path string) (others []string, exists bool)

// Within returns a Spell for paths in a directory, where nothing has other names. has reports
// whether there is something at a path; failed is its first error.
func Within(has func(path string) (bool, error)) (spell Spell, failed *error) {
	known := make(map[string]bool)
	failed = new(error)
	return func(path string) ([]string, bool) {
		there, ok := known[path]
		if !ok {
			var err error
			there, err = has(strings.TrimSuffix(path, "/"))
			known[path], *failed = there, cmp.Or(*failed, err)
		}
		return nil, there
	}, failed
}

func (s Spell) spellings(path string) (p spellings, exists bool) {
	others, exists := s(path)
	p = spellings{filepath.Clean(path)}
	for _, other := range others {
		p = append(p, filepath.Clean(other))
	}
	return p, exists
}

// holds reports whether p names other, or a folder above it.
func (p spellings) holds(other spellings) bool {
	for _, dir := range p {
		for _, path := range other {
			if isBelow(path, dir) {
				return true
			}
		}
	}
	return false
}

// is reports whether both name the same folder or file.
func (p spellings) is(other spellings) bool {
	for _, path := range p {
		for _, same := range other {
			if path == same {
				return true
			}
		}
	}
	return false
}

// isBelow reports whether a clean path is a folder or something in it.
func isBelow(path, dir string) bool {
	switch {
	case path == dir:
		return true
	case dir == ".":
		return !filepath.IsAbs(path) && path != ".." && !strings.HasPrefix(path, "../")
	}
	return strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}

// located is a path, as the root above it leads to it.
type located struct {
	spellings
	root string // clean; the path itself if no root is above it
	rel  string // below the root

	listed bool // no root is above it: a list named it
}

// locate finds the innermost root above a path.
func (c *Chooser) locate(path string) located {
	clean := filepath.Clean(path)
	for dir := clean; ; dir = filepath.Dir(dir) {
		if root, found := c.roots[dir]; found {
			return root.locate(clean, dir)
		}
		if dir == "." || dir == "/" || dir == ".." || strings.HasSuffix(dir, "/..") {
			return c.locateListed(clean)
		}
	}
}

// locateListed locates a file that is below no root. It is a root of its own.
func (c *Chooser) locateListed(clean string) located {
	at := located{spellings{clean}, clean, filepath.Base(clean), true}
	if len(c.Priority)+len(c.Protect) > 0 || c.CopiesOf != "" {
		dir, name := filepath.Split(clean)
		others, _ := c.spell(filepath.Clean(dir))
		for _, other := range others {
			at.spellings = append(at.spellings, filepath.Join(other, name))
		}
	}
	return at
}

func (r Root) locate(clean, root string) located {
	rel := strings.TrimPrefix(strings.TrimPrefix(clean, root), "/")
	if root == "." {
		rel = clean
	}
	l := located{spellings: spellings{clean}, root: root, rel: rel}
	for _, name := range r.Names {
		l.spellings = append(l.spellings, filepath.Join(name, rel))
	}
	if rel == "" { // the root is a file
		l.rel = filepath.Base(clean)
	}
	return l
}
