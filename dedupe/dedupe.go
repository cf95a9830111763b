// Package dedupe finds groups of identical files, exactly, on file systems where every
// open costs a round trip and every byte read costs money.
//
// A scan runs in stages. Each stage is a function that one process, a pool or many
// machines can run:
//
//	Walk   roots and directories → Inventory, which yields the copies that share a size
//	Read   copies → signed copies, by the ends of the files
//	Join   signed copies → classes that may still be equal
//	Read   copies → signed copies, by the whole files
//	Join   signed copies → classes that are equal: the groups
//
// On NFS, a scan looks once more at all files before it joins the last time: a change
// that another machine makes while files are read may show only then.
//
// [Scan] runs these stages and measures them. A [Selection] says what to scan and can be
// sent to other machines. An [Engine] says how to scan and never leaves the process.
//
// A [Hasher] does the reading. There are two: [LocalHasher] reads in this process; the
// other passes files to a pool of worker processes. The same code drives both, so the
// modes differ in nothing else.
//
//	selection.go        what to scan, and its JSON
//	filter.go           which files count: sizes and globs
//	engine.go           how to scan: resources, limits, hooks
//	scan.go             the stages in order, and what they used
//	listed.go           files from a list
//	roots.go            where a walk starts: roots as the kernel resolves them
//	walk.go             roots and frontiers → files
//	crew.go             functions run at once, up to a limit
//	abandoned.go        hung system calls, left behind when the context ends
//	listing_*.go        the entries of a directory
//	inventory.go        all files found → copies
//	copy.go             one inode in a few bytes
//	countable.go        the bytes of all files, each inode once
//	maybeduplicated.go  keys added more than once
//	read.go             copies → signed copies
//	memory.go           what fits in a memory limit
//	schedule.go         which worker reads which files together
//	join.go             signed copies → classes and groups
//	hasher.go           one file → its digest, and proof that it did not change
//	nfs.go              what an NFS client sends, and what it tells about changes
//	confirm.go          asking the NFS server once more
//	stat*.go            size, inode and times of a file
//	contentcache.go     recently hashed contents, to compare others with
//	ends.go             files of one size: their ends, and the rest only if these match
//	ends_*.go           what the kernel should read ahead
//	lockstep.go         large files of one size, block by block
//	atime_*.go          reads that leave the access time alone
//	holes_*.go          where a sparse file has data
//	confined*.go        opening paths inside a directory they cannot leave
//	syscalls_linux.go   opening and looking at files without allocations
//	process.go          hashing in worker processes, over package pool
//	timestamp.go        times as file systems keep them
//
// Of this module the package imports only package pool, which knows nothing of files, and
// packages limits and mount, which know nothing of scans.
//
// Paths are strings of any bytes. Whoever writes them out decides how to write bytes that
// are not text.
package dedupe

import (
	"cmp"
	"encoding/hex"
	"io/fs"
	"iter"
	"slices"
	"time"

	"efsdedupe/dedupe/mount"
)

// Digest is the BLAKE3-256 digest of a file's content.
type Digest [32]byte

// String returns the digest as 64 hexadecimal digits.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// File is a regular file as Walk found it. Hashing a file proves that it is still the
// same: same inode, size and times.
type File struct {
	Path       string
	Size       int64  // bytes
	Device     uint64 // one for all NFS mounts of a file system; see mount.Table.Device
	Inode      uint64
	ModTime    Timestamp
	ChangeTime Timestamp // no program can set it back

	// Links and Allocated describe the inode when it was found. They are not part of its
	// identity: writing cached data back to disk may change what is allocated.
	Links     uint32 // names of the inode, inside or outside the roots
	Allocated int64  // bytes on the file system; fewer than Size where the file is sparse
}

// inode identifies the inode behind a path. It includes the times, because some network
// mounts have inode numbers that cannot be trusted alone, and taking two files for one is
// the worse mistake.
type inode struct {
	device, number      uint64
	modTime, changeTime Timestamp
}

func (f *File) inode() inode {
	return inode{f.Device, f.Inode, f.ModTime, f.ChangeTime}
}

// compare orders inodes; it returns 0 for two names of one inode.
func (i inode) compare(j inode) int {
	if i.number != j.number {
		return cmp.Compare(i.number, j.number)
	}
	return cmp.Or(cmp.Compare(i.device, j.device), i.modTime.Compare(j.modTime), i.changeTime.Compare(j.changeTime))
}

// Group is a set of identical files.
type Group struct {
	Size   int64 // bytes of each file
	Digest Digest
	Copies []*Copy // sorted by their first paths; at least two

	// Reclaimable is the total size of all copies but one. A copy with names outside the
	// group frees nothing: it is the one to keep, and any others like it do not count.
	Reclaimable int64

	// ReclaimableAllocated is the most that deleting copies can free on the file system:
	// everything the group occupies except the copy to keep.
	ReclaimableAllocated int64
}

// Names counts the files of the group, hard links included.
func (g *Group) Names() (n int) {
	for _, c := range g.Copies {
		n += c.names()
	}
	return n
}

