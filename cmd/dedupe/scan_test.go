package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/spf13/pflag"

	"efsdedupe/cmd/internal/cli"
	"efsdedupe/dedupe"
	"efsdedupe/dedupe/cost"
	"efsdedupe/dedupe/report"
)

// TestInterruptedWhenDone has ^C come after the last byte was read: the report is whole,
// so it replaces the one before, and the exit code is that of a whole report.
func TestInterruptedWhenDone(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a", "b"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("the same"), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), "report.json")
	if err := os.WriteFile(path, []byte("the one before"), 0o666); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var read atomic.Int64
	var stderr bytes.Buffer
	c := scan{Std: cli.Std{Err: &stderr}, bill: projection{usage: cost.DefaultUsage()}, answerFlags: answerFlags{format: report.JSON, output: path}, selection: selection{minSize: 1, sel: dedupe.Selection{Roots: []string{dir}}}, eng: dedupe.Engine{
		Mode: dedupe.Goroutines, Workers: 4,
		Read: func(n int64) {
			if read.Add(n) == int64(2*len("the same")) {
				cancel()
			}
		},
	}}
	c.bill.flags(pflag.NewFlagSet("", 0), 0, "")
	if err := c.run(ctx); err != nil || ctx.Err() == nil {
		t.Errorf("%v, cancelled: %v", err, ctx.Err())
	}
	if b, err := os.ReadFile(path); err != nil || !bytes.Contains(b, []byte(`"complete":true`)) {
		t.Errorf("the report is %q, %v", b, err)
	}
	if _, err := os.Stat(path + ".partial"); err == nil || stderr.Len() > 0 {
		t.Errorf("a whole report was taken for a partial one: %s", &stderr)
	}
}

// TestInterruptedExitCode holds that a command which ends because of a signal says so
// by its exit code, and nothing else.
func TestInterruptedExitCode(t *testing.T) {
	var stderr bytes.Buffer
	if code := (cli.Std{Err: &stderr}).Exit(program, fmt.Errorf("listing: %w", context.Canceled)); code != int(cli.ExitInterrupted) || stderr.Len() > 0 {
		t.Errorf("exit code %d: %s", code, &stderr)
	}
}
