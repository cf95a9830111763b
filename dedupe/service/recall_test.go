package service

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"efsdedupe/dedupe/index"
	"efsdedupe/dedupe/mount"
	"efsdedupe/dedupe/mount/mounttest"
	"efsdedupe/fixtures/testkit"
)

// newIndex opens an index in a file. Its clock runs an hour ahead, so that files written
// just now are old enough to remember.
func newIndex(t testing.TB, path string) *index.Index {
	t.Helper()
	store, err := index.OpenLog(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	x := index.New(store)
	x.Now = func() time.Time { return time.Now().Add(time.Hour) }
	return x
}

// scanned is the part of an answer that the tests look at.
type scanned struct {
	Complete bool
	Stats    struct {
		Files     int64
		Opens     int64
		BytesRead int64 `json:"bytes_read"`
		Hashed    int64 `json:"files_hashed"`
		Compared  int64 `json:"files_compared"`
		Known     int64 `json:"files_known"`
	}
	Groups []struct {
		Files []struct{ Path string }
	}
}

func parse(t testing.TB, r result) (doc scanned) {
	t.Helper()
	if err := json.Unmarshal(r.body, &doc); err != nil || r.status != 200 {
		t.Fatalf("%d, %v: %s", r.status, err, r.body)
	}
	return doc
}

// write creates files that all have the same modification time.
func write(t testing.TB, files map[string]string) {
	t.Helper()
	then := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	for path, content := range files {
		testkit.Write(t, []byte(content), path)
		testkit.Must(t, os.Chtimes(path, then, then))
	}
}

// counting is a store that counts the blocks requested.
type counting struct {
	index.Store
	blocks *int
}

func (c counting) Get(ctx context.Context, keys []index.Key) (map[index.Key][]byte, index.Units, error) {
	*c.blocks += len(keys)
	return c.Store.Get(ctx, keys)
}

// TestRecall checks that a scan, in either mode, reads only files that no scan has read
// before; that a warm service requests no blocks from the index; and that a new one
// requests a block per directory.
func TestRecall(t *testing.T) {
	root, file := tenants(t), filepath.Join(t.TempDir(), "index")
	want := parse(t, ask(t, newService(t, Config{Root: root}), Caller{}, "POST", "/v1/scans", `{}`))
	if want.Stats.Opens != 5 || want.Stats.Files != 6 { // one has a unique size
		t.Fatalf("%+v", want)
	}
	blocks := 0
	start := func() http.Handler {
		x := newIndex(t, file)
		x.Store = counting{x.Store, &blocks}
		return newService(t, Config{Root: root, Index: x})
	}
	check := func(name string, h http.Handler, mode string, opens, known int64) {
		t.Helper()
		blocks = 0
		got := parse(t, ask(t, h, Caller{}, "POST", "/v1/scans", fmt.Sprintf(`{"mode": %q, "workers": 5}`, mode)))
		if !got.Complete || got.Stats.Opens != opens || got.Stats.Known != known || (got.Stats.BytesRead > 0) != (opens > 0) {
			t.Errorf("%s: %+v", name, got)
		}
		if diff := cmp.Diff(want.Groups, got.Groups); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	h := start()
	check("first", h, "goroutines", 5, 0)
	for _, mode := range []string{"processes", "goroutines"} {
		if check("warm", h, mode, 0, 5); blocks != 0 {
			t.Errorf("warm: requested %d blocks, want none", blocks)
		}
	}
	if check("new", start(), "goroutines", 0, 5); blocks != 3 {
		t.Errorf("new: requested %d blocks for three directories", blocks)
	}
	write(t, map[string]string{filepath.Join(root, "alice/sub/b"): "same"})
	check("after rewriting one", h, "processes", 1, 4)
	check("after reading it", start(), "goroutines", 0, 5)
}

// TestRecallTenants checks that an index entry counts for one file only, whoever scans
// it. A file with the same path, size and time in another tenant's folder is not known,
// nor is one in a folder moved to where the tenant's was.
func TestRecallTenants(t *testing.T) {
	for _, id := range []string{"", "fs-0123abcd"} {
		root := mounttest.TrustedDir(t, 1<<20)
		in := func(name string) string { return filepath.Join(root, name) }
		write(t, map[string]string{in("alice/a"): "same", in("alice/b"): "same", in("bob/a"): "his1", in("bob/b"): "his2"})
		x := newIndex(t, filepath.Join(t.TempDir(), "index"))
		x.FileSystem = id
		h := newService(t, Config{Root: root, TenantClaim: "org", Index: x})
		check := func(name string, h http.Handler, tenant string, known int64, groups int) {
			t.Helper()
			caller := Caller{Claims: map[string]string{"org": tenant}}
			got := parse(t, ask(t, h, caller, "POST", "/v1/scans", `{}`))
			if !got.Complete || got.Stats.Known != known || len(got.Groups) != groups {
				t.Errorf("%q: %s: %+v", id, name, got)
			}
		}
		check("alice", h, "alice", 0, 1)
		check("alice again", h, "alice", 2, 1)
		check("bob", h, "bob", 0, 0)
		check("bob again", h, "bob", 2, 0)
		check("all", newService(t, Config{Root: root, Index: x}), "", 4, 1)
		for _, step := range [][2]string{{"alice", "aside"}, {"bob", "alice"}, {"aside", "bob"}} {
			if err := os.Rename(in(step[0]), in(step[1])); err != nil {
				t.Fatal(err)
			}
		}
		check("bob as alice", h, "alice", 0, 0)
		check("alice as bob", h, "bob", 0, 1)
	}
}

// TestRecallResumes cuts scans short, once by canceling the request and once by the
// deadline. Another service picks up where they stopped.
func TestRecallResumes(t *testing.T) {
	root, file := mounttest.TrustedDir(t, 1<<20), filepath.Join(t.TempDir(), "index")
	files := make(map[string]string)
	for i := range 60 {
		files[filepath.Join(root, fmt.Sprint("f", i))] = fmt.Sprintf("%02d", i/2)
	}
	write(t, files)
	x := newIndex(t, file)
	ctx, cancel := context.WithCancel(t.Context())
	now, calls := x.Now, 0
	x.Now = func() time.Time { // called once per file read
		if calls++; calls == 25 {
			cancel()
		}
		return now()
	}
	r := httptest.NewRequest("POST", "/v1/scans", strings.NewReader(`{"workers": 1}`)).WithContext(ctx)
	w := httptest.NewRecorder()
	newService(t, Config{Root: root, Index: x}).ServeHTTP(w, r)
	first := parse(t, result{w.Code, w.Header(), w.Body.Bytes()})
	read := first.Stats.Hashed + first.Stats.Compared
	if first.Complete || read < 20 || read > 25 {
		t.Fatalf("%+v", first)
	}

	var second scanned
	x = newIndex(t, file)
	realTime := x.Now()
	synctest.Test(t, func(t *testing.T) {
		x.Now = func() time.Time {
			time.Sleep(100 * time.Millisecond)
			return realTime
		}
		w := httptest.NewRecorder()
		h := newService(t, Config{Root: root, Index: x, MaxDuration: 2 * time.Second})
		h.ServeHTTP(w, httptest.NewRequest("POST", "/v1/scans", strings.NewReader(`{"workers": 1}`)))
		second = parse(t, result{w.Code, w.Header(), w.Body.Bytes()})
	})
	if more := second.Stats.Hashed + second.Stats.Compared; second.Complete || second.Stats.Known != read || more == 0 || more > 60-read {
		t.Errorf("after reading %d: %+v", read, second)
	}
	read += second.Stats.Hashed + second.Stats.Compared
	third := parse(t, ask(t, newService(t, Config{Root: root, Index: newIndex(t, file)}), Caller{}, "POST", "/v1/scans", `{}`))
	if !third.Complete || third.Stats.Known != read || third.Stats.Opens != 60-read || len(third.Groups) != 30 {
		t.Errorf("after reading %d: %+v", read, third)
	}
}

// failing is a store that fails with err, or times out if err is nil.
type failing struct {
	index.Store
	err error
}

func (f failing) Get(ctx context.Context, _ []index.Key) (map[index.Key][]byte, index.Units, error) {
	if f.err != nil {
		return nil, index.Units{}, f.err
	}
	if _, limited := ctx.Deadline(); !limited {
		return nil, index.Units{}, errors.New("the call has no deadline")
	}
	return nil, index.Units{}, context.DeadlineExceeded
}

func (f failing) Update(ctx context.Context, keys []index.Key, _ func(index.Key, []byte) []byte) (index.Units, error) {
	_, u, err := f.Get(ctx, keys)
	return u, err
}

// TestRecallFails checks that a scan without a working index reads all files and finds
// the same groups, and that the log has one warning, without paths.
func TestRecallFails(t *testing.T) {
	root := tenants(t)
	want := parse(t, ask(t, newService(t, Config{Root: root}), Caller{}, "POST", "/v1/scans", `{}`))
	for name, test := range map[string]struct {
		store func(index.Store) index.Store
		error string
	}{
		"refused": {func(s index.Store) index.Store { return failing{s, errors.New("the table is gone")} }, "the table is gone"},
		"silent":  {func(s index.Store) index.Store { return failing{s, nil} }, "deadline exceeded"},
	} {
		var log bytes.Buffer
		x := newIndex(t, filepath.Join(t.TempDir(), "index"))
		x.Store = test.store(x.Store)
		h := newService(t, Config{Root: root, Index: x, MaxDuration: time.Minute, Log: slog.New(slog.NewJSONHandler(&log, nil))})
		got := parse(t, ask(t, h, Caller{RequestID: "r1"}, "POST", "/v1/scans", `{}`))
		if !got.Complete || got.Stats.Opens != want.Stats.Opens || got.Stats.Known != 0 {
			t.Errorf("%s: %+v", name, got)
		}
		if diff := cmp.Diff(want.Groups, got.Groups); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		warnings := 0
		for line := range bytes.Lines(log.Bytes()) {
			if bytes.Contains(line, []byte(`"WARN"`)) && bytes.Contains(line, []byte(test.error)) && bytes.Contains(line, []byte("r1")) {
				warnings++
			}
		}
		if warnings != 1 || strings.Contains(log.String(), root) || strings.Contains(log.String(), "alice") {
			t.Errorf("%s: %d warnings in %s", name, warnings, &log)
		}
	}
}

// TestPlacesAreNotLogged checks that an error about a directory reveals its path in the
// log only if LogPaths is set.
func TestPlacesAreNotLogged(t *testing.T) {
	place := &index.PlaceError{Path: "alice/sub/", Err: errors.New("no mount has it")}
	tunnel := &index.PlaceError{Path: "alice/sub/", Err: &mount.TunnelError{Point: "/srv/alice", Source: "127.0.0.1:/"}}
	for _, err := range []error{place, tunnel} {
		if got := (&service{}).withoutPaths(err); strings.Contains(got, "alice") {
			t.Errorf("%q", got)
		}
		if got := (&service{Config: Config{LogPaths: true}}).withoutPaths(err); !strings.Contains(got, "alice") {
			t.Errorf("%q", got)
		}
	}
	if got := (&service{}).withoutPaths(tunnel); !strings.Contains(got, "give its identity") {
		t.Errorf("%q does not say what to do", got)
	}
}

// charging is a store that charges 1.5 units per read and 2 per write.
type charging struct{ index.Store }

func (c charging) Get(ctx context.Context, keys []index.Key) (map[index.Key][]byte, index.Units, error) {
	blocks, _, err := c.Store.Get(ctx, keys)
	return blocks, index.Units{Read: 1.5}, err
}

func (c charging) Update(ctx context.Context, keys []index.Key, change func(index.Key, []byte) []byte) (index.Units, error) {
	_, err := c.Store.Update(ctx, keys, change)
	return index.Units{Write: 2}, err
}

// TestRecallObserved checks that the log counts known files, and that log and bill show
// what the index charged. Without an index, neither mentions one.
func TestRecallObserved(t *testing.T) {
	root := tenants(t)
	x := newIndex(t, filepath.Join(t.TempDir(), "index"))
	x.Store = charging{x.Store}
	for _, x := range []*index.Index{nil, x} {
		var log bytes.Buffer
		h := newService(t, Config{Root: root, Index: x, Log: slog.New(slog.NewJSONHandler(&log, nil))})
		for _, written := range []float64{100e6, 0} { // units a month
			var doc struct {
				Projection struct {
					Items []struct {
						Meter    string
						Quantity float64
					}
				}
			}
			if err := json.Unmarshal(ask(t, h, Caller{}, "POST", "/v1/scans", `{}`).body, &doc); err != nil {
				t.Fatal(err)
			}
			var billed float64
			for _, item := range doc.Projection.Items {
				if item.Meter == "dynamodb.write" {
					billed = item.Quantity
				}
			}
			if x == nil {
				written = 0
			}
			if billed != written {
				t.Errorf("the bill has %v write units, want %v", billed, written)
			}
		}
		var lines []map[string]any
		for line := range bytes.Lines(log.Bytes()) {
			var doc map[string]any
			if err := json.Unmarshal(line, &doc); err != nil {
				t.Fatal(err)
			}
			lines = append(lines, doc)
		}
		if len(lines) != 2 {
			t.Fatalf("%s", &log)
		}
		cold, warm := lines[0], lines[1]
		if x == nil {
			if _, logged := warm["index_read_units"]; logged || warm["files_known"] != 0. {
				t.Errorf("without an index: %v", warm)
			}
			continue
		}
		if cold["files_known"] != 0. || cold["index_write_units"] != 2. || cold["index_read_units"] == 0. {
			t.Errorf("cold: %v", cold)
		}
		if warm["files_known"] != 5. || warm["index_write_units"] != 0. || warm["index_read_units"] != 0. {
			t.Errorf("warm: %v", warm)
		}
	}
}

// TestKeepBytes checks that the index keeps no more for later scans than a share of the
// memory.
func TestKeepBytes(t *testing.T) {
	for _, test := range []struct {
		given    int
		memoryMB int64
		want     int
	}{{0, 0, 64 << 20}, {0, 128, 8 << 20}, {0, 10240, 640 << 20}, {5, 1769, 5}} {
		x := index.New(nil)
		x.KeepBytes = test.given
		newService(t, Config{Root: t.TempDir(), Index: x, MemoryMB: test.memoryMB})
		if x.KeepBytes != test.want {
			t.Errorf("KeepBytes %d with %d MB became %d, want %d", test.given, test.memoryMB, x.KeepBytes, test.want)
		}
	}
}
