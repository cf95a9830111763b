package task

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/zeebo/blake3"
	"golang.org/x/sys/unix"

	"efsdedupe/dedupe/pool"
)

// The test binary is its own worker process.
func TestMain(m *testing.M) {
	if os.Getenv("DEDUPE_TEST_WORKER") == "nonsense" {
		pool.Serve(os.Stdin, os.Stdout, func([]byte) []byte { return []byte("nonsense") })
		os.Exit(0)
	}
	if isWorker, err := RunWorker(os.Stdin, os.Stdout, upper); isWorker {
		if err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Setenv("GORACE", "atexit_sleep_ms=0") // for the workers
	code := m.Run()
	os.RemoveAll(built.dir)
	os.Exit(code)
}

// upper predicts that an image shows its text, only larger.
func upper(image []byte) (string, error) {
	if len(image) == 0 {
		return "", errors.New("no image")
	}
	return strings.ToUpper(string(image)), nil
}

const (
	files = 12 // tasks of the tests: three times as many as workers
	steps = 1234
)

// tree makes a directory of regular files, and of what is none.
func tree(t testing.TB) (root string) {
	t.Helper()
	root = t.TempDir()
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range files - 1 { // more than a read, and less
		content := make([]byte, i*50_000)
		for k := range content {
			content[k] = byte(k * (i + 1) >> 3)
		}
		do(os.WriteFile(filepath.Join(root, fmt.Sprintf("file-%d", i)), content, 0o666)) // file-10 is before file-2
	}
	err := os.WriteFile(filepath.Join(root, "no text \xff\n"), []byte("content"), 0o666)
	if errors.Is(err, unix.EILSEQ) { // the file system of darwin allows no such name
		err = os.WriteFile(filepath.Join(root, "text"), []byte("content"), 0o666)
	}
	do(err)
	do(os.Mkdir(filepath.Join(root, "a directory"), 0o777))
	do(os.Symlink("file-1", filepath.Join(root, "a link")))
	do(syscall.Mkfifo(filepath.Join(root, "a FIFO"), 0o666))
	return root
}

func hexDigest(content []byte) string {
	sum := blake3.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// trueScan hashes each file at once.
func trueScan(t testing.TB, root string) (checksums []string) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(root, "*"))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(paths)
	for _, path := range paths {
		if st, err := os.Lstat(path); err != nil || !st.Mode().IsRegular() {
			continue
		}
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		checksums = append(checksums, hexDigest(content))
	}
	return checksums
}

// trueFib is by doubling, with F(n) the Fibonacci numbers: from (i, 1), a is
// i·F(n-1) + F(n) after n steps.
func trueFib(tasks int, n int64) (checksums []string) {
	p := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 61), big.NewInt(1))
	at, after := doubled(n, p)
	before := new(big.Int).Sub(after, at)
	for i := range tasks {
		a := new(big.Int).Mul(big.NewInt(int64(i)), before)
		checksums = append(checksums, a.Add(a, at).Mod(a, p).String())
	}
	return checksums
}

// doubled returns F(n) and F(n+1) modulo p: with F(k) and F(k+1) as a and b,
// F(2k) = a(2b-a) and F(2k+1) = a²+b².
func doubled(n int64, p *big.Int) (at, after *big.Int) {
	if n == 0 {
		return big.NewInt(0), big.NewInt(1)
	}
	a, b := doubled(n/2, p)
	c := new(big.Int).Lsh(b, 1)
	c.Sub(c, a).Mul(c, a).Mod(c, p)
	d := new(big.Int).Add(new(big.Int).Mul(a, a), new(big.Int).Mul(b, b))
	d.Mod(d, p)
	if n%2 == 0 {
		return c, d
	}
	return d, c.Add(c, d).Mod(c, p)
}

// body is what the servers of the tests give to a task.
func body(path string) []byte {
	i, _ := strconv.Atoi(strings.TrimPrefix(path, "/"))
	return []byte(strings.Repeat("body of "+path+"\n", i*1000)) // that of the first is empty
}

func trueFetch(tasks int) (checksums []string) {
	for i := range tasks {
		checksums = append(checksums, hexDigest(body("/"+strconv.Itoa(i))))
	}
	return checksums
}

// crowd is a server that answers requests when size of them are in flight.
type crowd struct {
	size     int
	gathered func() // called when they are, one call at a time; may be nil
	never    bool   // it answers none

	mu          sync.Mutex
	inFlight    int
	most        int // that were in flight
	connections int // that were made
	gate        chan struct{}
	waiting     int // at the gate
}

// serve returns the URL of a crowd that ends with the test.
func (c *crowd) serve(t testing.TB) (url string) {
	t.Helper()
	c.gate = make(chan struct{})
	server := httptest.NewUnstartedServer(c)
	server.Config.ConnState = c.count
	server.Start()
	t.Cleanup(server.Close)
	return server.URL
}

