package contenders

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/zeebo/blake3"

	"efsdedupe/cmd/experiment/internal/predict"
	"efsdedupe/fixtures/lambda/runtimeapi"
	"efsdedupe/fixtures/testkit"
)

// prepare keeps what it makes where the command does: a build takes a minute.
var prepare = sync.OnceValues(func() ([]Contender, []error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return nil, []error{err}
	}
	return Prepare(context.Background(), filepath.Join(dir, "dedupe", "contenders"), true, os.Stderr)
})

// prepared returns the contender in a language.
func prepared(t *testing.T, name, program string) Contender {
	t.Helper()
	ready, problems := prepare()
	i := slices.IndexFunc(ready, func(c Contender) bool { return c.Name == name })
	if i < 0 {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(problems)
		}
		t.Fatal(problems)
	}
	return ready[i]
}

// each tests each mode of each contender.
func each(t *testing.T, test func(t *testing.T, c Contender, mode string)) {
	for name, program := range map[string]string{"python": "python3", "rust": "cargo"} {
		t.Run(name, func(t *testing.T) {
			c := prepared(t, name, program)
			for _, mode := range c.Modes {
				t.Run(mode, func(t *testing.T) { test(t, c, mode) })
			}
		})
	}
}

// start starts a contender, by a command if one is given.
func start(t testing.TB, c Contender, wrapper ...string) (*runtimeapi.Function, *exec.Cmd) {
	t.Helper()
	var last *exec.Cmd
	f, err := runtimeapi.Start(t.Context(), func() *exec.Cmd {
		command := slices.Concat(wrapper, c.Command)
		last = exec.Command(command[0], command[1:]...)
		return last
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f, last
}

type event struct {
	Workload string `json:"workload"`
	Mode     string `json:"mode"`
	Tasks    int    `json:"tasks"`
	Workers  int    `json:"workers"`
	Root     string `json:"root,omitempty"`
	Steps    int    `json:"steps"`
	URL      string `json:"url,omitempty"`
}

type answer struct {
	Digest    string   `json:"digest"`
	Checksums []string `json:"checksums"`
}

func invoke(t testing.TB, f *runtimeapi.Function, event any) runtimeapi.Result {
	t.Helper()
	body, ok := event.([]byte)
	if !ok {
		var err error
		if body, err = json.Marshal(event); err != nil {
			t.Fatal(err)
		}
	}
	result, err := f.Invoke(t.Context(), body, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// check calls a function and compares its answer.
func check(t *testing.T, f *runtimeapi.Function, e event, want answer) runtimeapi.Result {
	t.Helper()
	result := invoke(t, f, e)
	if result.ErrorType != "" {
		t.Fatalf("%+v: %s: %s", e, result.ErrorType, result.ErrorMessage)
	}
	var got answer
	if err := json.Unmarshal(result.Body, &got); err != nil {
		t.Fatalf("%+v: %s: %v", e, result.Body, err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%+v: %s", e, diff)
	}
	return result
}

// checkError calls a function and looks in its error for what it must name.
func checkError(t *testing.T, f *runtimeapi.Function, event any, names ...string) {
	t.Helper()
	result := invoke(t, f, event)
	if result.ErrorType == "" || result.ErrorType == "Unhandled" || result.ErrorMessage == "" {
		t.Errorf("%s: %s, error %q: %q", event, result.Body, result.ErrorType, result.ErrorMessage)
	}
	for _, name := range names {
		if !strings.Contains(result.ErrorMessage, name) {
			t.Errorf("%s: %s: %q does not name %q", event, result.ErrorType, result.ErrorMessage, name)
		}
	}
}

func checksum(t testing.TB, digest string, content []byte) string {
	t.Helper()
	switch digest {
	case "blake3":
		sum := blake3.Sum256(content)
		return hex.EncodeToString(sum[:])
	case "sha256":
		sum := sha256.Sum256(content)
		return hex.EncodeToString(sum[:])
	}
	t.Fatalf("digest %q", digest)
	return ""
}

// TestScan has names that other orders sort in another way, the sizes about
// which digests and buffers go wrong, and what is not a regular file.
func TestScan(t *testing.T) {
	root := t.TempDir()
	names := []string{"B", "a", "a b", "a-b", "a.b", "ab", "b", "é", "\xff", "10", "9", "~"}
	sizes := []int{0, 1, 1023, 1024, 1025, 64<<10 + 1, 128 << 10, 128<<10 + 1, 1 << 20, 3<<20 + 7, 5, 6}
	contents := make(map[string][]byte)
	for i, name := range names {
		content := make([]byte, sizes[i])
		for k := range content {
			content[k] = byte(k*k>>3 + i)
		}
		contents[name] = content
		testkit.Write(t, content, filepath.Join(root, name))
	}
	if err := os.Mkdir(filepath.Join(root, "0"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("B", filepath.Join(root, "1")); err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)

	each(t, func(t *testing.T, c Contender, mode string) {
		want := answer{Digest: c.Digest}
		for _, name := range names {
			want.Checksums = append(want.Checksums, checksum(t, c.Digest, contents[name]))
		}
		f, _ := start(t, c)
		e := event{Workload: "scan", Mode: mode, Root: root, Tasks: len(names)}
		for i, workers := range []int{100, len(names), 3, 1} {
			e.Workers = workers
			result := check(t, f, e, want)
			if cold := result.Init > 0; cold != (i == 0) {
				t.Errorf("call %d: INIT %v", i, result.Init)
			}
		}
		e.Tasks, want.Checksums = 5, want.Checksums[:5]
		check(t, f, e, want)

		e.Tasks = len(names) + 1
		checkError(t, f, e, root, "12 files", "13 tasks")
		e.Root = filepath.Join(root, "none")
		checkError(t, f, e, e.Root, "No such file or directory")
		e.Root = filepath.Join(root, "B")
		checkError(t, f, e, e.Root, "Not a directory")
	})
}

// fibonacci returns F(n) and F(n+1) modulo p, by doubling.
func fibonacci(n int, p *big.Int) (a, b *big.Int) {
	if n == 0 {
		return big.NewInt(0), big.NewInt(1)
	}
	f, g := fibonacci(n/2, p)
	even := new(big.Int).Lsh(g, 1) // F(2k) = F(k) (2 F(k+1) - F(k))
	even.Sub(even, f).Mul(even, f).Mod(even, p)
	f.Mul(f, f)
	odd := g.Mul(g, g).Add(g, f).Mod(g, p) // F(2k+1) = F(k)² + F(k+1)²
	if n%2 == 0 {
		return even, odd
	}
	return odd, even.Add(even, odd).Mod(even, p)
}

// TestFib compares with the sequence from i and 1 as the sum of two that each
// are Fibonacci's: i F(n-1) + F(n).
func TestFib(t *testing.T) {
	p := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 61), big.NewInt(1))
	const tasks = 7
	each(t, func(t *testing.T, c Contender, mode string) {
		f, _ := start(t, c)
		for _, steps := range []int{0, 1, 2, 88, 89, 90, 1000, 50_000} {
			next, after := fibonacci(steps, p)
			before := new(big.Int).Sub(after, next)
			var want answer
			for i := range int64(tasks) {
				a := new(big.Int).Mul(before, big.NewInt(i))
				want.Checksums = append(want.Checksums, a.Add(a, next).Mod(a, p).String())
			}
			check(t, f, event{Workload: "fib", Mode: mode, Steps: steps, Tasks: tasks, Workers: 3}, want)
		}
	})
}

// meeting is a server whose first requests are answered when as many as there
// are workers have come, so that none gets an answer if they are fewer. It counts
// how many are there at once.
type meeting struct {
	workers int
	all     chan struct{} // closed when they have come

	mu           sync.Mutex
	come         int
	inside, most int
}

func (m *meeting) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.enter()
	select {
	case <-m.all:
	case <-r.Context().Done(): // they have not come in the time of the call
	}
	body := content(strings.TrimPrefix(r.URL.Path, "/"))
	last := max(len(body)-1, 0)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.Write(body[:last]) // as long as this takes, one too many may come
	m.leave()            // when the client has all, its next request may be here first
	w.Write(body[last:])
}

func (m *meeting) enter() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.come++
	m.inside++
	m.most = max(m.most, m.inside)
	if m.come == m.workers {
		close(m.all)
	}
}

func (m *meeting) leave() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.inside--
}

// content returns the content for a task, 500 kB or more; one task has none.
func content(task string) []byte {
	if task == "3" {
		return nil
	}
	return bytes.Repeat([]byte("content of task "+task), 1<<15)
}

func TestFetch(t *testing.T) {
	const tasks, workers = 25, 10
	each(t, func(t *testing.T, c Contender, mode string) {
		want := answer{Digest: c.Digest}
		for i := range tasks {
			want.Checksums = append(want.Checksums, checksum(t, c.Digest, content(fmt.Sprint(i))))
		}
		m := &meeting{workers: workers, all: make(chan struct{})}
		server := httptest.NewUnstartedServer(m)
		server.Config.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
			c.(*net.TCPConn).SetWriteBuffer(4 << 10) // so that writing takes until the client has read
			return ctx
		}
		server.Start()
		defer server.Close()
		f, _ := start(t, c)
		check(t, f, event{Workload: "fetch", Mode: mode, URL: server.URL, Tasks: tasks, Workers: workers}, want)
		if m.come != tasks || m.most != workers {
			t.Errorf("%d requests, %d at once; want %d and %d", m.come, m.most, tasks, workers)
		}
	})
}

