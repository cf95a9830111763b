package task

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"efsdedupe/dedupe"
	"efsdedupe/fixtures/lambda/runtimeapi"
)

// serveHelpers serves an API with a new function for each invocation of a helper.
func serveHelpers(t *testing.T) {
	t.Helper()
	helper := func(ctx context.Context, event []byte) (runtimeapi.Result, error) {
		f := New(nil)
		defer f.Close()
		body, err := f.Invoke(ctx, event)
		if err != nil {
			return runtimeapi.Result{ErrorType: fmt.Sprintf("%T", err), ErrorMessage: err.Error()}, nil
		}
		return runtimeapi.Result{Body: body}, nil
	}
	api, err := runtimeapi.ServeInvoke(t.Context(), map[string]func(context.Context, []byte) (runtimeapi.Result, error){HelperFunction: helper})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(api.Close)
	t.Setenv(EndpointVariable, api.URL)
}

// However many helpers share the tasks, they return the checksums of one function.
func TestHelpers(t *testing.T) {
	serveHelpers(t)
	f := newFunction(t)
	for _, w := range all(t) {
		for _, helpers := range []int{1, 2, 3, 7, 12, 30} {
			if helpers > w.Tasks {
				continue
			}
			w.Mode, w.Helpers = Helpers, helpers
			got, err := call(t, f, w.Event)
			if err != nil {
				t.Fatalf("%+v: %v", w.Event, err)
			}
			got.Groups = nil // see TestHelpersGroups
			if diff := cmp.Diff(w.want, got); diff != "" {
				t.Errorf("%+v: %s", w.Event, diff)
			}
		}
	}
}

// twins makes a directory in which equal files are far from each other, so that no helper
// sees all of a group: empty files, files that differ in their last byte, and two names
// of one file, with and without a copy.
func twins(t *testing.T) (root string) {
	t.Helper()
	root = t.TempDir()
	contents := []string{"", "a", strings.Repeat("b", 300_000), strings.Repeat("b", 299_999) + "c", "alone"}
	for round := range 3 {
		for i, content := range contents {
			if content == "alone" {
				content += fmt.Sprint(round)
			}
			if err := os.WriteFile(filepath.Join(root, fmt.Sprintf("%d-%d", round, i)), []byte(content), 0o666); err != nil {
				t.Fatal(err)
			}
		}
	}
	for oldname, newname := range map[string]string{"0-1": "9-linked", "1-4": "9-linked alone"} {
		if err := os.Link(filepath.Join(root, oldname), filepath.Join(root, newname)); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// The main function joins the same groups as one scan of all files finds.
func TestHelpersGroups(t *testing.T) {
	serveHelpers(t)
	f, root := newFunction(t), twins(t)
	names, err := regularFiles(root)
	if err != nil {
		t.Fatal(err)
	}
	var want [][]int
	report, err := dedupe.Scan(t.Context(), dedupe.Selection{Roots: []string{root}}, dedupe.Engine{Mode: dedupe.Goroutines, Workers: 4})
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range report.Groups {
		var tasks []int
		for file := range g.Files() {
			tasks = append(tasks, slices.Index(names, filepath.Base(file.Path)))
		}
		slices.Sort(tasks)
		want = append(want, tasks)
	}
	sorted := func(groups [][]int) [][]int {
		slices.SortFunc(groups, slices.Compare)
		return groups
	}
	for helpers := range len(names) {
		e := Event{Workload: Scan, Mode: Helpers, Tasks: len(names), Workers: 4, Root: root, Helpers: helpers + 1}
		got, err := call(t, f, e)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(sorted(want), sorted(got.Groups)); diff != "" || len(want) < 4 {
			t.Errorf("%d helpers (-one scan +helpers):\n%s", e.Helpers, diff)
		}
	}
}

// A state machine invokes the helpers itself: it has a function join their answers.
func TestJoin(t *testing.T) {
	f, root := newFunction(t), twins(t)
	e := Event{Workload: Scan, Mode: Join, Tasks: 17, Workers: 4, Root: root, Helpers: 3}
	for _, share := range e.Shares() {
		a, err := call(t, f, share)
		if err != nil {
			t.Fatal(err)
		}
		e.Answers = append(e.Answers, a)
	}
	got, err := call(t, f, e)
	if err != nil || len(got.Groups) < 4 || !slices.Equal(got.Checksums, trueScan(t, root)) {
		t.Errorf("%+v, error %v", got, err)
	}
	for name, spoil := range map[string]func(a []Answer) []Answer{
		"0 answers of 3 helpers":  func([]Answer) []Answer { return nil },
		"2 answers of 3 helpers":  func(a []Answer) []Answer { return a[1:] },
		"5 checksums of 6 files":  func(a []Answer) []Answer { a[1].Checksums = a[1].Checksums[1:]; return a },
		"6 checksums of 0 files":  func(a []Answer) []Answer { a[2].Files = nil; return a },
		`"short" is not a blake3`: func(a []Answer) []Answer { a[0].Checksums = append([]string{"short"}, a[0].Checksums[1:]...); return a },
	} {
		wrong := e
		wrong.Answers = spoil(slices.Clone(e.Answers))
		if _, err := call(t, f, wrong); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("error %v, want %s", err, name)
		}
	}
}

// A helper that fails, or does not answer with its share, fails the call.
func TestHelperFails(t *testing.T) {
	e := Event{Workload: Fib, Mode: Helpers, Tasks: 4, Workers: 4, Steps: 1, Helpers: 2}
	for want, answer := range map[string]http.HandlerFunc{
		"status 429 Too Many Requests: slow down": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusTooManyRequests)
			w.Write([]byte("slow down"))
		},
		"Sandbox.Timedout: too long": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Amz-Function-Error", "Unhandled")
			json.NewEncoder(w).Encode(map[string]string{"errorType": "Sandbox.Timedout", "errorMessage": "too long"})
		},
		"it failed: no JSON": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Amz-Function-Error", "Unhandled")
			w.Write([]byte("no JSON"))
		},
		"1 checksums of 0 files for 2 tasks": func(w http.ResponseWriter, _ *http.Request) {
			json.NewEncoder(w).Encode(Answer{Checksums: []string{"1"}})
		},
		"invalid character": func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("no JSON")) },
		"EOF":               func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		server := httptest.NewServer(answer)
		t.Setenv(EndpointVariable, server.URL)
		_, err := call(t, newFunction(t), e)
		var failed *HelperError
		if !errors.As(err, &failed) || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %s", err, want)
		}
		server.Close()
	}
	serveHelpers(t)
	e.Workload, e.Root, e.Tasks = Scan, t.TempDir(), 2
	if _, err := call(t, newFunction(t), e); err == nil || !strings.Contains(err.Error(), "has 0 regular files: ask for at most as many tasks, not 2") {
		t.Errorf("error %v of a helper that refuses its event", err)
	}
}
