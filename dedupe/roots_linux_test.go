package dedupe

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"efsdedupe/dedupe/mount"
	"efsdedupe/fixtures/efs"
	"efsdedupe/fixtures/testkit"
)

// hang returns a fault that does not answer an operation on a path until the test ends,
// and a channel that is closed at the first such operation.
func hang(t *testing.T, op efs.Op, path string) (fault func(context.Context, *efs.Call) syscall.Errno, asked chan struct{}) {
	asked, release := make(chan struct{}), make(chan struct{})
	t.Cleanup(func() { close(release) })
	var once sync.Once
	return func(ctx context.Context, c *efs.Call) syscall.Errno {
		if c.Op != op || c.Path != path {
			return 0
		}
		once.Do(func() { close(asked) })
		select {
		case <-release:
			return syscall.EIO
		case <-ctx.Done():
			return syscall.EINTR
		}
	}, asked
}

// TestHungMount cancels scans that wait for a root, or a directory below it, that never
// answers.
func TestHungMount(t *testing.T) {
	src := t.TempDir()
	write(t, random(10), filepath.Join(src, "a"), filepath.Join(src, "dir", "b"))
	for _, op := range []efs.Op{efs.Lookup, efs.Readdir} {
		for _, root := range []string{"", "dir"} {
			t.Run(fmt.Sprint(op, " ", root), func(t *testing.T) {
				fault, asked := hang(t, op, "dir")
				dst := faulty(t, src, fault)
				ctx, cancel := context.WithCancel(t.Context())
				var hung Abandoned
				ended := make(chan Report)
				go func() {
					r, err := Scan(ctx, Selection{Roots: []string{filepath.Join(dst, root)}}, Engine{Mode: Goroutines, Workers: 3, Abandoned: &hung})
					if err != nil {
						t.Error(err)
					}
					ended <- r
				}()
				<-asked
				cancel()
				if r := <-ended; r.Complete || !r.Interrupted || hung.calls.Load() == 0 {
					t.Errorf("%+v, %d calls abandoned", r, hung.calls.Load())
				}
			})
		}
	}
}

// TestAbandoned checks that the number of hung calls is bounded, and that ended calls no
// longer count.
func TestAbandoned(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var hung Abandoned
	release := make(chan struct{})
	if hung.await(ctx, func() int { return maxAbandoned }, func() { <-release }) {
		t.Fatal("it ended")
	}
	dir := t.TempDir()
	eng := Engine{Mode: Goroutines, Workers: 1, Abandoned: &hung}
	if _, err := Scan(t.Context(), Selection{Roots: []string{dir}}, eng); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a scan though all calls hang: %v", err)
	}
	within, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer within.Close()
	if _, err := (&Engine{Within: within, Abandoned: &hung}).OpenWithin(t.Context(), "."); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("an open though all calls hang: %v", err)
	}
	close(release)
	for hung.admit() != nil {
		runtime.Gosched()
	}
	if _, err := Scan(t.Context(), Selection{Roots: []string{dir}}, eng); err != nil {
		t.Error(err)
	}
}

// TestRootsAreLookedAtOnce counts the requests to EFS for many roots that are files.
func TestRootsAreLookedAtOnce(t *testing.T) {
	src := t.TempDir()
	const n = 50
	var names []string
	for i := range n {
		names = append(names, fmt.Sprint("f", i))
		write(t, []byte(strings.Repeat("x", i+1)), filepath.Join(src, names[i]))
	}
	mount, dst := efs.MountForTest(t, src, efs.Options{})
	for i := range names {
		names[i] = filepath.Join(dst, names[i])
	}
	before := mount.Counters()
	if r := scan(t, options{Roots: names}); r.Stats.Files != n || len(r.FileSystems) != n || r.FileSystems[n-1].Type == "" {
		t.Errorf("%+v", r)
	}
	after := mount.Counters()
	if asked := after.Lookups + after.Getattrs - before.Lookups - before.Getattrs; asked > n+10 {
		t.Errorf("%d files were asked for %d times", n, asked)
	}
}

