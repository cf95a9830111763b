package peers

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestInterleave checks who runs when: c has used its time after two runs, and d
// fails in its second.
func TestInterleave(t *testing.T) {
	var order strings.Builder
	run := func(i, round int) (sample, error) {
		order.WriteByte("abcd"[i])
		if i == 0 {
			order.WriteByte(byte('0' + round))
		}
		s := sample{Wall: time.Second}
		switch {
		case i == 2:
			s.Wall = 30 * time.Second
		case i == 3 && round == 1:
			s.Failure = "exit status 1"
		}
		return s, nil
	}
	if err := interleave(t.Context(), 4, 4, time.Minute, run); err != nil {
		t.Fatal(err)
	}
	if want := "a0bcd" + "bcda1" + "a2b" + "a3b"; order.String() != want {
		t.Errorf("%s, want %s", order.String(), want)
	}
}

func TestInterleaveEnds(t *testing.T) {
	broken := errors.New("no launcher")
	err := interleave(t.Context(), 2, 2, time.Minute, func(i, round int) (sample, error) { return sample{}, broken })
	if err != broken {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ran := 0
	err = interleave(ctx, 2, 2, time.Minute, func(i, round int) (sample, error) {
		ran++
		cancel()
		return sample{}, nil
	})
	if err != context.Canceled || ran != 1 {
		t.Errorf("%v, after %d runs", err, ran)
	}
}

// TestLeft has one program that takes 1 s and one that takes 40 s, after 2 of 10
// rounds: 8 runs of the first, one of the other, and none of the third.
func TestLeft(t *testing.T) {
	samples := append(timed("quick", 1000, 1000), timed("slow", 20_000, 20_000)...)
	samples = append(samples, sample{Program: "dead", Failure: "killed", Wall: time.Hour})
	if got, want := left(samples, 10, time.Minute), 8*time.Second+20*time.Second; got != want {
		t.Errorf("%v, want %v", got, want)
	}
}

// newTestBench returns one with the small programs, and no others.
func newTestBench(t *testing.T) *bench {
	t.Helper()
	o := Options{Runs: 1, Seed: 1, Scale: 1, Budget: time.Minute, Limit: time.Minute, Dir: t.TempDir(), Dedupe: fake(t, ours)}
	b, err := newBench(t.Context(), o, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestLaunch(t *testing.T) {
	b := newTestBench(t)
	out := filepath.Join(b.Dir, "answer")
	shell := func(script string) command {
		c := b.command("shell", "sh", "-c", script)
		c.stdout = out
		return c
	}
	s, err := b.launch(t.Context(), shell("pwd"))
	if err != nil || s.Failure != "" || s.Program != "shell" || s.Wall <= 0 || s.CPU <= 0 {
		t.Errorf("%+v, %v", s, err)
	}
	if got, err := os.ReadFile(out); err != nil || strings.TrimSpace(string(got)) != b.Dir {
		t.Errorf("%q, %v", got, err)
	}
	s, err = b.launch(t.Context(), shell("echo why >&2; echo more >&2; exit 3"))
	if err != nil || s.Failure != `exit status 3: "why"` {
		t.Errorf("%+v, %v", s, err)
	}
	if s, err = b.launch(t.Context(), b.command("none", "/no/such/program")); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("%+v, %v", s, err)
	}
	b.Limit = 100 * time.Millisecond
	if s, err = b.launch(t.Context(), shell("sleep 3600")); err != nil || s.Failure != "killed after 100ms" {
		t.Errorf("%+v, %v", s, err)
	}
	b.Limit = time.Minute
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if s, err = b.launch(ctx, shell("sleep 3600")); err == nil {
		t.Errorf("it was cancelled: %+v", s)
	}
}

// TestMemory checks that the peak memory of a program is not that of this one.
func TestMemory(t *testing.T) {
	b := newTestBench(t)
	const mine = 128 << 20
	held := make([]byte, mine)
	for i := 0; i < mine; i += 4096 {
		held[i] = 1
	}
	s, err := b.launch(t.Context(), b.command("empty", b.empty))
	if err != nil || s.Memory < 1<<20 || s.Memory > mine/4 {
		t.Errorf("an empty program had %d bytes, %v", s.Memory, err)
	}
	runtime.KeepAlive(held)
}
