package report

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	gocmp "github.com/google/go-cmp/cmp"

	"efsdedupe/dedupe"
	"efsdedupe/dedupe/choose"
	"efsdedupe/dedupe/report/reporttest"
	"efsdedupe/fixtures/testkit"
)

// many is a report of 20 groups with 2 to 21 files, in report order.
func many() dedupe.Report {
	r := dedupe.Report{Roots: []string{"."}, Mode: dedupe.Goroutines, Workers: 1}
	for n := 21; n >= 2; n-- {
		g := dedupe.Group{Size: 10, Reclaimable: int64(10 * (n/2 - 1))} // two groups for each value
		g.Digest[0] = byte(200 - n)
		var files []dedupe.File
		for i := range n {
			files = append(files, dedupe.File{Path: fmt.Sprintf("group-%d/file-%d", n, i), Inode: uint64(100*n + i)})
		}
		slices.SortFunc(files, func(a, b dedupe.File) int { return strings.Compare(a.Path, b.Path) })
		g.Copies = copiesOf(files...)
		r.Groups = append(r.Groups, g)
	}
	return r
}

// aPage is the part of a page that the tests read.
type aPage struct {
	Groups          []aGroup
	Problems        []problemJSON
	ProblemsLeftOut int `json:"problems_left_out"`
	Next            string
}

type aGroup struct {
	Digest      string
	Reclaimable int64 `json:"reclaimable_bytes"`
	Files       []struct {
		Path     string
		HardLink bool `json:"hard_link"`
		Kept     bool
	}
	FilesBefore  int `json:"files_before"`
	FilesLeftOut int `json:"files_left_out"`
}