// TestFetchFails has one of ten requests answered with anything but a whole body.
func TestFetchFails(t *testing.T) {
	each(t, func(t *testing.T, c Contender, mode string) {
		f, _ := start(t, c)
		e := event{Workload: "fetch", Mode: mode, Tasks: 10, Workers: 4}
		for name, fail := range map[string]http.HandlerFunc{
			"status 500": func(w http.ResponseWriter, r *http.Request) { http.Error(w, "no", http.StatusInternalServerError) },
			"status 404": http.NotFound,
			"status 204": func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNoContent) },
			"status 302": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/0", http.StatusFound) },
			"": func(w http.ResponseWriter, r *http.Request) { // half of a body
				w.Header().Set("Content-Length", "1000")
				w.Write(make([]byte, 500))
			},
		} {
			mux := http.NewServeMux()
			mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "content") })
			mux.HandleFunc("/7", fail)
			server := httptest.NewServer(mux)
			e.URL = server.URL
			checkError(t, f, e, server.URL+"/7", name)
			server.Close()
		}
		checkError(t, f, e, e.URL, "refused")
		check(t, f, event{Workload: "fib", Mode: mode, Steps: 1, Tasks: 1, Workers: 1}, answer{Checksums: []string{"1"}})
	})
}

// TestPredict has each contender read the same images from a directory and from a
// server, and tell the same.
func TestPredict(t *testing.T) {
	files := predictFiles(t)
	server := httptest.NewServer(http.StripPrefix("/bucket/", http.FileServer(http.Dir(files.Images))))
	defer server.Close()
	for _, variable := range files.Environment() {
		name, value, _ := strings.Cut(variable, "=")
		t.Setenv(name, value)
	}
	var want answer // of the first
	each(t, func(t *testing.T, c Contender, mode string) {
		f, _ := start(t, c)
		for _, root := range []string{files.Images, server.URL + "/bucket/"} {
			e := event{Workload: "predict", Mode: mode, Root: root, Tasks: 5, Workers: 3}
			if want.Checksums == nil {
				if err := json.Unmarshal(invoke(t, f, e).Body, &want); err != nil {
					t.Fatal(err)
				}
				if err := predict.Check(want.Checksums); err != nil || want.Digest != "blake3" {
					t.Fatalf("%+v, error %v", want, err)
				}
			}
			check(t, f, e, want)
			e.Root += "/none"
			checkError(t, f, e, "/none/00", ".png") // of whichever task fails first
		}
	})
}

