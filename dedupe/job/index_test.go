package job

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"efsdedupe/dedupe"
	"efsdedupe/dedupe/index"
	"efsdedupe/dedupe/mount/mounttest"
	"efsdedupe/dedupe/report"
	"efsdedupe/fixtures/testkit"
)

// openIndex opens an index in a file, with a clock that is an hour late: all files are older.
func openIndex(of Index) (*index.Index, error) {
	store, err := index.OpenLog(of.Name)
	if err != nil {
		return nil, err
	}
	x := index.New(store)
	x.Now = func() time.Time { return time.Now().Add(time.Hour) }
	return x, nil
}

// TestIndex runs jobs in tiny units with an index, in any order and some twice. All that a job
// read is known to the next one, which opens no file, and to a scan, and the report stays that
// of a scan without an index. A file that changed is read again.
func TestIndex(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			top := mounttest.TrustedDir(t, 256<<20)
			t.Chdir(top)
			sel := fill(t, seed)
			sel.Filter.Exclude = append(slices.Clone(sel.Filter.Exclude), "/index.db") // not in the truth either
			path := filepath.Join(t.TempDir(), "index.db")
			rnd := rand.New(rand.NewPCG(seed, 1))
			run := func() (dedupe.Stats, string) { return runIndexed(t, sel, path, rnd, seed%3 == 0, seed%2 == 0) }
			want := scanned(t, sel, nil, false, seed%3 == 0)
			first, got := run()
			if diff := gocmp.Diff(want, got); diff != "" || first.FilesKnown != 0 || first.Opens == 0 {
				t.Errorf("first, %+v (-scan +job):\n%s", first.Work, diff)
			}
			again, got := run()
			if diff := gocmp.Diff(want, got); diff != "" || again.Opens != 0 || again.FilesKnown == 0 {
				t.Errorf("again, %+v (-scan +job):\n%s", again.Work, diff)
			}

			x, err := openIndex(Index{Name: path})
			testkit.Must(t, err)
			eng := dedupe.Engine{Mode: dedupe.Goroutines, Workers: 4}
			use := x.Attach(sel, &eng)
			r, err := dedupe.Scan(t.Context(), sel, eng)
			testkit.Must(t, err)
			testkit.Must(t, use.Flush(t.Context()))
			testkit.Must(t, x.Store.Close())
			if r.Stats.Opens != 0 || r.Stats.FilesKnown != again.FilesKnown {
				t.Errorf("a scan after the job: %+v, a job: %+v", r.Stats.Work, again.Work)
			}

			changed := r.Groups[0].Copies[0].File().Path
			testkit.Must(t, os.Chmod(changed, 0o600)) // another ctime
			want = scanned(t, sel, nil, false, seed%3 == 0)
			more, got := run()
			if diff := gocmp.Diff(want, got); diff != "" || more.Opens == 0 || more.Opens > 4 {
				t.Errorf("after a change, %+v (-scan +job):\n%s", more.Work, diff)
			}
		})
	}
}

// runIndexed runs a job in tiny units with an index, and returns its figures and its report.
func runIndexed(t *testing.T, sel dedupe.Selection, path string, rnd *rand.Rand, nfs, late bool) (dedupe.Stats, string) {
	t.Helper()
	spec := Spec{Selection: sel, Workers: 4, Index: &Index{Name: path}, Limits: Limits{
		Entries: 1 + rnd.Int64N(100), Copies: 1 + rnd.Int64N(40), Bytes: 1 + rnd.Int64N(8<<20), Merged: 1 + rnd.Int64N(200),
	}}
	j, err := Open(t.TempDir(), spec)
	testkit.Must(t, err)
	defer j.Close()
	j.nfsAlways = nfs
	w := newWorker(j.store, spec, nil)
	w.open = openIndex
	defer w.close()
	if late {
		w.late = func(context.Context) bool { return rnd.IntN(3) == 0 }
	}
	c := &chaos{t: t, rnd: rnd, w: w}
	testkit.Must(t, j.run(t.Context(), Options{Concurrency: 1}, c.do))
	r, parts, failed := j.Answer()
	stats := r.Stats
	if r.Index == nil || !r.Index.Used || r.Index.Why != "" {
		t.Errorf("index %+v", r.Index)
	}
	r.Index = nil
	out := text(t, r, func(b *bytes.Buffer, r dedupe.Report, o report.Options) error {
		return report.WriteParts(b, report.JSON, r, parts, o)
	})
	testkit.Must(t, *failed)
	return stats, out
}
