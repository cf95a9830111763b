package service

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"efsdedupe/dedupe"
	"efsdedupe/dedupe/choose"
	"efsdedupe/dedupe/jobs"
	"efsdedupe/dedupe/mount/mounttest"
	"efsdedupe/dedupe/report"
	"efsdedupe/fixtures/testkit"
)

// album creates a root with a folder of copies: of one content 30, in three folders, and of
// another two. Later names are older.
func album(t testing.TB) (root string) {
	t.Helper()
	root = mounttest.TrustedDir(t, 1<<20)
	for i := range 30 {
		makeFile(t, root, fmt.Sprintf("p/%s/%02d", []string{"a", "b", "m"}[i%3], i), "many", i)
	}
	makeFile(t, root, "p/a/x", "few", 1)
	makeFile(t, root, "p/[b]/x", "few", 2)
	return root
}

func makeFile(t testing.TB, root, path, content string, age int) {
	t.Helper()
	path = filepath.Join(root, path)
	edited := time.Unix(1.7e9-int64(age), 0)
	testkit.Write(t, []byte(content), path)
	testkit.Must(t, os.Chtimes(path, edited, edited))
}

// keptFiles is what a report says about kept files.
type keptFiles struct {
	Selection map[string]any
	Stats     struct {
		Reclaimable int64 `json:"reclaimable_bytes"`
	}
	Folders    json.RawMessage
	Projection struct {
		Usage struct {
			Reclaimable int64 `json:"reclaimable_bytes"`
			Metered     int64 `json:"metered_reclaimable_bytes"`
		}
	}
	Groups []struct {
		Digest      string
		Reclaimable int64 `json:"reclaimable_bytes"`
		Files       []struct {
			Path string
			Kept bool
		}
	}
	Next string
}

func keptIn(t testing.TB, got result) (doc keptFiles) {
	t.Helper()
	if err := json.Unmarshal(got.body, &doc); err != nil || got.status != 200 {
		t.Fatalf("%d %v: %s", got.status, err, got.body)
	}
	return doc
}

// jobReportOf runs a job and returns its report.
func jobReportOf(t testing.TB, h http.Handler, body string) result {
	t.Helper()
	got := ask(t, h, Caller{}, "POST", "/v1/jobs", body)
	if got.status != 202 {
		t.Fatalf("%d %s", got.status, got.body)
	}
	end := ended(t, h, Caller{}, operation(t, got).ID)
	if end.Response == nil {
		t.Fatalf("%+v", end.Error)
	}
	page := ask(t, h, Caller{}, "GET", end.Links.Report, "")
	if doc := keptIn(t, page); end.Response.DuplicateGroups != int64(len(doc.Groups)) || end.Response.ReclaimableBytes != doc.Stats.Reclaimable {
		t.Errorf("%s: the job has %+v, its report %+v", body, end.Response, doc.Stats)
	}
	return page
}

