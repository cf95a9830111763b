package job

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"efsdedupe/dedupe"
	"efsdedupe/dedupe/cost"
	"efsdedupe/dedupe/pool"
	"efsdedupe/dedupe/report"
	"efsdedupe/fixtures/testkit"
)

// TestCountable scans trees whose files add up to more than 2^63-1 bytes. The job leaves out
// the files that the scan leaves out.
func TestCountable(t *testing.T) {
	for name, sizes := range map[string][]int64{
		"one is too much":  {1 << 62, 1<<62 + 1, 1<<62 + 2, 5, 5, 7},
		"just enough":      {1<<62 - 20, 1 << 62, 5, 5, 9},
		"one more byte":    {1<<62 - 20, 1 << 62, 5, 5, 11},
		"the largest":      {1<<63 - 1, 5, 5},
		"alike, but a bit": {1 << 61, 1<<61 + 1, 1<<61 + 2, 1<<61 + 3, 1<<61 + 4, 5, 5},
	} {
		t.Run(name, func(t *testing.T) {
			dir, err := os.MkdirTemp("/dev/shm", "countable") // a file system with files of any size
			if err != nil {
				t.Skip("there is no file system in memory at /dev/shm: mount one")
			}
			t.Cleanup(func() { os.RemoveAll(dir) })
			t.Chdir(dir)
			for i, size := range sizes {
				path := fmt.Sprintf("tree/%d/f", i)
				testkit.Must(t, os.MkdirAll(filepath.Dir(path), 0o777))
				testkit.Must(t, os.WriteFile(path, nil, 0o666))
				testkit.Must(t, os.Truncate(path, size))
			}
			testkit.Must(t, os.Link("tree/0/f", "tree/link")) // which counts once
			sel := dedupe.Selection{Roots: []string{"tree"}}
			want := scanned(t, sel, nil, false, false)
			j, w := begin(t, sel)
			testkit.Must(t, j.run(t.Context(), Options{Concurrency: 1}, w.run))
			got := answered(t, j)
			if diff := gocmp.Diff(want, got); diff != "" {
				t.Errorf("(-scan +job):\n%s", diff)
			}
			if (name == "just enough") == strings.Contains(got, "2^63-1") {
				t.Errorf("%s", got)
			}
		})
	}
}

func TestSizeRange(t *testing.T) {
	last := int64(-1)
	for _, size := range []int64{0, 1, 1023, 1024, 1025, 2047, 2048, 2049, 2050, 4095, 4096, 1<<40 - 1, 1 << 40, 1<<62 - 1, 1 << 62, 1<<63 - 1} {
		if r := sizeRange(size); r < last || r == last && size < 2050 && size != 2049 {
			t.Errorf("size %d has range %d after %d", size, r, last)
		} else {
			last = r
		}
	}
}

// TestCharges compares what a bill depends on with what a scan counts.
func TestCharges(t *testing.T) {
	for seed := range uint64(4) {
		t.Chdir(t.TempDir())
		sel := fill(t, seed)
		var want cost.Scan
		var stored cost.Objects
		var reads cost.Reads
		r, err := dedupe.Scan(t.Context(), sel, dedupe.Engine{
			Mode: dedupe.Goroutines, Workers: 4, Stored: stored.Add, HashAll: true,
			Observe: func(e dedupe.Event) { reads.Add(e.Work.BytesRead, e.Work.BytesSpared) },
		})
		testkit.Must(t, err)
		want = report.Took(r)
		want.Stored = stored

		j, err := Open(t.TempDir(), Spec{Selection: sel, Workers: 4, HashAll: true, Limits: Limits{Entries: 20, Copies: 10, Bytes: 1 << 20, Merged: 100}})
		testkit.Must(t, err)
		defer j.Close()
		testkit.Must(t, j.run(t.Context(), Options{Concurrency: 1}, newWorker(j.store, j.spec, nil).run))
		answer, parts, failed := j.Answer()
		got, gotReads, _, err := j.charges(answer, parts, report.Options{})
		testkit.Must(t, err)
		testkit.Must(t, *failed)
		got.Elapsed, got.PeakMemory, want.Elapsed, want.PeakMemory = 0, 0, 0, 0
		if diff := gocmp.Diff(want, got); diff != "" || gotReads != reads || want.Reclaimable.Files == 0 {
			t.Errorf("seed %d (-scan +job):\n%s\n%+v\n%+v", seed, diff, reads, gotReads)
		}
	}
}

// TestGets counts the requests of units against what they are taken to send.
func TestGets(t *testing.T) {
	t.Chdir(t.TempDir())
	j, w := begin(t, fill(t, 0))
	testkit.Must(t, j.run(t.Context(), Options{Concurrency: 1}, w.run))
	merging := 0
	for _, r := range j.rounds {
		for _, u := range r.units {
			var in inputs
			if u.Inputs == "" {
				continue
			}
			_, _, err := j.store.header(u.Inputs, &in)
			testkit.Must(t, err)
			if u.most().Gets < int64(len(in.Parts)) || u.Gets < 1 {
				t.Errorf("%s merges %d parts with %d GETs", u.Stage, len(in.Parts), u.Gets)
			}
			merging++
		}
		for _, o := range r.results {
			if o.used().Gets < 2 || len(r.units) > 1 && r.units[1].Inputs != "" && o.used().Gets < 3 {
				t.Errorf("%s used %d GETs", r.stage, o.used().Gets)
			}
		}
	}
	if merging < 3 {
		t.Errorf("%d units merge", merging)
	}
}

// TestFitting fits the units that run at once into the memory and the threads of a process.
func TestFitting(t *testing.T) {
	const mib = 1 << 20
	for _, test := range []struct {
		n         int
		memory    int64
		tasks     int
		wantUnits int
		wantEach  int64
	}{
		{8, 0, math.MaxInt, 8, unitMemory},
		{8, 0, 12, 1, unitMemory},
		{8, 0, 8 + 3*pool.Tasks, 3, unitMemory},
		{8, 1 << 40, math.MaxInt, 8, unitMemory},
		{8, 1024 * mib, math.MaxInt, 3, 256 * mib},
		{8, 512 * mib, math.MaxInt, 1, 256 * mib},
		{8, 128 * mib, math.MaxInt, 1, 96 * mib},
		{1, 64 * mib, math.MaxInt, 1, 48 * mib},
	} {
		if units, each := fitting(test.n, test.memory, test.tasks); units != test.wantUnits || each != test.wantEach {
			t.Errorf("%+v: %d units of %d bytes", test, units, each)
		}
	}
}
