package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"efsdedupe/cmd/internal/cli"
	"efsdedupe/cmd/internal/clitest"
	"efsdedupe/fixtures/lambda/box"
)

// The programs as users get them, which all tests here run.
var experiment, dedupe string

func TestMain(m *testing.M) {
	// To find out whether there can be boxes, one is made, of this program.
	if isShim, err := box.RunShim(os.Args[1:]); isShim {
		os.Exit(cli.Std{Err: os.Stderr}.Exit(program, err))
	}
	programs := map[string]string{"experiment": ".", "experiment-bootstrap": "./bootstrap", "bootstrap": "../lambda", "dedupe": "../dedupe"}
	os.Exit(clitest.Run(m, programs, func(dir string) {
		experiment, dedupe = filepath.Join(dir, "experiment"), filepath.Join(dir, "dedupe")
	}))
}

func TestScripts(t *testing.T) {
	clitest.Scripts(t, filepath.Dir(experiment), testscript.Params{
		Condition: func(name string) (bool, error) {
			if name == "boxes" {
				return box.Available() == nil, nil
			}
			return false, fmt.Errorf("unknown condition %q", name)
		},
	})
}
