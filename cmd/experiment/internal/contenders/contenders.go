// Package contenders has Lambda bootstraps in other languages, which the experiment
// compares with the one in Go, and prepares them to run here. They do the same tasks
// and return the same checksums, each written as its own users would write it.
//
//	contenders.go  Prepare
//	python.go      Python: its interpreter, packages from PyPI
//	rust.go        Rust: its build
//	cache.go       what is made once and kept
//	python/        the source, and the versions of BLAKE3 and what predictions take
//	rust/          the source, and everything it depends on
//
// An event is {"workload", "mode", "tasks", "workers"}, and what the workload
// needs; workers is how many tasks are in flight. An answer is {"digest",
// "checksums"}: a checksum for each task, in their order. Task i, from 0, of
//
//	scan   hashes regular file number i of the directory "root", sorted by the
//	       bytes of the names
//	fib    does a, b = b, (a+b) mod 2^61-1 "steps" times, from a = i and b = 1;
//	       its checksum is a, and digest is empty
//	fetch  hashes the answer to an HTTP GET of "url"/i, which must be status 200
//	predict
//	       tells what the image "root"/i shows, where i has three digits and .png,
//	       and root is a directory or an http:// URL; see package predict
//
// A task that fails fails the call.
package contenders

import (
	"context"
	"embed"
	"io"
	"os"
	"path/filepath"
)

//go:embed python/bootstrap.py python/predict.py python/requirements.txt python/predict.txt
//go:embed rust/Cargo.toml rust/Cargo.lock rust/src/main.rs rust/src/predict.rs
var sources embed.FS

// Contender is a bootstrap that is ready to run.
type Contender struct {
	Name    string   // python or rust
	Modes   []string // that an event may ask for: processes, threads
	Command []string // program and arguments
	Version string   // such as "Python 3.11.7, blake3 1.0.11"
	Digest  string   // with which it hashes: blake3, or sha256 where that can't be had
}

// Prepare returns the contenders for which this machine has the language, and
// why one is missing or hashes with another digest, and what to do about it.
// What has to be built or downloaded is kept in the directory dir; log is told
// of it. Many may prepare in the same directory at once. Only with predict are the
// contenders able to run that workload, for which they have to be larger.
func Prepare(ctx context.Context, dir string, predict bool, log io.Writer) (ready []Contender, problems []error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, []error{err}
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, []error{err}
	}
	c := cache{dir, predict, log}
	for _, prepare := range []func(context.Context, cache) (*Contender, error){python, rust} {
		contender, err := prepare(ctx, c)
		if contender != nil {
			ready = append(ready, *contender)
		}
		if err != nil {
			problems = append(problems, err)
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, []error{err}
	}
	return ready, problems
}
