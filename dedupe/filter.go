package dedupe

import (
	"cmp"
	"fmt"
	"math"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/bmatcuk/doublestar/v4"
)

// Filter says which files count. Its zero value takes every file, even empty ones, and
// enters every directory.
//
// Globs have the syntax of doublestar: * ? [a-z] {a,b}, and ** for any number of directories. A
// glob without a slash matches the name, at any depth. A glob with a slash matches the
// path below the root; if it is absolute and leads below the root, it matches the
// absolute path. A glob that ends in a slash matches directories only.
type Filter struct {
	MinSize int64     // bytes
	MaxSize int64     // bytes; 0 means no limit
	Include []string  // if not empty, a file must match one of these
	Exclude []string  // a file that matches is left out; a directory that matches is not entered
	Newer   time.Time // if set, a file must have been modified after this
	Older   time.Time // if set, a file must have been modified before this
}

func (f Filter) validate() error {
	if f.MinSize < 0 || f.MaxSize < 0 {
		return fmt.Errorf("sizes can't be negative: %d to %d bytes", f.MinSize, f.MaxSize)
	}
	if f.MinSize > f.maxSize() {
		return fmt.Errorf("the minimum size, %d bytes, is above the maximum, %d", f.MinSize, f.MaxSize)
	}
	plain, err := f.Plain()
	if err != nil {
		return err
	}
	for _, g := range plain.Include {
		if dir, ok := strings.CutSuffix(g, "/"); ok {
			return fmt.Errorf("bad glob %q: only directories match it, and include is about files; use %q", g, dir+"/**")
		}
	}
	return nil
}

func (f Filter) maxSize() int64 {
	if f.MaxSize == 0 {
		return math.MaxInt64
	}
	return f.MaxSize
}

func (f Filter) excludes(rel string) bool          { return matches(f.Exclude, rel, false) }
func (f Filter) excludesDirectory(rel string) bool { return matches(f.Exclude, rel, true) }

func (f Filter) includes(rel string) bool {
	return len(f.Include) == 0 || matches(f.Include, rel, false)
}

func (f Filter) hasSize(size int64) bool {
	return size >= f.MinSize && size <= f.maxSize()
}

// HasTime reports whether a file was last modified when the filter wants.
func (f *Filter) HasTime(modified Timestamp) bool {
	return (f.Newer.IsZero() || modified.Time().After(f.Newer)) && (f.Older.IsZero() || modified.Time().Before(f.Older))
}

func matches(globs []string, rel string, directory bool) bool {
	for _, g := range globs {
		g, only := strings.CutSuffix(g, "/")
		if only && !directory {
			continue
		}
		subject := rel
		if !strings.Contains(g, "/") {
			subject = path.Base(rel)
		}
		if doublestar.MatchUnvalidated(strings.TrimPrefix(g, "/"), subject) {
			return true
		}
	}
	return false
}

// mostAlternatives is the most extra globs that the braces of a filter may expand to.
const mostAlternatives = 1000

// Excludes reports whether a plain filter excludes a file, or a folder above it. The path
// is relative to a root. Unless known is nil, it has what calls found out about folders.
func (f Filter) Excludes(rel string, known map[string]bool) bool {
	return f.excludes(rel) || f.excludesAbove(rel, known)
}

// excludesAbove reports whether the filter excludes a folder above a path.
func (f Filter) excludesAbove(rel string, known map[string]bool) bool {
	dir := path.Dir(rel)
	if dir == "." || dir == "/" {
		return false
	}
	excluded, ok := known[dir]
	if !ok {
		excluded = f.excludesDirectory(dir) || f.excludesAbove(dir, known)
		if known != nil {
			known[strings.Clone(dir)] = excluded // without the rest of the path
		}
	}
	return excluded
}

// Absolute returns the globs of the filter that begin with a slash. No others match an
// absolute path: they could match the name of a folder far above the file.
func (f Filter) Absolute() Filter {
	absolute := func(globs []string) (all []string) {
		for _, g := range globs {
			if strings.HasPrefix(g, "/") {
				all = append(all, g)
			}
		}
		return all
	}
	return Filter{Include: absolute(f.Include), Exclude: absolute(f.Exclude)}
}

// Plain returns the filter with braces expanded, because matching them takes exponential
// time. Its error names the bad glob.
func (f Filter) Plain() (Filter, error) {
	room := mostAlternatives
	for _, globs := range []*[]string{&f.Include, &f.Exclude} {
		var plain []string
		for _, g := range *globs {
			if g == "" || !doublestar.ValidatePattern(g) {
				return f, fmt.Errorf("bad glob %q: close every [ and {, and put \\ before characters that stand for themselves", g)
			}
			all, ok := expand(g, room)
			if !ok {
				return f, fmt.Errorf("the glob %q has too many alternatives in braces: use simpler globs, %d alternatives in all at most", shorten(g), mostAlternatives)
			}
			room -= len(all) - 1
			for _, one := range all {
				one = plainSlashes(one)
				if one == "" {
					return f, fmt.Errorf("bad glob %q: nothing is left of it if its braces are empty; put something before, after or in them", g)
				}
				if err := canMatch(one); err != nil {
					return f, err
				}
				plain = append(plain, one)
			}
		}
		*globs = plain
	}
	return f, nil
}

// shorten cuts off the end of a glob that is too long for a message.
func shorten(g string) string {
	if len(g) > 100 {
		return g[:100] + "..."
	}
	return g
}