// TestPseudo checks that a scan skips pseudo file systems below a root, but enters a root
// inside one, and real file systems.
func TestPseudo(t *testing.T) {
	t.Chdir(t.TempDir())
	testkit.MountTmpfs(t, "in/dev/shm", "size=1m")
	write(t, random(100), "in/dev/shm/real", "in/real")
	var want []Skipped
	for _, kind := range []string{"bpf", "cgroup2", "debugfs", "devpts", "fusectl", "mqueue", "proc", "pstore", "securityfs", "sysfs", "tracefs", "binfmt_misc"} {
		dir := "in/dev/" + kind
		if err := os.MkdirAll(dir, 0o777); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount("dedupe-test", dir, kind, 0, ""); err != nil {
			t.Logf("%s is not here: %v", kind, err)
			continue
		}
		t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
		want = append(want, Skipped{dir, "pseudo_file_system"})
	}
	bind := func(from, to string) {
		t.Helper()
		if err := unix.Mount(from, to, "", unix.MS_BIND, ""); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Unmount(to, unix.MNT_DETACH) })
	}
	write(t, nil, "in/net", "in/sub/x")
	bind("/proc/self/ns/net", "in/net") // a file, as ip netns makes them
	bind("/proc/sys/kernel", "in/sub")
	want = append(want, Skipped{"in/net", "pseudo_file_system"}, Skipped{"in/sub", "pseudo_file_system"})
	slices.SortFunc(want, func(a, b Skipped) int { return strings.Compare(a.Path, b.Path) })

	within, err := os.Open("in")
	if err != nil {
		t.Fatal(err)
	}
	defer within.Close()
	r := scan(t, options{Roots: []string{"in"}})
	if !r.Complete || r.Stats.Files != 2 || len(r.Groups) != 1 || !slices.Equal(r.Skipped, want) {
		t.Errorf("%+v, %v, skipped %v, want %v", r.Stats, r.Problems, r.Skipped, want)
	}
	r = scan(t, options{Roots: []string{"."}, Within: within})
	if !r.Complete || r.Stats.Files != 2 || len(r.Skipped) != len(want) {
		t.Errorf("within: %+v, %v, skipped %v", r.Stats, r.Problems, r.Skipped)
	}
	r = scan(t, options{Roots: []string{"in", "in/sub/ostype", "in/dev/proc/self/ns"}})
	if r.Stats.Files < 3 {
		t.Errorf("a root in a pseudo file system was not scanned: %+v", r.Stats)
	}
}

// TestBytesOnce checks that an inode counts once, however many names it is found under.
func TestBytesOnce(t *testing.T) {
	t.Chdir(t.TempDir())
	testkit.MountTmpfs(t, "in/x", "size=1m")
	write(t, random(100), "in/x/a", "in/x/b")
	write(t, random(70), "in/x/alone")
	write(t, nil, "in/file", "in/y/below")
	for from, to := range map[string]string{"in/x": "in/y", "in/x/alone": "in/file"} {
		if err := unix.Mount(from, to, "", unix.MS_BIND, ""); err != nil {
			t.Fatal(err)
		}
		defer unix.Unmount(to, unix.MNT_DETACH)
	}
	for _, roots := range [][]string{{"in"}, {"in", "in/x", "in/y/a"}} {
		r := scan(t, options{Roots: roots})
		if r.Stats.Bytes != 270 || r.Stats.ReclaimableBytes != 100 || r.Stats.Files != 7 {
			t.Errorf("%v: %+v", roots, r.Stats)
		}
	}
}

// TestMovedOut checks that files added to a directory after it was moved out of
// Engine.Within are neither opened nor reported.
func TestMovedOut(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, random(10), "in/dir/old", "in/other")
	in, err := os.Open("in")
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	at := confinedDir{within: in}
	fd, err := at.openDirectory("dir")
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if !at.holds(fd) {
		t.Error("it is inside")
	}
	if err := os.Rename("in/dir", "out"); err != nil {
		t.Fatal(err)
	}
	write(t, random(10), "out/secret")
	w := &walker{at: at, ctx: t.Context(), eng: Engine{Workers: 1, Within: in, mounts: mount.Read()}}
	d := &directory{fd: fd, path: "dir"}
	w.look(d, "secret\x00missing\x00")
	w.look(d, "old\x00")
	if w.found.Files != 0 || len(w.found.Problems) != 1 || w.found.Problems[0].Path != "dir" || !errors.Is(w.found.Problems[0], ErrChanged) {
		t.Errorf("%d files, %v", w.found.Files, w.found.Problems)
	}
	if err := os.Rename("in", "moved"); err != nil { // with everything in it
		t.Fatal(err)
	}
	if fd, err := at.open("other", 0); err != nil {
		t.Error(err)
	} else {
		unix.Close(fd)
	}
}

// TestStepwise opens paths as on systems without openat2.
func TestStepwise(t *testing.T) {
	within := secrets(t)
	for path, want := range map[string]error{
		"a": nil, "sub/b": nil, "inside/b": unix.ENOTDIR, "out/secret": unix.ENOTDIR, "secret": unix.ELOOP, "sub/none": unix.ENOENT,
	} {
		fd, err := openStepwise(int(within.Fd()), path, unix.O_NONBLOCK)
		if err == nil {
			unix.Close(fd)
		}
		if !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", path, err, want)
		}
	}
}

// TestFittingWorkers checks that the default shrinks to the available file descriptors.
func TestFittingWorkers(t *testing.T) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	defer unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
	for _, test := range []struct {
		files uint64
		mode  Mode
		want  int
	}{{128, Goroutines, DefaultWorkers}, {64, Goroutines, 32}, {64, Processes, 10}, {8, Goroutines, 1}} {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: test.files, Max: limit.Max}); err != nil {
			t.Fatal(err)
		}
		if got := (&Engine{Mode: test.mode}).FittingWorkers(); got != test.want {
			t.Errorf("%d files, %s: %d workers, want %d", test.files, test.mode, got, test.want)
		}
	}
	if err := (&Engine{Mode: Goroutines, Workers: 1}).Validate(); err == nil || !strings.HasSuffix(err.Error(), "needs 33 file descriptors and the limit is 8: raise it with ulimit -n") {
		t.Errorf("too few for one worker: %v", err)
	}
}
