package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"efsdedupe/fixtures"
	"efsdedupe/fixtures/testkit"
)

// serveJobs starts a server with jobs, and returns its URL.
func serveJobs(t *testing.T, root, dir string) (server *exec.Cmd, url string) {
	t.Helper()
	server = exec.Command(binary, "serve", "--root", root, "--listen", "127.0.0.1:0", "--jobs", dir)
	stderr, err := server.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Process.Kill() })
	log := bufio.NewScanner(stderr)
	for log.Scan() {
		var line struct{ Msg, Address string }
		if json.Unmarshal(log.Bytes(), &line) == nil && line.Msg == "serving" {
			go func() {
				for log.Scan() { // it must not wait for a reader
				}
			}()
			return server, "http://" + line.Address
		}
	}
	t.Fatalf("it does not serve: %s", log.Text())
	return nil, ""
}

// TestServeJobsSurvive kills servers while their jobs run, at different moments. The last
// server must end all jobs, each with the report of a scan, and leave nothing of the units.
func TestServeJobsSurvive(t *testing.T) {
	root, dir := filepath.Join(t.TempDir(), "efs"), filepath.Join(t.TempDir(), "jobs")
	if _, err := fixtures.Make(t.Context(), root, fixtures.Spec{Layout: fixtures.Tree, Files: 300, Seed: 1}); err != nil {
		t.Fatal(err)
	}
	var ids []string
	for n := range 4 {
		server, url := serveJobs(t, root, dir)
		response, err := http.Post(url+"/v1/jobs", "application/json", strings.NewReader(`{}`))
		if err != nil || response.StatusCode != 202 {
			t.Fatalf("%v %v", response, err)
		}
		ids = append(ids, filepath.Base(response.Header.Get("Location")))
		response.Body.Close()
		stage := []string{`"queued"`, `"walk"`, `"read"`, `"done":true`}[n]
		testkit.Eventually(t, "the job to get to "+stage, func() bool {
			_, body := get(t, url+"/v1/jobs/"+ids[n], nil)
			return strings.Contains(string(body), stage) || n == 0 || strings.Contains(string(body), `"done":true`)
		})
		server.Process.Signal([]syscall.Signal{syscall.SIGKILL, syscall.SIGTERM}[n%2])
		server.Wait()
	}
	server, url := serveJobs(t, root, dir)
	out, err := exec.Command(binary, "scan", "--format", "json", root).Output()
	if err != nil {
		t.Fatal(err)
	}
	want := paths(t, out, root+"/")
	for _, id := range ids {
		var body []byte
		testkit.Eventually(t, "job "+id+" to end", func() bool {
			_, body = get(t, url+"/v1/jobs/"+id, nil)
			return strings.Contains(string(body), `"done":true`)
		})
		if !strings.Contains(string(body), `"state":"succeeded"`) {
			t.Errorf("%s", body)
		}
		_, report := get(t, url+"/v1/jobs/"+id+"/report?limit=10000", nil)
		if got := paths(t, report, ""); got != want || want == "" {
			t.Errorf("job %s found:\n%s\nwant:\n%s", id, got, want)
		}
	}
	if left, err := filepath.Glob(filepath.Join(dir, "work", "*")); err != nil || len(left) > 0 {
		t.Errorf("left: %v %v", left, err)
	}
	if out, err := exec.Command(binary, "serve", "--root", root, "--listen", "127.0.0.1:0", "--jobs", dir).CombinedOutput(); err == nil || !strings.Contains(string(out), "another process keeps its jobs") {
		t.Errorf("two servers with the same jobs: %s", out)
	}
	if out, err := exec.Command(binary, "serve", "--root", root, "--listen", "127.0.0.1:0", "--jobs", root+"/jobs").CombinedOutput(); err == nil || !strings.Contains(string(out), "choose another --jobs") {
		t.Errorf("jobs inside the root: %s", out)
	}
	server.Process.Signal(syscall.SIGTERM)
	if err := server.Wait(); err != nil {
		t.Errorf("it did not end well: %v", err)
	}
}

// paths returns which files a report says are equal, as text.
func paths(t *testing.T, report []byte, prefix string) string {
	t.Helper()
	var doc struct {
		Complete bool
		Groups   []struct{ Files []struct{ Path string } }
	}
	if err := json.Unmarshal(report, &doc); err != nil || !doc.Complete {
		t.Fatalf("%v: %.300s", err, report)
	}
	var b strings.Builder
	for i, g := range doc.Groups {
		for _, f := range g.Files {
			fmt.Fprintln(&b, i, strings.TrimPrefix(strings.TrimPrefix(f.Path, prefix), "./"))
		}
	}
	return b.String()
}
