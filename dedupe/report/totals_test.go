package report

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// TestTotals compares with the simplest way to count. If there is too little room for all
// folders, those with the most to reclaim must be there, and no figure may be too high.
func TestTotals(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	all, few := newTotals(), newTotals()
	few.room = 100 * folderCost
	want := make(map[string]int64)
	var copies, bytes int64
	for range 2000 {
		g := group{size: 1 + random.Int64N(1000)}
		n := 2 + random.IntN(5)
		for _, t := range []*totals{all, few} {
			t.group(group{size: g.size, reclaimable: math.MaxInt64})
		}
		for i := range n {
			folder := fmt.Sprint("folder-", random.IntN(500))
			if random.IntN(2) == 0 {
				folder = "large" // half of all files
			}
			f := file{path: folder + "/file", hardLink: i > 0 && random.IntN(10) == 0}
			all.file(f)
			few.file(f)
			if i > 0 && !f.hardLink {
				want[folder] += g.size
				g.reclaimable += g.size
			}
		}
		copies, bytes = copies+all.copies, bytes+all.copies*g.size
		all.endGroup(g)
		few.endGroup(g)
	}
	if len(all.folders) != len(want) || all.least != 0 {
		t.Errorf("%d folders of %d", len(all.folders), len(want))
	}
	for _, in := range all.sorted() {
		if in.reclaimable != want[in.path] {
			t.Errorf("%s: %d bytes, want %d", in.path, in.reclaimable, want[in.path])
		}
	}
	if len(few.folders) > 100 || few.least == 0 || few.room < 0 {
		t.Errorf("%d folders in room for 100", len(few.folders))
	}
	for _, in := range few.sorted() {
		if in.reclaimable > want[in.path] {
			t.Errorf("%s: %d bytes are more than %d", in.path, in.reclaimable, want[in.path])
		}
	}
	if top := few.top(1); top[0].Path != "large" || top[0].Reclaimable != want["large"] {
		t.Errorf("top folder %+v, want %d bytes", top[0], want["large"])
	}
	for _, class := range all.histogram() {
		if class.Max != 0 && class.Max != 2*class.Min-1 {
			t.Errorf("a class of %d to %d bytes", class.Min, class.Max)
		}
		copies, bytes = copies-class.Count, bytes-class.Bytes
	}
	if copies != 0 || bytes != 0 {
		t.Errorf("the classes lack %d copies of %d bytes", copies, bytes)
	}
}

func TestFolderOf(t *testing.T) {
	for path, want := range map[string]string{"a": ".", "/a": "/", "./a/b": "./a", "a/b/c": "a/b", "a//b": "a/"} {
		if got := folderOf(path); got != want {
			t.Errorf("%s is in %s, want %s", path, got, want)
		}
	}
}
