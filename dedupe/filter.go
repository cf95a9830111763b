package dedupe

import (
	"fmt"
	"math"
	"path"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// Filter says which files count. Its zero value takes every file, empty ones
// too, and enters every directory.
//
// Globs are those of doublestar: * ? [a-z] {a,b}, and ** for any number of
// directories. One without a slash is matched against the name alone, at any
// depth; one with a slash against the whole path below the root.
type Filter struct {
	MinSize int64    // bytes
	MaxSize int64    // bytes; 0 for no limit
	Include []string // a file must match one of these, if there are any
	Exclude []string // no file matches any of these, and no directory is entered that does
}

func (f Filter) validate() error {
	if f.MinSize < 0 || f.MaxSize < 0 {
		return fmt.Errorf("sizes can't be negative: %d to %d bytes", f.MinSize, f.MaxSize)
	}
	if f.MinSize > f.maxSize() {
		return fmt.Errorf("the minimum size, %d bytes, is above the maximum, %d", f.MinSize, f.MaxSize)
	}
	for _, globs := range [][]string{f.Include, f.Exclude} {
		for _, g := range globs {
			if g == "" || !doublestar.ValidatePattern(g) {
				return fmt.Errorf("bad glob %q: close every [ and {, and escape with \\ what stands for itself", g)
			}
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

func (f Filter) excludes(rel string) bool { return matches(f.Exclude, rel) }

func (f Filter) includes(rel string) bool {
	return len(f.Include) == 0 || matches(f.Include, rel)
}

func (f Filter) hasSize(size int64) bool {
	return size >= f.MinSize && size <= f.maxSize()
}

func matches(globs []string, rel string) bool {
	for _, g := range globs {
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
