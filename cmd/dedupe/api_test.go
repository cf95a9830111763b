//go:build api

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const apiDir = "../../dedupe/service/testdata/api"

// apiTool returns the path of a program that make build/api installs.
func apiTool(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("../../build/api", name))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Skip("generators of clients and Schemathesis are missing: make build/api installs them, with npm and python3")
	}
	return path
}

// command runs a program in a directory and returns what it prints.
func command(t *testing.T, dir string, env []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// clientDir creates a directory with a client's program and the document of a server.
func clientDir(t *testing.T, url string, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range names {
		b, err := os.ReadFile(filepath.Join(apiDir, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	status, document := get(t, url+"/v1/openapi.json", nil)
	if status != 200 {
		t.Fatalf("the document: %d", status)
	}
	if err := os.WriteFile(filepath.Join(dir, "openapi.json"), document, 0o666); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestClients generates clients in Go and TypeScript from the server's own document,
// compiles and runs them.
func TestClients(t *testing.T) {
	codegen := apiTool(t, "oapi-codegen")
	modules := apiTool(t, "node_modules")
	const groups = "group 10240 10 file-01.bin\ngroup 10240 10 file-02.bin\n"
	const want = groups + "total 2600.99\nrefused 404\nthe same job true\njob succeeded 20\n" + groups
	t.Run("oapi-codegen", func(t *testing.T) {
		_, url, _ := startServer(t, "127.0.0.1:0", "--jobs", t.TempDir())
		dir := clientDir(t, url, "go.mod", "go.sum", "main.go")
		if err := os.Mkdir(filepath.Join(dir, "client"), 0o777); err != nil {
			t.Fatal(err)
		}
		command(t, dir, nil, codegen, "-package", "client", "-generate", "types,client", "-o", "client/client.go", "openapi.json")
		if got := command(t, dir, []string{"CGO_ENABLED=0", "GOFLAGS="}, "go", "run", ".", url); got != want {
			t.Errorf("got:\n%s\nwant:\n%s", got, want)
		}
	})
	t.Run("openapi-typescript", func(t *testing.T) {
		_, url, _ := startServer(t, "127.0.0.1:0", "--jobs", t.TempDir())
		dir := clientDir(t, url, "client.ts", "package.json")
		if err := os.Symlink(modules, filepath.Join(dir, "node_modules")); err != nil {
			t.Fatal(err)
		}
		command(t, dir, nil, filepath.Join(modules, ".bin/openapi-typescript"), "openapi.json", "-o", "schema.d.ts")
		command(t, dir, nil, filepath.Join(modules, ".bin/tsc"), "--strict", "--noUncheckedIndexedAccess", "--target", "es2022", "--module", "nodenext", "client.ts")
		if got := command(t, dir, nil, "node", "client.js", url); got != want {
			t.Errorf("got:\n%s\nwant:\n%s", got, want)
		}
	})
}

// TestSchemathesis sends at least 2,000 requests that the document describes, or nearly
// describes, and checks the answers in every way that Schemathesis knows but one: DELETE does
// not remove a job, it cancels it.
func TestSchemathesis(t *testing.T) {
	st := apiTool(t, "venv/bin/st")
	_, url, log := startServer(t, "127.0.0.1:0", "--jobs", t.TempDir())
	go func() {
		for log.Scan() { // it must not wait for a reader
		}
	}()
	dir := clientDir(t, url, "schemathesis.toml", "hooks.py")
	out := command(t, dir, []string{"SCHEMATHESIS_HOOKS=hooks", "PYTHONPATH=."}, st, "--config-file", "schemathesis.toml",
		"run", url+"/v1/openapi.json", "--checks", "all", "--exclude-checks", "use_after_free", "--max-examples", "200", "--workers", "1", "--generation-deterministic", "--no-color")
	if !strings.Contains(out, "No issues found") {
		t.Errorf("%s", out)
	}
	t.Log(out)
}
