package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"efsdedupe/dedupe/mount/mounttest"
	"efsdedupe/fixtures/testkit"
)

// startServer serves a standard set, a small one, on a free port, and returns
// its process and URL, and what it logs.
func startServer(t *testing.T, listen string, flags ...string) (server *exec.Cmd, url string, log *bufio.Scanner) {
	t.Helper()
	dir := filepath.Join(mounttest.TrustedDir(t, 16<<20), "efs")
	output(t, "fixtures", dir, "--files", "20", "--size", "10KiB")
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

// unhurried is a client without timeouts: connecting to a busy machine may take long.
var unhurried = &http.Client{Transport: new(http.Transport)}

func post(url, body string) (int, error) {
	response, err := unhurried.Post(url+"/v1/scans", "application/json", strings.NewReader(body))
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
	testkit.NeedProc(t)
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
					status, err := post(url, b.body)
					for err == nil && status == http.StatusTooManyRequests { // a busy machine: try again, as the answer says
						status, err = post(url, b.body)
					}
					if err != nil || status != b.want {
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
		unhurried.CloseIdleConnections()
	}
	round(1000)
	descriptors, memory, _ := holds(t, server.Process.Pid)
	round(1000)
	var more, moreMemory, processes int
	testkit.Eventually(t, "connections to be closed", func() bool {
		more, moreMemory, processes = holds(t, server.Process.Pid)
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

// holds returns how much a process holds: open descriptors, memory, busy child processes.
func holds(t *testing.T, pid int) (descriptors, memoryKiB, processes int) {
	t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	testkit.Must(t, err)
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	testkit.Must(t, err)
	_, rss, _ := strings.Cut(string(status), "VmRSS:")
	fmt.Sscan(rss, &memoryKiB)
	return len(entries), memoryKiB, len(busyChildren(pid))
}

// TestServeIndex asks until all is known: what was just written is not remembered. The
// server leaves an index that others can read.
func TestServeIndex(t *testing.T) {
	index := filepath.Join(t.TempDir(), "index.db")
	server, url, log := startServer(t, "127.0.0.1:0", "--index", index, "--index-id", "fs-0123abcd")
	testkit.Eventually(t, "20 known files", func() bool {
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
	open := exec.Command(binary, "serve", "--root", t.TempDir(), "--listen", "0.0.0.0:0")
	stderr, err := open.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := open.Start(); err != nil {
		t.Fatal(err)
	}
	said, err := bufio.NewReader(stderr).ReadString('\n')
	if err != nil || !strings.Contains(said, "open to others than this machine, without authorization") {
		t.Errorf("it does not say so: %s %v", said, err)
	}
	open.Process.Kill()
	open.Wait()
	_, url, _ := startServer(t, "127.0.0.1:0")
	out, err := exec.Command(binary, "serve", "--root", t.TempDir(), "--listen", strings.TrimPrefix(url, "http://")).CombinedOutput()
	if err == nil || strings.Count(string(out), "\n") != 1 || !strings.Contains(string(out), "choose another --listen") {
		t.Errorf("%v: %s", err, out)
	}
}

// TestServeGraceful tells a server to end while a request is in progress. The server must
// still answer it, although the body comes after it stopped listening.
func TestServeGraceful(t *testing.T) {
	server, url, _ := startServer(t, "127.0.0.1:0")
	body, send := io.Pipe()
	request, err := http.NewRequest("POST", url+"/v1/scans", body)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Expect", "100-continue") // the answer is that the server waits for the body
	underWay := make(chan struct{})
	trace := &httptrace.ClientTrace{Got100Continue: func() { close(underWay) }}
	client := http.Client{Transport: &http.Transport{ExpectContinueTimeout: time.Hour}}
	status := make(chan int, 1)
	go func() {
		response, err := client.Do(request.WithContext(httptrace.WithClientTrace(t.Context(), trace)))
		if err != nil {
			t.Error(err)
			status <- 0
			return
		}
		response.Body.Close()
		status <- response.StatusCode
	}()
	<-underWay
	server.Process.Signal(syscall.SIGTERM)
	testkit.Eventually(t, "the server to stop listening", func() bool {
		c, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	if _, err := io.WriteString(send, `{"mode": "processes", "workers": 4}`); err != nil {
		t.Error(err)
	}
	send.Close()
	if code := <-status; code != 200 {
		t.Errorf("status %d", code)
	}
	if err := server.Wait(); err != nil {
		t.Errorf("it did not end well: %v", err)
	}
}
