package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"efsdedupe/fixtures/testkit"
)

// TestListsAgainstOracle scans files that lists name, besides a folder.
func TestListsAgainstOracle(t *testing.T) {
	onRandomTrees(t, func(t *testing.T, rnd *rand.Rand) {
		all := rules{roots: []string{"t"}}
		files, _ := all.look(t)
		var zeros, lines bytes.Buffer
		r := rules{keep: "first", minSize: int64(rnd.IntN(2))}
		if rnd.IntN(2) == 0 {
			r.roots = []string{"t/one"}
		}
		for _, f := range files {
			switch rnd.IntN(3) {
			case 0:
				continue
			case 1:
				if !strings.Contains(f.path, "\n") {
					r.listed = append(r.listed, f.path)
					lines.WriteString(f.path + "\n")
					continue
				}
			}
			r.listed = append(r.listed, f.path)
			zeros.WriteString(f.path + "\x00")
		}
		testkit.Must(t, os.WriteFile("lines", lines.Bytes(), 0o666))
		testkit.Must(t, os.WriteFile("zeros", zeros.Bytes(), 0o666))
		files, _ = r.look(t)
		groups, unique := r.groups(files)
		var got answer
		args := slices.Concat([]string{"scan", "--format", "json", "--unique", "--files-from", "lines", "--files0-from", "zeros"}, r.args(), r.roots)
		testkit.Must(t, json.Unmarshal(output(t, args...), &got))
		gotGroups, _, gotUnique := got.lines(t, true)
		sameLines(t, "groups", groups, gotGroups)
		sameLines(t, "unique", unique, gotUnique)
	})
}

// TestScriptLosesNothing runs scripts in copies of random trees of traps, with each shell
// that is there: every content still exists, and protected files are as they were.
func TestScriptLosesNothing(t *testing.T) {
	var shells [][]string
	for _, shell := range [][]string{{"dash"}, {"bash"}, {"busybox", "sh"}, {"sh"}} {
		if _, err := exec.LookPath(shell[0]); err == nil {
			shells = append(shells, shell)
		}
	}
	onRandomTrees(t, func(t *testing.T, rnd *rand.Rand) {
		r := randomRules(rnd)
		by := []string{"hardlink", "delete"}[rnd.IntN(2)]
		script := output(t, slices.Concat([]string{"scan", "--format", "sh", "--by", by}, r.args(), r.filters(), r.roots)...)
		before, _ := r.look(t)
		wanted, _ := r.groups(before)
		all := rules{roots: []string{"t"}}
		whole, _ := all.look(t)
		shell := shells[rnd.IntN(len(shells))]

		testkit.Must(t, os.WriteFile("s.sh", script, 0o666))
		err := exec.Command(shell[0], append(shell[1:], "s.sh")...).Run()
		if code := (*exec.ExitError)(nil); !errors.As(err, &code) || code.ExitCode() != 2 {
			t.Errorf("before its first line is edited, the script ends with %v", err)
		}
		if after, _ := all.look(t); !slices.Equal(whole, after) {
			t.Error("the script acts before its first line is edited")
		}
		_, edited, _ := bytes.Cut(script, []byte("\n"))
		testkit.Must(t, os.WriteFile("s.sh", edited, 0o666))
		changed := disturbTree(t, rnd, before)
		whole, _ = all.look(t)
		out, err := exec.Command(shell[0], append(shell[1:], "s.sh")...).CombinedOutput()
		if err != nil && !changed {
			t.Errorf("%q: %v: %s", shell, err, out)
		}
		checkAfterScript(t, &r, whole, by, changed, wanted)
	})
}

// disturbTree sometimes changes some files after the scan.
func disturbTree(t *testing.T, rnd *rand.Rand, files []seen) bool {
	if rnd.IntN(2) == 0 || len(files) == 0 {
		return false
	}
	for range 3 {
		path := files[rnd.IntN(len(files))].path
		switch rnd.IntN(3) {
		case 0:
			testkit.Must(t, os.WriteFile(path, []byte("changed"), 0o666))
		case 1:
			os.Remove(path)
		case 2:
			os.Remove(path)
			testkit.Must(t, os.Symlink("/etc/passwd", path))
		}
	}
	return true
}

func checkAfterScript(t *testing.T, r *rules, before []seen, by string, changed bool, groups []string) {
	all := rules{roots: []string{"t"}}
	after, _ := all.look(t)
	contents, paths := make(map[string]bool), make(map[string]seen)
	for _, f := range after {
		contents[f.content] = true
		paths[f.path] = f
	}
	for _, f := range before {
		now, there := paths[f.path]
		switch {
		case !contents[f.content]:
			t.Errorf("the content of %q is lost", f.path)
		case r.protects(f.path) && (now.inode != f.inode || !now.edited.Equal(f.edited)):
			t.Errorf("%q is protected, and was touched", f.path)
		case there && now.content != f.content:
			t.Errorf("%q has another content", f.path)
		case by == "hardlink" && !there:
			t.Errorf("%q is gone", f.path)
		}
	}
	for path := range maps.Keys(paths) {
		if !slices.ContainsFunc(before, func(f seen) bool { return f.path == path }) {
			t.Errorf("%q is left over", path)
		}
	}
	if _, err := os.Lstat("pwned"); err == nil {
		t.Error("a file name was run as a command")
	}
	if changed {
		return
	}
	files, _ := r.look(t)
	inodes := make(map[string]map[uint64]bool)
	for _, f := range files {
		if inodes[f.content] == nil {
			inodes[f.content] = make(map[uint64]bool)
		}
		inodes[f.content][f.inode] = true
	}
	if len(r.protect) == 0 && !r.isolate && r.minCopies == 0 && r.newer == 0 && r.older == 0 {
		for content, of := range inodes {
			if len(of) > 1 {
				t.Errorf("%d bytes still have %d copies; the groups were %q", len(content), len(of), groups)
			}
		}
	}
}

// FuzzParseList reads lists of any bytes: names that were listed come back.
func FuzzParseList(f *testing.F) {
	for _, seed := range []string{"", "a\nb\n", "a\x00b", "\n\n", "a\r\n", "\xff\n -rf\x00", strings.Repeat("x", longestPath+1)} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, list []byte) {
		for _, end := range []byte{0, '\n'} {
			got, err := parseList(bytes.NewReader(list), end, nil)
			var want []string
			for _, name := range strings.Split(string(list), string(end)) {
				if name != "" {
					want = append(want, name)
				}
			}
			bad := slices.ContainsFunc(want, func(name string) bool { return len(name) >= longestPath || strings.Contains(name, "\x00") })
			if (err != nil) != bad || err == nil && !slices.Equal(got, want) {
				t.Errorf("%q, %q: %q, %v", end, list, got, err)
			}
		}
	})
}
