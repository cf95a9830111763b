package index

import (
	"cmp"
	"context"
	"iter"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"efsdedupe/dedupe"
	"efsdedupe/dedupe/mount"
)

// Stats describes an index.
type Stats struct {
	Entries     int64
	Blocks      int64
	Bytes       int64     // of the blocks
	Damaged     int64     // blocks that are unreadable or of another version
	FileSystems []string  // in the order in which they were met
	Oldest      time.Time // the day on which the least recently used entry was last asked for; zero without entries
}

// Stats reads the whole index.
func (x *Index) Stats(ctx context.Context) (Stats, error) {
	var s Stats
	seen := make(map[string]bool)
	err := x.Store.All(ctx, func(key Key, data []byte) bool {
		s.Blocks++
		s.Bytes += int64(len(data))
		b, ok := parseBlock(key, data)
		if !ok {
			s.Damaged++
			return true
		}
		if !seen[b.fileSystem] {
			seen[b.fileSystem] = true
			s.FileSystems = append(s.FileSystems, b.fileSystem)
		}
		for _, e := range b.entries {
			s.Entries++
			if t := e.seen.time(); s.Oldest.IsZero() || t.Before(s.Oldest) {
				s.Oldest = t
			}
		}
		return true
	})
	return s, err
}

// Prune removes entries that no scan has asked for in the given number of days, and
// damaged blocks. Below the roots, which must be directories, it also removes entries of
// files that are gone or changed. A directory that cannot be listed keeps its entries. It
// returns how many entries it removed.
func (x *Index) Prune(ctx context.Context, roots []string, days int) (removed int64, err error) {
	there, err := x.list(ctx, roots)
	if err != nil {
		return 0, err
	}
	oldest := dayOf(x.Now()) - day(days)
	cut := make(map[Key]block)
	err = x.Store.All(ctx, func(key Key, data []byte) bool {
		b, _ := parseBlock(key, data) // damaged blocks are left out
		kept := b
		kept.entries = nil
		for _, e := range b.entries {
			if e.seen >= oldest && there.has(b.place, e) {
				kept.entries = append(kept.entries, e)
			}
		}
		if len(kept.entries) == 0 && (len(b.entries) > 0 || b.written < oldest || there.lacks(b.place)) {
			kept.level = 0 // nothing is left of it
		}
		if len(kept.entries) < len(b.entries) || kept.level < b.level || b.fileSystem == "" {
			removed += int64(len(b.entries) - len(kept.entries))
			cut[key] = kept
		}
		return true
	})
	if err != nil {
		return 0, err
	}
	_, err = x.Store.Update(ctx, slices.Collect(maps.Keys(cut)), func(key Key, _ []byte) []byte {
		return cut[key].append(key)
	})
	return removed, err
}

// present is the regular files that directories have now, by inode. A directory that cannot be
// listed has nil.
type present map[place]map[uint64]state

// of returns the files of a directory. If a directory above it was listed but not the
// directory itself, it has none. known is false if the list does not say.
func (l present) of(p place) (files map[uint64]state, known bool) {
	for q := p; ; q.path = filepath.Dir(q.path) {
		if files, listed := l[q]; listed {
			if q != p && files != nil {
				return nil, true
			}
			return files, files != nil
		}
		if q.path == "/" || q.path == "." {
			return nil, false
		}
	}
}

// has reports whether a scan may still ask for an entry.
func (l present) has(p place, e entry) bool {
	files, known := l.of(p)
	now, there := files[e.inode]
	return !known || there && now == e.state
}

// lacks reports whether a directory is gone.
func (l present) lacks(p place) bool {
	files, known := l.of(p)
	return known && files == nil
}

// list lists all directories below roots, many at once.
func (x *Index) list(ctx context.Context, roots []string) (present, error) {
	l := make(present)
	where := newLocator(roots, nil, x.FileSystem)
	var mu sync.Mutex
	var group errgroup.Group
	group.SetLimit(dedupe.DefaultWorkers)
	var directory func(dir string) error
	directory = func(dir string) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		files, below := listDirectory(dir)
		mu.Lock()
		if at := where.of(dir + "/"); at.fileSystem != "" {
			l[at.place] = files
		}
		mu.Unlock()
		for _, dir := range below {
			if group.TryGo(func() error { return directory(dir) }) {
				continue
			}
			if err := directory(dir); err != nil {
				return err
			}
		}
		return nil
	}
	for _, root := range roots {
		root = mount.CleanPath(root)
		if st, err := os.Stat(root); err != nil || !st.IsDir() {
			return nil, &dedupe.RootError{Path: root, Why: "is no directory: name those whose files may be gone"}
		}
		group.Go(func() error { return directory(root) })
	}
	err := group.Wait()
	return l, cmp.Or(err, where.err)
}

// listDirectory returns the regular files in a directory, or nil if it cannot be listed,
// and the directories in it.
func listDirectory(dir string) (files map[uint64]state, below []string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil
	}
	files = make(map[uint64]state)
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		var st unix.Stat_t
		switch {
		case e.IsDir():
			below = append(below, path)
		case !e.Type().IsRegular():
		case unix.Lstat(path, &st) == nil:
			files[st.Ino] = state{st.Size, timestamp(st.Mtim), timestamp(st.Ctim)}
		}
	}
	return files, below
}

func timestamp(t unix.Timespec) dedupe.Timestamp {
	return dedupe.Timestamp{Sec: int64(t.Sec), Nsec: int32(t.Nsec)}
}

