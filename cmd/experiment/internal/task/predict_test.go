package task

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// images makes a directory of images, of which number 7 is empty.
func images(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for i := range 10 {
		content := "image " + strconv.Itoa(i)
		if i == 7 {
			content = ""
		}
		if err := os.WriteFile(filepath.Join(dir, ImageName(i)), []byte(content), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestPredict reads images from a directory, and from a server as S3 is one.
func TestPredict(t *testing.T) {
	dir := images(t)
	server := httptest.NewServer(http.StripPrefix("/bucket/", http.FileServer(http.Dir(dir))))
	defer server.Close()
	f := New(upper)
	defer f.Close()
	for _, root := range []string{dir, dir + "/", server.URL + "/bucket", server.URL + "/bucket/"} {
		for _, mode := range Modes() {
			e := Event{Workload: Predict, Mode: mode, Tasks: 3, Workers: 2, Root: root}
			a, err := callIn(t, t.Context(), f, e)
			if err != nil || a.Digest != "blake3" || strings.Join(a.Checksums, ",") != "IMAGE 0,IMAGE 1,IMAGE 2" {
				t.Errorf("%+v: %+v, error %v", e, a, err)
			}
			e.Tasks, e.Workers = 8, 8
			if _, err := callIn(t, t.Context(), f, e); err == nil || !strings.Contains(err.Error(), "task 7: ") || !strings.Contains(err.Error(), "007.png: no image") {
				t.Errorf("%+v: error %v", e, err)
			}
		}
		e := Event{Workload: Predict, Mode: Serial, Tasks: 1, Workers: 1, Root: root + "/none"}
		if _, err := callIn(t, t.Context(), f, e); err == nil || !strings.Contains(err.Error(), "/none/000.png") {
			t.Errorf("%+v: error %v", e, err)
		}
	}
	without := newFunction(t)
	e := Event{Workload: Predict, Mode: Goroutines, Tasks: 1, Workers: 1, Root: dir}
	if _, err := callIn(t, t.Context(), without, e); err == nil || !strings.Contains(err.Error(), "predict needs experiment-predictor") {
		t.Errorf("without a model: error %v", err)
	}
}

// counter is a predictor that knows how many of its calls there are at once.
type counter struct {
	mu           sync.Mutex
	inside, most int
	full         func() // called in each
}

func (c *counter) predict([]byte) (string, error) {
	c.mu.Lock()
	c.inside++
	c.most = max(c.most, c.inside)
	c.mu.Unlock()
	c.full()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inside--
	return "", nil
}

func TestGate(t *testing.T) {
	dir := images(t)
	const tasks = 6
	e := Event{Workload: Predict, Mode: Goroutines, Tasks: tasks, Workers: tasks, Root: dir}
	gated := counter{full: runtime.Gosched}
	f := New(gated.predict)
	defer f.Close()
	if _, err := callIn(t, t.Context(), f, e); err != nil || gated.most > runtime.GOMAXPROCS(0) {
		t.Errorf("%d predictions at once, error %v", gated.most, err)
	}

	// Without the gate, all wait for the last one.
	var all sync.WaitGroup
	all.Add(tasks)
	ungated := counter{full: func() { all.Done(); all.Wait() }}
	g := New(ungated.predict)
	defer g.Close()
	e.Mode = GoroutinesUngated
	if _, err := callIn(t, t.Context(), g, e); err != nil || ungated.most != tasks {
		t.Errorf("%d predictions at once, error %v", ungated.most, err)
	}
}
