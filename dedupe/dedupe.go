// Package dedupe finds groups of identical files, exactly, on file systems
// where every open is a round trip and every byte read is on a bill.
//
// Everything is a [Report]. [Walk] makes one, its groups the size classes of
// the files it found. [Refine] makes a finer one of it: it splits every group
// by the ends of its files, then by their digests. [Scan] is Walk and both
// refinements, measured.
//
// Reading is the work of a [Hasher], and the two modes are two of them:
// [LocalHasher] reads in this process, [PoolHasher] hands each file to a pool
// of worker processes. The same errgroup drives both, so that they differ in
// nothing else.
//
//	walk.go     roots and directories → size classes
//	listing_*.go  the entries of a directory
//	table.go    all files that were found, in few bytes each
//	maybeduplicated.go  keys added more than once
//	filter.go   which of the files count: sizes and globs
//	refine.go   groups → finer groups, by ends or digests
//	schedule.go who reads which files, and together with which others
//	hasher.go   one file → its digest, and proof that it did not change
//	contentcache.go  what was hashed lately, for others to be compared with
//	ends.go     files of one size: their ends, and more only where these are alike
//	ends_*.go   nothing read ahead of ends
//	lockstep.go large files of one size, block by block
//	confined.go  where paths begin, and what keeps them inside it
//	process.go  the same in worker processes, over package pool
//	scan.go     the stages in order, what they used
//
// Paths are strings of any bytes; how to write those that are not text is for
// those who write them.
package dedupe

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"io/fs"
	"iter"
	"slices"
	"strings"
	"time"
)

// Digest is the BLAKE3-256 digest of a file's content.
type Digest [32]byte

// String returns the digest as 64 hexadecimal digits.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// File is a regular file as Walk found it. Hashing a file proves that it is
// still the same: same inode, size and times.
type File struct {
	Path       string
	Size       int64 // bytes
	Device     uint64
	Inode      uint64
	ModTime    Timestamp
	ChangeTime Timestamp // no program can set it back

	// Links and Allocated describe the inode when it was found. They are not part of
	// its identity: writing back a file may change what is allocated.
	Links     uint32 // names of the inode, wherever they are
	Allocated int64  // bytes on the file system; fewer than Size where the file is sparse
}

// inode identifies the inode behind a path. The times are part of it, because
// the inode numbers of some network mounts can't be trusted alone: taking two
// files for one is the worse mistake.
type inode struct {
	device, number      uint64
	modTime, changeTime Timestamp
}

func (f File) inode() inode {
	return inode{f.Device, f.Inode, f.ModTime, f.ChangeTime}
}

// compare orders inodes; it returns 0 for two names of one inode.
func (i inode) compare(j inode) int {
	if i.number != j.number {
		return cmp.Compare(i.number, j.number)
	}
	return cmp.Or(cmp.Compare(i.device, j.device), i.modTime.Compare(j.modTime), i.changeTime.Compare(j.changeTime))
}

// compareInodes orders files by their inodes.
func compareInodes(a, b File) int { return a.inode().compare(b.inode()) }

// Group is a set of files that no stage so far could tell apart: a size class
// after Walk, a duplicate group after Scan. It has at least two copies.
type Group struct {
	Size   int64  // bytes of each file
	Digest Digest // after Scan; before it, what its files have in common so far
	Files  []File // hard links included; after Scan sorted by path

	// Reclaimable is the bytes that deleting all copies but one would free.
	Reclaimable int64

	// ReclaimableAllocated is the most that deleting copies can free on the file system:
	// all of the group but the copy that must stay.
	ReclaimableAllocated int64

	inodes int // how many inodes the files are; 0 if they were not counted

	// wholes is the digest of all of each inode, in the order of compareInodes whatever
	// that of Files, zero where it is not known; nil if none is.
	wholes []Digest
}

// HardLinks tells for each of Files whether it is a further link to the inode
// of an earlier one, and so no copy of its own.
func (g Group) HardLinks() []bool {
	links := make([]bool, len(g.Files))
	if g.inodes == len(g.Files) {
		return links
	}
	seen := make(map[inode]bool, len(g.Files))
	for i, f := range g.Files {
		links[i] = seen[f.inode()]
		seen[f.inode()] = true
	}
	return links
}

// Copies counts the inodes of the group: hard links to one inode are one copy.
func (g Group) Copies() int64 {
	if g.inodes > 0 {
		return int64(g.inodes)
	}
	copies := int64(0)
	for _, link := range g.HardLinks() {
		if !link {
			copies++
		}
	}
	return copies
}

// Problem is a file or directory that could not be read, or that changed while
// it was, with the operation that failed and why.
type Problem = fs.PathError

