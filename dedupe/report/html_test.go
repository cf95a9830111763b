package report

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"

	"efsdedupe/dedupe"
)

// TestFolderTree compares the sums of a tree with those of a map, with room for all
// folders and without.
func TestFolderTree(t *testing.T) {
	for _, room := range []int{treeRoom, 20_000} {
		r := rand.New(rand.NewPCG(1, uint64(room)))
		tree := newFolderTree()
		tree.room = room
		want := make(map[string][2]int64)
		for range 20_000 {
			file := "/root"
			for range r.IntN(5) {
				file += fmt.Sprint("/", r.IntN(6))
			}
			report, bytes := r.IntN(2), r.Int64N(1000)
			tree.add(file+"/file", report, bytes)
			for above := file; ; above = path.Dir(above) {
				sums := want[above]
				sums[report] += bytes
				want[above] = sums
				if above == "/" {
					break
				}
			}
		}
		if tree.merged != (room < treeRoom) {
			t.Errorf("room %d: merged %t", room, tree.merged)
		}
		top := tree.sum()
		if top.path() != "/root" {
			t.Errorf("all are in %q", top.path())
		}
		got := make(map[string][2]int64)
		for _, f := range tree.root.largestFirst() {
			if f.above != nil {
				got[f.path()] = [2]int64{f.total[0].bytes, f.total[1].bytes}
			}
		}
		if !tree.merged && !maps.Equal(got, want) {
			t.Errorf("%d folders, want %d, or with other sums", len(got), len(want))
		}
		// What is merged counts further up, so no sum is larger, and that of everything is exact.
		for folder, sums := range got {
			if w := want[folder]; sums[0] > w[0] || sums[1] > w[1] {
				t.Errorf("%s: %d, want at most %d", folder, sums, w)
			}
		}
		if got["/root"] != want["/root"] || got["/"] != want["/"] {
			t.Errorf("%d in all, want %d", got["/root"], want["/root"])
		}
		before := got["/root"]
		tree.merge(7)
		if after := tree.sum().total; len(tree.nodes) != 7 || after[0].bytes != before[0] || after[1].bytes != before[1] {
			t.Errorf("%d folders with %v, want 7 with %v", len(tree.nodes), after, before)
		}
	}
}

// TestFolderTreePaths checks that folders are spelled as in the paths of files.
func TestFolderTreePaths(t *testing.T) {
	for file, want := range map[string]string{
		"/a": "/", "/a/b": "/a", "/a/b/c": "/a/b", "a": ".", "a/b": "a", "./a/b": "./a", "../a/b": "../a", "/a/\xff/c": "/a/\xff",
		strings.Repeat("a/", treeDepth+5) + "b": strings.TrimSuffix(strings.Repeat("a/", treeDepth), "/"),
	} {
		tree := newFolderTree()
		tree.add(file, 0, 1)
		if got := tree.current.path(); got != want {
			t.Errorf("%q is in %q, want %q", file, got, want)
		}
		if top := tree.sum(); top.path() != want || top.total[0].bytes != 1 {
			t.Errorf("%q: %q holds %d bytes, want %q to hold 1", file, top.path(), top.total[0].bytes, want)
		}
	}
}

// TestCleanFirst checks which folder the page suggests.
func TestCleanFirst(t *testing.T) {
	for _, test := range []struct {
		files map[string]int64
		want  string
	}{
		{map[string]int64{"t/a": 1}, "t"},
		{map[string]int64{"t/a/1": 5, "t/b/1": 6}, "t/b"},
		{map[string]int64{"t/a/1": 30, "t/b/x/1": 20, "t/b/y/1": 19, "t/b/z/1": 18}, "t/b"},   // not t/a, which holds less
		{map[string]int64{"t/a/1": 1, "t/b/c/d/1": 90, "t/b/2": 5}, "t/b/c/d"},                // almost everything
		{map[string]int64{"t/1": 50, "t/a/1": 10}, "t"},                                       // more directly in it
		{map[string]int64{"/a/1": 1, "/b/1": 2, "/c/1": 3}, "/c"},                             // several roots
		{map[string]int64{"a/1": 1, "b/x/1": 2, "b/y/1": 2}, "b"},                             // relative ones
		{map[string]int64{"t/a/x/1": 10, "t/a/y/1": 10, "t/b/1": 1, "t/a/x/z/1": 3}, "t/a/x"}, // more than half of the one above
	} {
		tree := newFolderTree()
		for file, bytes := range test.files {
			tree.add(file, 0, bytes)
		}
		if got := tree.sum().first().path(); got != test.want {
			t.Errorf("%v: %q, want %q", test.files, got, test.want)
		}
	}
}

