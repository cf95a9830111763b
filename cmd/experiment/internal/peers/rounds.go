package peers

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"efsdedupe/fixtures/efs"
)

// sample is what one run of a program used, with all its children.
type sample struct {
	Program string        `json:"program"`
	Round   int           `json:"round"`
	Wall    time.Duration `json:"wall_ns"`
	CPU     time.Duration `json:"cpu_ns"`            // user and system
	Memory  int64         `json:"peak_memory_bytes"` // resident
	EFS     *efs.Counters `json:"efs,omitempty"`     // what the mount counted
	Own     *own          `json:"own,omitempty"`     // what dedupe says of itself
	Failure string        `json:"failure,omitempty"` // then nothing else counts
}

// interleave runs each of n programs once a round, in an order that rotates.
// One that has failed, or used up its budget, runs no more. run gets the index
// of a program and the number of the round, both from 0.
func interleave(ctx context.Context, n, rounds int, budget time.Duration, run func(i, round int) (sample, error)) error {
	used := make([]time.Duration, n)
	failed := make([]bool, n)
	for round := range rounds {
		for turn := range n {
			i := (turn + round) % n
			if failed[i] || used[i] >= budget {
				continue
			}
			s, err := run(i, round)
			if err != nil {
				return err
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			used[i] += s.Wall
			failed[i] = s.Failure != ""
		}
	}
	return nil
}

// left is how long the rounds after the first few take, going by those: each
// program as long as before, until its budget is used up.
func left(samples []sample, rounds int, budget time.Duration) time.Duration {
	used, ran := make(map[string]time.Duration), make(map[string]int)
	done := 0
	for _, s := range samples {
		if s.Failure == "" {
			used[s.Program] += s.Wall
			ran[s.Program]++
		}
		done = max(done, s.Round+1)
	}
	var sum time.Duration
	for name, d := range used {
		each := d / time.Duration(ran[name])
		for d, n := d, done; n < rounds && d < budget; n++ {
			d += each
			sum += each
		}
	}
	return sum
}

// launched is what the launcher prints.
type launched struct {
	Wall   time.Duration `json:"wall_ns"`
	CPU    time.Duration `json:"cpu_ns"`
	MaxRSS int64         `json:"maxrss"`
	End    string        `json:"end"`
	Killed bool          `json:"timed_out"`
}

// launch runs a command and returns what it used. Its error is that it could
// not be run; a program that fails is a sample with a failure.
func (b *bench) launch(ctx context.Context, c command) (sample, error) {
	args := append([]string{b.Limit.String(), c.stdin, c.stdout, c.stderr}, c.argv...)
	cmd := exec.CommandContext(ctx, b.launcher, args...)
	cmd.Dir = b.Dir
	home := filepath.Join(b.Dir, "home") // for what programs keep
	cmd.Env = append(os.Environ(), "XDG_CACHE_HOME="+home, "XDG_CONFIG_HOME="+home)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return sample{}, fmt.Errorf("%s: %w: %s", c.name, err, strings.TrimSpace(said.String()))
	}
	var l launched
	if err := json.Unmarshal(out, &l); err != nil {
		return sample{}, fmt.Errorf("%s: %w", c.name, err)
	}
	s := sample{Program: c.name, Wall: l.Wall, CPU: l.CPU, Memory: l.MaxRSS}
	if runtime.GOOS == "linux" {
		s.Memory *= 1 << 10 // there it is in KiB
	}
	switch {
	case l.Killed:
		s.Failure = fmt.Sprintf("killed after %v", b.Limit)
	case l.End != "exit status 0":
		s.Failure = l.End + firstLine(c.stderr)
	}
	return s, nil
}

// firstLine returns what a program has said first, to be put after how it ended.
func firstLine(path string) string {
	said, _ := os.ReadFile(path) // then it has said nothing
	line, _, _ := bytes.Cut(said, []byte("\n"))
	if len(line) == 0 {
		return ""
	}
	return fmt.Sprintf(": %q", line)
}

// dropPageCache makes the kernel forget all files of the machine.
func dropPageCache() error {
	syscall.Sync()
	if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0); err != nil {
		return fmt.Errorf("can't drop the page cache: %w; it needs Linux and root", err)
	}
	return nil
}
