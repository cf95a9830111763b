package report

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"

	"efsdedupe/dedupe"
	"efsdedupe/dedupe/cost"
)

// Saved is what a JSON report, or a projection on its own, says about a scan, except the
// files.
type Saved struct {
	Mode     dedupe.Mode // empty in a projection
	Workers  int
	Complete bool // true in a projection
	Stats    dedupe.Stats
	Groups   string // equal if two reports have the same groups of files; empty in a projection
	Usage    cost.Usage
	Region   string          // whose prices the projection used
	Index    *cost.Unindexed // nil if the scan had none
}

// Read reads back a JSON report or projection.
func Read(in io.Reader) (Saved, error) {
	s := &saver{groups: sha256.New()}
	if err := read(in, s, readOptions{projections: true}); err != nil {
		return Saved{}, err
	}
	return s.saved, nil
}

// saver turns the stream into a Saved.
type saver struct {
	nowhere
	groups hash.Hash
	saved  Saved
}

// file and endGroup hash what makes groups the same: which files have which digest.
func (s *saver) file(f file) error {
	fmt.Fprintf(s.groups, "%d %s", len(f.path), f.path)
	return nil
}

func (s *saver) endGroup(g group) error {
	s.groups.Write(g.digest[:])
	return nil
}

func (s *saver) end(d *document) error {
	p := d.Projection
	if p == nil || p.Usage == (usageJSON{}) {
		return errors.New(strings.TrimSuffix("the report has no projection to take the usage from: "+d.NoBill, ": "))
	}
	usage := p.Usage.usage(p.Calls)
	if err := usage.Validate(); err != nil {
		return fmt.Errorf("no report has such a usage: %w", err)
	}
	s.saved = Saved{Complete: true, Usage: usage, Region: p.Region, Index: p.Index.index()}
	if d.Stats != nil {
		s.saved.Mode, s.saved.Workers, s.saved.Stats = d.Mode, d.Workers, d.Stats.stats()
		s.saved.Complete = d.Complete == nil || *d.Complete
		s.saved.Groups = string(s.groups.Sum(nil))
	}
	return nil
}