func (c *crowd) count(_ net.Conn, state http.ConnState) {
	if state == http.StateNew {
		c.mu.Lock()
		c.connections++
		c.mu.Unlock()
	}
}

func (c *crowd) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	select {
	case <-c.enter():
	case <-r.Context().Done():
	}
	c.mu.Lock()
	c.inFlight--
	c.mu.Unlock()
	w.Write(body(r.URL.Path))
}

// enter returns the gate, which is open for as many as are together.
func (c *crowd) enter() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	gate := c.gate
	c.inFlight++
	c.most = max(c.most, c.inFlight)
	if c.waiting++; c.waiting < c.size {
		return gate
	}
	if c.gathered != nil {
		c.gathered()
	}
	if !c.never {
		close(gate)
	}
	c.gate, c.waiting = make(chan struct{}), 0
	return gate
}

// call has a function answer an event, as Lambda would.
func call(t testing.TB, f *Function, e Event) (Answer, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	return callIn(t, ctx, f, e)
}

func callIn(t testing.TB, ctx context.Context, f *Function, e Event) (a Answer, err error) {
	t.Helper()
	payload, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := f.Invoke(ctx, payload)
	if err != nil {
		return a, err
	}
	if err := json.Unmarshal(answer, &a); err != nil {
		t.Fatal(err)
	}
	return a, nil
}

func newFunction(t testing.TB) *Function {
	f := New(nil)
	t.Cleanup(f.Close)
	return f
}

// work is an event without a mode, and what its answer must be.
type work struct {
	Event
	want Answer
}

// all is an event of each workload.
func all(t *testing.T) []work {
	root := tree(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write(body(r.URL.Path)) }))
	t.Cleanup(server.Close)
	scan := trueScan(t, root)
	if len(scan) != files {
		t.Fatalf("%d files", len(scan))
	}
	return []work{
		{Event{Workload: Scan, Tasks: files, Workers: 4, Root: root}, Answer{Digest: "blake3", Checksums: scan}},
		{Event{Workload: Scan, Tasks: 3, Workers: 7, Root: root}, Answer{Digest: "blake3", Checksums: scan[:3]}},
		{Event{Workload: Fib, Tasks: 100, Workers: 4, Steps: steps}, Answer{Digest: "", Checksums: trueFib(100, steps)}},
		{Event{Workload: Fib, Tasks: 2, Workers: 1, Steps: 1}, Answer{Digest: "", Checksums: []string{"1", "1"}}},
		{Event{Workload: Fetch, Tasks: 30, Workers: 4, URL: server.URL}, Answer{Digest: "blake3", Checksums: trueFetch(30)}},
	}
}

// Every mode gives the true answer, cold and warm.
func TestFunction(t *testing.T) {
	t.Parallel()
	for _, mode := range Modes() {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			f := newFunction(t)
			for _, w := range all(t) {
				w.Mode = mode
				for range 2 {
					got, err := call(t, f, w.Event)
					if err != nil {
						t.Fatalf("%+v: %v", w.Event, err)
					}
					if diff := cmp.Diff(w.want, got); diff != "" {
						t.Errorf("%+v: %s", w.Event, diff)
					}
				}
			}
		})
	}
}

// As many tasks are in flight as workers, and never more, each with a connection
// that is kept as long as its process.
func TestInFlight(t *testing.T) {
	t.Parallel()
	for mode, want := range map[string]struct{ inFlight, connections int }{
		Goroutines: {4, 4}, Processes: {4, 4}, ProcessesPerTask: {4, 24}, Serial: {1, 1},
	} {
		f, c := newFunction(t), crowd{size: want.inFlight}
		e := Event{Workload: Fetch, Mode: mode, Tasks: 12, Workers: 4, URL: c.serve(t)}
		for range 2 {
			got, err := call(t, f, e)
			if diff := cmp.Diff(trueFetch(12), got.Checksums); err != nil || diff != "" {
				t.Errorf("%s: error %v, %s", mode, err, diff)
			}
		}
		if c.most != want.inFlight || c.connections != want.connections {
			t.Errorf("%s: %d in flight over %d connections, want %+v", mode, c.most, c.connections, want)
		}
	}
}

