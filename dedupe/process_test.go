package dedupe

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"efsdedupe/dedupe/pool"
	"efsdedupe/fixtures/testkit"
)

// The test binary is its own worker process.
func TestMain(m *testing.M) {
	role := os.Getenv("DEDUPE_TEST_WORKER")
	if role == "" {
		os.Exit(m.Run())
	}
	serve := func(in io.Reader, out io.Writer) error {
		_, err := RunWorker(in, out)
		return err
	}
	switch role {
	case "dies":
		serve = func(in io.Reader, out io.Writer) error {
			return pool.Serve(in, out, func([]byte) []byte { os.Exit(3); return nil })
		}
	case "dies of one":
		serve = func(in io.Reader, out io.Writer) error {
			return pool.Serve(in, out, func(frame []byte) (answer []byte) {
				if bytes.Contains(frame, []byte(deadly)) {
					os.Exit(3)
				}
				return appendPart(nil, response{}.append(nil))
			})
		}
	case "nonsense":
		serve = func(in io.Reader, out io.Writer) error {
			return pool.Serve(in, out, func([]byte) []byte { return []byte("nonsense") })
		}
	}
	if err := serve(os.Stdin, os.Stdout); err != nil {
		os.Exit(1)
	}
	os.Exit(0)
}

// deadly is the name of a file that kills workers of one role.
const deadly = "deadly"

// testPool returns a hasher whose worker processes play a role and end with the test.
func testPool(t *testing.T, role string) *poolHasher {
	p := pool.New(2, func() *exec.Cmd {
		cmd := exec.Command(os.Args[0])
		// Without this, the race detector delays a process for a second at its end.
		cmd.Env = append(os.Environ(), "DEDUPE_TEST_WORKER="+role, "GORACE=atexit_sleep_ms=0")
		workerRole.Give(cmd, howHash)
		return cmd
	})
	t.Cleanup(func() { p.Close() })
	return &poolHasher{pool: p}
}

// asFound returns a file as Walk finds it.
func asFound(t testing.TB, path string) File {
	t.Helper()
	st, err := confinedDir{}.lstat(path, 0)
	if err != nil {
		t.Fatal(err)
	}
	return st.file(path)
}

// spoiledFiles are files, what happens to them after the walk, and what reading finds.
var spoiledFiles = []struct {
	name    string
	size    int
	spoil   func(path string) error
	wantOp  string // of the problem; empty if there is none
	changed bool
}{
	{name: "good", size: 100},
	{name: "empty", size: 0},
	{name: "of several reads", size: 3*bufferSize + 1},
	{name: "name of any\n\xff bytes", size: 1},
	{
		name: "missing", size: 10, wantOp: "open", changed: true,
		spoil: func(path string) error { return os.Remove(path) },
	},
	{
		name: "below a file", size: 10, wantOp: "open", changed: true,
		spoil: func(path string) error {
			return errors.Join(os.RemoveAll(filepath.Dir(path)), os.WriteFile(filepath.Dir(path), nil, 0o600))
		},
	},
	{
		name: "grown", size: 10, wantOp: "open", changed: true,
		spoil: func(path string) error { return os.WriteFile(path, make([]byte, 11), 0o600) },
	},
	{
		name: "shrunk", size: 10, wantOp: "open", changed: true,
		spoil: func(path string) error { return os.Truncate(path, 9) },
	},
	{
		name: "touched", size: 10, wantOp: "open", changed: true,
		spoil: func(path string) error { return os.Chtimes(path, time.Time{}, time.Unix(1, 0)) },
	},
	{
		name: "a FIFO now", size: 10, wantOp: "open", changed: true,
		spoil: func(path string) error {
			return errors.Join(os.Remove(path), syscall.Mkfifo(path, 0o600))
		},
	},
	{
		name: "a directory now", size: 10, wantOp: "open", changed: true,
		spoil: func(path string) error {
			return errors.Join(os.Remove(path), os.Mkdir(path, 0o700))
		},
	},
	{
		name: "a symbolic link now", size: 10, wantOp: "open", changed: true,
		spoil: func(path string) error {
			return errors.Join(os.Rename(path, path+".moved"), os.Symlink(path+".moved", path))
		},
	},
}

