// Package clitest runs the scripts that test commands, with the real programs, and checks
// their help.
package clitest

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"

	"efsdedupe/cmd/internal/cli"
	"efsdedupe/fixtures/testkit"
)

var update = flag.Bool("update", false, "rewrite the scripts' expected output")

// Run builds programs, each from a package, as users get them, and runs the tests
// when they are ready in dir. It returns the exit code of the tests.
func Run(m *testing.M, programs map[string]string, ready func(dir string)) int {
	dir, err := os.MkdirTemp("", "dedupe-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	for name, of := range programs {
		if err := testkit.Build(filepath.Join(dir, name), of, "-ldflags", linkFlags(name)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	ready(dir)
	return m.Run()
}

// linkFlags returns the linker flags that the Makefile has for a program.
func linkFlags(program string) string {
	commands := program == "dedupe" || program == "experiment" // they use package cli
	if commands && runtime.GOOS == "linux" && (runtime.GOARCH == "amd64" || runtime.GOARCH == "arm64") {
		return "-E start_dedupe"
	}
	return ""
}

// Scripts runs the scripts in testdata/script with the programs in the directory
// bin, and the commands exits, json and content besides those of p.
func Scripts(t *testing.T, bin string, p testscript.Params) {
	p.Dir = filepath.Join("testdata", "script")
	p.UpdateScripts = *update
	p.Setup = func(env *testscript.Env) error {
		env.Setenv("PATH", bin+string(os.PathListSeparator)+env.Getenv("PATH"))
		return nil
	}
	commands := map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "json": jsonValue, "content": content}
	maps.Copy(commands, p.Cmds)
	p.Cmds = commands
	testscript.Run(t, p)
}

// exits CODE PROGRAM ARG... runs a program and checks its exit code. On 2, the
// code of bad input, it checks that standard error is one line and that there is
// no output.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits code program [arg...]")
	}
	checkExit(ts, args[0], ts.Exec(args[1], args[2:]...))
}

// checkExit checks that a program ended with the exit code want.
func checkExit(ts *testscript.TestScript, want string, err error) {
	got := 0
	var failed *exec.ExitError
	switch {
	case errors.As(err, &failed):
		got = failed.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	stdout, stderr := ts.ReadFile("stdout"), ts.ReadFile("stderr")
	if want != strconv.Itoa(got) {
		ts.Fatalf("exit code %d, want %s\n%s%s", got, want, stdout, stderr)
	}
	if got == int(cli.ExitNoAnswer) && (strings.Count(stderr, "\n") != 1 || stdout != "") {
		ts.Fatalf("bad input must give one line on standard error and nothing else, not\n%s%s", stdout, stderr)
	}
	if strings.Contains(stderr, "panic") || strings.Contains(stderr, "goroutine ") {
		ts.Fatalf("it panicked:\n%s", stderr)
	}
}

// json FILE PATH WANT compares the value at a dotted path, such as
// groups.0.size, with a JSON value; len as the last part is an array's length.
func jsonValue(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: json file path want")
	}
	var doc any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &doc))
	for part := range strings.SplitSeq(args[1], ".") {
		switch v := doc.(type) {
		case map[string]any:
			doc = v[part]
		case []any:
			if part == "len" {
				doc = float64(len(v))
				continue
			}
			i, err := strconv.Atoi(part)
			if err != nil || i >= len(v) {
				ts.Fatalf("%s: no element %s among %d", args[1], part, len(v))
			}
			doc = v[i]
		default:
			ts.Fatalf("%s: %s of %v", args[1], part, v)
		}
	}
	var want any
	ts.Check(json.Unmarshal([]byte(args[2]), &want))
	if cmp.Equal(doc, want) == neg {
		ts.Fatalf("%s is %v, want %v (negated: %v)", args[1], doc, want, neg)
	}
}

// content SIZE SEED FILE... writes the same bytes to files; other seeds give
// other bytes.
func content(ts *testscript.TestScript, neg bool, args []string) {
	size, err := strconv.Atoi(args[0])
	ts.Check(err)
	seed, err := strconv.ParseUint(args[1], 10, 64)
	ts.Check(err)
	random := rand.New(rand.NewPCG(seed, 0))
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(random.Uint32())
	}
	for _, file := range args[2:] {
		ts.Check(os.MkdirAll(filepath.Dir(ts.MkAbs(file)), 0o777))
		ts.Check(os.WriteFile(ts.MkAbs(file), b, 0o666))
	}
}