// keepTests are rules about which files to keep, and what they do with an album.
var keepTests = []struct {
	rules, selection string
	first            []string // of each group
	kept             int      // files
	reclaimable      int64
}{
	{`{}`, `{}`, []string{"p/a/00", "p/[b]/x"}, 0, 29*4 + 3},
	{`{"keep": "first"}`, `{"keep": "first"}`, []string{"p/a/00", "p/[b]/x"}, 2, 29*4 + 3},
	{`{"keep": "oldest"}`, `{"keep": "oldest"}`, []string{"p/m/29", "p/[b]/x"}, 2, 29*4 + 3},
	{`{"keep": "newest"}`, `{"keep": "newest"}`, []string{"p/a/00", "p/a/x"}, 2, 29*4 + 3},
	{`{"keep": "shortest"}`, `{"keep": "shortest"}`, []string{"p/a/00", "p/a/x"}, 2, 29*4 + 3},
	{`{"priority": ["p/m", "p/a"]}`, `{"priority": ["p/m", "p/a"]}`, []string{"p/m/02", "p/a/x"}, 2, 29*4 + 3},
	{`{"priority": ["p/b/"], "keep": "oldest"}`, `{"priority": ["p/b/"], "keep": "oldest"}`, []string{"p/b/28", "p/[b]/x"}, 2, 29*4 + 3},
	{`{"priority": ["p/m/05"]}`, `{"priority": ["p/m/05"]}`, []string{"p/m/05", "p/[b]/x"}, 2, 29*4 + 3},
	{`{"protect": ["p/m"]}`, `{"protect": ["p/m"]}`, []string{"p/m/02", "p/[b]/x"}, 11, 20*4 + 3},
	{`{"protect": ["p/[b]"]}`, `{"protect": ["p/[b]"]}`, []string{"p/a/00", "p/[b]/x"}, 2, 29*4 + 3},
	{`{"protect": ["[b]/*"]}`, `{"protect": ["[b]/*"]}`, []string{"p/b/01", "p/[b]/x"}, 11, 20*4 + 3},
	{`{"protect": ["m", "x"], "keep": "newest"}`, `{"protect": ["m", "x"], "keep": "newest"}`, []string{"p/m/02", "p/a/x"}, 12, 20 * 4},
	{`{"protect_base64": ["cC9t"], "protect": ["p/m"]}`, `{"protect": ["p/m"]}`, []string{"p/m/02", "p/[b]/x"}, 11, 20*4 + 3},
	{`{"priority_base64": ["cC9t"], "min_copies": 3}`, `{"priority": ["p/m"], "min_copies": 3}`, []string{"p/m/02"}, 1, 29 * 4},
	{`{"keep": "oldest", "newer": "2023-11-14T22:13:10Z"}`, `{"keep": "oldest", "newer": "2023-11-14T22:13:10Z"}`, []string{"p/a/09", "p/[b]/x"}, 2, 9*4 + 3},
}

// TestKeep has scans and jobs keep files. The kept ones come first and are marked.
func TestKeep(t *testing.T) {
	h := newService(t, withJobs(t, Config{Root: album(t)}))
	for _, test := range keepTests {
		body := `{"path": "p", ` + test.rules[1:]
		body = strings.Replace(body, ", }", "}", 1)
		check := func(what string, got result) {
			t.Helper()
			doc := keptIn(t, got)
			kept := 0
			var first []string
			for _, g := range doc.Groups {
				first = append(first, g.Files[0].Path)
				for i, f := range g.Files {
					if f.Kept {
						if kept++; i > 0 && !g.Files[i-1].Kept {
							t.Errorf("%s: %s: a kept file comes after others", what, test.rules)
						}
					}
				}
			}
			if !slices.Equal(first, test.first) || kept != test.kept || doc.Stats.Reclaimable != test.reclaimable {
				t.Errorf("%s: %s: %q first, %d kept, %d bytes reclaimable", what, test.rules, first, kept, doc.Stats.Reclaimable)
			}
			var want map[string]any
			if err := json.Unmarshal([]byte(test.selection), &want); err != nil {
				t.Fatal(err)
			}
			for _, field := range []string{"roots", "min_size", "max_size", "include", "exclude"} {
				delete(doc.Selection, field)
			}
			if diff := cmp.Diff(want, doc.Selection); diff != "" {
				t.Errorf("%s: %s: selection (-want +got):\n%s", what, test.rules, diff)
			}
		}
		scan := ask(t, h, Caller{}, "POST", "/v1/scans", body)
		check("scan", scan)
		report := jobReportOf(t, h, body)
		check("job", report)
		if diff := cmp.Diff(keptIn(t, scan), keptIn(t, report)); diff != "" {
			t.Errorf("%s (-scan +job):\n%s", test.rules, diff)
		}
	}
}

