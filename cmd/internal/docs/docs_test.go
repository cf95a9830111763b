// Package docs checks the documentation: links, the size of the README, and that every
// folder with code says what it is for and which file does what. make lint runs it.
package docs

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const top = "../../.."

// skipped are folders that are not the project's own text: what is built, what git
// keeps, and inputs of tests.
func skipped(name string) bool {
	return name == "build" || name == ".git" || name == "testdata" || name == "node_modules" || name == "target"
}

// walk calls visit with the path of every file below the top, from there.
func walk(t *testing.T, visit func(path string)) {
	t.Helper()
	err := fs.WalkDir(os.DirFS(top), ".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && skipped(d.Name()):
			return fs.SkipDir
		case !d.IsDir():
			visit(path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(top, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestLinks follows every link from one page to a file or a heading. Links to other
// sites are not followed: CI has no network.
func TestLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	code := regexp.MustCompile("(?s)```.*?```|`[^`\n]*`")
	walk(t, func(path string) {
		if filepath.Ext(path) != ".md" {
			return
		}
		for _, m := range link.FindAllStringSubmatch(code.ReplaceAllString(read(t, path), ""), -1) {
			target, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			page := path
			if target != "" {
				page = filepath.Join(filepath.Dir(path), target)
			}
			st, err := os.Stat(filepath.Join(top, page))
			if err != nil {
				t.Errorf("%s: the link %s leads nowhere", path, m[1])
				continue
			}
			if st.IsDir() {
				page = filepath.Join(page, "README.md")
			}
			if anchor != "" && !hasHeading(read(t, page), anchor) {
				t.Errorf("%s: the link %s leads to no heading of %s", path, m[1], page)
			}
		}
	})
}

// hasHeading reports whether a page has a heading with an anchor, as GitHub makes them.
func hasHeading(page, anchor string) bool {
	drop := regexp.MustCompile(`[^\p{L}\p{N} _-]`)
	for line := range strings.Lines(page) {
		heading := strings.TrimLeft(line, "#")
		if heading == line {
			continue
		}
		heading = drop.ReplaceAllString(strings.ToLower(strings.TrimSpace(heading)), "")
		if strings.ReplaceAll(heading, " ", "-") == anchor {
			return true
		}
	}
	return false
}

// TestFolders checks that every folder with code has a README.md or a package comment; in
// other languages than Go, a file that begins with a comment.
func TestFolders(t *testing.T) {
	told := make(map[string]bool)
	comment := regexp.MustCompile(`^(#!.*\n)?("use strict";\n)?("""|//|#)`)
	walk(t, func(path string) {
		dir := filepath.Dir(path)
		if told[dir] {
			return
		}
		switch filepath.Ext(path) {
		case ".md":
			if filepath.Base(path) == "README.md" {
				told[dir] = true
			}
		case ".go":
			file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(top, path), nil, parser.PackageClauseOnly|parser.ParseComments)
			if err != nil {
				t.Error(err)
				return
			}
			told[dir] = file.Doc != nil
		case ".js", ".py", ".rs":
			told[dir] = comment.MatchString(read(t, path))
		}
	})
	for dir, told := range told {
		if !told {
			t.Errorf("%s: no package comment and no README.md says what it is for", dir)
		}
	}
}

// TestMaps compares the map in a package comment with the files in its folder. A file for
// one system may be on it without the system, and the file of the map need not be on it.
func TestMaps(t *testing.T) {
	row := regexp.MustCompile(`(?m)^//\t(\S+\.go|\S+\*) +\S`)
	system := regexp.MustCompile(`_(linux|darwin|other)\.go$`)
	find := func(dir, pattern string) []string {
		files, err := filepath.Glob(filepath.Join(top, dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		return files
	}
	subject := func(file string) string { return system.ReplaceAllString(filepath.Base(file), ".go") }
	walk(t, func(path string) {
		if filepath.Ext(path) != ".go" {
			return
		}
		dir := filepath.Dir(path)
		comment, _, _ := strings.Cut(read(t, path), "\npackage ")
		rows := row.FindAllStringSubmatch(comment, -1)
		covered := map[string]bool{subject(path): true}
		for _, r := range rows {
			files := find(dir, r[1])
			if len(files) == 0 {
				t.Errorf("%s: its map has %s, which is gone", path, r[1])
			}
			for _, file := range files {
				covered[subject(file)] = true
			}
		}
		for _, file := range find(dir, "*.go") {
			if len(rows) > 0 && !covered[subject(file)] && !strings.HasSuffix(file, "_test.go") {
				t.Errorf("%s: its map does not have %s", path, filepath.Base(file))
			}
		}
	})
}

// TestREADME keeps the first page to one sitting.
func TestREADME(t *testing.T) {
	const most = 10 << 10
	if n := len(read(t, "README.md")); n > most {
		t.Errorf("README.md has %d bytes, want at most %d: move details to a folder's own page", n, most)
	}
}
