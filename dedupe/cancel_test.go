package dedupe

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
)

// TestHangingHasher checks that a stage ends soon after it is cancelled, even if a file
// never answers, as on a hung mount.
func TestHangingHasher(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, random(10), "a", "b", "c")
	found, err := walk(t.Context(), options{Roots: []string{"."}, Workers: 4})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	release := make(chan struct{})
	defer close(release)
	h := hasherFunc(func(ctx context.Context, f File) (Digest, Work, error) {
		if f.Path == "./c" {
			cancel()
			<-release // ignores ctx
		}
		return single(context.WithoutCancel(ctx), new(LocalHasher), f)
	})
	var did tally
	for range did.count(Read(ctx, did.expect(found.Copies()), StageWhole, Engine{Workers: 1, Hasher: h})) {
	}
	if !did.interrupted() {
		t.Error("a cancelled report can't be complete")
	}
	if len(did.problems) != 0 {
		t.Errorf("to be cancelled is no problem of a file: %v", did.problems)
	}
}

type hasherFunc func(ctx context.Context, f File) (Digest, Work, error)

func (h hasherFunc) Hash(ctx context.Context, b Batch) []Signed {
	signed := make([]Signed, len(b.Files))
	for i, f := range b.Files {
		digest, work, err := h(ctx, f)
		signed[i] = Signed{File: f, Digest: digest, Work: work}
		signed[i].fail(err)
	}
	return signed
}

// TestRampUp checks that all workers start when files are slow, even with few processors.
func TestRampUp(t *testing.T) {
	const workers = 32
	copies := ofSizes(8*workers, 0)
	var inFlight atomic.Int64
	all := make(chan struct{})
	together := sync.OnceFunc(func() { close(all) })
	waiting := hasherFunc(func(context.Context, File) (Digest, Work, error) {
		n := inFlight.Add(1)
		defer inFlight.Add(-1)
		switch {
		case n == workers:
			together()
		case n > workers:
			t.Errorf("%d files are in flight", n)
		}
		<-all // without all workers, it hangs here
		return Digest{1}, Work{}, nil
	})
	signed := Read(t.Context(), slices.Values(copies), StageWhole, Engine{Workers: workers, Mode: Goroutines, Hasher: waiting})
	sorted, _ := sortSigned(signed, StageWhole, len(copies))
	joined := slices.Collect(flatten(Join(StageWhole, slices.Values(sorted))))
	if len(joined) != len(copies) {
		t.Errorf("%d of %d are in a class", len(joined), len(copies))
	}
}

// TestDeadHasher checks that a hasher that returns nothing never looks like a tree
// without duplicates.
func TestDeadHasher(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, random(10), "a", "b")
	found, err := walk(t.Context(), options{Roots: []string{"."}, Workers: 4})
	if err != nil {
		t.Fatal(err)
	}
	dead := hasherFunc(func(context.Context, File) (Digest, Work, error) {
		return Digest{}, Work{}, errors.New("dead")
	})
	var did tally
	for range did.count(Read(t.Context(), did.expect(found.Copies()), StageWhole, Engine{Workers: 4, Hasher: dead})) {
	}
	if did.interrupted() || len(did.problems) != 2 {
		t.Errorf("interrupted: %v, problems: %v", did.interrupted(), did.problems)
	}
	r := scan(t, options{Roots: []string{"."}, Hasher: dead})
	if r.Complete || r.Interrupted || len(r.Problems) != 2 || r.Reason != ReasonProblems {
		t.Errorf("complete: %v, problems: %v", r.Complete, r.Problems)
	}
}

// TestCancelledWhenDone cancels a scan after the last byte was read. The report must be
// complete.
func TestCancelledWhenDone(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, random(10), "a", "b", "c")
	write(t, random(smallMax+1), "d", "e", "f")
	for _, mode := range []Mode{Goroutines, Processes} {
		want := scan(t, options{Roots: []string{"."}, Mode: mode})
		ctx, cancel := context.WithCancel(t.Context())
		left := want.Stats.BytesRead
		r, err := scanContext(ctx, options{Roots: []string{"."}, Mode: mode, Workers: 4, Worker: worker, Observe: func(e Event) {
			if left -= e.Work.BytesRead; left == 0 && e.Stage == StageWhole {
				cancel()
			}
		}})
		if err != nil || ctx.Err() == nil {
			t.Fatalf("%s: %v, cancelled: %v", mode, err, ctx.Err())
		}
		if !r.Complete || r.Interrupted || answer(r) != answer(want) {
			t.Errorf("%s: cancelled when done: complete %v, interrupted %v\n%s\nwant\n%s", mode, r.Complete, r.Interrupted, answer(r), answer(want))
		}
	}
}

// TestAlone checks that CPU time is known only for a scan that has the process to itself.
func TestAlone(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, random(mediumMax), "a", "b")
	for _, mode := range []Mode{Goroutines, Processes} {
		for _, alone := range []bool{true, false} {
			s := scan(t, options{Roots: []string{"."}, Mode: mode, Alone: func() bool { return alone }}).Stats
			if s.CPUUnknown == alone || (s.CPU > 0) != alone {
				t.Errorf("%s, alone %v: CPU %v, not known %v", mode, alone, s.CPU, s.CPUUnknown)
			}
		}
	}
}

// TestCancelled checks that a scan cancelled before it began reports nothing and is
// incomplete.
func TestCancelled(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, random(10), "a", "b")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r, err := scanContext(ctx, options{Roots: []string{"."}, Mode: Goroutines, Workers: 4})
	if err != nil || r.Complete || !r.Interrupted || len(r.Groups) != 0 {
		t.Errorf("%v, %v", r, err)
	}
}

// TestDeadlineInWalk checks that a scan whose time ends while it walks tells what it found,
// and does not begin to read: also where the copies would take more memory than there is.
func TestDeadlineInWalk(t *testing.T) {
	t.Chdir(t.TempDir())
	const files = 10_000
	var paths []string
	for i := range files {
		paths = append(paths, fmt.Sprintf("%d/%0200d", i%10, i))
	}
	write(t, []byte("same"), paths...)
	if err := os.Link(paths[0], "link"); err != nil {
		t.Fatal(err)
	}
	scan := func(ctx context.Context, observe func(Event)) (Report, error) {
		o := options{Roots: []string{"."}, Mode: Goroutines, Workers: 4, Observe: observe}
		eng := o.engine()
		eng.Memory = programMemory + 21<<18
		return Scan(ctx, o.selection(), eng)
	}
	if _, err := scan(t.Context(), nil); !errors.Is(err, ErrTooManyFiles) {
		t.Errorf("with enough time: %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	found := int64(0)
	r, err := scan(ctx, func(e Event) {
		if e.Stage != StageWalk && e != (Event{Stage: e.Stage}) {
			t.Errorf("has something to read: %+v", e)
		}
		if found += e.Files; found == files+1 {
			cancel(context.DeadlineExceeded)
		}
	})
	if err != nil || r.Complete || r.Reason != ReasonDeadline || len(r.Groups) != 0 || r.Stats.Opens != 0 {
		t.Fatalf("%v, complete %v, %q, %d groups, %+v", err, r.Complete, r.Reason, len(r.Groups), r.Stats)
	}
	if r.Stats.Files != files+1 || r.Stats.Bytes != files*4 {
		t.Errorf("%d files of %d bytes", r.Stats.Files, r.Stats.Bytes)
	}
}