// Checked is the result of Verify.
type Checked struct {
	Known  int64 // files that the index answers for
	Read   int64 // those that were read again: at least one
	Wrong  []dedupe.File
	Unread []*dedupe.Problem // files that could not be read, or changed meanwhile

	// Refused is why the index does not answer for some directory, the first one; nil if
	// there is none.
	Refused error

	Interrupted bool // the context ended before all of the sample was read
}

// WrongShare is an upper bound on the share of known files that are wrong, with 95%
// confidence. It is 1 if none was read.
//
// If a share p is wrong, a sample of n files has no wrong one with a probability of
// (1-p)^n; the bound is the p for which that is 5%. With wrong files in the sample, it is
// the upper bound of Clopper and Pearson, as the root of a binomial sum.
func (c Checked) WrongShare() float64 {
	if c.Read == c.Known {
		return float64(len(c.Wrong)) / float64(max(c.Known, 1))
	}
	low, high := float64(len(c.Wrong))/float64(max(c.Read, 1)), 1.0
	for range 60 { // bits
		middle := (low + high) / 2
		if atMost(len(c.Wrong), c.Read, middle) > 0.05 {
			low = middle
		} else {
			high = middle
		}
	}
	return high
}

// atMost is the probability of at most k wrong files among n, if a share p is wrong.
func atMost(k int, n int64, p float64) float64 {
	sum, logChoose := 0.0, 0.0
	for i := range k + 1 {
		if i > 0 {
			logChoose += math.Log(float64(n)-float64(i)+1) - math.Log(float64(i))
		}
		sum += math.Exp(logChoose + float64(i)*math.Log(p) + (float64(n)-float64(i))*math.Log1p(-p))
	}
	return sum
}

// Verify reads again a share of the files that a scan of the selection would find in the
// index, at least one, and returns those whose digests differ from the index. When ctx is
// cancelled, it returns what it has found so far. Files that do not fit in the engine's
// memory are an error.
func (x *Index) Verify(ctx context.Context, sel dedupe.Selection, eng dedupe.Engine, share float64) (Checked, error) {
	found, _, err := dedupe.Walk(ctx, sel, nil, eng)
	if err != nil {
		return Checked{}, err
	}
	if err := eng.Fit(ctx, &found, knownMemory); err != nil {
		return Checked{}, err
	}
	h := eng.Local()
	s := x.scan(sel.Roots, eng.Within)
	s.Recall(ctx, &found)
	known := s.knownOf(found.Copies())
	rand.Shuffle(len(known), func(i, j int) { known[i], known[j] = known[j], known[i] })
	c := Checked{Known: int64(len(known)), Refused: s.where.err, Interrupted: found.Interrupted || ctx.Err() != nil} // Recall may not have looked up everything
	wanted := max(1, int64(math.Ceil(share*float64(len(known)))))
	for c.Read < wanted && len(known) > 0 && ctx.Err() == nil { // replaces files that cannot be read by others
		n := min(int(wanted-c.Read), len(known))
		check(ctx, h, known[:n], eng.Workers, &c)
		known = known[n:]
	}
	if err := s.failure(); err != nil {
		return c, err
	}
	return c, nil
}

// check reads files again and adds the result to c.
func check(ctx context.Context, h dedupe.Hasher, known []knownFile, workers int, c *Checked) {
	var mu sync.Mutex
	var group errgroup.Group
	group.SetLimit(workers)
	for _, k := range known {
		group.Go(func() error {
			right, problem := verify(ctx, h, k)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case problem != nil && ctx.Err() != nil:
				c.Interrupted = true
			case problem != nil:
				c.Unread = append(c.Unread, problem)
			case !right:
				c.Wrong = append(c.Wrong, k.File)
				fallthrough
			default:
				c.Read++
			}
			return nil
		})
	}
	group.Wait()
}

// knownOf returns the copies that the index answers for, under each name.
func (s *Scan) knownOf(copies iter.Seq[*dedupe.Copy]) (known []knownFile) {
	for f := range names(copies) {
		if d := s.knows(f); d != nil {
			if e := d.find(f); e != nil {
				known = append(known, knownFile{f, knowledge{e.ends, e.digest}})
			}
		}
	}
	return known
}

// knownMemory is how many bytes Verify takes for a file: a knownFile, its path, and its entry.
const knownMemory = 400

// knownFile is a file, and what the index knows of its content.
type knownFile struct {
	dedupe.File
	knowledge
}

// verify compares what the index knows of a file with its content.
func verify(ctx context.Context, h dedupe.Hasher, known knownFile) (right bool, _ *dedupe.Problem) {
	is := dedupe.Signed{Ends: known.ends}
	b := dedupe.Batch{Files: []dedupe.File{known.File}, Want: dedupe.StageEnds}
	if known.ends != 0 { // pass them as a peer's, so that the hasher reads the whole file unless it is large
		b.Peers = []dedupe.Ends{known.ends}
		is = h.Hash(ctx, b)[0]
	}
	if whole := known.digest != (dedupe.Digest{}); is.Problem == nil && whole {
		if is.Digest == (dedupe.Digest{}) {
			b.Want = dedupe.StageWhole
			all := h.Hash(ctx, b)[0]
			is.Digest, is.Problem = all.Digest, all.Problem
		}
		right = is.Digest == known.digest
	} else {
		right = true
	}
	if is.Problem != nil {
		return false, is.Problem
	}
	return right && is.Ends.Like(known.ends), nil
}
