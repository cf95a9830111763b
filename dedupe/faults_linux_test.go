package dedupe

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"efsdedupe/fixtures/efs"
	"efsdedupe/fixtures/testkit"
)

// faulty mounts src with faults until the test ends.
func faulty(t *testing.T, src string, fault func(context.Context, *efs.Call) syscall.Errno) string {
	t.Helper()
	_, dst := efs.MountForTest(t, src, efs.Options{Fault: fault})
	return dst
}

// TestEndsMetered lets EFS count what reading the ends of files takes: no byte more, and
// the least that is metered. Whatever is read further is read once.
func TestEndsMetered(t *testing.T) {
	const files = 5
	for name, test := range map[string]struct {
		size, differ int   // where
		reads, bytes int64 // of each file; the kernel decides into how many READs it divides the middle
	}{
		"large files that differ at the end":     {4 << 20, 4<<20 - 1, 2, 2 * endSize},
		"medium files that differ at the start":  {300 << 10, 0, 1, endSize},
		"medium files that differ at the end":    {300 << 10, 300<<10 - 1, 2, 2 * endSize},
		"medium files that differ in the middle": {300 << 10, 150 << 10, 0, 300 << 10},
	} {
		t.Run(name, func(t *testing.T) {
			src := t.TempDir()
			for i := range files {
				content := random(test.size)
				content[test.differ] = byte(i)
				write(t, content, filepath.Join(src, "in", string(rune('a'+i))))
			}
			fs, dst := efs.MountForTest(t, src, efs.Options{})
			r := scan(t, options{Roots: []string{filepath.Join(dst, "in")}})
			want := efs.Counters{Opens: files, Reads: test.reads * files, BytesRead: test.bytes * files, MeteredReadBytes: test.bytes * files}
			got := fs.Counters()
			if test.reads == 0 {
				want.Reads = got.Reads
			}
			got = efs.Counters{Opens: got.Opens, Reads: got.Reads, BytesRead: got.BytesRead, MeteredReadBytes: got.MeteredReadBytes}
			if got != want || r.Stats.Opens != want.Opens || r.Stats.BytesRead != want.BytesRead || len(r.Groups) != 0 {
				t.Errorf("EFS counts %+v, want %+v; the scan %+v", got, want, r.Stats.Work)
			}
		})
	}
}

// everyOther fails every other call on a file.
func everyOther(errno syscall.Errno) func(context.Context, *efs.Call) syscall.Errno {
	var mu sync.Mutex
	failed := make(map[efs.Call]bool)
	return func(_ context.Context, c *efs.Call) syscall.Errno {
		mu.Lock()
		defer mu.Unlock()
		if c.Op == efs.Close || c.Path == "" {
			return 0
		}
		if failed[*c] = !failed[*c]; failed[*c] {
			return errno
		}
		return 0
	}
}

// mountFault is a fault in the file "bad", and its effect on a scan.
type mountFault struct {
	fault   func(context.Context, *efs.Call) syscall.Errno
	op, err string // of the problem; empty if there is none
	changed bool
	read    int64 // bytes of the bad file
}

// TestMountFaults scans a mount on which one of four files fails, in every way that EFS
// fails. Both modes must report the same.
func TestMountFaults(t *testing.T) {
	src := t.TempDir()
	content := random(3*bufferSize + 1000)
	size := int64(len(content))
	var files []string
	for i := range 4 {
		files = append(files, filepath.Join(src, "in", strconv.Itoa(i)))
	}
	write(t, content, files...)
	// Files are read in the order of their inodes, which need not be that of their creation.
	slices.SortFunc(files, func(a, b string) int {
		x, y := asFound(t, a), asFound(t, b)
		return x.inode().compare(y.inode())
	})
	for i, name := range []string{"a", "bad", "c", "d"} {
		testkit.Must(t, os.Rename(files[i], filepath.Join(src, "in", name)))
	}
	on := func(op efs.Op, after int64, errno syscall.Errno) func(context.Context, *efs.Call) syscall.Errno {
		return func(_ context.Context, c *efs.Call) syscall.Errno {
			if c.Path == "in/bad" && c.Op == op && c.Offset >= after && c.Offset < size-endSize {
				return errno
			}
			return 0
		}
	}
	short := func(_ context.Context, c *efs.Call) syscall.Errno {
		c.Size = min(c.Size, 10_007)
		return 0
	}
	stale := "changed during the scan: vanished (" + syscall.ESTALE.Error() + ")"
	for name, test := range map[string]mountFault{
		"EIO in the middle":    {on(efs.Read, bufferSize, syscall.EIO), "read", "input/output error", false, bufferSize + endSize},
		"EIO when opened":      {on(efs.Open, 0, syscall.EIO), "open", "input/output error", false, 0},
		"ESTALE when opened":   {on(efs.Open, 0, syscall.ESTALE), "open", stale, true, 0},
		"ESTALE in the middle": {on(efs.Read, 2*bufferSize, syscall.ESTALE), "read", stale, true, 2*bufferSize + endSize},
		"EINTR":                {everyOther(syscall.EINTR), "", "", false, size},
		"short reads":          {short, "", "", false, size},
	} {
		t.Run(name, func(t *testing.T) {
			dst := filepath.Join(faulty(t, src, test.fault), "in")
			goroutines := test.scan(t, dst, Goroutines, size)
			if diff := cmp.Diff(goroutines, test.scan(t, dst, Processes, size)); diff != "" {
				t.Errorf("the modes differ, -goroutines +processes:\n%s", diff)
			}
		})
	}
}