// TestVisible checks that no character of a name is hidden, and none is markup.
func TestVisible(t *testing.T) {
	for name, want := range map[string]string{
		"plain": "plain", "<b>&\"'": "&lt;b&gt;&amp;&#34;&#39;", "\u202e": `<u>\u202e</u>`, "\xff\xfe": `<u>\xff\xfe</u>`, "\ufffd": "\ufffd", "\x00\n": `<u>\x00\n</u>`,
		" a b ": `<u>\x20</u>a b<u>\x20</u>`, `\`: `<u>\\</u>`, "é": "é", "日本": "日本", "\u00a0\u2028\U000e0041": `<u>\u00a0\u2028\U000e0041</u>`, "\u3164": `<u>\u3164</u>`,
		"e\u0301\u0301\u0301\u0301x": "e\u0301\u0301\u0301<u>\\u0301</u>x",
	} {
		if got := visible(name, true, true); string(got) != want {
			t.Errorf("%q becomes %q, want %q", name, got, want)
		}
		plain := strings.NewReplacer("<u>", "", "</u>", "").Replace(want)
		if got := visible(name, true, false); string(got) != plain {
			t.Errorf("%q becomes %q in an attribute, want %q", name, got, plain)
		}
	}
	if got := visible(`a\ `, false, true); got != `a\ ` {
		t.Errorf("text becomes %q", got)
	}
}

// FuzzVisible checks that text cannot become markup, and that names stay different.
func FuzzVisible(f *testing.F) {
	f.Add("<script>", "&lt;script>")
	f.Add(`\x1b`, "\x1b")
	f.Add(" ", `\x20`)
	f.Fuzz(func(t *testing.T, a, b string) {
		shown := func(s string) string {
			text := string(visible(s, true, true))
			if inert := strings.NewReplacer("<u>", "", "</u>", "").Replace(text); strings.ContainsAny(inert, "<>\"'\n\r\x00\u202e") {
				t.Errorf("%q becomes %q", s, text)
			}
			return string(visible(s, true, false))
		}
		if (a == b) != (shown(a) == shown(b)) {
			t.Errorf("%q and %q both become %q", a, b, shown(a))
		}
	})
}

func TestPercentOf(t *testing.T) {
	for _, test := range []struct {
		amount, whole int64
		want          string
	}{{0, 0, "0%"}, {0, 9, "0%"}, {9, 9, "100%"}, {1, 3, "33%"}, {1, 100, "1%"}, {1, 1000, "0.1%"}, {1, 10_000, "under 0.1%"}, {997, 1000, "99.7%"}, {99_999, 100_000, "over 99.9%"}, {15, 1000, "1.5%"}} {
		if got := percentOf(test.amount, test.whole); got != test.want {
			t.Errorf("%d of %d is %q, want %q", test.amount, test.whole, got, test.want)
		}
	}
}

// TestHTMLLargestNames holds a page to its size if every text in it is as long as it can
// be.
func TestHTMLLargestNames(t *testing.T) {
	long := func(c string, i int) string {
		return "/" + strings.TrimPrefix(strings.Repeat("/"+strings.Repeat(c, 250/len(c)), 15), "/") + fmt.Sprint("/", i)
	}
	for _, c := range []string{"a", "\xff", "<", "&", "\u202e"} {
		var b bytes.Buffer
		h := newHTMLWriter(&b, Options{})
		h.begin(nil)
		for i := range 300 {
			g := group{size: 1000, reclaimable: 2000, copies: 3}
			h.group(g)
			for j := range 3 {
				h.file(file{path: long(c, i*3+j) + "/file", inode: uint64(i*3 + j)})
			}
			h.endGroup(g)
			h.twin(twin{set: int64(i / 2), files: 1, bytes: 1, reclaimable: 1, path: long(c, i)})
			h.problem(&dedupe.Problem{Path: long(c, i), Op: "open", Err: errors.New(strings.Repeat(c, 5000))})
			h.skip(dedupe.Skipped{Path: long(c, i), Rule: "own_output"})
		}
		d := new(document)
		for range 100 {
			d.Roots, d.RootsBase64 = append(d.Roots, ""), append(d.RootsBase64, []byte(long(c, 0)))
		}
		d.Tool = &Tool{Name: strings.Repeat(c, 9999), Version: strings.Repeat(c, 9999)}
		d.Mode, d.Workers = "goroutines", 1
		if err := h.end(d); err != nil {
			t.Fatal(err)
		}
		if t.Logf("%q: %d bytes", c, b.Len()); b.Len() > smallPage {
			t.Errorf("%q: %d bytes, want at most %d", c, b.Len(), smallPage)
		}
	}
}

// TestHTMLOrder checks that a page lists the same groups whatever the order of the report.
func TestHTMLOrder(t *testing.T) {
	list := func(order []int) string {
		var top topGroups
		for _, i := range order {
			g := shownGroup{group: group{size: int64(i)}, rank: int64(i), cost: 1000}
			top.add(g)
		}
		var b strings.Builder
		for _, g := range top.sorted() {
			fmt.Fprintln(&b, g.size)
		}
		return b.String()
	}
	order := make([]int, 5000)
	for i := range order {
		order[i] = i
	}
	up := list(order)
	slices.Reverse(order)
	down := list(order)
	if up != down || !strings.HasPrefix(up, "4999\n4998\n") || strings.Count(up, "\n") != pageKept/1000 {
		t.Errorf("%d and %d groups: %.40q", strings.Count(up, "\n"), strings.Count(down, "\n"), up)
	}
}
