//go:build box

// These tests run the bootstrap in a box of the size of a small function. They take
// minutes: make test-box.

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

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

// startBox starts a bootstrap that serves root in a function of some memory.
func startBox(t *testing.T, memoryMB int64, root string, env ...string) *runtimeapi.Function {
	t.Helper()
	if err := box.Available(); err != nil {
		t.Skip(err)
	}
	path := bootstrap(t)
	group := fmt.Sprint("dedupe-test-", os.Getpid())
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
	f, err := runtimeapi.Start(t.Context(), func() *exec.Cmd {
		cmd := b.Command(path)
		cmd.Env = append(os.Environ(), fmt.Sprint("AWS_LAMBDA_FUNCTION_MEMORY_SIZE=", memoryMB), "DEDUPE_ROOT="+root)
		cmd.Env = append(cmd.Env, env...)
		return cmd
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f
}

// TestBoxWarm calls the smallest function 1,500 times. The kernel must not kill it for
// its memory.
func TestBoxWarm(t *testing.T) {
	root := filepath.Join(t.TempDir(), "root")
	if _, err := fixtures.Make(t.Context(), root, fixtures.Spec{Layout: fixtures.Tree, Files: 30, Size: 4 << 10, Seed: 1}); err != nil {
		t.Fatal(err)
	}
	f := startBox(t, 128, root)
	event := readEvent(t, "http-api-scan.json")
	for i := range 1500 {
		r, err := f.Invoke(t.Context(), event, 30*time.Second)
		if err != nil || r.ErrorType != "" {
			t.Fatalf("call %d: %v %s %s", i+1, err, r.ErrorType, r.ErrorMessage)
		}
		if i > 0 && r.Init != 0 {
			t.Fatalf("call %d found no warm environment", i+1)
		}
	}
}
