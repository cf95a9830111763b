package choose

import (
	"slices"
	"testing"

	"efsdedupe/dedupe"
)

func TestLocate(t *testing.T) {
	c := Chooser{roots: make(map[string]Root)}
	for _, root := range []Root{{Path: "."}, {"t/in", []string{"/home/t/in"}}, {Path: "/"}, {Path: ".."}, {Path: "file"}, {Path: "../../x"}} {
		c.roots[root.Path] = root
	}
	for path, want := range map[string]struct{ root, rel string }{
		"./a":         {".", "a"},
		"./-rf/b":     {".", "-rf/b"},
		"t/in/a/b":    {"t/in", "a/b"},
		"t/in":        {"t/in", "in"},
		"t/inside":    {".", "t/inside"},
		"/a/b":        {"/", "a/b"},
		"../a":        {"..", "a"},
		"../../a":     {"../../a", "a"},
		"../../x/y/z": {"../../x", "y/z"},
		"file":        {"file", "file"},
	} {
		if got := c.locate(path); got.root != want.root || got.rel != want.rel {
			t.Errorf("%s is %q below %q, want %q below %q", path, got.rel, got.root, want.rel, want.root)
		}
	}
	if got := c.locate("t/in/a").spellings; !slices.Equal(got, spellings{"t/in/a", "/home/t/in/a"}) {
		t.Errorf("t/in/a is also %q", got)
	}
}

func TestIsBelow(t *testing.T) {
	for _, test := range []struct {
		path, dir string
		want      bool
	}{
		{"a/b", "a", true}, {"a", "a", true}, {"ab", "a", false}, {"/a", "/", true}, {"a", "/", false},
		{"a", ".", true}, {"../a", ".", false}, {"..", ".", false}, {"/a", ".", false}, {"..a", ".", true},
	} {
		if got := isBelow(test.path, test.dir); got != test.want {
			t.Errorf("isBelow(%q, %q) = %v", test.path, test.dir, got)
		}
	}
}

// Two inodes that a report cannot tell apart, because it does not name their devices, are
// kept both rather than one of them.
func TestSameInodeOnTwoDevices(t *testing.T) {
	c, err := New(Rules{Keep: First}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	g := c.Group()
	for _, path := range []string{"a", "b"} {
		g.Add(&File{File: dedupe.File{Path: path, Inode: 7}})
	}
	g.Add(&File{File: dedupe.File{Path: "c", Inode: 8, Links: 1}})
	g.End(10)
	if b := (&File{File: dedupe.File{Path: "b", Inode: 7}}); !g.Keeps(b) || g.Copies != 3 || g.Reclaimable != 10 {
		t.Errorf("keeps b: %v; %d copies, %d bytes", g.Keeps(b), g.Copies, g.Reclaimable)
	}
}