// Stats is what a scan found and what finding it took.
type Stats struct {
	Files       int64 // regular files found that pass the filter
	Bytes       int64 // their content, each inode once
	Directories int64 // directories listed

	Work // what reading took

	DuplicateGroups  int64
	DuplicateFiles   int64 // copies beyond the first of each group; hard links are no copies
	ReclaimableBytes int64

	Elapsed         time.Duration // from the start of the walk to the last digest
	CPU             time.Duration // user and system, of this process and its workers
	CPUUnknown      bool          // something else ran in this process meanwhile, and CPU is 0; see Options.Alone
	PeakMemory      int64         // bytes, of this process and its workers together; see pool.PeakMemory
	WorkerProcesses int64         // worker processes started, replacements included
}

// Work counts what a Hasher did, where it did it; nothing in it is computed
// from the sizes of files.
type Work struct {
	Opens       int64
	BytesRead   int64
	FilesHashed int64 // files whose whole content was hashed

	// FilesCompared is files that were not hashed, because they equal, byte for
	// byte, one that was. Which these are, and how many, is a matter of chance.
	FilesCompared int64

	FilesKnown int64 // files whose digest was known without reading; see Options.Wrap

	// OpensSpared and BytesSpared are what reading would have taken where a digest
	// was known.
	OpensSpared, BytesSpared int64
}

func (w *Work) add(v Work) {
	w.Opens += v.Opens
	w.BytesRead += v.BytesRead
	w.FilesHashed += v.FilesHashed
	w.FilesCompared += v.FilesCompared
	w.FilesKnown += v.FilesKnown
	w.OpensSpared += v.OpensSpared
	w.BytesSpared += v.BytesSpared
}

// Report is the answer at any stage of a scan.
type Report struct {
	Roots    []string // as given, sorted, each once
	Mode     Mode
	Workers  int
	Groups   []Group // by reclaimable bytes, the largest first, then by digest
	Problems []*Problem
	Stats    Stats
	Complete bool // all was read: no problem, no interruption

	// Interrupted tells that the context ended before all was read. One that ended
	// later changes nothing.
	Interrupted bool

	// Index is how an index of digests was used; nil for a scan without one. Whoever
	// wraps the hasher sets it.
	Index *IndexUse

	Reason      Reason       // why Complete is false; empty if it is true
	Started     time.Time    // when the scan began
	Finished    time.Time    // when it had read the last file
	FileSystems []FileSystem // of the roots, in the order of Roots
	Skipped     []Skipped    // by path
	Filter      Filter       // what was asked for
}

// Reason is why a report is not complete.
type Reason string

// The reasons, the most important first.
const (
	ReasonDeadline    Reason = "deadline"    // its context's deadline passed
	ReasonInterrupted Reason = "interrupted" // its context was cancelled
	ReasonLimit       Reason = "limit"       // there is more than a limit allows
	ReasonProblems    Reason = "problems"    // something could not be read
)

// FileSystem is the file system of a root.
type FileSystem struct {
	Type     string // such as ext4 or nfs4, as the mount table has it; empty if unknown
	Identity string // the same on all machines that mount it; empty if it does not tell
}

// Skipped is a directory or file that a rule left out of a scan.
type Skipped struct {
	Path string
	Rule string // such as one_file_system or own_output
}

// IndexUse tells whether a scan used an index.
type IndexUse struct {
	Used bool   // for some of the directories at least
	Why  string // it was not used for all of them; empty if it was
}

// Files yields the files of all groups.
func (r Report) Files() iter.Seq[File] {
	return func(yield func(File) bool) {
		for _, g := range r.Groups {
			for _, f := range g.Files {
				if !yield(f) {
					return
				}
			}
		}
	}
}

// sort puts the report in the one order that it has whatever the mode, the
// number of workers and the order of roots, and counts its duplicates.
func (r *Report) sort() {
	slices.Sort(r.Roots)
	r.Roots = slices.Compact(r.Roots)
	for i := range r.Groups {
		g := &r.Groups[i]
		slices.SortFunc(g.Files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
		copies := g.Copies()
		g.Reclaimable = (copies - 1) * g.Size
		r.Stats.DuplicateFiles += copies - 1
		r.Stats.ReclaimableBytes += g.Reclaimable
	}
	r.Stats.DuplicateGroups = int64(len(r.Groups))
	slices.SortFunc(r.Groups, func(a, b Group) int {
		return cmp.Or(cmp.Compare(b.Reclaimable, a.Reclaimable), bytes.Compare(a.Digest[:], b.Digest[:]))
	})
	slices.SortFunc(r.Problems, func(a, b *Problem) int {
		return cmp.Or(strings.Compare(a.Path, b.Path), strings.Compare(a.Op, b.Op))
	})
}
