package peers

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// odd are the names of the files in /tmp/odd/tree, of which the programs wrote
// what is in testdata, by what is in them: each name its inode.
func odd() (names map[string]uint64, truth [][]uint64) {
	names = map[string]uint64{
		"a b": 1, "new\nline": 2, `quo"te`: 3, "'single'": 4, "not-\xff-utf8": 5, `back\slash`: 6,
		"tab\tx": 7, " lead": 8, "trail ": 9, ".hidden": 10, "-dash": 11, "日": 12,
		"dir/first": 21, "dir/second": 22, "dir/third-link": 22,
		"unique": 31, "one-sizeX": 32, "empty1": 33, "empty2": 34,
	}
	return names, [][]uint64{{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, {21, 22}}
}

func oddView() view {
	names, _ := odd()
	return view{"/tmp/odd/tree", func(name string) (uint64, bool) {
		inode, ok := names[name]
		return inode, ok
	}}
}

// TestParsers reads what each program really wrote about odd names.
func TestParsers(t *testing.T) {
	for file, parse := range samples() {
		data, err := os.ReadFile(filepath.Join("testdata", file))
		if err != nil {
			t.Fatal(err)
		}
		all, err := parse(data)
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		_, want := odd()
		var unknown []string
		if file == "czkawka.txt" { // the only one that loses a name
			want[0] = slices.DeleteFunc(want[0], func(inode uint64) bool { return inode == 5 })
			unknown = []string{"/tmp/odd/tree/not-\ufffd-utf8"}
		}
		g := oddView().grouping(all)
		var got [][]uint64
		for _, inodes := range g.groups {
			got = append(got, inodes)
		}
		slices.SortFunc(got, slices.Compare)
		if d := cmp.Diff(want, got) + cmp.Diff(unknown, g.unknown); d != "" {
			t.Errorf("%s: %s", file, d)
		}
	}
}

func samples() map[string]parser {
	return map[string]parser{
		"fdupes.txt":  parseFdupes,
		"rmlint.txt":  parseFdupes,
		"jdupes.txt":  parseJdupes,
		"fclones.txt": parseFclones,
		"rdfind.txt":  parseRdfind,
		"czkawka.txt": parseCzkawka,
		"dedupe.json": parseDedupe,
	}
}

// TestNothing reads what programs write when there are no copies.
func TestNothing(t *testing.T) {
	const rdfind = "# Automatically generated\n# duptype id depth size device inode priority name\n# end of file\n"
	const czkawka = "Results of searching [\"/tmp/odd\"]\nNot found any duplicates."
	for _, test := range []struct {
		parse parser
		data  string
	}{
		{parseFdupes, ""}, {parseFdupes, "\n"}, {parseJdupes, ""}, {parseFclones, ""},
		{parseRdfind, rdfind}, {parseCzkawka, czkawka}, {parseDedupe, `{"groups":[]}`},
	} {
		if all, err := test.parse([]byte(test.data)); err != nil || len(all) > 0 {
			t.Errorf("%q: %v, %v", test.data, all, err)
		}
	}
}

// TestCut checks that an answer that ends too soon is none.
func TestCut(t *testing.T) {
	for file, parse := range samples() {
		if file == "czkawka.txt" {
			continue // a list that ends after a name looks whole
		}
		data, err := os.ReadFile(filepath.Join("testdata", file))
		if err != nil {
			t.Fatal(err)
		}
		if all, err := parse(data[:len(data)-3]); err == nil {
			t.Errorf("%s: %d groups", file, len(all))
		}
	}
	for _, test := range []struct {
		parse parser
		data  string
	}{
		{parseFclones, "ends in \\\n"},
		{parseFclones, "\\x1\n"},
		{parseFclones, "\\xgg\n"},
		{parseFclones, "\\q\n"},
		{parseRdfind, "no head"},
		{parseCzkawka, "no list"},
		{parseCzkawka, "\n---- Size 1 B (1) - 2 files\nnot quoted\n"},
		{parseDedupe, "no JSON"},
	} {
		if all, err := test.parse([]byte(test.data)); err == nil {
			t.Errorf("%q: %q", test.data, all)
		}
	}
}

// FuzzParsers feeds every parser with anything: it must not panic, nor make up
// empty groups.
func FuzzParsers(f *testing.F) {
	for file := range samples() {
		data, err := os.ReadFile(filepath.Join("testdata", file))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for file, parse := range samples() {
			all, err := parse(data)
			if err == nil && slices.ContainsFunc(all, func(g []string) bool { return len(g) == 0 }) {
				t.Errorf("%s: an empty group: %q", file, all)
			}
		}
	})
}

// FuzzRoundTrip writes names as the programs do that lose none, and reads them.
func FuzzRoundTrip(f *testing.F) {
	f.Add("a b", "new\nline")
	f.Add("\xff\\x41", `"`)
	f.Fuzz(func(t *testing.T, a, b string) {
		a, b = strings.ReplaceAll(a, "\x00", ""), strings.ReplaceAll(b, "\x00", "")
		want := [][]string{{"/" + a, "/" + b}, {"/" + b, "/" + a}}
		var jdupes, fclones strings.Builder
		for _, g := range want {
			for _, name := range g {
				jdupes.WriteString(name + "\x00")
				for i := range len(name) {
					fclones.WriteString(escaped(name[i]))
				}
				fclones.WriteString("\n")
			}
			jdupes.WriteString("\x00")
			fclones.WriteString("\n")
		}
		for _, test := range []struct {
			parse parser
			data  string
		}{{parseJdupes, jdupes.String()}, {parseFclones, fclones.String()}} {
			got, err := test.parse([]byte(test.data))
			if d := cmp.Diff(want, got); err != nil || d != "" {
				t.Errorf("%q: %v, %s", test.data, err, d)
			}
		}
	})
}

// escaped is a byte in STFU-8, escaped unless it is plain text.
func escaped(c byte) string {
	const digits = "0123456789ABCDEF"
	switch {
	case c == '\n':
		return `\n`
	case c == '\\':
		return `\\`
	case c < ' ' || c > '~':
		return `\x` + string(digits[c>>4]) + string(digits[c&15])
	}
	return string(rune(c))
}