// scan scans dst, checks the report and returns its answer.
func (f *mountFault) scan(t *testing.T, dst string, mode Mode, size int64) string {
	t.Helper()
	r := scan(t, options{Roots: []string{dst}, Mode: mode})
	copies := []string{"a", "bad", "c", "d"}
	bad := filepath.Join(dst, "bad")
	switch {
	case f.op == "":
		if !r.Complete || len(r.Problems) != 0 {
			t.Errorf("%s: %v", mode, r.Problems)
		}
	case len(r.Problems) != 1:
		t.Fatalf("%s: problems: %v", mode, r.Problems)
	default:
		copies = []string{"a", "c", "d"}
		if p := r.Problems[0]; p.Path != bad || p.Op != f.op || p.Err.Error() != f.err || errors.Is(p, ErrChanged) != f.changed {
			t.Errorf("%s: %v, want %s %s", mode, p, f.op, f.err)
		}
	}
	for i, name := range copies {
		copies[i] = filepath.Join(dst, name)
	}
	if diff := cmp.Diff([]group{{strings.Join(copies, "\x00"), size * int64(len(copies)-1)}}, groups(r)); diff != "" {
		t.Errorf("%s: groups:\n%s", mode, diff)
	}
	if r.Stats.BytesRead != 3*size+f.read {
		t.Errorf("%s: %d bytes read of the bad file, want %d", mode, r.Stats.BytesRead-3*size, f.read)
	}
	return answer(r)
}

// TestMountHangs cancels a scan of a mount on which a read never ends.
func TestMountHangs(t *testing.T) {
	src := t.TempDir()
	write(t, random(1000), filepath.Join(src, "a"), filepath.Join(src, "b"), filepath.Join(src, "hangs"))
	for _, mode := range []Mode{Goroutines, Processes} {
		t.Run(string(mode), func(t *testing.T) {
			hanging, release := make(chan struct{}), make(chan struct{})
			var once sync.Once
			dst := faulty(t, src, func(ctx context.Context, c *efs.Call) syscall.Errno {
				if c.Op != efs.Read || c.Path != "hangs" {
					return 0
				}
				once.Do(func() { close(hanging) })
				select {
				case <-release:
					return syscall.EIO
				case <-ctx.Done():
					return syscall.EINTR
				}
			})
			t.Cleanup(func() { close(release) })
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan Report)
			go func() {
				r, err := scanContext(ctx, options{Roots: []string{dst}, Mode: mode, Workers: 3, Worker: worker})
				if err != nil {
					t.Error(err)
				}
				ended <- r
			}()
			<-hanging
			cancel()
			if r := <-ended; r.Complete {
				t.Errorf("it says it is complete: %+v", r)
			}
		})
	}
}

// TestReadsAtOnce scans a mount that holds back its answers until as many files of one size
// as there are workers have been opened, or all of them. Then no more may be in flight.
func TestReadsAtOnce(t *testing.T) {
	const files = mostTogether
	src := t.TempDir()
	for i := range files {
		write(t, variant(3*bufferSize, i), filepath.Join(src, string(rune('a'+i))))
	}
	for _, workers := range []int{1, 3, files, 3 * files} {
		f := flight{enough: min(workers, files), full: make(chan struct{})}
		dst := faulty(t, src, f.fault)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		r, err := scanContext(ctx, options{Roots: []string{dst}, Mode: Goroutines, Workers: workers})
		if err != nil || !r.Complete {
			t.Errorf("%d workers never had that many files in flight: %v, %v", workers, err, r.Problems)
		}
		if f.most > workers {
			t.Errorf("%d workers had %d calls in flight", workers, f.most)
		}
	}
}

// flight counts the calls in flight for files.
type flight struct {
	enough int           // calls to wait for
	full   chan struct{} // closed when they are there

	mu        sync.Mutex
	now, most int
}

// fault waits until there are enough calls. It never counts too many, because each call of
// Fault ends before that of the file system.
func (f *flight) fault(ctx context.Context, c *efs.Call) syscall.Errno {
	if c.Op != efs.Open && c.Op != efs.Read {
		return 0
	}
	f.mu.Lock()
	f.now++
	if f.most = max(f.most, f.now); f.most == f.enough && f.now == f.enough {
		select {
		case <-f.full:
		default:
			close(f.full)
		}
	}
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.now--
	}()
	select {
	case <-f.full:
		return 0
	case <-ctx.Done():
		return syscall.EINTR
	}
}