// A task that fails is named, with the same words in all modes, and the next call
// is none the worse.
func TestTaskFails(t *testing.T) {
	t.Parallel()
	root := tree(t)
	missing := filepath.Join(root, "missing")
	redirected := false
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/unavailable/3":
			w.WriteHeader(http.StatusServiceUnavailable)
		case "/redirect/3":
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
		case "/short/3":
			w.Header().Set("Content-Length", "100")
		case "/elsewhere":
			redirected = true
		}
		w.Write([]byte("body"))
	}))
	t.Cleanup(server.Close)
	fetch := func(path string) (Event, string) {
		return Event{Workload: Fetch, URL: server.URL + path}, "task 3: GET " + server.URL + path + "/3: "
	}
	for _, mode := range Modes() {
		f := newFunction(t)
		for path, why := range map[string]string{"/unavailable": "status 503 Service Unavailable", "/redirect": "status 302 Found", "/short": "unexpected EOF"} {
			e, want := fetch(path)
			e.Mode, e.Tasks, e.Workers = mode, 4, 2
			_, err := call(t, f, e)
			if failed := new(*TaskError); !errors.As(err, failed) || (*failed).Task != 3 || err.Error() != want+why {
				t.Errorf("%s: error %v, want %s", mode, err, want+why)
			}
		}
		e := Event{Workload: Scan, Mode: mode, Tasks: 2, Workers: 2, Root: root}
		tasks, err := e.tasks()
		if err != nil {
			t.Fatal(err)
		}
		tasks[1].Path = []byte(missing) // it went since it was listed
		_, err = f.run(t.Context(), e, tasks)
		if want := "task 1: stat " + missing + ": no such file or directory"; err == nil || err.Error() != want {
			t.Errorf("%s: error %v, want %s", mode, err, want)
		}
		if a, err := call(t, f, e); err != nil || len(a.Checksums) != 2 {
			t.Errorf("%s, after errors: %+v, error %v", mode, a, err)
		}
	}
	if redirected {
		t.Error("it followed a redirect")
	}
}

func TestRoot(t *testing.T) {
	t.Parallel()
	f := newFunction(t)
	root := tree(t)
	for _, test := range []struct {
		root  string
		tasks int
		want  string
	}{
		{root, files + 1, fmt.Sprintf("has %d regular files: ask for at most as many tasks, not %d", files, files+1)},
		{filepath.Join(root, "missing"), 1, "no such file or directory"},
		{filepath.Join(root, "file-1"), 1, "not a directory"},
		{filepath.Join(root, "a directory"), 1, "has 0 regular files"},
	} {
		_, err := call(t, f, Event{Workload: Scan, Mode: Serial, Tasks: test.tasks, Workers: 1, Root: test.root})
		if !errors.As(err, new(*EventError)) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v, want %q", test.root, err, test.want)
		}
	}
	_, err := call(t, f, Event{Workload: Scan, Mode: Serial, Tasks: 1, Workers: 1, Root: "missing"})
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}

// A call that is cancelled ends, though its tasks do not.
func TestCancelled(t *testing.T) {
	t.Parallel()
	for _, mode := range Modes() {
		ctx, cancel := context.WithCancel(t.Context())
		c := crowd{size: 1, gathered: cancel, never: true}
		f := newFunction(t)
		_, err := callIn(t, ctx, f, Event{Workload: Fetch, Mode: mode, Tasks: 4, Workers: 1, URL: c.serve(t)})
		if !errors.Is(err, context.Canceled) || !errors.As(err, new(*TaskError)) {
			t.Errorf("%s: error %v", mode, err)
		}
		if c.most != 1 {
			t.Errorf("%s: %d tasks were begun after it was cancelled", mode, c.most-1)
		}
		fib := Event{Workload: Fib, Mode: mode, Tasks: 1, Workers: 1, Steps: 3}
		if _, err := callIn(t, ctx, f, fib); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: cancelled before it began: error %v", mode, err)
		}
		if a, err := call(t, f, fib); err != nil || a.Checksums[0] != "2" {
			t.Errorf("%s: after it was cancelled: %+v, error %v", mode, a, err)
		}
	}
}

// What goes wrong between the processes is an error, on either side.
func TestMalformed(t *testing.T) {
	t.Parallel()
	for request, want := range map[string]string{
		"":                     "unexpected end of JSON input",
		"nonsense":             "invalid character",
		`{"Workload": "sort"}`: `unknown workload "sort"`,
	} {
		var done response
		if err := json.Unmarshal(newRunner(nil).answer([]byte(request)), &done); err != nil || done.Checksum != "" || !strings.Contains(done.Error, want) {
			t.Errorf("%q: %+v, error %v", request, done, err)
		}
	}
	p := pool.New(1, func() *exec.Cmd {
		cmd := workerCommand()
		cmd.Env = append(cmd.Env, "DEDUPE_TEST_WORKER=nonsense")
		return cmd
	})
	defer p.Close()
	if _, err := in(p)(t.Context(), task{Workload: Fib, Steps: 1}); err == nil || !strings.Contains(err.Error(), "a worker's response is malformed") {
		t.Errorf("error %v", err)
	}
}

func TestRunWorker(t *testing.T) {
	if isWorker, err := RunWorker(nil, nil, nil); isWorker || err != nil {
		t.Errorf("without the role it is a worker, error %v", err)
	}
}
