package dedupe

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// secrets makes a tree to scan within, with every kind of way out. Next to it are files
// that must not be seen and that equal some inside.
func secrets(t *testing.T) (within *os.File) {
	t.Helper()
	t.Chdir(t.TempDir())
	write(t, random(3000), "in/a", "in/sub/b", "out/secret", "out/deep/secret")
	for link, target := range map[string]string{
		"in/out":       "../out",
		"in/absolute":  mustAbs(t, "out"),
		"in/secret":    "../out/secret",
		"in/sub/up":    "..",
		"in/inside":    "sub",
		"in/dangling":  "nowhere",
		"in/sub/root":  "/",
		"in/sub/proc":  "/proc/self/root",
		"in/magic":     "/proc/self/cwd/out",
		"in/sub/loop":  "loop",
		"in/self-link": ".",
	} {
		if err := os.Symlink(target, link); err != nil {
			t.Fatal(err)
		}
	}
	within, err := os.Open("in")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { within.Close() })
	return within
}

func mustAbs(t *testing.T, path string) string {
	t.Helper()
	abs, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return abs
}

func TestWithin(t *testing.T) {
	within := secrets(t)
	for _, mode := range []Mode{Goroutines, Processes} {
		r := scan(t, options{Roots: []string{"."}, Mode: mode, Within: within})
		if diff := cmp.Diff([]group{{"a\x00sub/b", 3000}}, groups(r)); diff != "" || !r.Complete {
			t.Errorf("%s: %s %v", mode, diff, r.Problems)
		}
		r = scan(t, options{Roots: []string{"sub", "a"}, Mode: mode, Within: within})
		if diff := cmp.Diff([]group{{"a\x00sub/b", 3000}}, groups(r)); diff != "" {
			t.Errorf("%s: %s", mode, diff)
		}
	}
}

// leadsOut is paths that name, or would name, something outside a root.
var leadsOut = []string{
	"..", "../out", "sub/../../out", "/", "/etc/passwd", "out", "out/secret", "secret", "absolute", "inside", "sub/up/../../out",
	"sub/root/etc", "sub/proc", "magic", "self-link/a", "a/../../out", "./../out", "sub//b", "sub/./b", "./a", "a/", "", "a\x00b",
	"in", strings.Repeat("sub/", 2000), "sub/up/a", "...", "nowhere", "a/b",
}

// TestWithinLeadsNowhere checks that all such paths look as if they did not exist.
func TestWithinLeadsNowhere(t *testing.T) {
	within := secrets(t)
	for _, path := range leadsOut {
		_, err := walk(t.Context(), options{Roots: []string{path}, Within: within, Workers: 1})
		var bad *RootError
		if !errors.As(err, &bad) {
			t.Errorf("%q: %v", path, err)
		}
	}
}

// FuzzPlace opens any path within a directory. What it opens must be inside.
func FuzzPlace(f *testing.F) {
	for _, path := range append(leadsOut, ".", "a", "sub/b") {
		f.Add(path)
	}
	dir := f.TempDir()
	for _, name := range []string{"in", "out", "in/sub"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o777); err != nil {
			f.Fatal(err)
		}
	}
	inside := map[uint64]string{}
	for _, name := range []string{"in", "in/a", "in/sub", "in/sub/b"} {
		path := filepath.Join(dir, name)
		if !strings.HasSuffix(name, "in") && !strings.HasSuffix(name, "sub") {
			if err := os.WriteFile(path, nil, 0o666); err != nil {
				f.Fatal(err)
			}
		}
		inside[asFound(f, path).Inode] = name
	}
	for link, target := range map[string]string{"in/out": "../out", "in/sub/root": "/", "in/inside": "sub"} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			f.Fatal(err)
		}
	}
	within, err := os.Open(filepath.Join(dir, "in"))
	if err != nil {
		f.Fatal(err)
	}
	defer within.Close()
	f.Fuzz(func(t *testing.T, path string) {
		fd, err := confinedDir{within: within}.open(path, unix.O_NONBLOCK)
		if err != nil {
			return
		}
		defer unix.Close(fd)
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			t.Fatal(err)
		}
		if _, ok := inside[st.Ino]; !ok {
			t.Errorf("%q leads out", path)
		}
	})
}

// TestWithinSwap scans while directories and files are swapped with links that lead out.
// Nothing from outside may be in a group or named.
func TestWithinSwap(t *testing.T) {
	within := secrets(t)
	write(t, random(3000), "in/swapped/secret", "in/swapped/deep/secret")
	if err := os.Symlink("../out", "in/swap"); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var swapping sync.WaitGroup
	swapping.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				os.Rename("in/swap", "in/swap.1")
				os.Rename("in/swapped", "in/swap")
				os.Rename("in/swap.1", "in/swapped")
			}
		}
	})
	outside := map[uint64]bool{asFound(t, "out/secret").Inode: true, asFound(t, "out/deep/secret").Inode: true}
	for range 200 {
		r, err := scanContext(t.Context(), options{Roots: []string{"."}, Mode: Goroutines, Workers: 8, Within: within})
		if err != nil {
			t.Error(err)
		}
		for _, g := range r.Groups {
			for f := range g.Files() {
				if outside[f.Inode] {
					t.Errorf("%s led out", f.Path)
				}
			}
		}
	}
	close(stop)
	swapping.Wait()
}

func TestMaxFiles(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, random(10), "in/a", "in/b", "in/c")
	if _, err := walk(t.Context(), options{Roots: []string{"in"}, Workers: 1, MaxFiles: 2}); !errors.Is(err, ErrTooManyFiles) {
		t.Errorf("3 files, where 2 are allowed: %v", err)
	}
	if _, err := walk(t.Context(), options{Roots: []string{"in"}, Workers: 1, MaxFiles: 3}); err != nil {
		t.Errorf("3 files, where 3 are allowed: %v", err)
	}
}

// TestLinkedRoot checks that a root that is a symbolic link to a file is read, because
// the user named it.
func TestLinkedRoot(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, random(10), "dir/a", "b")
	if err := os.Symlink("dir/a", "link"); err != nil {
		t.Fatal(err)
	}
	r := scan(t, options{Roots: []string{"link", "b"}})
	if len(r.Groups) != 1 || !r.Complete || r.Groups[0].Copies[0].path() != mustAbs(t, "dir/a") {
		t.Errorf("%v %v", r.Groups, r.Problems)
	}
}