// Both modes must return the same for every file, good or bad.
func TestPoolHasherIsLocalHasher(t *testing.T) {
	local, pooled := new(LocalHasher), testPool(t, "hasher")
	for _, test := range spoiledFiles {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "directory", test.name)
			testkit.Must(t, os.Mkdir(filepath.Dir(path), 0o700))
			content := make([]byte, test.size)
			rand.Read(content)
			if err := os.WriteFile(path, content, 0o600); errors.Is(err, unix.EILSEQ) {
				t.Skip("this file system holds only names in UTF-8: set TMPDIR to one that holds others, such as ext4") // such as the file system of darwin
			} else if err != nil {
				t.Fatal(err)
			}
			f := asFound(t, path)
			if test.spoil != nil {
				testkit.Must(t, test.spoil(path))
			}
			digest, work, err := single(t.Context(), local, f)
			var p *Problem
			if errors.As(err, &p) != (test.wantOp != "") || p != nil && p.Op != test.wantOp || errors.Is(err, ErrChanged) != test.changed {
				t.Errorf("error %v, want operation %q, changed %t", err, test.wantOp, test.changed)
			}

			pooledDigest, pooledWork, pooledErr := single(t.Context(), pooled, f)
			if pooledDigest != digest {
				t.Errorf("digest %s, want %s", pooledDigest, digest)
			}
			if diff := cmp.Diff(proven(work), proven(pooledWork)); diff != "" {
				t.Errorf("work differs:\n%s", diff)
			}
			if err == nil {
				if pooledErr != nil {
					t.Errorf("error %v", pooledErr)
				}
				return
			}
			var q *Problem
			if !errors.As(pooledErr, &q) {
				t.Fatalf("error %v, want %v", pooledErr, err)
			}
			if q.Op != p.Op || q.Path != p.Path || q.Err.Error() != p.Err.Error() {
				t.Errorf("problem %q, want %q", q, p)
			}
			if errors.Is(pooledErr, ErrChanged) != test.changed {
				t.Errorf("changed is %t", !test.changed)
			}
		})
	}
}

// proven counts compared files as hashed: which files are compared depends on what their
// hasher read before.
func proven(w Work) Work {
	w.FilesHashed += w.FilesCompared
	w.FilesCompared = 0
	return w
}

// A failing worker is a problem of the file.
func TestPoolHasherWorkerFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := asFound(t, path)
	for role, want := range map[string]string{
		"dies":     "exit status 3",
		"nonsense": "too short",
	} {
		digest, work, err := single(t.Context(), testPool(t, role), f)
		var p *Problem
		if !errors.As(err, &p) || p.Op != "hash" || p.Path != path || !strings.Contains(p.Err.Error(), want) {
			t.Errorf("a worker that %s: error %v, want a problem that names %q", role, err, want)
		}
		if digest != (Digest{}) || work != (Work{}) || errors.Is(err, ErrChanged) {
			t.Errorf("a worker that %s: digest %s, work %+v, error %v", role, digest, work, err)
		}
	}
}

func TestPoolHasherCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := single(ctx, testPool(t, "hasher"), File{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// A worker must report a malformed request, not hash something else or die.
func TestServeMalformedRequest(t *testing.T) {
	for _, malformed := range [][]byte{[]byte("malformed"), nil, append([]byte{byte(taskWhole), 0}, "too short"...)} {
		frame, err := testPool(t, "hasher").pool.Call(t.Context(), malformed)
		if err != nil {
			t.Fatal(err)
		}
		parts, err := parseParts(frame)
		var r response
		if err != nil || len(parts) != 1 || r.parse(parts[0]) != nil || r.op == "" || !strings.Contains(r.err, "request") && !strings.Contains(r.err, "too short") {
			t.Errorf("response %+v, error %v", r, err)
		}
	}
}

var (
	odd = File{
		Path: "/a/path\n\xff", Size: 1 << 40, Device: 1<<64 - 1, Inode: 1 << 63,
		ModTime: Timestamp{-1 << 62, 999_999_999}, ChangeTime: Timestamp{1 << 62, 123_456_789}, // beyond 64 bits of nanoseconds
	}
	medium = File{Path: "/m", Size: mediumMax}

	requests = []request{
		{task: taskWhole, files: []File{{}}},
		{task: taskWhole, files: []File{odd, odd, {Size: odd.Size}}},
		{task: taskWhole, files: []File{odd}},
		{task: taskWhole, apart: true, more: true, files: []File{{Size: 1}, {}, {Size: smallMax}}},
		{task: taskEnds, files: []File{odd}},
		{task: taskEnds, files: []File{medium}},
		{task: taskEnds, more: true, files: []File{medium, medium}},
		{task: taskEnds, more: true, peers: []Ends{1, 1<<64 - 1}, files: []File{{Size: smallMax + 1}}},
	}

	// Files of different sizes would get digests of too few or too many bytes.
	senseless = []request{
		{task: taskWhole},
		{task: tasks, files: []File{{}}},
		{task: taskWhole, files: []File{{Size: -1}}},
		{task: taskWhole, files: []File{{Size: 1}, {Size: 1}, {Size: 2}}},
		{task: taskWhole, apart: true, files: []File{{Size: 1}, medium}},
		{task: taskEnds, files: []File{{Size: smallMax}}},
	}
)

var responses = []response{
	{},
	{work: Work{Opens: 1, BytesRead: 1 << 40, FilesHashed: 1, FilesCompared: 2}, digest: Digest{1, 31: 2}, ends: 3},
	{work: Work{Opens: 1}, op: "open", err: "permission denied"},
	{work: Work{Opens: 1, BytesRead: 5}, op: "read", err: ErrChanged.Error() + ": it ended", changed: true},
	{op: "x", err: ""},
	{op: "o\xff\x00", err: strings.Repeat("long ", 1000)},
}

func TestRequest(t *testing.T) {
	for _, q := range requests {
		var got request
		if err := got.parse(q.append(nil)); err != nil || !reflect.DeepEqual(got, q) {
			t.Errorf("%+v came back as %+v, error %v", q, got, err)
		}
	}
	for _, q := range senseless {
		if err := new(request).parse(q.append(nil)); err == nil {
			t.Errorf("%+v makes no sense", q)
		}
	}
	b := requests[0].append(nil)
	for n := range b {
		if err := new(request).parse(b[:n]); err == nil {
			t.Errorf("%d of at least %d bytes are a request", n, len(b))
		}
	}
}

func TestResponse(t *testing.T) {
	for _, r := range responses {
		var got response
		if err := got.parse(r.append(nil)); err != nil || got != r {
			t.Errorf("%+v came back as %+v, error %v", r, got, err)
		}
	}
	good := response{}.append(nil)
	for n := range good {
		if err := new(response).parse(good[:n]); err == nil {
			t.Errorf("%d of at least %d bytes are a response", n, len(good))
		}
	}
	for _, rest := range []string{"\x00", "\x01", "\x02\x01x", "\x00\x00", "\x00\x05open"} {
		if err := new(response).parse(append(bytes.Clone(good), rest...)); err == nil {
			t.Errorf("a response ends with %q", rest)
		}
	}
}

// FuzzParts splits frames into parts and joins them again.
func FuzzParts(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("\x00\x00\x00\x00"))
	f.Add([]byte("\xff\xff\xff\xff"))
	f.Add(appendPart(appendPart(nil, []byte("one")), []byte("two")))
	f.Fuzz(func(t *testing.T, frame []byte) {
		parts, err := parseParts(frame)
		if err != nil {
			return
		}
		var again []byte
		for _, part := range parts {
			again = appendPart(again, part)
		}
		if len(parts) == 0 || !bytes.Equal(again, frame) {
			t.Errorf("% x is of %d parts, which are % x", frame, len(parts), again)
		}
	})
}

func FuzzRequest(f *testing.F) {
	f.Add([]byte{})
	for _, q := range requests {
		f.Add(q.append(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var q, again request
		if q.parse(b) != nil {
			return
		}
		if written := q.append(nil); !bytes.Equal(written, b) {
			t.Errorf("% x is written % x", b, written)
		} else if err := again.parse(written); err != nil || !reflect.DeepEqual(again, q) {
			t.Errorf("%+v came back as %+v, error %v", q, again, err)
		}
	})
}

// TestChangedInAnyWords checks that a field of the response, not the wording of the
// worker's error, says whether a file changed.
func TestChangedInAnyWords(t *testing.T) {
	for _, changed := range []bool{true, false} {
		r := response{op: "read", err: "it is another one now", changed: changed}
		err := r.problem("path")
		if errors.Is(err, ErrChanged) != changed || !strings.HasSuffix(err.Error(), "path: it is another one now") {
			t.Errorf("changed %v: %v", changed, err)
		}
	}
}

func FuzzResponse(f *testing.F) {
	f.Add([]byte{})
	for _, r := range responses {
		f.Add(r.append(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var r, again response
		if r.parse(b) != nil {
			return
		}
		if written := r.append(nil); !bytes.Equal(written, b) {
			t.Errorf("% x is written % x", b, written)
		} else if err := again.parse(written); err != nil || again != r {
			t.Errorf("%+v came back as %+v, error %v", r, again, err)
		}
		// Whatever a worker says, it cannot hide that there is a problem.
		var p *Problem
		if errors.As(errOf(Signed{Problem: r.problem("path")}), &p) != (r.op != "") || p != nil && (p.Path != "path" || errors.Is(p, ErrChanged) != r.changed) {
			t.Errorf("%+v is the problem %v", r, p)
		}
	})
}
