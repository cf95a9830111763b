package service

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"efsdedupe/dedupe/report"
	"efsdedupe/fixtures/testkit"
)

// fillTree writes many small groups, a group larger than a line of a stored report, names of
// any bytes, and something that is skipped.
func fillTree(t testing.TB) (root string) {
	t.Helper()
	root = filepath.Join(t.TempDir(), "root")
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range 40 {
		for j := range 2 + rnd.IntN(3) {
			testkit.Write(t, []byte(strings.Repeat("x", i+1)), filepath.Join(root, fmt.Sprintf("d%d", j), fmt.Sprintf("\xfff%02d, \"x\"\r\n", i)))
		}
	}
	for i := range 700 {
		testkit.Write(t, []byte("many of them"), filepath.Join(root, "many", fmt.Sprintf("%s-%03d", strings.Repeat("n", 100), i)))
	}
	if err := os.Link(filepath.Join(root, "many", strings.Repeat("n", 100)+"-000"), filepath.Join(root, "zz-link")); err != nil {
		t.Fatal(err)
	}
	return root
}

// pages returns all pages of a report in a form.
func pages(t testing.TB, h http.Handler, path, accept string, limit int) (all [][]byte) {
	t.Helper()
	api := newContract(t)
	for path = fmt.Sprintf("%s?limit=%d", path, limit); path != ""; {
		r := httptest.NewRequest("GET", path, nil)
		r.Header.Set("Accept", accept)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != 200 || w.Header().Get("Content-Type") != accept || report.QuotedSize(w.Body.Bytes()) > maxAnswer {
			t.Fatalf("%s: %d %v", path, w.Code, w.Header())
		}
		api.check(t, "GET", path, w.Code, w.Header(), w.Body.Bytes())
		all = append(all, w.Body.Bytes())
		next := w.Header().Get("Link")
		path, _, _ = strings.Cut(strings.TrimPrefix(next, "<"), ">")
	}
	return all
}

// The pages of a stored report are together what a scan answers, in all forms, however long
// they are.
func TestJobReportPages(t *testing.T) {
	root := fillTree(t)
	h := newService(t, withJobs(t, Config{Root: root}))
	want := groupsOf(t, ask(t, h, Caller{}, "POST", "/v1/scans", `{"limit": 10000}`).body)
	end := ended(t, h, Caller{}, operation(t, ask(t, h, Caller{}, "POST", "/v1/jobs", `{}`)).ID)
	var whole string
	for _, limit := range []int{1, 2, 7, 10_000} {
		all := pages(t, h, end.Links.Report, "application/json", limit)
		got := groupsOf(t, all[0])
		got.Groups = nil
		parts := 0
		for _, page := range all {
			for _, g := range groupsOf(t, page).Groups {
				if g.Before > 0 {
					last := &got.Groups[len(got.Groups)-1]
					if last.Digest != g.Digest || int64(len(last.Files)) != g.Before {
						t.Errorf("a part of %s after %d files is after %d of %s", g.Digest, g.Before, len(last.Files), last.Digest)
					}
					last.Files, last.After = append(last.Files, g.Files...), g.After
					parts++
					continue
				}
				got.Groups = append(got.Groups, g)
			}
		}
		got.Next = ""
		if diff := cmp.Diff(want, got); diff != "" || parts == 0 {
			t.Errorf("limit %d (-scan +job), %d parts:\n%s", limit, parts, diff)
		}
		table := string(bytes.Join(pages(t, h, end.Links.Report, "text/csv", limit), nil))
		if whole == "" {
			whole = table
		}
		rows, err := csv.NewReader(strings.NewReader(table)).ReadAll()
		if err != nil || table != whole || len(rows) != 1+int(want.Stats.Files) {
			t.Errorf("limit %d: %d rows, %v\n%s", limit, len(rows), err, cmp.Diff(whole, table))
		}
		lines := bytes.Split(bytes.TrimSpace(bytes.Join(pages(t, h, end.Links.Report, "application/x-ndjson", limit), nil)), []byte("\n"))
		if len(lines) != 1+len(want.Groups)+parts || !bytes.HasPrefix(lines[0], []byte(`{"report":`)) {
			t.Errorf("limit %d: %d lines, %.100s", limit, len(lines), lines[0])
		}
	}
	if !strings.Contains(whole, "\n41,") || strings.Contains(whole, "\n42,") {
		t.Errorf("the groups are not numbered: %.300s", whole)
	}
}

func TestReportForms(t *testing.T) {
	h := newService(t, withJobs(t, Config{Root: tenants(t)}))
	end := ended(t, h, Caller{}, operation(t, ask(t, h, Caller{}, "POST", "/v1/jobs", `{}`)).ID)
	request := func(method, path string, header http.Header) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, path, nil)
		r.Header = header
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	for accept, want := range map[string]string{
		"": "application/json", "*/*": "application/json", "text/*": "text/csv", "text/csv;q=0.5, */*;q=0.1": "text/csv", "application/*": "application/json",
		"application/json;q=0.2, application/x-ndjson": "application/x-ndjson", "TEXT/CSV": "text/csv", "application/json;q=0, */*": "application/x-ndjson",
		"image/png": "", "*/*;q=0": "", "text/html, text/csv;q=x": "",
	} {
		w := request("GET", end.Links.Report, http.Header{"Accept": {accept}})
		if got := w.Header().Get("Content-Type"); got != want && (want != "" || w.Code != 406) {
			t.Errorf("Accept %q: %d %s", accept, w.Code, got)
		}
		if !slices.Contains(w.Header().Values("Vary"), "Accept") {
			t.Errorf("Accept %q: Vary %q", accept, w.Header().Values("Vary"))
		}
	}
	for _, path := range []string{end.Links.Report, end.Links.Self, "/v1/jobs"} {
		first := request("GET", path, http.Header{"Accept-Encoding": {"gzip"}})
		if first.Header().Get("Content-Encoding") != "gzip" || first.Header().Get("ETag") == "" {
			t.Errorf("%s: %v", path, first.Header())
		}
		if w := request("HEAD", path, nil); w.Code != 200 || w.Body.Len() > 0 || w.Header().Get("ETag") != first.Header().Get("ETag") {
			t.Errorf("HEAD %s: %d %v", path, w.Code, w.Header())
		}
		if w := request("GET", path, http.Header{"If-None-Match": {first.Header().Get("ETag")}}); w.Code != 304 || w.Body.Len() > 0 {
			t.Errorf("%s again: %d", path, w.Code)
		}
	}
}
