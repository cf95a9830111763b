package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"efsdedupe/cmd/internal/clitest"
)

// startServer serves a standard set, a small one, on a free port, and returns
// its process and URL, and what it logs.
func startServer(t *testing.T, listen string, flags ...string) (server *exec.Cmd, url string, log *bufio.Scanner) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "efs")
	if out, err := exec.Command(binary, "fixtures", dir, "--files", "20", "--size", "10KiB").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	server = exec.Command(binary, append([]string{"serve", "--root", dir, "--listen", listen}, flags...)...)
	stderr, err := server.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Process.Kill() })
	log = bufio.NewScanner(stderr)
	for log.Scan() {
		var line struct{ Msg, Address string }
		if err := json.Unmarshal(log.Bytes(), &line); err != nil {
			t.Fatalf("%v: %s", err, log.Text())
		}
		if line.Msg == "serving" {
			return server, "http://" + line.Address, log
		}
	}
	t.Fatal("it does not serve")
	return nil, "", nil
}

func post(url, body string) (int, error) {
	response, err := http.Post(url+"/v1/scans", "application/json", strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return response.StatusCode, err
}

// TestServeLoad asks a server a thousand times, 50 at once, half of it hostile,
// and finds that it holds no more afterwards.
func TestServeLoad(t *testing.T) {
	needProc(t)
	server, url, log := startServer(t, "127.0.0.1:0")
	go func() {
		for log.Scan() { // it must not wait for a reader
		}
	}()
	bodies := []struct {
		body string
		want int
	}{
		{`{"workers": 8}`, 200}, {`{"path": "../.."}`, 404}, {`{"workers": 2, "mode": "processes"}`, 200}, {`{`, 400},
		{`{"path": "."}`, 200}, {strings.Repeat("x", 70<<10), 413}, {`{"limit": 1}`, 200}, {`{"path": "/etc/passwd"}`, 404},
	}
	round := func(requests int) {
		var clients sync.WaitGroup
		next := make(chan int)
		for range 50 {
			clients.Go(func() {
				for i := range next {
					b := bodies[i%len(bodies)]
					if status, err := post(url, b.body); err != nil || status != b.want {
						t.Errorf("%.40s: %d, %v; want %d", b.body, status, err, b.want)
					}
				}
			})
		}
		for i := range requests {
			next <- i
		}
		close(next)
		clients.Wait()
		http.DefaultClient.CloseIdleConnections()
	}
	holds := func() (descriptors, memoryKiB, processes int) {
		entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", server.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", server.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		_, rss, _ := strings.Cut(string(status), "VmRSS:")
		fmt.Sscan(rss, &memoryKiB)
		return len(entries), memoryKiB, len(busyChildren(server.Process.Pid))
	}
	round(1000)
	descriptors, memory, _ := holds()
	round(1000)
	var more, moreMemory, processes int
	clitest.Eventually(t, "connections to be closed", func() bool {
		more, moreMemory, processes = holds()
		return more <= descriptors+5
	})
	if moreMemory > memory*3/2+8<<10 || processes != 0 {
		t.Errorf("%d KiB of memory, before %d; %d workers left", moreMemory, memory, processes)
	}

	server.Process.Signal(syscall.SIGTERM)
	if err := server.Wait(); err != nil {
		t.Errorf("it did not end well: %v", err)
	}
}

// TestServeIndex asks until all is known: what was just written is not remembered. The
// server leaves an index that others can read.
func TestServeIndex(t *testing.T) {
	index := filepath.Join(t.TempDir(), "index.db")
	server, url, log := startServer(t, "127.0.0.1:0", "--index", index, "--index-id", "fs-0123abcd")
	clitest.Eventually(t, "20 known files", func() bool {
		if code, err := post(url, `{}`); code != 200 || err != nil || !log.Scan() {
			t.Fatalf("%d, %v", code, err)
		}
		var line struct {
			Known int      `json:"files_known"`
			Opens *int     `json:"opens"`
			Read  *float64 `json:"index_read_units"`
		}
		if err := json.Unmarshal(log.Bytes(), &line); err != nil || line.Opens == nil || line.Read == nil || *line.Opens+line.Known != 20 {
			t.Fatalf("%v: %s", err, log.Text())
		}
		return line.Known == 20
	})
	server.Process.Signal(syscall.SIGTERM)
	if err := server.Wait(); err != nil {
		t.Errorf("it did not end well: %v", err)
	}
	out, err := exec.Command(binary, "index", "stats", index).Output()
	if err != nil || !strings.HasPrefix(string(out), "20 entries in 1 block") || !strings.Contains(string(out), "fs-0123abcd") {
		t.Errorf("%v: %s", err, out)
	}
}

// TestServeOpen checks that a server says when it is open to others, and that
// one that can't listen says why.
func TestServeOpen(t *testing.T) {
	dir := t.TempDir()
	out, _ := exec.Command("timeout", "-s", "TERM", "1", binary, "serve", "--root", dir, "--listen", "0.0.0.0:0").CombinedOutput()
	if !strings.Contains(string(out), "open to others than this machine, without authorization") {
		t.Errorf("it does not say so: %s", out)
	}
	_, url, _ := startServer(t, "127.0.0.1:0")
	out, err := exec.Command(binary, "serve", "--root", dir, "--listen", strings.TrimPrefix(url, "http://")).CombinedOutput()
	if err == nil || strings.Count(string(out), "\n") != 1 || !strings.Contains(string(out), "choose another --listen") {
		t.Errorf("%v: %s", err, out)
	}
}

// TestServeGraceful checks that a request under way is answered when the server
// is told to end.
func TestServeGraceful(t *testing.T) {
	needProc(t)
	dir := filepath.Join(sparse(t, 1<<30), "in") // a few seconds
	server := exec.Command(binary, "serve", "--root", dir, "--listen", "127.0.0.1:0")
	stderr, err := server.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Process.Kill() })
	var line struct{ Address string }
	if err := json.NewDecoder(stderr).Decode(&line); err != nil {
		t.Fatal(err)
	}
	status := make(chan int, 1)
	go func() {
		code, err := post("http://"+line.Address, `{"mode": "processes", "workers": 4}`)
		if err != nil {
			t.Error(err)
		}
		status <- code
	}()
	clitest.Eventually(t, "the scan to be on its way", func() bool { return len(busyChildren(server.Process.Pid)) == 4 })
	start := time.Now()
	server.Process.Signal(syscall.SIGTERM)
	if code := <-status; code != 200 {
		t.Errorf("status %d after %v", code, time.Since(start))
	}
	if err := server.Wait(); err != nil {
		t.Errorf("it did not end well: %v", err)
	}
}
