package report

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"efsdedupe/dedupe"
)

// many is a report of 20 groups of 2 to 21 files, in the order that reports have.
func many() dedupe.Report {
	r := dedupe.Report{Roots: []string{"."}, Mode: dedupe.Goroutines, Workers: 1}
	for n := 21; n >= 2; n-- {
		g := dedupe.Group{Size: 10, Reclaimable: int64(10 * (n/2 - 1))} // two groups of each
		g.Digest[0] = byte(200 - n)
		for i := range n {
			g.Files = append(g.Files, dedupe.File{Path: fmt.Sprintf("group-%d/file-%d", n, i), Inode: uint64(100*n + i)})
		}
		r.Groups = append(r.Groups, g)
	}
	return r
}

func page(t testing.TB, p Page) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := WritePage(&b, many(), priced(), p); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestPages turns all pages, of several sizes, and puts the report together again.
func TestPages(t *testing.T) {
	var whole pageJSON
	if err := json.Unmarshal(page(t, Page{Limit: math.MaxInt, MaxBytes: 1 << 30}), &whole); err != nil {
		t.Fatal(err)
	}
	if len(whole.Groups) != 20 || whole.Next != "" {
		t.Fatalf("%d groups, next %q", len(whole.Groups), whole.Next)
	}
	for _, size := range []Page{{Limit: 1, MaxBytes: 1 << 30}, {Limit: 7, MaxBytes: 1 << 30}, {Limit: 100, MaxBytes: 8000}, {Limit: 20, MaxBytes: 1 << 30}} {
		var got []groupJSON
		for turned := 0; ; turned++ {
			doc := page(t, size)
			if len(doc) > size.MaxBytes {
				t.Errorf("%+v: a page of %d bytes", size, len(doc))
			}
			var part pageJSON
			if err := json.Unmarshal(doc, &part); err != nil {
				t.Fatal(err)
			}
			if len(part.Groups) == 0 || len(part.Groups) > size.Limit || turned > 20 {
				t.Fatalf("%+v: page %d has %d groups", size, turned, len(part.Groups))
			}
			got = append(got, part.Groups...)
			if part.Next == "" {
				break
			}
			var err error
			if size.After, err = ParseCursor(part.Next); err != nil {
				t.Fatal(err)
			}
		}
		if diff := gocmp.Diff(whole.Groups, got); diff != "" {
			t.Errorf("%+v (-whole +pages):\n%s", size, diff)
		}
	}
}

// TestLargeGroup checks that a group larger than a page is there, cut, and that
// the page says so.
func TestLargeGroup(t *testing.T) {
	doc := page(t, Page{Limit: 1, MaxBytes: 2500})
	var part pageJSON
	if err := json.Unmarshal(doc, &part); err != nil {
		t.Fatal(err)
	}
	g := part.Groups[0]
	if len(doc) > 2500 || g.FilesLeftOut == 0 || len(g.Files)+g.FilesLeftOut != 21 || part.Next == "" {
		t.Errorf("%d bytes, %d files and %d left out, next %q", len(doc), len(g.Files), g.FilesLeftOut, part.Next)
	}
}

// withProblems is many, of which 40 files could not be read.
func withProblems() dedupe.Report {
	r := many()
	for i := range 40 {
		r.Problems = append(r.Problems, &dedupe.Problem{Op: "open", Path: fmt.Sprint("unreadable-", i), Err: errors.New("permission denied")})
	}
	return r
}

// TestAnyPage asks for pages of every size, and of limits of all kinds. Each is refused
// in words, or fits, holds to the schema and leaves nothing out without saying so.
func TestAnyPage(t *testing.T) {
	schema := compile(t)
	for name, r := range map[string]dedupe.Report{"groups": many(), "problems": withProblems(), "nothing": nothing()} {
		var whole bytes.Buffer
		if err := WritePage(&whole, r, priced(), Page{}); err != nil {
			t.Fatalf("%s: all of it: %v", name, err)
		}
		smallest := 0
		for size := 1; size < whole.Len()+500; size += 1 + size/100 {
			var doc bytes.Buffer
			err := WritePage(&doc, r, priced(), Page{Limit: size % 3, MaxBytes: size})
			if err != nil {
				if doc.Len() > 0 || smallest > 0 || !strings.Contains(err.Error(), "too small for this report") {
					t.Fatalf("%s in %d bytes: %v, and %d were enough; written: %s", name, size, err, smallest, &doc)
				}
				continue
			}
			smallest = cmp.Or(smallest, size)
			var part pageJSON
			if err := json.Unmarshal(doc.Bytes(), &part); err != nil {
				t.Fatal(err)
			}
			if doc.Len() > size || (len(part.Groups) == 0) != (len(r.Groups) == 0) {
				t.Errorf("%s: in %d bytes a page of %d, with %d groups", name, size, doc.Len(), len(part.Groups))
			}
			if len(part.Groups) < len(r.Groups) && part.Next == "" || len(part.Problems)+part.ProblemsLeftOut != len(r.Problems) {
				t.Errorf("%s in %d bytes: something is left out, and it does not say so", name, size)
			}
			if size%5 == 0 {
				if err := schema.Validate(parse(t, doc.Bytes())); err != nil {
					t.Errorf("%s in %d bytes: %v", name, size, err)
				}
			}
		}
		if smallest == 0 {
			t.Errorf("%s: no size is enough", name)
		}
	}
	for _, page := range []Page{{Limit: -1}, {MaxBytes: -1}} {
		if err := WritePage(io.Discard, many(), priced(), page); err == nil {
			t.Errorf("%+v is not refused", page)
		}
	}
}

func FuzzParseCursor(f *testing.F) {
	f.Add("")
	f.Add(Cursor{5, dedupe.Digest{1}, true}.String())
	f.Add("MSBh")
	f.Fuzz(func(t *testing.T, s string) {
		c, err := ParseCursor(s)
		if err != nil {
			return
		}
		if again, err := ParseCursor(c.String()); err != nil || again != c {
			t.Errorf("%q: %+v, then %+v, %v", s, c, again, err)
		}
	})
}
