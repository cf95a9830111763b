// Package choose decides which copies of a duplicate group to keep, which groups to
// report, and which folders are duplicates. It works on what a scan found: it reads no
// files.
//
//	choose.go   the rules, as a user gives them
//	group.go    a group of files → the kept ones
//	spell.go    paths, as roots and rules spell them
//	report.go   a whole report
//	folders.go  duplicate folders
package choose

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"efsdedupe/dedupe"
)

// Keep says which file of a group to keep.
type Keep string

const (
	Oldest   Keep = "oldest"   // by the time of the last modification
	Newest   Keep = "newest"   // by the time of the last modification
	Shortest Keep = "shortest" // by the bytes of the path
	First    Keep = "first"    // in the order of paths
)

// Rules say what to report of the groups that a scan found. The zero value reports all
// groups, without saying which file to keep.
type Rules struct {
	Keep      Keep     // empty for First, if another rule says which files to keep
	Priority  []string // folders; a file in an earlier one is kept rather than any other
	Protect   []string // folders, files or globs; what they match is always kept
	Isolate   bool     // only groups with files below several roots
	MinCopies int      // only groups with that many copies
	CopiesOf  string   // only the group with this file; empty for all

	// Only files modified after Newer and before Older, unless they are zero. This is for
	// saved reports: a scan has these times in its filter.
	Newer, Older time.Time

	Unique  bool // also report files without a duplicate
	Folders bool // also report duplicate folders

	// The lists that the scan got files from; they are only reported.
	FilesFrom, Files0From string
}

// Kept reports whether the rules say which files to keep.
func (r *Rules) Kept() bool { return r.Keep != "" || len(r.Priority)+len(r.Protect) > 0 }

// Change reports whether the rules change anything about the groups of a report.
func (r *Rules) Change() bool {
	return r.Kept() || r.Isolate || r.MinCopies > 0 || r.CopiesOf != "" || r.Timed()
}

// Timed reports whether the rules choose files by time.
func (r *Rules) Timed() bool { return !r.Newer.IsZero() || !r.Older.IsZero() }

// Takes reports whether the rules take a file by the time of its modification.
func (r *Rules) Takes(modified dedupe.Timestamp) bool {
	times := dedupe.Filter{Newer: r.Newer, Older: r.Older}
	return times.HasTime(modified)
}

// Count reports whether a [Choice] counts what deleting files frees.
func (r *Rules) Count() bool { return r.Kept() || r.Timed() }

// Validate returns an error if a rule is bad, worded for the user.
func (r *Rules) Validate() error {
	if r.MinCopies < 0 || r.MinCopies == 1 {
		return fmt.Errorf("a minimum of %d copies: a group has at least 2; choose 2 or more", r.MinCopies)
	}
	for _, path := range slices.Concat(r.Priority, r.Protect) {
		if path == "" {
			return errors.New("an empty path: name a folder; the current one is \".\"")
		}
	}
	switch r.Keep {
	case "", Oldest, Newest, Shortest, First:
		return nil
	}
	return fmt.Errorf("keep is %.40q: choose %s, %s, %s or %s", r.Keep, Oldest, Newest, Shortest, First)
}

// MissingError says that there is nothing at a path in the rules.
type MissingError struct {
	Rule   string // "priority" or "protect"
	Number int    // of the path in the rule, from 0 on
	Path   string
}

// Error implements error, for a caller of the service.
func (e *MissingError) Error() string {
	return fmt.Sprintf("/%s/%d is %.40q, where no directory or file is: use a path relative to your root, without symbolic links", e.Rule, e.Number, e.Path)
}

// CheckPaths returns a *MissingError for the first path in the rules at which there is
// nothing. What Protect names may be a glob instead.
func (r *Rules) CheckPaths(spell Spell) error {
	for i, path := range r.Priority {
		if _, exists := spell(path); !exists {
			return &MissingError{"priority", i, path}
		}
	}
	for i, path := range r.Protect {
		if _, exists := spell(path); !exists && !mayBeGlob(path) {
			return &MissingError{"protect", i, path}
		}
	}
	return nil
}

// mayBeGlob reports whether what Protect names protects something, even if there is nothing at
// that path: it is a pattern, or a name.
func mayBeGlob(path string) bool {
	return HasMeta(path) || !strings.Contains(strings.TrimSuffix(path, "/"), "/")
}

// HasMeta reports whether a character of a path means something else in a glob.
func HasMeta(path string) bool { return strings.ContainsAny(path, `*?[{\`) }

// Folders are folders with identical content.
type Folders struct {
	Files       int64 // in each folder
	Bytes       int64 // of each folder, each inode once
	Reclaimable int64 // bytes that deleting all but the kept folders frees
	Paths       []Folder
}

// Folder is one of several duplicates.
type Folder struct {
	Path string
	Kept bool
}
