package job

import (
	"iter"

	"efsdedupe/dedupe"
)

// entry is a copy as records have it: a file, its other names in order, and what is known.
type entry struct {
	dedupe.File
	OtherPaths []string
	Known      *known // nil if nothing is known
}

// known is what was learned about the content of a file.
type known struct {
	Ends   dedupe.Ends   // zero if unknown
	Digest dedupe.Digest // zero if unknown
}

// recalled returns the copy for the engine, if what is known of it comes from an index.
func (e *entry) recalled() *dedupe.Copy {
	c := dedupe.CopyOf(e.File, e.OtherPaths...)
	if e.Known != nil {
		c.Learn(e.Known.Ends, e.Known.Digest)
	}
	return c
}

// copy returns the copy for the engine, if units found out what is known of it.
func (e *entry) copy() *dedupe.Copy {
	c := dedupe.CopyOf(e.File, e.OtherPaths...)
	if e.Known != nil {
		c.Restore(e.Known.Ends, e.Known.Digest)
	}
	return c
}

// entryOf returns the entry of a copy of the engine.
func entryOf(c *dedupe.Copy) *entry {
	e := new(entry)
	for f := range c.Files() {
		if e.Path == "" {
			e.File = f
		} else {
			e.OtherPaths = append(e.OtherPaths, f.Path)
		}
	}
	if ends, digest := c.Known(); ends != 0 || digest != (dedupe.Digest{}) {
		e.Known = &known{ends, digest}
	}
	return e
}

// copies yields the copies for the engine.
func copies(entries iter.Seq[*entry]) iter.Seq[*dedupe.Copy] {
	return func(yield func(*dedupe.Copy) bool) {
		for e := range entries {
			if !yield(e.copy()) {
				return
			}
		}
	}
}

// classes yields the classes of sorted entries that may be equal, each with at least two
// copies. See dedupe.Join.
func classes(by dedupe.Stage, entries iter.Seq[*entry]) iter.Seq[iter.Seq[*entry]] {
	return func(yield func(iter.Seq[*entry]) bool) {
		for class := range dedupe.Join(by, copies(entries)) {
			if !yield(func(yield func(*entry) bool) {
				for c := range class {
					if !yield(entryOf(c)) {
						return
					}
				}
			}) {
				return
			}
		}
	}
}