// predictFiles returns what predictions take.
func predictFiles(t *testing.T) predict.Files {
	t.Helper()
	dir, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	files, err := predict.Prepare(t.Context(), filepath.Join(dir, "dedupe", "predict"), "", os.Stderr)
	if offline := new(url.Error); errors.As(err, &offline) {
		t.Skip("PyPI and crates.io do not answer: go online: ", offline)
	}
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestMalformedEvents(t *testing.T) {
	each(t, func(t *testing.T, c Contender, mode string) {
		f, _ := start(t, c)
		good := event{Workload: "fib", Mode: mode, Steps: 2, Tasks: 2, Workers: 2}
		want := answer{Checksums: []string{"1", "2"}}
		check(t, f, good, want)
		for _, malformed := range []string{"", "null", "[]", `"fib"`, `{`, `{}`, `{"workload": "fib", "mode": "` + mode + `"}`} {
			checkError(t, f, []byte(malformed))
		}
		checkError(t, f, fmt.Appendf(nil, `{"workload": "fib", "mode": %q, "steps": 1, "tasks": "many", "workers": 1}`, mode))

		workload, unknown, tasks, negative, workers := good, good, good, good, good
		workload.Workload = "sort"
		checkError(t, f, workload, "sort")
		unknown.Mode = "coroutines"
		checkError(t, f, unknown, "coroutines")
		tasks.Tasks = 0
		checkError(t, f, tasks, "0")
		negative.Tasks = -1
		checkError(t, f, negative, "-1")
		workers.Workers = 0
		checkError(t, f, workers, "0")

		if result := check(t, f, good, want); result.Init != 0 {
			t.Error("an error ended the process")
		}
	})
}
