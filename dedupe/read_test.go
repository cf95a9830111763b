package dedupe

import (
	"encoding/json"
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"efsdedupe/fixtures"
)

// linkedTree fills the working directory with copies of files of several sizes, each with
// hard links whose names are far apart.
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

// TestReadFinished reads the files of a finished report, which are sorted by path. It
// must find the same copies and leave the report unchanged.
func TestReadFinished(t *testing.T) {
	t.Chdir(t.TempDir())
	linkedTree(t)
	opts := options{Roots: []string{"."}, Mode: Goroutines, Workers: 4}
	whole := scan(t, opts)
	before := answer(whole)
	for _, depth := range []Stage{StageEnds, StageWhole} {
		var copies []*Copy
		for f := range whole.Files() { // each name by itself
			copies = append(copies, CopyOf(f))
		}
		classes := 0
		signed, n := sortSigned(Read(t.Context(), slices.Values(copies), depth, opts.engine()), depth, len(copies))
		for class := range Join(depth, slices.Values(signed)) {
			classes++
			if g := groupOf(slices.Collect(class)); len(g.Copies) != 3 || g.Names() != 9 {
				t.Errorf("%s: %d copies among %d files of size %d, want 3 among 9", depth, len(g.Copies), g.Names(), g.Size)
			}
		}
		if classes != len(whole.Groups) || n != classes {
			t.Errorf("%s: %d classes, expected %d, were %d groups", depth, classes, n, len(whole.Groups))
		}
	}
	if diff := cmp.Diff(before, answer(whole)); diff != "" {
		t.Errorf("the finished report changed:\n%s", diff)
	}
}

// TestSplitReads splits the copies at random before each stage, even within one size and
// between names of one inode, and reads each part by itself. It then joins the signed
// copies as any number of streams. The groups must be those of Scan.
func TestSplitReads(t *testing.T) {
	t.Chdir(t.TempDir())
	linkedTree(t)
	if _, err := fixtures.Make(t.Context(), "tree", fixtures.Spec{Files: 300, Layout: fixtures.Tree, Seed: 1}); err != nil {
		t.Fatal(err)
	}
	for i := range 40 {
		write(t, variant([]int{smallMax + 1, lastFrom, mediumMax + 1}[i%3], i%7), fmt.Sprint("v", i))
	}
	opts := options{Roots: []string{"."}, Mode: Goroutines, Workers: 4}
	want := answer(Report{Groups: scan(t, opts).Groups})
	for seed := range uint64(20) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		found, err := walk(t.Context(), opts)
		if err != nil {
			t.Fatal(err)
		}
		parts := 1 + rnd.IntN(5)
		copies := found.Copies()
		var r Report
		for _, depth := range []Stage{StageEnds, StageWhole} {
			var signed []Signed
			for _, part := range split(rnd, copies, parts) {
				signed = slices.AppendSeq(signed, Read(t.Context(), slices.Values(part), depth, opts.engine()))
			}
			classes := Join(depth, streams(rnd, signed, depth)...)
			copies = flatten(classes)
			if depth == StageWhole {
				for class := range classes {
					r.Groups = append(r.Groups, groupOf(slices.Collect(class)))
				}
			}
		}
		r.sort()
		if diff := cmp.Diff(want, answer(Report{Groups: r.Groups})); diff != "" {
			t.Fatalf("seed %d, %d parts (-scan +parts):\n%s", seed, parts, diff)
		}
	}
}

// streams deals signed copies out to any number of streams, each in order.
func streams(rnd *rand.Rand, signed []Signed, depth Stage) []iter.Seq[*Copy] {
	parts := make([][]*Copy, rnd.IntN(5)+1)
	for _, s := range signed {
		i := rnd.IntN(len(parts))
		parts[i] = append(parts[i], s.Copy)
	}
	streams := make([]iter.Seq[*Copy], len(parts))
	for i, part := range parts {
		slices.SortFunc(part, depth.Compare)
		streams[i] = slices.Values(part)
	}
	return streams
}

// TestJoinSome stops reading classes early, at the first copy or later. The next class
// must still be whole.
func TestJoinSome(t *testing.T) {
	copies := ofSizes(5, 3, 2, 1)
	join := Join(StageEnds, slices.Values(copies[:7]), slices.Values(copies[7:]))
	var sizes []int64
	for class := range join {
		for c := range class {
			if sizes = append(sizes, c.size); c.size == 3 {
				break
			}
		}
		if len(sizes) == 1+5 {
			break
		}
	}
	if want := []int64{3, 2, 2, 2, 2, 2}; !slices.Equal(sizes, want) {
		t.Errorf("files of sizes %d, want %d", sizes, want)
	}
}

