package dedupe

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// lateChanges are changes of a file after the walk, and the problems that they become.
var lateChanges = []struct {
	name, op, want string
	change         func(path string) error
}{
	{"grown", "open", "changed during the scan: size was 5000 bytes, is 5001", func(path string) error {
		return os.WriteFile(path, append(random(5000), 'x'), 0o666)
	}},
	{"shrunk", "open", "changed during the scan: size was 5000 bytes, is 4999", func(path string) error {
		return os.Truncate(path, 4999)
	}},
	{"rewritten", "open", "changed during the scan: written to, or its inode touched", func(path string) error {
		return os.WriteFile(path, random(5000), 0o666)
	}},
	{"rewritten-in-secret", "open", "changed during the scan: written to, or its inode touched", func(path string) error {
		before, err := os.Stat(path)
		if err != nil {
			return err
		}
		return errors.Join(os.WriteFile(path, random(5000), 0o666), os.Chtimes(path, before.ModTime(), before.ModTime()))
	}},
	{"replaced", "open", "changed during the scan: replaced by another file", func(path string) error {
		return errors.Join(os.WriteFile("aside", random(5000), 0o666), os.Rename("aside", path))
	}},
	{"vanished", "open", "changed during the scan: vanished (no such file or directory)", os.Remove},
	{"now-a-link", "open", "changed during the scan: replaced by another kind of file (too many levels of symbolic links)", func(path string) error {
		return errors.Join(os.Remove(path), os.Symlink("in/same-1", path))
	}},
	{"now-a-fifo", "open", "changed during the scan: replaced by another file", func(path string) error {
		return errors.Join(os.Remove(path), syscall.Mkfifo(path, 0o666))
	}},
	{"now-a-directory", "open", "changed during the scan: replaced by another file", func(path string) error {
		return errors.Join(os.Remove(path), os.Mkdir(path, 0o777))
	}},
}

// TestChangedAfterTheWalk changes files between the walk and the read, in every way that
// files change. None of them may be in a group.
func TestChangedAfterTheWalk(t *testing.T) {
	for _, mode := range []Mode{Goroutines, Processes} {
		t.Run(string(mode), func(t *testing.T) {
			t.Chdir(t.TempDir())
			names := []string{"in/same-1", "in/same-2"}
			for _, c := range lateChanges {
				names = append(names, filepath.Join("in", c.name))
			}
			write(t, random(5000), names...)

			changed := false
			r := scan(t, options{Roots: []string{"in"}, Mode: mode, Observe: func(e Event) {
				if e.Stage == StageWalk || changed {
					return
				}
				changed = true
				for _, c := range lateChanges {
					if err := c.change(filepath.Join("in", c.name)); err != nil {
						t.Fatal(err)
					}
				}
			}})
			if diff := cmp.Diff([]group{{"in/same-1\x00in/same-2", 5000}}, groups(r)); diff != "" {
				t.Errorf("groups:\n%s", diff)
			}
			if r.Complete || len(r.Problems) != len(lateChanges) {
				t.Errorf("complete: %v, problems: %v", r.Complete, r.Problems)
			}
			for _, c := range lateChanges {
				path := filepath.Join("in", c.name)
				i := slices.IndexFunc(r.Problems, func(p *Problem) bool { return p.Path == path })
				if i < 0 {
					t.Errorf("%s is no problem", path)
				} else if p := r.Problems[i]; p.Op != c.op || p.Err.Error() != c.want || !errors.Is(p, ErrChanged) {
					t.Errorf("%s: %v, want %s %s", path, p, c.op, c.want)
				}
			}
		})
	}
}

// TestVanishedDirectory checks that files that vanish with their directory are problems
// under the names that the walk saw.
func TestVanishedDirectory(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, random(100), "in/a", "in/gone/b", "in/c")
	done := false
	r := scan(t, options{Roots: []string{"in"}, Observe: func(e Event) {
		if e.Stage != StageWalk && !done {
			done = true
			os.Rename("in/gone", "elsewhere")
		}
	}})
	if diff := cmp.Diff([]group{{"in/a\x00in/c", 100}}, groups(r)); diff != "" || len(r.Problems) != 1 || r.Problems[0].Path != "in/gone/b" {
		t.Errorf("%s\nproblems: %v", diff, r.Problems)
	}
}