// Files yields the files of the group, sorted by path, and whether each is a hard link to
// the inode of an earlier one, and so is no copy of its own.
func (g *Group) Files() iter.Seq2[File, bool] {
	return func(yield func(File, bool) bool) {
		var paths paths
		if g.Names() == len(g.Copies) {
			for _, c := range g.Copies {
				if !yield(c.file(paths.of(c)), false) {
					return
				}
			}
			return
		}
		for _, n := range g.sortedNames() {
			if !yield(n.first.file(paths.of(n.Copy)), n.Copy != n.first) {
				return
			}
		}
	}
}

// linkedName is one name of a copy.
type linkedName struct {
	*Copy
	first *Copy // the copy under its first name
}

// sortedNames returns all names of all copies, sorted by path.
func (g *Group) sortedNames() []linkedName {
	all := make([]linkedName, 0, g.Names())
	for _, c := range g.Copies {
		for at := c; at != nil; at = at.next {
			all = append(all, linkedName{at, c})
		}
	}
	slices.SortFunc(all, func(a, b linkedName) int { return comparePaths(a.Copy, b.Copy) })
	return all
}

// Problem is a file or directory that could not be read or that changed meanwhile, with
// the failed operation and the cause.
type Problem = fs.PathError

// Stats is what a scan found, and what that took.
type Stats struct {
	Files       int64 // regular files that pass the filter
	Bytes       int64 // their content, each inode once
	Directories int64 // directories listed

	Work // what reading took

	DuplicateGroups  int64
	DuplicateFiles   int64 // copies beyond the first of each group; hard links do not count
	ReclaimableBytes int64

	Elapsed         time.Duration // from the start of the walk to the last digest
	CPU             time.Duration // user and system, of this process and its workers
	CPUUnknown      bool          // another scan ran in this process meanwhile, so CPU is 0; see Engine.Alone
	PeakMemory      int64         // bytes, this process and its workers together; see limits.PeakMemory
	WorkerProcesses int64         // started, including replacements

	// NFS is what the NFS client of this machine sent for the mounts of the roots, from
	// before the walk until the last file was closed. Mounts below the roots count, too,
	// except with Selection.OneFileSystem. The kernel counts per mount, so NFS includes
	// what other processes, and other scans in this one, sent meanwhile. It is nil if no
	// root is on NFS, or if the kernel does not tell.
	NFS *mount.Traffic
}

// Work counts what a Hasher did, as it did it. Nothing in it is derived from file sizes.
type Work struct {
	Opens       int64
	BytesRead   int64
	FilesHashed int64 // files whose whole content was hashed

	// FilesCompared counts files not hashed because they equal, byte for byte, one that
	// was. Which files these are, and how many, depends on timing.
	FilesCompared int64

	FilesKnown int64 // files whose digest was known without reading; see Engine.Recall

	// OpensSpared and BytesSpared are what reading the files with known digests would
	// have taken.
	OpensSpared, BytesSpared int64
}

// Add adds the work of other files.
func (w *Work) Add(v Work) {
	w.Opens += v.Opens
	w.BytesRead += v.BytesRead
	w.FilesHashed += v.FilesHashed
	w.FilesCompared += v.FilesCompared
	w.FilesKnown += v.FilesKnown
	w.OpensSpared += v.OpensSpared
	w.BytesSpared += v.BytesSpared
}

// Report is the result of a scan.
type Report struct {
	Roots    []string // as given, sorted, without repeats
	Mode     Mode
	Workers  int
	Groups   []Group // largest reclaimable first, then by digest
	Problems []*Problem
	Stats    Stats
	Complete bool // everything was read: no problem, no interruption

	// Interrupted means the context ended before everything was read. If it ended later,
	// this is false.
	Interrupted bool

	// Index says how an index of digests was used; nil for a scan without one. The caller
	// that sets Engine.Recall sets it.
	Index *IndexUse

	Reason      string             // why Complete is false; empty if it is true
	Started     time.Time          // when the scan began
	Finished    time.Time          // when it had read the last file
	FileSystems []mount.FileSystem // of Roots, in the same order; none for a scan within a directory
	Skipped     []Skipped          // by path
	Unique      []*Copy            // inodes without a duplicate, by path, if asked for
	Filter      Filter             // as requested
}

// The reasons why a report is incomplete, most important first.
const (
	ReasonDeadline    = "deadline"    // its context's deadline passed
	ReasonInterrupted = "interrupted" // its context was cancelled
	ReasonProblems    = "problems"    // something could not be read
)

// Skipped is a file or directory that a rule left out of the scan.
type Skipped struct {
	Path string
	Rule string // one_file_system, own_output or pseudo_file_system
}

// IndexUse tells whether a scan used an index.
type IndexUse struct {
	Used bool   // for at least some of the directories
	Why  string // why it was not used for all of them; empty if it was
}

// Files yields the files of all groups.
func (r Report) Files() iter.Seq[File] {
	return func(yield func(File) bool) {
		for _, g := range r.Groups {
			for f := range g.Files() {
				if !yield(f) {
					return
				}
			}
		}
	}
}
