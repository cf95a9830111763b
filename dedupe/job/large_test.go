//go:build large

package job

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"efsdedupe/dedupe"
	"efsdedupe/fixtures/testkit"
)

// TestLargeClass merges ten million files of one size, and of one digest.
func TestLargeClass(t *testing.T) { testMemory(t, 400) }

// TestLargeDirectory scans a directory with ten million entries. These are names of few
// inodes: what a unit holds of an entry is the same for each of the names. Each part lists all
// names, so only some parts run, and the others are lost.
func TestLargeDirectory(t *testing.T) {
	const inodes, each, parts = 1000, 10_000, 3
	t.Chdir(memoryDir(t))
	testkit.Must(t, os.Mkdir("tree", 0o777))
	for i := range inodes {
		first := fmt.Sprintf("tree/%d", i)
		testkit.Must(t, os.WriteFile(first, make([]byte, i/2+1), 0o666)) // two of each size, and equal
		for n := range each - 1 {
			testkit.Must(t, os.Link(first, fmt.Sprintf("%s-%d", first, n)))
		}
	}
	spec := Spec{Selection: dedupe.Selection{Roots: []string{"tree"}}, Workers: 8, Limits: DefaultLimits()}
	j, err := Open(filepath.Join(t.TempDir(), "store"), spec)
	testkit.Must(t, err)
	defer j.Close()
	do, stop, err := Local{}.start(j, 2, unitMemory)
	testkit.Must(t, err)
	defer stop()
	var walks atomic.Int64
	testkit.Must(t, j.run(t.Context(), Options{Concurrency: 2}, func(ctx context.Context, u unit) error {
		if u.Stage == walking && u.Pack != "" && walks.Add(1) > parts {
			return lostError{errors.New("it takes too long")}
		}
		return do(ctx, u)
	}))
	most := int64(0)
	for o := range j.outcomes() {
		most = max(most, o.PeakMemory)
	}
	r, _, _ := j.Answer()
	s, of := r.Stats, inodes*each/spec.Limits.Entries
	if want := inodes * each / walks.Load() * parts; s.Files < want*95/100 || s.Files > want*105/100 || s.DuplicateGroups != inodes/2 || r.Complete ||
		walks.Load() < of || walks.Load() > of+of/10 {
		t.Errorf("%d files, want about %d; %d groups, complete %v, %d parts, want about %d", s.Files, want, s.DuplicateGroups, r.Complete, walks.Load(), of)
	}
	if most > unitMemory {
		t.Errorf("a unit took %d bytes, want at most %d", most, unitMemory)
	}
	t.Logf("%d parts, each process at most %d MiB, %v of CPU time", walks.Load(), most>>20, s.CPU)
}

// memoryDir mounts a file system in memory with room for ten million names, of about 300
// bytes each.
func memoryDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	testkit.MountTmpfs(t, dir, "size=1g,nr_inodes=11m")
	return dir
}
