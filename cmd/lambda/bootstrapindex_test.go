package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"efsdedupe/fixtures/aws"
	"efsdedupe/fixtures/lambda/runtimeapi"
)

// figures are the parts of a scan's answer that show what it read.
type figures struct {
	Complete bool
	Stats    struct {
		Opens     int64 `json:"opens"`
		BytesRead int64 `json:"bytes_read"`
		Hashed    int64 `json:"files_hashed"`
		Compared  int64 `json:"files_compared"`
		Known     int64 `json:"files_known"`
	}
}

func figuresOf(t *testing.T, a answered) (f figures) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.Body), &f); err != nil || a.StatusCode != 200 {
		t.Fatalf("%v: %d %.200s", err, a.StatusCode, a.Body)
	}
	return f
}

// indexed returns the environment of a function whose index is a table.
func indexed(endpoint string) []string {
	return []string{"DEDUPE_INDEX=dynamodb://digests", "DEDUPE_INDEX_ID=fs-0123abcd", "AWS_ENDPOINT_URL_DYNAMODB=" + endpoint,
		"AWS_ACCESS_KEY_ID=AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI", "AWS_SESSION_TOKEN=IQoJb3JpZ2lu"}
}

// settle waits until the files in root are old enough for an index to remember.
func settle(t *testing.T, root string) {
	t.Helper()
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		made, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		for time.Since(made.ModTime()) < 200*time.Millisecond {
			time.Sleep(time.Millisecond)
		}
	}
}

// No environment reads a file again that any environment has read.
func TestBootstrapIndex(t *testing.T) {
	for name, variables := range map[string]func(*testing.T) []string{
		"table": func(t *testing.T) []string { return indexed(aws.DynamoDBForTest(t, "digests")) },
		"file":  func(t *testing.T) []string { return []string{"DEDUPE_INDEX=" + filepath.Join(t.TempDir(), "index.db")} },
	} {
		t.Run(name, func(t *testing.T) {
			root := tree(t)
			settle(t, root)
			path := bootstrap(t)
			env := variables(t)
			environment := func() *runtimeapi.Function {
				f, err := start(t, path, root, env...)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(f.Close)
				return f
			}
			var want [][]string
			check := func(name string, f *runtimeapi.Function, mode string, opens, bytes int64) {
				t.Helper()
				a := invoke(t, f, inMode(t, readEvent(t, "http-api-scan.json"), mode))
				got := figuresOf(t, a)
				if got.Stats.Opens != opens || got.Stats.BytesRead != bytes || got.Stats.Known != 100-opens {
					t.Errorf("%s: %+v", name, got)
				}
				found := groups(t, []byte(a.Body))
				if want == nil {
					want = found
				}
				if diff := cmp.Diff(want, found); diff != "" {
					t.Errorf("%s: %s", name, diff)
				}
			}
			first := environment()
			check("cold", first, "goroutines", 100, 100*64<<10)
			check("warm", first, "goroutines", 0, 0)
			second := environment()
			check("another environment", second, "processes", 0, 0)

			file := filepath.Join(root, want[0][0])
			content, err := os.ReadFile(file)
			if err == nil {
				err = os.WriteFile(file, content, 0o666) // changes the times
			}
			if err != nil {
				t.Fatal(err)
			}
			check("one changed", second, "goroutines", 1, 64<<10)
		})
	}
}

// When the deadline ends a scan, another environment continues it.
func TestBootstrapResumes(t *testing.T) {
	root := tree(t)
	for _, name := range []string{"x", "y"} { // files that take minutes to read
		if err := errors.Join(os.WriteFile(filepath.Join(root, name), nil, 0o666), os.Truncate(filepath.Join(root, name), 100<<30)); err != nil {
			t.Skip("this file system holds no file of 100 GiB: set TMPDIR to one that does: ", err)
		}
	}
	settle(t, root)
	path := bootstrap(t)
	endpoint := aws.DynamoDBForTest(t, "digests")
	var read int64
	for i := range 2 {
		f, err := start(t, path, root, indexed(endpoint)...)
		if err != nil {
			t.Fatal(err)
		}
		f.Grace = time.Hour
		r, err := f.Invoke(t.Context(), readEvent(t, "http-api-scan.json"), 6*time.Second)
		f.Close()
		var a answered
		if err != nil || json.Unmarshal(r.Body, &a) != nil {
			t.Fatalf("%s, error %v", r.Body, err)
		}
		got := figuresOf(t, a)
		if got.Complete || got.Stats.Known != read || i == 1 && got.Stats.Opens > 100-read+2*3 { // each of the two opens for prefix, suffix, whole
			t.Errorf("environment %d, after %d files: %+v", i, read, got)
		}
		if read += got.Stats.Hashed + got.Stats.Compared; read == 0 {
			t.Errorf("environment %d read nothing", i)
		}
	}
}

// An unreachable index costs a line in the log, without paths or secrets.
func TestBootstrapWithoutItsIndex(t *testing.T) {
	root := tree(t)
	path := bootstrap(t)
	gone := httptest.NewServer(nil)
	gone.Close()
	var log bytes.Buffer
	f, err := runtimeapi.Start(t.Context(), func() *exec.Cmd {
		cmd := exec.Command(path)
		cmd.Env = append(append(os.Environ(), "DEDUPE_ROOT="+root), indexed(gone.URL)...)
		cmd.Stderr = &log
		return cmd
	})
	if err != nil {
		t.Fatal(err)
	}
	a := invoke(t, f, readEvent(t, "http-api-scan.json"))
	f.Close()
	if got := figuresOf(t, a); !got.Complete || got.Stats.Opens != 100 || len(groups(t, []byte(a.Body))) != 2 {
		t.Errorf("%+v", got)
	}
	var levels, events []any
	for _, line := range lines(t, &log) {
		levels = append(levels, line["level"])
		events = append(events, line["event"])
	}
	for _, event := range filteredEvents(t) {
		if !slices.Contains(events, any(event)) {
			t.Errorf("the template counts the event %q, but the log has %v: an alarm would stay silent", event, events)
		}
	}
	if diff := cmp.Diff([]any{"WARN", "INFO"}, levels); diff != "" {
		t.Errorf("%s\n%s", &log, diff)
	}
	for _, secret := range []string{root, "AKIDEXAMPLE", "wJalrXUtnFEMI", "IQoJb3JpZ2lu"} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("the log reveals %s: %s", secret, &log)
		}
	}
	if !strings.Contains(log.String(), "connection refused") || !strings.Contains(log.String(), "digests") {
		t.Errorf("the log does not say what is wrong: %s", &log)
	}
}
