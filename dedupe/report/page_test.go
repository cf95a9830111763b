package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

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
	var whole reportJSON
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
			var part reportJSON
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
		if diff := cmp.Diff(whole.Groups, got, cmp.AllowUnexported(groupJSON{}, fileJSON{}, pathJSON{})); diff != "" {
			t.Errorf("%+v (-whole +pages):\n%s", size, diff)
		}
	}
}

// TestLargeGroup checks that a group larger than a page is there, cut, and that
// the page says so.
func TestLargeGroup(t *testing.T) {
	doc := page(t, Page{Limit: 1, MaxBytes: 2500})
	var part reportJSON
	if err := json.Unmarshal(doc, &part); err != nil {
		t.Fatal(err)
	}
	g := part.Groups[0]
	if len(doc) > 2500 || g.FilesLeftOut == 0 || len(g.Files)+g.FilesLeftOut != 21 || part.Next == "" {
		t.Errorf("%d bytes, %d files and %d left out, next %q", len(doc), len(g.Files), g.FilesLeftOut, part.Next)
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
