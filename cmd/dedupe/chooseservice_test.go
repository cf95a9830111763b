package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"efsdedupe/fixtures/testkit"
)

// TestServiceFindsTheSame asks a server to find and keep files in random trees of traps, in a
// scan and in a job. Both must find what the command finds, in pages.
func TestServiceFindsTheSame(t *testing.T) {
	onRandomTrees(t, func(t *testing.T, rnd *rand.Rand) {
		_, url := serveJobs(t, ".", t.TempDir())
		for range 3 {
			args, request := serviceRules(t, rnd)
			find := func(more ...string) (p foundPage) {
				testkit.Must(t, json.Unmarshal(output(t, slices.Concat([]string{"scan", "--format", "json"}, args, more, []string{"t"})...), &p))
				return p
			}
			lines := linesOf(find().Groups) // a job has another order
			slices.Sort(lines)
			got := jobGroups(t, url, request)
			slices.Sort(got)
			sameLines(t, fmt.Sprintf("job %q, %v", args, request), lines, got)

			request["limit"] = 1 + rnd.IntN(5)
			want := find(serviceFinds(rnd, request)...)
			found := scanPages(t, url, request)
			what := fmt.Sprintf("scan %q, %v: ", args, request)
			sameLines(t, what+"groups", linesOf(want.Groups), linesOf(found.Groups))
			sameLines(t, what+"folders", linesOf(want.Folders), linesOf(found.Folders))
			sameLines(t, what+"unique", linesOf(want.Unique), linesOf(found.Unique))
		}
	})
}

// foundPage is a report, or a page of one.
type foundPage struct {
	Groups  []json.RawMessage
	Folders []json.RawMessage `json:"duplicate_folders"`
	Unique  []json.RawMessage
	Next    string
}

// serviceFinds adds to a request what jobs do not know, and returns it as flags.
func serviceFinds(rnd *rand.Rand, request map[string]any) (args []string) {
	var files []string
	filepath.WalkDir("t", func(path string, d fs.DirEntry, err error) error {
		if st, failed := d.Info(); failed == nil && d.Type().IsRegular() && st.Size() > 0 {
			files = append(files, path)
		}
		return err
	})
	if len(files) > 0 && rnd.IntN(4) == 0 {
		path := files[rnd.IntN(len(files))]
		request["copies_of_base64"] = []byte(path)
		return []string{"--copies-of", path}
	}
	for _, flag := range []string{"unique", "folders"} {
		if rnd.IntN(3) > 0 {
			request[flag] = true
			args = append(args, "--"+flag)
		}
	}
	return args
}

func linesOf(groups []json.RawMessage) (lines []string) {
	for _, g := range groups {
		lines = append(lines, string(g))
	}
	return lines
}

// serviceRules returns random rules, as flags and as a request.
func serviceRules(t *testing.T, rnd *rand.Rand) (args []string, request map[string]any) {
	var paths, dirs []string
	testkit.Must(t, filepath.WalkDir("t", func(path string, d fs.DirEntry, err error) error {
		if d.IsDir() {
			dirs = append(dirs, path)
		}
		if d.IsDir() || d.Type().IsRegular() {
			paths = append(paths, path)
		}
		return err
	}))
	request = map[string]any{"path": "t"}
	list := func(flag string, from []string) {
		var some []string
		full := [][]byte{}
		text := true
		for range rnd.IntN(3) {
			path := from[rnd.IntN(len(from))]
			if slices.Contains(some, path) {
				continue
			}
			some, full, text = append(some, path), append(full, []byte(path)), text && utf8.ValidString(path)
			args = append(args, "--"+flag, path)
		}
		if text && rnd.IntN(2) == 0 {
			request[flag] = append([]string{}, some...)
		} else {
			request[flag+"_base64"] = full
		}
	}
	list("priority", append(dirs, "."))
	list("protect", slices.Concat(paths, []string{"keep", "a/", "*/b", "**/keep/**", "[!a]", "{a,b}", "one/*"}))
	if keep := []string{"", "oldest", "newest", "shortest", "first"}[rnd.IntN(5)]; keep != "" {
		args, request["keep"] = append(args, "--keep", keep), keep
	}
	if n := []int{0, 2, 3}[rnd.IntN(3)]; n > 0 {
		args, request["min_copies"] = append(args, "--min-copies", fmt.Sprint(n)), n
	}
	if rnd.IntN(2) == 0 {
		edited := time.Unix(1.7e9+1000, 0).UTC().Format(time.RFC3339)
		args, request["newer"] = append(args, "--newer", edited), edited
	}
	return args, request
}

// send posts a request and returns the answer.
func send(t *testing.T, url string, request map[string]any) []byte {
	t.Helper()
	body, err := json.Marshal(request)
	testkit.Must(t, err)
	response, err := http.Post(url, "application/json", bytes.NewReader(body))
	testkit.Must(t, err)
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode > 299 {
		t.Fatalf("%s: %d %v: %s", body, response.StatusCode, err, answer)
	}
	return answer
}

// scanPages returns what is on all pages of a scan.
func scanPages(t *testing.T, url string, request map[string]any) (all foundPage) {
	for {
		var page foundPage
		testkit.Must(t, json.Unmarshal(send(t, url+"/v1/scans", request), &page))
		all.Groups, all.Folders, all.Unique = append(all.Groups, page.Groups...), append(all.Folders, page.Folders...), append(all.Unique, page.Unique...)
		if n := len(page.Groups) + len(page.Unique); n > request["limit"].(int) {
			t.Errorf("%v: a page of %d groups and files", request, n)
		}
		if page.Next == "" {
			delete(request, "next")
			return all
		}
		request["next"] = page.Next
	}
}

// jobGroups returns the groups that a job finds.
func jobGroups(t *testing.T, url string, request map[string]any) []string {
	var job struct{ ID string }
	testkit.Must(t, json.Unmarshal(send(t, url+"/v1/jobs", request), &job))
	testkit.Eventually(t, "the job to end", func() bool {
		_, body := get(t, url+"/v1/jobs/"+job.ID, nil)
		return strings.Contains(string(body), `"done":true`)
	})
	var report struct{ Groups []json.RawMessage }
	_, body := get(t, url+"/v1/jobs/"+job.ID+"/report?limit=10000", nil)
	testkit.Must(t, json.Unmarshal(body, &report))
	return linesOf(report.Groups)
}
