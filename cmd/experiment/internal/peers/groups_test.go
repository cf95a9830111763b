package peers

import (
	"slices"
	"strings"
	"testing"
)

// TestIdentify checks whom names stand for.
func TestIdentify(t *testing.T) {
	const root = "/tmp/odd/tree/"
	for _, test := range []struct {
		names   []string
		inodes  []uint64
		unknown []string
	}{
		{[]string{root + "a b", root + ".hidden"}, []uint64{1, 10}, nil},
		{[]string{root + "new", "line", root + "a b"}, []uint64{1, 2}, nil},
		{[]string{root + "new", root + "a b"}, []uint64{1}, []string{root + "new"}},
		{[]string{root + "dir/second", root + "dir/third-link"}, []uint64{22}, nil},
		{[]string{"/etc/passwd", "a b", root + "a b"}, []uint64{1}, []string{"/etc/passwd", "a b"}},
		{[]string{"/tmp/odd/tree", "/tmp/odd/treea b"}, nil, []string{"/tmp/odd/tree", "/tmp/odd/treea b"}},
	} {
		inodes, unknown := oddView().identify(test.names)
		if !slices.Equal(inodes, test.inodes) || !slices.Equal(unknown, test.unknown) {
			t.Errorf("%q: %v, %q", test.names, inodes, unknown)
		}
	}
}

// TestDifferences compares groupings that differ in known ways.
func TestDifferences(t *testing.T) {
	group := func(all ...string) grouping {
		var lines [][]string
		for _, names := range all {
			var g []string
			for _, name := range strings.Fields(names) {
				g = append(g, "/r/"+name)
			}
			lines = append(lines, g)
		}
		p := view{"/r", func(name string) (uint64, bool) { return uint64(name[0]), len(name) == 1 }}
		return p.grouping(lines)
	}
	truth := group("a b c", "d e", "f g")
	for _, test := range []struct {
		found grouping
		want  string
	}{
		{group("g f", "e d", "c a b"), ""},
		{group("a b c", "d e", "f g", "h"), ""},
		{group("a b c", "d e"), "1 of 3 groups not as they are, 2 files missed, 0 files called copies that are none"},
		{group("a b", "d e", "f g"), "1 of 3 groups not as they are, 1 files missed, 0 files called copies that are none"},
		{group("a b c h", "d e", "f g"), "1 of 3 groups not as they are, 0 files missed, 1 files called copies that are none"},
		{group("a b c", "d e f g"), "2 of 3 groups not as they are, 0 files missed, 2 files called copies that are none"},
		{group("a b c", "d e", "f g", "h i"), "0 of 3 groups not as they are, 0 files missed, 1 files called copies that are none"},
		{group("a b c", "d e", "f g?"), `1 of 3 groups not as they are, 2 files missed, 0 files called copies that are none, 1 names of no file such as "/r/g?"`},
		{group(), "3 of 3 groups not as they are, 7 files missed, 0 files called copies that are none"},
	} {
		if got := differences(test.found, truth); got != test.want {
			t.Errorf("%v:\n got %s\nwant %s", test.found.groups, got, test.want)
		}
	}
}