// expand returns the distinct brace-free globs that a valid glob stands for. It gives up
// at more than room besides the first.
func expand(glob string, room int) (plain []string, ok bool) {
	type partly struct {
		glob string
		from int // no brace opens before this offset
	}
	todo, seen := []partly{{glob, 0}}, make(map[partly]bool)
	for work := 10 * (room + 1); len(todo) > 0; work-- {
		p := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		open := nextBrace(p.glob, p.from)
		if open == len(p.glob) {
			plain = append(plain, p.glob)
			continue
		}
		alternatives, end := splitBraces(p.glob, open)
		for _, a := range slices.Backward(alternatives) {
			next := partly{p.glob[:open] + a + p.glob[end:], open}
			if !seen[next] {
				seen[next] = true
				todo = append(todo, next)
			}
		}
		if len(todo)+len(plain) > room+1 || work == 0 {
			return nil, false
		}
	}
	return plain, true
}

// nextBrace returns the offset of the next opening brace, or the length of the glob.
func nextBrace(glob string, at int) int {
	for at < len(glob) && glob[at] != '{' {
		at = after(glob, at)
	}
	return at
}

// splitBraces returns the alternatives in the braces at an offset, and the offset after
// them.
func splitBraces(glob string, open int) (alternatives []string, end int) {
	depth, start := 0, open+1
	for at := open; at < len(glob); at = after(glob, at) {
		switch glob[at] {
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				return append(alternatives, glob[start:at]), at + 1
			}
		case ',':
			if depth == 1 {
				alternatives = append(alternatives, glob[start:at])
				start = at + 1
			}
		}
	}
	return append(alternatives, glob[start:]), len(glob) // never reached for a valid glob
}

// after returns the offset after an escaped byte, a class or a byte.
func after(glob string, at int) int {
	switch glob[at] {
	case '\\':
		at++
	case '[':
		for at++; at < len(glob) && glob[at] != ']'; at++ {
			if glob[at] == '\\' {
				at++
			}
		}
	}
	return min(at+1, len(glob))
}

// plainSlashes returns a brace-free glob without a backslash before a slash, which is never
// part of a name and so needs none.
func plainSlashes(glob string) string {
	var b strings.Builder
	for at := 0; at < len(glob); {
		next := after(glob, at)
		if glob[at:next] == `\/` {
			at++
		}
		b.WriteString(glob[at:next])
		at = next
	}
	return b.String()
}

// canMatch returns an error if a brace-free glob cannot match any path below a root.
func canMatch(glob string) error {
	const advice = "a glob is matched against a name, or against the path below the root if it has a slash"
	if strings.Trim(glob, "/") == "" {
		return fmt.Errorf("the glob %q matches nothing: %s", glob, advice)
	}
	if strings.Contains(glob, "\x00") {
		return fmt.Errorf("bad glob %q: no name has a zero byte; remove it", glob)
	}
	inside := strings.TrimSuffix(strings.TrimPrefix(glob, "/"), "/")
	for element := range strings.SplitSeq(inside, "/") {
		element = strings.ReplaceAll(element, `\.`, ".")
		if element == "" || element == "." || element == ".." {
			use := strings.TrimPrefix(path.Clean("/"+strings.ReplaceAll(glob, `\.`, ".")), "/")
			return fmt.Errorf("the glob %q matches nothing, because of its %q: %s; use %q", glob, cmp.Or(element, "//"), advice, cmp.Or(use, "*"))
		}
	}
	for at := 0; at < len(glob); at = after(glob, at) {
		if glob[at] == '[' {
			if err := classCanMatch(glob, glob[at:after(glob, at)]); err != nil {
				return err
			}
		}
	}
	return nil
}

// classCanMatch returns an error if a class of a glob, such as [a-z], has a range that
// runs backwards, or matches no character of a name.
func classCanMatch(glob, class string) error {
	in := []rune(class[1 : len(class)-1])
	if in[0] == '^' || in[0] == '!' {
		in = in[1:]
	}
	next := func() rune {
		if in[0] == '\\' {
			in = in[1:]
		}
		r := in[0]
		in = in[1:]
		return r
	}
	edges := []rune{1, '.', '0'} // a class that matches something matches one of these
	for len(in) > 0 {
		from := next()
		to := from
		if len(in) > 1 && in[0] == '-' {
			in = in[1:]
			to = next()
		}
		if to < from {
			return fmt.Errorf("bad glob %q: the range %c-%c in its %q matches nothing; use %c-%c", glob, from, to, class, to, from)
		}
		edges = append(edges, from-1, from, from+1, to+1)
	}
	if !slices.ContainsFunc(edges, func(r rune) bool {
		return r > 0 && r != '/' && doublestar.MatchUnvalidated(class, string(r))
	}) {
		return fmt.Errorf("the glob %q matches nothing: no name has a character that its %q matches; write a slash outside of brackets", glob, class)
	}
	return nil
}

// below returns a plain filter with globs relative to a root: an absolute glob that leads
// below the root becomes relative to it. Others stay; a leading slash only says that they
// match the path.
func (f Filter) below(r *root) (Filter, error) {
	if !strings.HasPrefix(r.real, "/") {
		return f, nil
	}
	names := []string{r.real}
	if given, err := filepath.Abs(r.given); err == nil && given != r.real {
		names = append(names, given)
	}
	for _, globs := range []*[]string{&f.Include, &f.Exclude} {
		for i, g := range *globs {
			for _, name := range names {
				rest, leads := strings.CutPrefix(strings.TrimSuffix(g, "/")+"/", strings.TrimSuffix(name, "/")+"/")
				switch {
				case !leads || name == "/":
				case rest == "":
					return f, fmt.Errorf("the glob %q is the root %q itself: do not name that root, or use the glob \"*\" for all that is in it", g, r.given)
				default:
					*globs = slices.Clone(*globs)
					(*globs)[i] = "/" + rest[:len(rest)-1] + g[len(strings.TrimSuffix(g, "/")):]
				}
			}
		}
	}
	return f, nil
}