// TestKeepOnPages cuts groups into pages. Together they have the order of the whole group.
func TestKeepOnPages(t *testing.T) {
	root := mounttest.TrustedDir(t, 64<<20)
	long := strings.Repeat(strings.Repeat("long name ", 20)+"/", 4) + "z" // a page has room for few
	const files = 9_000
	for i := range files {
		makeFile(t, root, fmt.Sprintf("%s/%s/%05d", []string{"a", "m", "z"}[i%3], long, i), "same", i)
	}
	h := newService(t, withJobs(t, Config{Root: root}))
	const rules = `"keep": "oldest", "protect": ["m"]`
	var whole []string
	pages := 0
	for next := ""; next != "" || pages == 0; pages++ {
		doc := keptIn(t, ask(t, h, Caller{}, "POST", "/v1/scans", fmt.Sprintf(`{%s, "next": %q}`, rules, next)))
		for _, f := range doc.Groups[0].Files {
			whole = append(whole, fmt.Sprint(f.Path, f.Kept))
		}
		next = doc.Next
	}
	third := files / 3
	if len(whole) != files || pages < 2 || !slices.IsSorted(whole[1:third]) || !slices.IsSorted(whole[third:]) || whole[0] != fmt.Sprintf("m/%s/%05dtrue", long, files-2) {
		t.Errorf("%d files on %d pages, the first is %s", len(whole), pages, whole[0])
	}
	for i, f := range whole {
		if strings.HasPrefix(f, "m/") != (i < third) || strings.HasSuffix(f, "true") != (i < third) {
			t.Fatalf("file %d is %s", i, f)
		}
	}
	got := ask(t, h, Caller{}, "POST", "/v1/jobs", `{`+rules+`}`)
	path := ended(t, h, Caller{}, operation(t, got).ID).Links.Report
	var stored []string
	for next := ""; ; {
		doc := keptIn(t, ask(t, h, Caller{}, "GET", path+"?limit=20"+next, ""))
		for _, g := range doc.Groups {
			for _, f := range g.Files {
				stored = append(stored, fmt.Sprint(f.Path, f.Kept))
			}
		}
		if doc.Next == "" {
			break
		}
		next = "&next=" + doc.Next
	}
	if !slices.Equal(whole, stored) {
		t.Errorf("the report of a job has %d files, those of scans %d; the first ones are %s and %s", len(stored), len(whole), stored[0], whole[0])
	}
}

// tooMany is a list of one path more than rules may have.
func tooMany() string {
	var all []string
	for i := range maxRules + 1 {
		all = append(all, fmt.Sprintf(`"f%d"`, i))
	}
	return "[" + strings.Join(all, ", ") + "]"
}

// badRules are rules that no scan or job accepts, and a part of the answer to each.
var badRules = []struct{ rules, detail string }{
	{`{"keep": "best"}`, `keep is "best": choose oldest, newest, shortest or first`},
	{`{"keep": ""}`, `keep is empty: choose oldest`},
	{`{"keep": "Oldest"}`, `keep is "Oldest"`},
	{`{"keep": null}`, `/keep is null`},
	{`{"keep": 1}`, `/keep`},
	{`{"keep": ["oldest"]}`, `/keep`},
	{`{"keep": "oldest", "keep": "newest"}`, `duplicate`},
	{`{"KEEP": "oldest"}`, `unknown field /KEEP`},
	{`{"priority": "p"}`, `/priority`},
	{`{"priority": null}`, `/priority is null`},
	{`{"priority": [null]}`, `/priority/0 is null`},
	{`{"priority": [["p"]]}`, `/priority/0`},
	{`{"priority": [""]}`, `/priority/0 is "": name a folder relative to your root`},
	{`{"priority": ["p", "/etc"]}`, `/priority/1 is "/etc": name a folder relative to your root`},
	{`{"priority": ["/"]}`, `/priority/0 is "/"`},
	{`{"priority": [".."]}`, `/priority/0 is ".."`},
	{`{"priority": ["p/../p"]}`, `/priority/0`},
	{`{"priority": ["./p"]}`, `/priority/0`},
	{`{"priority": ["p//a"]}`, `/priority/0`},
	{`{"priority": ["p\u0000"]}`, `/priority/0 is "p\x00"`},
	{`{"priority": ["p", "p"]}`, `/priority/1 is "p", which is there already`},
	{`{"priority": ["` + strings.Repeat("p", maxPath+1) + `"]}`, `at most 4096 characters`},
	{`{"priority": ` + tooMany() + `}`, `/priority has 101 entries: name at most 100`},
	{`{"priority_base64": ["*"]}`, `base64`},
	{`{"priority_base64": ["L2V0Yw=="]}`, `/priority/0 is "/etc"`},
	{`{"priority_base64": ["cA==", "cA=="]}`, `/priority_base64/1 is "p", which is there already`},
	{`{"priority": ["p"], "priority_base64": ["cC9t"]}`, `name different paths`},
	{`{"protect": ["p"], "protect_base64": ["cA==", "cC9t"]}`, `name different paths`},
	{`{"protect": ["/etc"]}`, `/protect/0 is "/etc"`},
	{`{"protect": [""]}`, `/protect/0 is ""`},
	{`{"protect": ["p/.."]}`, `/protect/0 is "p/.."`},
	{`{"protect": ["a\u0000"]}`, `/protect/0`},
	{`{"protect": ["*\u0000"]}`, `/protect: bad glob`},
	{`{"protect": ["[z-a]"]}`, `/protect: bad glob "[z-a]": the range z-a`},
	{`{"protect": ["../*"]}`, `/protect: the glob "../*" matches nothing`},
	{`{"protect": ["{a"]}`, `/protect: bad glob`},
	{`{"protect": ["` + strings.Repeat("{a,b}", 20) + `"]}`, `too many alternatives`},
	{`{"protect": ["` + strings.Repeat("p", maxGlob+1) + `"]}`, `/protect/0 is longer than 1024 characters`},
	{`{"protect": ` + tooMany() + `}`, `/protect has 101 entries: name at most 100`},
	{`{"protect": ["a", "b", "a"]}`, `/protect/2 is "a", which is there already`},
	{`{"min_copies": 1}`, `at least 2`},
	{`{"min_copies": -1}`, `at least 2`},
	{`{"min_copies": 1000000001}`, `choose 0, or 2 to 1000000000`},
	{`{"isolate": true}`, `unknown field /isolate`},
}

