package dedupe

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// linkedTree makes copies of files of several sizes, each with hard links whose names
// are far apart, in the working directory.
func linkedTree(t *testing.T) {
	t.Helper()
	for kind, size := range []int{10, smallMax + 1, mediumMax + 1} {
		content := random(size)
		for _, copy := range []string{"a", "b", "c"} {
			name := fmt.Sprint(copy, kind)
			write(t, content, name)
			for _, link := range []string{"z" + name, "0" + name} {
				if err := os.Link(name, link); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

// TestRefineFinishedReport refines what Scan returned, whose files are sorted by path.
// It finds the same copies again, and leaves the report as it was.
func TestRefineFinishedReport(t *testing.T) {
	t.Chdir(t.TempDir())
	linkedTree(t)
	opts := Options{Roots: []string{"."}, Mode: Goroutines, Workers: 4}
	whole := scan(t, opts)
	before := slices.Clone(whole.Groups)
	for _, by := range []Stage{StageEnds, StageWhole} {
		again := Refine(t.Context(), whole, new(LocalHasher), by, opts)
		if len(again.Groups) != len(whole.Groups) {
			t.Fatalf("%s: %d groups, were %d", by, len(again.Groups), len(whole.Groups))
		}
		for _, g := range again.Groups {
			if g.Copies() != 3 || len(g.Files) != 9 {
				t.Errorf("%s: %d copies among %d files of size %d, want 3 among 9", by, g.Copies(), len(g.Files), g.Size)
			}
		}
	}
	if diff := cmp.Diff(before, whole.Groups, cmp.AllowUnexported(Group{})); diff != "" {
		t.Errorf("the finished report changed:\n%s", diff)
	}
}

// TestRefineAnyOrder shuffles groups and their files between the stages: the groups
// that come out are those of a scan.
func TestRefineAnyOrder(t *testing.T) {
	t.Chdir(t.TempDir())
	linkedTree(t)
	opts := Options{Roots: []string{"."}, Mode: Goroutines, Workers: 4}
	want := scan(t, opts)
	for seed := range uint64(20) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		r, err := Walk(t.Context(), opts)
		if err != nil {
			t.Fatal(err)
		}
		for _, by := range []Stage{StageEnds, StageWhole} {
			rnd.Shuffle(len(r.Groups), func(i, j int) { r.Groups[i], r.Groups[j] = r.Groups[j], r.Groups[i] })
			for _, g := range r.Groups {
				rnd.Shuffle(len(g.Files), func(i, j int) { g.Files[i], g.Files[j] = g.Files[j], g.Files[i] })
			}
			r = Refine(t.Context(), r, new(LocalHasher), by, opts)
		}
		r.sort()
		if diff := cmp.Diff(want.Groups, r.Groups, cmp.AllowUnexported(Group{})); diff != "" {
			t.Fatalf("seed %d (-scan +shuffled):\n%s", seed, diff)
		}
	}
}
