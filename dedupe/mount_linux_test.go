package dedupe

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"efsdedupe/fixtures/testkit"

	"golang.org/x/sys/unix"
)

// TestMounts scans mounts with the same inode numbers. Equal files on them are copies,
// not links.
func TestMounts(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, dir := range []string{"in/a", "in/b"} {
		testkit.MountTmpfs(t, dir, "size=1m")
		write(t, random(100), filepath.Join(dir, "file"))
	}
	a, b := asFound(t, "in/a/file"), asFound(t, "in/b/file")
	if a.Inode != b.Inode || a.Device == b.Device {
		t.Fatalf("the test needs equal inode numbers on two devices: %+v, %+v", a, b)
	}
	r := scan(t, options{Roots: []string{"in"}})
	if len(r.Groups) != 1 || len(r.Groups[0].Copies) != 2 || r.Stats.Bytes != 200 {
		t.Errorf("%+v", r)
	}

	write(t, random(100), "in/here", "in/there")
	r = scan(t, options{Roots: []string{"in"}, OneFileSystem: true})
	if got := groups(r); len(got) != 1 || got[0].Paths != "in/here\x00in/there" || r.Stats.Directories != 1 {
		t.Errorf("%+v", r)
	}
	if want := []Skipped{{"in/a", "one_file_system"}, {"in/b", "one_file_system"}}; !slices.Equal(r.Skipped, want) {
		t.Errorf("skipped: %v, want %v", r.Skipped, want)
	}
	// A root on another file system is scanned, because it was asked for.
	r = scan(t, options{Roots: []string{"in", "in/b"}, OneFileSystem: true})
	if got := groups(r); len(got) != 1 || got[0].Paths != "in/b/file\x00in/here\x00in/there" {
		t.Errorf("%+v", r)
	}

	// A directory mounted in two places has its files once.
	if err := os.Mkdir("again", 0o777); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("in/a", "again", "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount("again", unix.MNT_DETACH)
	if r := scan(t, options{Roots: []string{"in/a", "again"}}); len(r.Groups) != 0 {
		t.Errorf("what a bind mount shows twice is one copy: %+v", r.Groups)
	}
}
