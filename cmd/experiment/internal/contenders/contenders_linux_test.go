package contenders

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"efsdedupe/fixtures/efs"
	"efsdedupe/fixtures/lambda/runtimeapi"
	"efsdedupe/fixtures/testkit"
)

// busy starts the contender in Python, and calls it with as many tasks as it has
// worker processes, none of which ends before release does. It returns when all
// have begun, with their process and with what will come of the call.
func busy(t *testing.T, release context.Context) (f *runtimeapi.Function, bootstrap *exec.Cmd, result func() (runtimeapi.Result, error)) {
	t.Helper()
	const workers = 5
	begun := make(chan struct{}, workers)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begun <- struct{}{}
		select {
		case <-release.Done():
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(server.Close)
	f, bootstrap = start(t, prepared(t, "python", "python3"))
	e := fmt.Appendf(nil, `{"workload": "fetch", "mode": "processes", "tasks": %d, "workers": %d, "url": %q}`, workers, workers, server.URL)
	done := make(chan struct{})
	var answered runtimeapi.Result
	var err error
	go func() {
		answered, err = f.Invoke(t.Context(), e, time.Minute)
		close(done)
	}()
	for range workers {
		<-begun
	}
	if pids := testkit.Children(bootstrap.Process.Pid); len(pids) != workers {
		t.Fatalf("%d workers, want %d", len(pids), workers)
	}
	return f, bootstrap, func() (runtimeapi.Result, error) {
		<-done
		return answered, err
	}
}

// TestWorkerKilled kills one of the processes while all are busy, as the kernel
// does when memory is short. The others never end, so the error comes at once or
// not at all.
func TestWorkerKilled(t *testing.T) {
	for name, choose := range map[string]func([]int) int{"first": slices.Min[[]int], "last": slices.Max[[]int]} {
		t.Run(name, func(t *testing.T) {
			f, bootstrap, result := busy(t, context.Background())
			if err := syscall.Kill(choose(testkit.Children(bootstrap.Process.Pid)), syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			got, err := result()
			if err != nil || got.ErrorType != "WorkerDied" || !strings.Contains(got.ErrorMessage, "exit code -9") {
				t.Errorf("%+v, error %v", got, err)
			}
			if left := testkit.Children(bootstrap.Process.Pid); len(left) > 0 {
				t.Errorf("%d workers are left", len(left))
			}
			good := event{Workload: "fib", Mode: "processes", Steps: 1, Tasks: 3, Workers: 2}
			if again := check(t, f, good, answer{Checksums: []string{"1", "1", "1"}}); again.Init != 0 {
				t.Error("the bootstrap was started again")
			}
		})
	}
}

// TestBootstrapKilled kills the process that started the others: they end when
// their tasks do.
func TestBootstrapKilled(t *testing.T) {
	release, cancel := context.WithCancel(t.Context())
	_, bootstrap, result := busy(t, release)
	workers := testkit.Children(bootstrap.Process.Pid)
	if err := bootstrap.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if got, err := result(); err == nil {
		t.Errorf("answer %+v", got)
	}
	cancel()
	for _, pid := range workers {
		testkit.Eventually(t, "a worker to end", func() bool { return !testkit.Alive(pid) })
	}
}

// TestWithoutSharedMemory has a /dev/shm that can't be written, as Lambda: there
// multiprocessing has no semaphores.
func TestWithoutSharedMemory(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can mount another /dev/shm: run it as root")
	}
	wrapper := []string{"unshare", "--mount", "sh", "-c", `mount -t tmpfs -o ro none /dev/shm && exec "$0" "$@"`}
	c := prepared(t, "python", "python3")
	control := append(wrapper[1:len(wrapper):len(wrapper)], c.Command[0], "-c", "import multiprocessing; multiprocessing.Lock()")
	if out, err := exec.Command(wrapper[0], control...).CombinedOutput(); !strings.Contains(string(out), "OSError") {
		t.Fatalf("semaphores: %s, error %v", out, err)
	}
	f, _ := start(t, c, wrapper...)
	for _, mode := range c.Modes {
		check(t, f, event{Workload: "fib", Mode: mode, Tasks: 5, Workers: 3}, answer{Checksums: []string{"0", "1", "2", "3", "4"}})
	}
}

// TestFaults has the directory, or a file in it, that can't be read.
func TestFaults(t *testing.T) {
	src := t.TempDir()
	for _, name := range []string{"a", "b", "c"} {
		testkit.Write(t, []byte(name), filepath.Join(src, name))
	}
	each(t, func(t *testing.T, c Contender, mode string) {
		for name, fault := range map[string]func(*efs.Call) bool{
			"":   func(call *efs.Call) bool { return call.Op == efs.Readdir },
			"/b": func(call *efs.Call) bool { return call.Op == efs.Open && call.Path == "b" },
			"/c": func(call *efs.Call) bool { return call.Op == efs.Read && call.Path == "c" },
		} {
			_, root := efs.MountForTest(t, src, efs.Options{Fault: func(_ context.Context, call *efs.Call) syscall.Errno {
				if fault(call) {
					return syscall.EIO
				}
				return 0
			}})
			f, _ := start(t, c)
			checkError(t, f, event{Workload: "scan", Mode: mode, Root: root, Tasks: 3, Workers: 3}, root+name, "Input/output error")
			f.Close()
		}
	})
}