// TestBadRules sends rules that are refused, whatever the root has.
func TestBadRules(t *testing.T) {
	h := newService(t, withJobs(t, Config{Root: album(t)}))
	for _, test := range badRules {
		for _, path := range []string{"/v1/scans", "/v1/jobs"} {
			got := ask(t, h, Caller{}, "POST", path, test.rules)
			if doc := got.decode(t); got.status != 400 || !strings.Contains(doc.Detail, test.detail) {
				t.Errorf("%s %.60s: %d %.200s, want %s", path, test.rules, got.status, doc.Detail, test.detail)
			}
		}
	}
	if got := ask(t, h, Caller{}, "GET", "/v1/jobs", ""); !strings.Contains(string(got.body), `"jobs":[]`) {
		t.Errorf("jobs begin: %s", got.body)
	}
}

// TestRulesAreConfined names what is outside of the root, and links that lead there. All of it
// looks as if it did not exist.
func TestRulesAreConfined(t *testing.T) {
	h := newService(t, withJobs(t, Config{Root: tenants(t), TenantClaim: "folder"}))
	for _, path := range []string{"out", "bob", "bob/a", "bob/none", "top", "top/etc", "self", "self/sub", "none", "none/a", "a/x", "sub/none"} {
		for _, rule := range []string{"priority", "protect"} {
			if rule == "protect" && !strings.Contains(path, "/") {
				continue // a name may be anywhere
			}
			want := fmt.Sprintf(`/%s/0 is %q, where no directory or file is: use a path relative to your root, without symbolic links`, rule, path)
			body := fmt.Sprintf(`{%q: [%q]}`, rule, path)
			got := ask(t, h, inFolder("alice"), "POST", "/v1/scans", body)
			if doc := got.decode(t); got.status != 422 || doc.Detail != want {
				t.Errorf("%s: %d %s", body, got.status, got.body)
			}
			end := ended(t, h, inFolder("alice"), operation(t, ask(t, h, inFolder("alice"), "POST", "/v1/jobs", body)).ID)
			if end.Error == nil || end.Error.Code != jobs.CodeNotFound || end.Error.Detail != want {
				t.Errorf("%s: the job ends with %+v %+v", body, end.Error, end.Response)
			}
		}
	}
	for _, body := range []string{`{"priority": ["sub"]}`, `{"priority": ["."]}`, `{"priority": ["sub/b"]}`, `{"protect": ["bob", "sub/b", "*/b"]}`} {
		doc := keptIn(t, ask(t, h, inFolder("alice"), "POST", "/v1/scans", body))
		if len(doc.Groups) != 1 || !doc.Groups[0].Files[0].Kept {
			t.Errorf("%s: %+v", body, doc)
		}
	}
}