func page(t testing.TB, p Page) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := WritePage(&b, many(), priced(), p); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestPages reads all pages, for several sizes, and reassembles the report.
func TestPages(t *testing.T) {
	var whole aPage
	if err := json.Unmarshal(page(t, Page{Limit: math.MaxInt, MaxBytes: 1 << 30}), &whole); err != nil {
		t.Fatal(err)
	}
	if len(whole.Groups) != 20 || whole.Next != "" {
		t.Fatalf("%d groups, next %q", len(whole.Groups), whole.Next)
	}
	for _, size := range []Page{{Limit: 1, MaxBytes: 1 << 30}, {Limit: 7, MaxBytes: 1 << 30}, {Limit: 100, MaxBytes: 8000}, {Limit: 20, MaxBytes: 1 << 30}} {
		var got []aGroup
		for turned := 0; ; turned++ {
			doc := page(t, size)
			if len(doc) > size.MaxBytes {
				t.Errorf("%+v: a page of %d bytes", size, len(doc))
			}
			var part aPage
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

// TestLargeGroup checks that a group larger than a page is cut, and that the page says
// so.
func TestLargeGroup(t *testing.T) {
	doc := page(t, Page{Limit: 1, MaxBytes: 3000})
	var part aPage
	if err := json.Unmarshal(doc, &part); err != nil {
		t.Fatal(err)
	}
	g := part.Groups[0]
	if len(doc) > 3000 || g.FilesLeftOut == 0 || len(g.Files)+g.FilesLeftOut != 21 || part.Next == "" {
		t.Errorf("%d bytes, %d files and %d left out, next %q", len(doc), len(g.Files), g.FilesLeftOut, part.Next)
	}
}

// withProblems is many with 40 unreadable files.
func withProblems() dedupe.Report {
	r := many()
	for i := range 40 {
		r.Problems = append(r.Problems, &dedupe.Problem{Op: "open", Path: fmt.Sprint("unreadable-", i), Err: errors.New("permission denied")})
	}
	return r
}

// TestAnyPage requests pages of every size with all kinds of limits. Each must be refused
// in words, or fit, match the schema and say what it leaves out.
func TestAnyPage(t *testing.T) {
	schema := reporttest.Compile(t, schemaFile)
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
			var part aPage
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
				if err := schema.Validate(reporttest.Parse(t, doc.Bytes())); err != nil {
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

// turn reads all pages of a report. It returns the reassembled groups and the number of
// pages. change may change the report between two pages.
func turn(t *testing.T, r dedupe.Report, p Page, change func(*dedupe.Report)) (whole []aGroup, pages int) {
	t.Helper()
	for {
		var doc bytes.Buffer
		if err := WritePage(&doc, r, nil, p); err != nil {
			t.Fatal(err)
		}
		quoted, err := marshal(doc.String())
		if err != nil || len(quoted) > p.MaxBytes {
			t.Fatalf("page %d takes %d bytes as a string, error %v", pages, len(quoted), err)
		}
		var part aPage
		if err := json.Unmarshal(doc.Bytes(), &part); err != nil {
			t.Fatal(err)
		}
		for _, g := range part.Groups {
			i := slices.IndexFunc(whole, func(w aGroup) bool { return w.Digest == g.Digest })
			if i < 0 {
				i, whole = len(whole), append(whole, aGroup{Digest: g.Digest, Reclaimable: g.Reclaimable})
			}
			whole[i].Files = append(whole[i].Files, g.Files...)
		}
		pages++
		if part.Next == "" {
			return whole, pages
		}
		if p.After, err = ParseCursor(part.Next); err != nil {
			t.Fatal(err)
		}
		change(&r)
	}
}

// TestPagesWithinGroups checks that pages split a group larger than a page without losing
// a file, whatever the paths, even if the group grows meanwhile.
func TestPagesWithinGroups(t *testing.T) {
	deep := strings.Repeat("deep/", 1000) // longer than a cursor may be
	for name, path := range map[string]func(i int) string{
		"short":        func(i int) string { return fmt.Sprintf("%06d", i) },
		"escaped":      func(i int) string { return fmt.Sprintf("\"\\\u2028<%06d", i) },
		"not UTF-8":    func(i int) string { return fmt.Sprintf("\xff%06d", i) },
		"equal starts": func(i int) string { return fmt.Sprintf("%s%06d", deep, i) },
	} {
		r := dedupe.Report{Roots: []string{"."}, Mode: dedupe.Goroutines, Workers: 1}
		first := dedupe.Group{Size: 1, Reclaimable: 999, Digest: dedupe.Digest{1}}
		var files []dedupe.File
		for i := range 1000 {
			files = append(files, dedupe.File{Path: path(i), Inode: uint64(i / 2)})
		}
		first.Copies = copiesOf(files...)
		second := dedupe.Group{Size: 1, Reclaimable: 1, Digest: dedupe.Digest{2}, Copies: copiesOf(dedupe.File{Path: "a", Inode: 2001}, dedupe.File{Path: "b", Inode: 2002})}
		r.Groups = []dedupe.Group{first, second}
		grow := func(r *dedupe.Report) { r.Groups[0].Reclaimable++ }
		got, pages := turn(t, r, Page{Limit: 10, MaxBytes: 64 << 10}, grow)
		if len(got) != 2 || len(got[0].Files) != 1000 || len(got[1].Files) != 2 || pages < 2 {
			t.Fatalf("%s: %d groups on %d pages, the first has %d files", name, len(got), pages, len(got[0].Files))
		}
		for i, f := range got[0].Files {
			if f.HardLink != (i%2 == 1) || utf8.ValidString(path(i)) && f.Path != path(i) {
				t.Fatalf("%s: file %d is %+v, want %q", name, i, f, path(i))
			}
		}
	}
}

// TestPagesKeepFirst reads groups of random files in pages of several sizes. Together they
// must be what the whole report has: the kept files first, and marked.
func TestPagesKeepFirst(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for round := range 20 {
		r := dedupe.Report{Roots: []string{"."}, Mode: dedupe.Goroutines, Workers: 1}
		for n := range 3 {
			var files []dedupe.File
			for i := range 100 {
				path := fmt.Sprintf("%s/%03d", []string{"a", "b", "c", "d"}[rnd.IntN(4)], i)
				files = append(files, dedupe.File{Path: path, Inode: uint64(1000*n + i - rnd.IntN(2)), Links: uint32(1 + rnd.IntN(2)), ModTime: dedupe.Timestamp{Sec: int64(rnd.IntN(5))}})
			}
			slices.SortFunc(files, func(a, b dedupe.File) int { return strings.Compare(a.Path, b.Path) })
			r.Groups = append(r.Groups, dedupe.Group{Size: 10, Digest: dedupe.Digest{byte(n)}, Reclaimable: 990, Copies: copiesOf(files...)})
		}
		rules := choose.Rules{Keep: choose.Newest, Priority: []string{"d", "c"}[:rnd.IntN(3)], Protect: []string{"b", "a"}[:rnd.IntN(3)]}
		spell := func(string) ([]string, bool) { return nil, true }
		c, err := choose.New(rules, []choose.Root{{Path: "."}}, spell)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Report(t.Context(), &r); err != nil {
			t.Fatal(err)
		}
		var doc bytes.Buffer
		if err := Write(&doc, JSON, r, nil, Options{Rules: rules, Spell: spell}); err != nil {
			t.Fatal(err)
		}
		var want aPage
		if err := json.Unmarshal(doc.Bytes(), &want); err != nil {
			t.Fatal(err)
		}
		for _, size := range []int{3000, 7000, 1 << 20} {
			got, pages := turn(t, r, Page{Limit: 2, MaxBytes: size, Chooser: c}, func(*dedupe.Report) {})
			if diff := gocmp.Diff(want.Groups, got); diff != "" || !got[0].Files[0].Kept || pages < 2 {
				t.Errorf("%d: %+v in pages of %d bytes (-whole +pages):\n%s", round, rules, size, diff)
			}
		}
	}
}

// TestPagesOfUniqueFiles reads unique files in pages: inodes with many names, and paths that
// are longer than a cursor may be. No page may be too large, and none may lose a file.
func TestPagesOfUniqueFiles(t *testing.T) {
	for name, dir := range map[string]string{"short": "", "not UTF-8": "\xff", "equal starts": strings.Repeat("deep/", 1000)} {
		t.Run(name, func(t *testing.T) {
			r := manyUnique(dir)
			c, err := choose.New(choose.Rules{Unique: true, Folders: true}, nil, nil)
			testkit.Must(t, err)
			page := Page{Limit: 50, MaxBytes: 64 << 10, Chooser: c, Folders: []choose.Folders{
				{Files: 1, Bytes: 5, Reclaimable: 5, Paths: []choose.Folder{{Path: strings.Repeat("large", 10_000)}, {Path: "x"}}},
				{Files: 1, Bytes: 5, Reclaimable: 5, Paths: []choose.Folder{{Path: "a"}, {Path: "b", Kept: true}}},
			}}
			var got []string
			for pages := 0; pages == 0 || page.After.set; pages++ {
				part := uniquePageOf(t, r, page)
				if first := pages == 0; part.LeftOut == 1 != first || (len(part.Folders) == 1 && part.Folders[0].Paths[1].Kept) != first {
					t.Errorf("page %d has the folders %+v, and %d are left out", pages, part.Folders, part.LeftOut)
				}
				for _, f := range part.Unique {
					if link := len(got)%40 > 0; f.HardLink != link || f.Size != 5 {
						t.Errorf("file %d is %+v", len(got), f)
					}
					got = append(got, f.Path)
				}
				page.After, err = ParseCursor(part.Next)
				testkit.Must(t, err)
				if pages > 400 {
					t.Fatal("no end of pages")
				}
			}
			if len(got) != 300 || !strings.HasSuffix(got[299], "000299") || !slices.IsSorted(got) {
				t.Errorf("%d unique files", len(got))
			}
		})
	}
}

// manyUnique returns a report with 300 unique files in dir. Its last group goes on on a page
// that also has unique files.
func manyUnique(dir string) dedupe.Report {
	r := many()
	large := dedupe.Group{Size: 1, Digest: dedupe.Digest{255}}
	for i := range 700 {
		large.Copies = append(large.Copies, dedupe.CopyOf(dedupe.File{Path: fmt.Sprintf("%s%06d-large", dir, i), Inode: uint64(1000 + i)}))
	}
	r.Groups = append(r.Groups, large)
	var files []dedupe.File
	for i := range 300 {
		files = append(files, dedupe.File{Path: fmt.Sprintf("%s%06d", dir, i), Inode: uint64(i / 40), Size: 5})
	}
	r.Unique = copiesOf(files...)
	return r
}

// uniquePage is what a page says of groups, duplicate folders and unique files.
type uniquePage struct {
	Groups  []aGroup
	Folders []struct{ Paths []twinJSON } `json:"duplicate_folders"`
	LeftOut int                          `json:"duplicate_folders_left_out"`
	Unique  []struct {
		Path     string
		Size     int64
		HardLink bool `json:"hard_link"`
	}
	Next string
}

// uniquePageOf writes a page, and checks that it is valid and no larger than it may be.
func uniquePageOf(t *testing.T, r dedupe.Report, page Page) (part uniquePage) {
	t.Helper()
	var doc bytes.Buffer
	testkit.Must(t, WritePage(&doc, r, priced(), page))
	testkit.Must(t, json.Unmarshal(doc.Bytes(), &part))
	if err := reporttest.Compile(t, schemaFile).Validate(reporttest.Parse(t, doc.Bytes())); err != nil {
		t.Error(err)
	}
	if QuotedSize(doc.Bytes()) > page.MaxBytes || len(part.Groups)+len(part.Unique) > page.Limit {
		t.Errorf("a page of %d bytes has %d groups and %d files", doc.Len(), len(part.Groups), len(part.Unique))
	}
	return part
}

// TestPagesLoseNoFile removes the file at which a page ended. The next page must continue
// after it.
func TestPagesLoseNoFile(t *testing.T) {
	r := many()
	copies := r.Groups[0].Copies
	want := copies[5].File().Path
	p := new(Page)
	var err error
	if p.After, err = ParseCursor(after(p.order(r.Groups[0]), 5).String()); err != nil {
		t.Fatal(err)
	}
	r.Groups[0].Copies = slices.Delete(copies, 3, 5)
	for g, from := range p.rest(r.Groups) {
		if got := g.at(from).path; got != want {
			t.Errorf("it goes on with %s, not %s", got, want)
		}
		break
	}
}

// TestPageOfHugeGroup checks that a page of a huge group does not encode the whole group.
func TestPageOfHugeGroup(t *testing.T) {
	r := dedupe.Report{Roots: []string{"."}, Mode: dedupe.Goroutines, Workers: 1}
	g := dedupe.Group{Size: 1, Reclaimable: 665_999}
	for i := range 666_000 {
		g.Copies = append(g.Copies, dedupe.CopyOf(dedupe.File{Path: fmt.Sprintf("%06d", i), Inode: uint64(i)}))
	}
	r.Groups = []dedupe.Group{g}
	allocations := testing.AllocsPerRun(1, func() {
		if err := WritePage(io.Discard, r, nil, Page{MaxBytes: 64 << 10}); err != nil {
			t.Fatal(err)
		}
	})
	if allocations > float64(len(g.Copies)/10) {
		t.Errorf("%v allocations for a page of %d files", allocations, len(g.Copies))
	}
}

func FuzzParseCursor(f *testing.F) {
	f.Add("")
	f.Add(Cursor{reclaimable: 5, digest: dedupe.Digest{1}, set: true}.String())
	f.Add(Cursor{reclaimable: math.MaxUint64, digest: dedupe.Digest{1}, path: "a\xff", skip: 7, set: true}.String())
	f.Add(Cursor{reclaimable: 1, digest: dedupe.Digest{1}, path: "a", kept: true, set: true}.String())
	f.Add(Cursor{unique: true, path: "a\xff", skip: 7, set: true}.String())
	f.Add("5-a")
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

// TestPageHidesMounts checks that a page has the traffic of each mount, but no path of
// this machine.
func TestPageHidesMounts(t *testing.T) {
	var b bytes.Buffer
	if err := WritePage(&b, notAlone(), nil, Page{Limit: 1}); err != nil {
		t.Fatal(err)
	}
	if doc := b.String(); !strings.Contains(doc, `"mounts":[{"messages":`) || strings.Contains(doc, "/mnt/") {
		t.Errorf("%s", doc)
	}
}
