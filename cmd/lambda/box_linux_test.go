//go:build box

// These tests run the bootstrap in a box of the size of a small function. They take
// minutes: make test-box.

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"efsdedupe/fixtures"
	"efsdedupe/fixtures/lambda/box"
	"efsdedupe/fixtures/lambda/runtimeapi"
)

func TestMain(m *testing.M) {
	if isShim, err := box.RunShim(os.Args[1:]); isShim {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(box.ExitStatus)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// newBox returns a box of a function of some memory, and a command that starts a bootstrap
// in it that serves root.
func newBox(t *testing.T, memoryMB int64, root string, env ...string) (*box.Box, func() *exec.Cmd) {
	t.Helper()
	if err := box.Available(); err != nil {
		t.Skip(err)
	}
	path := bootstrap(t)
	group := fmt.Sprintf("dedupe-test-%d-%s", os.Getpid(), strings.ReplaceAll(t.Name(), "/", "-")) // boxes of other tests run beside it
	b, err := box.New(group, box.Options{MemoryMB: memoryMB, Tmp: t.TempDir(), Visible: []string{root, filepath.Dir(path)}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		if err := box.Sweep(group); err != nil {
			t.Error(err)
		}
	})
	return b, func() *exec.Cmd {
		cmd := b.Command(path)
		cmd.Env = append(os.Environ(), fmt.Sprint("AWS_LAMBDA_FUNCTION_MEMORY_SIZE=", memoryMB), "DEDUPE_ROOT="+root)
		cmd.Env = append(cmd.Env, env...)
		return cmd
	}
}

// startBox starts a bootstrap that serves root in a function of some memory.
func startBox(t *testing.T, memoryMB int64, root string, env ...string) (*runtimeapi.Function, *box.Box) {
	t.Helper()
	b, command := newBox(t, memoryMB, root, env...)
	f, err := runtimeapi.Start(t.Context(), command)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f, b
}

// TestBoxInit reports how long INIT takes: the default of dedupe cost --init comes from
// here.
func TestBoxInit(t *testing.T) {
	root := tree(t)
	for _, memoryMB := range []int64{128, 512, 1769} {
		t.Run(fmt.Sprint(memoryMB, " MB"), func(t *testing.T) {
			_, command := newBox(t, memoryMB, root)
			var took []time.Duration
			for range 25 {
				f, err := runtimeapi.Start(t.Context(), command)
				if err != nil {
					t.Fatal(err)
				}
				r, err := f.Invoke(t.Context(), scanEvent(t, "goroutines"), time.Minute)
				f.Close()
				if err != nil || r.ErrorType != "" || r.Init <= 0 {
					t.Fatalf("%v %s %s, INIT %v", err, r.ErrorType, r.ErrorMessage, r.Init)
				}
				took = append(took, r.Init)
			}
			slices.Sort(took)
			t.Logf("INIT took %v to %v, median %v", took[0], took[len(took)-1], took[len(took)/2])
		})
	}
}

// TestBoxWarm calls the smallest function many times, in both modes. The kernel must not
// kill it for its memory. With processes a call takes three times as long, because each
// starts its workers, so there are fewer of them.
func TestBoxWarm(t *testing.T) {
	root := filepath.Join(t.TempDir(), "root")
	if _, err := fixtures.Make(t.Context(), root, fixtures.Spec{Layout: fixtures.Tree, Files: 30, Size: 4 << 10, Seed: 1}); err != nil {
		t.Fatal(err)
	}
	for mode, calls := range map[string]int{"goroutines": 1500, "processes": 300} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			f, b := startBox(t, 128, root)
			watch := b.Watch()
			event := scanEvent(t, mode)
			for i := range calls {
				r, err := f.Invoke(t.Context(), event, 30*time.Second)
				if err != nil || r.ErrorType != "" {
					t.Fatalf("call %d: %v %s %s", i+1, err, r.ErrorType, r.ErrorMessage)
				}
				if i > 0 && r.Init != 0 {
					t.Fatalf("call %d found no warm environment", i+1)
				}
			}
			peak, err := watch.Stop()
			t.Logf("the peak of %d calls was %d MiB (%v)", calls, peak>>20, err)
		})
	}
}

// TestBoxDeadline scans more files than a small function can in time. It must answer
// before API Gateway gives up, cold and warm.
func TestBoxDeadline(t *testing.T) {
	root := filepath.Join(t.TempDir(), "root")
	makeMillion(t, root)
	f, _ := startBox(t, 512, root)
	for range 2 {
		r, err := f.Invoke(t.Context(), scanEvent(t, "goroutines"), 29*time.Second)
		if err != nil || r.ErrorType != "" {
			t.Fatalf("%v %s %s", err, r.ErrorType, r.ErrorMessage)
		}
		var response events.APIGatewayV2HTTPResponse
		var report struct {
			Complete bool
			Reason   string
		}
		if err := errors.Join(json.Unmarshal(r.Body, &response), json.Unmarshal([]byte(response.Body), &report)); err != nil {
			t.Fatal(err)
		}
		if response.StatusCode != 200 || report.Complete || report.Reason != "deadline" {
			t.Errorf("%d %.1000s", response.StatusCode, response.Body)
		}
		t.Logf("answered %d bytes after %v", len(r.Body), r.Duration)
	}
}

// scanEvent is the event of a scan in a mode.
func scanEvent(t *testing.T, mode string) []byte {
	return bytes.ReplaceAll(readEvent(t, "http-api-scan.json"), []byte("goroutines"), []byte(mode))
}

// makeMillion creates a directory with a million files of four bytes, of ten thousand
// contents.
func makeMillion(t *testing.T, root string) {
	t.Helper()
	if err := os.Mkdir(root, 0o777); err != nil {
		t.Fatal(err)
	}
	for i := range 1_000_000 {
		if err := os.WriteFile(filepath.Join(root, fmt.Sprint(i)), fmt.Appendf(nil, "%04d", i%10_000), 0o666); err != nil {
			t.Fatal(err)
		}
	}
}