// TestFind asks for what else a scan can find.
func TestFind(t *testing.T) {
	root := tenants(t)
	for i := range 50 {
		makeFile(t, root, fmt.Sprintf("alice/one/%02d", i), fmt.Sprint("unique ", i), 0)
	}
	for _, folder := range []string{"x", "y", "z"} {
		makeFile(t, root, "alice/"+folder+"/file", "in a folder", 0)
	}
	h := newService(t, Config{Root: root, TenantClaim: "folder"})
	type found struct {
		Groups []struct{ Files []struct{ Path string } }
		Sets   []struct{ Paths []struct{ Path string } } `json:"duplicate_folders"`
		Unique []struct {
			Path string
			Size int64
		}
		Selection map[string]any
		Next      string
	}
	find := func(body string) (doc found) {
		t.Helper()
		got := ask(t, h, inFolder("alice"), "POST", "/v1/scans", body)
		if err := json.Unmarshal(got.body, &doc); err != nil || got.status != 200 {
			t.Fatalf("%s: %d %v: %s", body, got.status, err, got.body)
		}
		return doc
	}
	for _, mode := range []string{"goroutines", "processes"} {
		doc := find(fmt.Sprintf(`{"mode": %q, "unique": true, "folders": true, "exclude": ["out"]}`, mode))
		if len(doc.Groups) != 2 || len(doc.Sets) != 1 || len(doc.Sets[0].Paths) != 3 || doc.Sets[0].Paths[0].Path != "x" || len(doc.Unique) != 51 || doc.Unique[0].Path != "c" || doc.Unique[0].Size != 4 ||
			doc.Selection["unique"] != true || doc.Selection["folders"] != true {
			t.Errorf("%s: %+v", mode, doc)
		}
		doc = find(fmt.Sprintf(`{"mode": %q, "copies_of": "x/file", "path": "y"}`, mode))
		if len(doc.Groups) != 1 || len(doc.Groups[0].Files) != 2 || doc.Groups[0].Files[0].Path != "x/file" || doc.Selection["copies_of"] != "x/file" {
			t.Errorf("%s: copies of a file outside the path: %+v", mode, doc)
		}
	}
	pages := 0
	var paths []string
	for next := ""; next != "" || pages == 0; pages++ {
		doc := find(fmt.Sprintf(`{"unique": true, "folders": true, "limit": 7, "next": %q}`, next))
		for _, f := range doc.Unique {
			paths = append(paths, f.Path)
		}
		if len(doc.Groups)+len(doc.Unique) > 7 || (len(doc.Sets) > 0) != (pages == 0) {
			t.Errorf("page %d has %d groups, %d files and %d sets of folders", pages, len(doc.Groups), len(doc.Unique), len(doc.Sets))
		}
		if next = doc.Next; pages == 2 { // a file that is gone moves no other to another page
			if err := os.Remove(filepath.Join(root, "alice", paths[0])); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(paths) != 51 || !slices.IsSorted(paths) || len(slices.Compact(paths)) != 51 {
		t.Errorf("%d unique files on %d pages: %q", len(paths), pages, paths)
	}
}

// TestBadFinds sends what is refused.
func TestBadFinds(t *testing.T) {
	h := newService(t, withJobs(t, Config{Root: tenants(t), TenantClaim: "folder"}))
	const nowhere = `where no file is that may have copies: use a path relative to your root`
	for _, test := range []struct {
		body   string
		status int
		detail string
	}{
		{`{"copies_of": "../bob/a"}`, 400, `copies_of is "../bob/a": name a file relative to your root`},
		{`{"copies_of": "/etc/passwd"}`, 400, `copies_of is "/etc/passwd"`},
		{`{"copies_of": ""}`, 400, `copies_of is ""`},
		{`{"copies_of": "a\u0000"}`, 400, `copies_of is "a\x00"`},
		{`{"copies_of": null}`, 400, `/copies_of is null`},
		{`{"copies_of": ["a"]}`, 400, `/copies_of`},
		{`{"copies_of_base64": ""}`, 400, `copies_of is ""`},
		{`{"copies_of_base64": "Li4="}`, 400, `copies_of is ".."`},
		{`{"copies_of": "a", "copies_of_base64": "Yg=="}`, 400, `name different paths`},
		{`{"copies_of": "a", "unique": true}`, 400, `leave out unique and folders`},
		{`{"copies_of": "a", "folders": true}`, 400, `leave out unique and folders`},
		{`{"unique": null}`, 400, `/unique is null`},
		{`{"unique": "yes"}`, 400, `/unique`},
		{`{"folders": 1}`, 400, `/folders`},
		{`{"files_from": "list"}`, 400, `unknown field`},
		{`{"copies_of": "none"}`, 422, nowhere},
		{`{"copies_of": "out"}`, 422, nowhere},
		{`{"copies_of": "bob/a"}`, 422, nowhere},
		{`{"copies_of": "top/etc/passwd"}`, 422, nowhere},
		{`{"copies_of": "self/a"}`, 422, nowhere},
		{`{"copies_of": "sub"}`, 422, nowhere},
		{`{"copies_of": "a", "min_size": 5}`, 422, nowhere},
		{`{"copies_of": "` + strings.Repeat("x", 300) + `"}`, 422, nowhere},
		{`{"copies_of": "a", "path": "none"}`, 404, `no directory or file at that path`},
		{`{"copies_of": "none", "path": "none"}`, 404, `no directory or file at that path`},
		{`{"next": "unique-0-zz"}`, 400, `next is not from an answer`},
		{`{"next": "unique--1-61"}`, 400, `next is not from an answer`},
	} {
		got := ask(t, h, inFolder("alice"), "POST", "/v1/scans", test.body)
		if doc := got.decode(t); got.status != test.status || !strings.Contains(doc.Detail, test.detail) {
			t.Errorf("%s: %d %s, want %d %s", test.body, got.status, doc.Detail, test.status, test.detail)
		}
	}
	for _, field := range []string{`"copies_of": "a"`, `"unique": true`, `"folders": true`} {
		if got := ask(t, h, inFolder("alice"), "POST", "/v1/jobs", `{`+field+`}`); got.status != 400 || !strings.Contains(string(got.body), "unknown field") {
			t.Errorf("a job with %s: %d %s", field, got.status, got.body)
		}
	}
}

// TestRulesInBase64 keeps files in a folder whose name is not UTF-8, also in a job.
func TestRulesInBase64(t *testing.T) {
	root := t.TempDir()
	for _, name := range []string{"a", "caf\xe9"} {
		if err := os.Mkdir(filepath.Join(root, name), 0o777); err != nil {
			t.Skip("this file system holds only names in UTF-8: set TMPDIR to one that holds others, such as ext4: ", err)
		}
		makeFile(t, root, name+"/x", "same", 0)
	}
	h := newService(t, withJobs(t, Config{Root: root}))
	name := base64.StdEncoding.EncodeToString([]byte("caf\xe9"))
	for _, body := range []string{
		`{"priority_base64": ["` + name + `"]}`, `{"protect_base64": ["` + name + `"]}`,
		`{"priority_base64": ["` + name + `"], "priority": ["caf\ufffd"]}`,
	} {
		for what, got := range map[string]result{"scan": ask(t, h, Caller{}, "POST", "/v1/scans", body), "job": jobReportOf(t, h, body)} {
			if doc := keptIn(t, got); doc.Groups[0].Files[0].Path != "caf\ufffd/x" || !doc.Groups[0].Files[0].Kept || !strings.Contains(string(got.body), `_base64":["`+name+`"]`) {
				t.Errorf("%s %s: %s", what, body, got.body)
			}
		}
	}
}

// TestRulesInTime applies rules when there is no time left.
func TestRulesInTime(t *testing.T) {
	c, err := choose.New(choose.Rules{Keep: choose.Oldest}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	var copies []*dedupe.Copy
	for i := range 5000 {
		copies = append(copies, dedupe.CopyOf(dedupe.File{Path: fmt.Sprint(i), Inode: uint64(i)}))
	}
	found := dedupe.Report{Groups: []dedupe.Group{{Size: 1, Copies: copies}}}
	ctx, cancel := context.WithDeadline(t.Context(), time.Now())
	defer cancel()
	var refused *problem
	if err := chooseIn(ctx, &report.Page{Chooser: c}, nil, &found); !errors.As(err, &refused) || refused.status != 422 || !strings.Contains(refused.detail, "use fewer globs") {
		t.Errorf("%v", err)
	}
	few, many := choiceTime(choose.Rules{Keep: choose.Oldest}), choiceTime(choose.Rules{Protect: []string{"a", "b"}, Folders: true})
	if choiceTime(choose.Rules{}) != 0 || few >= many || (&progress{found: 1e6, choice: many}).reserve(0) <= (&progress{found: 1e6, choice: few}).reserve(0) {
		t.Errorf("rules take %v and %v for each file", few, many)
	}
}