// split splits copies into parts at random. Some names of one inode end up in different
// parts.
func split(rnd *rand.Rand, copies iter.Seq[*Copy], parts int) [][]*Copy {
	all := make([][]*Copy, parts)
	add := func(c Copy) {
		i := rnd.IntN(parts)
		all[i] = append(all[i], &c)
	}
	for c := range copies {
		apart := *c
		if c.next != nil && parts > 1 && rnd.IntN(2) == 0 {
			apart.next = nil
			add(*c.next)
		}
		add(apart)
	}
	for _, part := range all {
		rnd.Shuffle(len(part), func(i, j int) { part[i], part[j] = part[j], part[i] })
	}
	return all
}

// TestSplitWalks walks a tree from random frontiers, with budgets and in parts. The
// merged inventories must equal that of one walk.
func TestSplitWalks(t *testing.T) {
	t.Chdir(t.TempDir())
	linkedTree(t)
	if _, err := fixtures.Make(t.Context(), "tree", fixtures.Spec{Files: 300, Layout: fixtures.Tree, Seed: 2}); err != nil {
		t.Fatal(err)
	}
	sel := Selection{Roots: []string{".", "tree", "./"}, Filter: Filter{Exclude: []string{"tree/*1*"}}}
	whole, left, err := Walk(t.Context(), sel, nil, Engine{Workers: 4})
	if err != nil || len(left) > 0 {
		t.Fatal(err, left)
	}
	want := inventoryText(&whole)
	for seed := range uint64(30) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		var all Inventory
		frontiers := []Frontier{{Root: "."}, {Root: "tree"}}
		for len(frontiers) > 0 {
			i := rnd.IntN(len(frontiers))
			f := frontiers[i]
			frontiers = slices.Delete(frontiers, i, i+1)
			if n := 1 + rnd.IntN(3); f.Of == 0 && n > 1 {
				for part := range n {
					frontiers = append(frontiers, Frontier{f.Root, f.Dir, part, n})
				}
				continue
			}
			found, left, err := Walk(t.Context(), sel, []Frontier{f}, Engine{Workers: 1 + rnd.IntN(4), Budget: int64(rnd.IntN(20))})
			if err != nil {
				t.Fatal(err)
			}
			all.Merge(&found)
			frontiers = append(frontiers, left...)
		}
		if diff := cmp.Diff(want, inventoryText(&all)); diff != "" {
			t.Fatalf("seed %d (-one walk +many):\n%s", seed, diff)
		}
	}
}

// TestSplitDirectory walks a directory that is far larger than the budget. Each walk must keep
// to the budget, and together they must find everything once.
func TestSplitDirectory(t *testing.T) {
	t.Chdir(t.TempDir())
	const files, budget = 3000, 100
	for i := range files {
		write(t, random(10), fmt.Sprintf("all/f%d", i))
	}
	write(t, random(10), "all/sub/f", "f")
	sel := Selection{Roots: []string{"."}}
	whole, _, err := Walk(t.Context(), sel, nil, Engine{Workers: 4})
	if err != nil {
		t.Fatal(err)
	}
	want := inventoryText(&whole)
	var all Inventory
	walks := 0
	for left := []Frontier{{Root: "."}}; len(left) > 0; walks++ {
		found, more, err := Walk(t.Context(), sel, left[:1], Engine{Workers: 4, Budget: budget})
		if err != nil || found.Files+found.Directories > budget+1 {
			t.Fatalf("%d files and %d directories with a budget of %d, error %v", found.Files, found.Directories, budget, err)
		}
		all.Merge(&found)
		left = append(more, left[1:]...)
	}
	if diff := cmp.Diff(want, inventoryText(&all)); diff != "" || walks > 5*files/budget {
		t.Errorf("%d walks (-one walk +many):\n%s", walks, diff)
	}
}

// inventoryText returns everything in an inventory, in a fixed order.
func inventoryText(v *Inventory) (lines []string) {
	for f := range v.All() {
		lines = append(lines, fmt.Sprintf("%+v", f))
	}
	slices.Sort(lines)
	return append(lines, fmt.Sprint(v.Files, v.Bytes, v.Directories, v.Problems, v.Skipped, v.Interrupted))
}

// TestSelectionJSON checks that selections and frontiers survive JSON, with any bytes in
// names and globs.
func TestSelectionJSON(t *testing.T) {
	for _, want := range []Selection{
		{},
		{Roots: []string{"/a", "b\xff\n", ""}, Filter: Filter{MinSize: 1, MaxSize: 2, Include: []string{"*.\xfe"}, Exclude: []string{"x", "\x00"}, Newer: time.Unix(1, 2).UTC()}, OneFileSystem: true},
	} {
		b, err := json.Marshal(want)
		var got Selection
		if err != nil || json.Unmarshal(b, &got) != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v came back as %+v from %s, error %v", want, got, b, err)
		}
	}
	for _, want := range []Frontier{{}, {"/a", "b/\xff", 3, 7}, {"\xff", "", 0, 0}} {
		b, err := json.Marshal(want)
		var got Frontier
		if err != nil || json.Unmarshal(b, &got) != nil || got != want {
			t.Errorf("%+v came back as %+v from %s, error %v", want, got, b, err)
		}
	}
}
