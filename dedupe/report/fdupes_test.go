package report

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"efsdedupe/dedupe"
)

var largeHead = strings.Repeat("head", mib/2)

// fdupesTree is the files of a tree, and their content.
var fdupesTree = map[string]string{
	"one":                   "1",
	"a/b/c/one":             "1",
	"a/-one":                "1",
	"alone":                 "2", // the same size, but no duplicate
	"empty":                 "",
	"a/void":                "",
	"a/ spaces ":            "names",
	"a/\xff\xfe":            "names",
	"a/\x1b[31m":            "names",
	"a/back\\slash\ttab\"":  "names",
	"a/日本語":                 "names",
	"large":                 largeHead + "x",
	"a/large":               largeHead + "x",
	"a/b/same head":         largeHead + "y",
	"linked":                "linked",
	"a/copy of linked":      "linked",
	"a/linked to itself":    "links only", // one inode, so no duplicate
	"a/b/c/d/e/f/g/nothing": "nothing like it",
}

// TestFdupes compares with what fdupes itself finds and prints.
func TestFdupes(t *testing.T) {
	fdupes, err := exec.LookPath("fdupes")
	if err != nil {
		t.Skip("fdupes is missing: apt install fdupes: ", err)
	}
	dir := t.TempDir()
	for path, content := range fdupesTree {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	for _, link := range [][2]string{{"linked", "a/b/linked"}, {"a/linked to itself", "z"}} {
		if err := os.Link(filepath.Join(dir, link[0]), filepath.Join(dir, link[1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("one", filepath.Join(dir, "symlink")); err != nil {
		t.Fatal(err)
	}

	theirs, err := exec.Command(fdupes, "-q", "-r", dir).Output()
	if err != nil {
		t.Fatal(err)
	}
	r, err := dedupe.Scan(t.Context(), dedupe.Selection{Roots: []string{dir}}, dedupe.Engine{Mode: dedupe.Goroutines, Workers: 4})
	if err != nil || !r.Complete {
		t.Fatalf("complete %v, error %v", r.Complete, err)
	}
	ours := write(t, Fdupes, sample{report: r}, false)

	want := fdupesGroups(t, theirs)
	if len(want) != 5 {
		t.Fatalf("fdupes found %d groups of 5:\n%s", len(want), theirs)
	}
	if diff := cmp.Diff(want, fdupesGroups(t, ours)); diff != "" {
		t.Errorf("groups (-fdupes +dedupe):\n%s", diff)
	}

	// The output ends as with fdupes: with an empty line, or nothing if there is no
	// group.
	if !bytes.HasSuffix(theirs, []byte("\n\n")) || !bytes.HasSuffix(ours, []byte("\n\n")) {
		t.Errorf("fdupes ends in %q, dedupe in %q", theirs[len(theirs)-2:], ours[len(ours)-2:])
	}
}

// fdupesGroups returns the groups, sorted, and the files of each. It names a file with
// hard links by its inode, because any of its names may be printed.
func fdupesGroups(t *testing.T, output []byte) []string {
	t.Helper()
	var groups []string
	for block := range strings.SplitSeq(strings.TrimRight(string(output), "\n"), "\n\n") {
		files := strings.Split(block, "\n")
		for i, path := range files {
			info, err := os.Lstat(path)
			if err != nil {
				t.Fatal(err)
			}
			if st := info.Sys().(*syscall.Stat_t); st.Nlink > 1 {
				files[i] = fmt.Sprint("inode ", st.Ino)
			}
		}
		slices.Sort(files)
		groups = append(groups, fmt.Sprintf("%q", files))
	}
	slices.Sort(groups)
	return groups
}
