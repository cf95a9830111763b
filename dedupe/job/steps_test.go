package job

import (
	"bytes"
	"context"
	"errors"
	"math/big"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"efsdedupe/dedupe"
	"efsdedupe/dedupe/cost"
	"efsdedupe/dedupe/report"
	"efsdedupe/fixtures/testkit"
)

// machine drives the steps of a job as a state machine does. Each step may be repeated, and
// fail says which attempts at a unit die.
type machine struct {
	t     *testing.T
	rnd   *rand.Rand
	store nested
	fail  func(unit) bool // once it has started
	rare  func(unit) bool // it does not start
	after func(Round)     // a step

	prices *cost.Book
	max    *MaxCost
	again  int
	ran    map[string]int // how often units ran, by name
	report string
	bill   *cost.Projection // in the report
}

// nested is a folder in which names may have slashes.
type nested struct{ folder }

func (n nested) Put(name string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(n.path(name)), 0o777); err != nil {
		return err
	}
	return n.folder.Put(name, data)
}

// begun returns a machine for a job.
func begun(t *testing.T, seed uint64, sel dedupe.Selection) *machine {
	t.Helper()
	rnd := rand.New(rand.NewPCG(seed, 3))
	m := &machine{t: t, rnd: rnd, ran: map[string]int{}, store: nested{folder{t.TempDir()}}, fail: func(unit) bool { return false }, rare: func(unit) bool { return false }, after: func(Round) {}}
	testkit.Must(t, Begin(m.store, Spec{Selection: sel, Workers: 4, Limits: Limits{Entries: 20, Copies: 10, Bytes: 1 << 20, Merged: 100}}))
	return m
}

// run runs the job to its end.
func (m *machine) run() (r Round, err error) {
	for r = (Round{}); err == nil; m.after(r) {
		h := &Helper{Store: m.store, Prices: m.prices, MaxCost: m.max, Run: m.again} // in another process
		switch r.Next {
		case "":
			r, err = h.Plan(m.t.Context(), r)
		case RunUnits:
			m.units(h, r)
			r, err = h.Plan(m.t.Context(), r)
		case WriteReport:
			r, err = h.Report(m.t.Context(), r, m.write)
		default:
			return r, nil
		}
	}
	return r, err
}

// units runs the units of a round, in any order. The state machine tries each three times.
func (m *machine) units(h *Helper, r Round) {
	all, err := os.ReadDir(filepath.Join(m.store.dir, r.Name))
	testkit.Must(m.t, err)
	m.rnd.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for _, entry := range all {
		var o unitObject
		_, _, err := objects{m.store}.header(r.Name+entry.Name(), &o)
		for range 3 {
			switch {
			case err == nil && m.rare(o.Unit):
				continue // no function is free
			case err == nil && m.fail(o.Unit):
				if o.Counted {
					testkit.Must(m.t, (&Job{store: objects{m.store}}).try(o.Unit)) // it starts, and dies
				}
				continue
			}
			m.ran[entry.Name()]++
			testkit.Must(m.t, h.Unit(m.t.Context(), r.Name+entry.Name()))
			break
		}
	}
}

func (m *machine) write(r dedupe.Report, parts report.Parts, _ report.Options, failed *error) error {
	if parts.Bill != nil {
		var err error
		m.bill, err = parts.Bill(report.Options{})
		testkit.Must(m.t, err)
		parts.Bill = nil
	}
	m.report = text(m.t, r, func(b *bytes.Buffer, r dedupe.Report, o report.Options) error {
		return report.WriteParts(b, report.JSON, r, parts, o)
	})
	return nil
}

// TestSteps runs a job in steps of which many die. Its report must be that of a scan.
func TestSteps(t *testing.T) {
	book, err := cost.Prices("us-east-1")
	testkit.Must(t, err)
	for seed := range uint64(4) {
		t.Chdir(t.TempDir())
		sel := fill(t, seed)
		want := scanned(t, sel, nil, false, false)
		m := begun(t, seed, sel)
		m.prices = book
		m.fail = func(unit) bool { return m.rnd.IntN(10) == 0 }
		m.rare = func(unit) bool { return m.rnd.IntN(2) > 0 }
		damages := 4
		m.after = func(r Round) {
			if all, err := filepath.Glob(m.store.path("*-*")); damages > 0 && err == nil && len(all) > 0 {
				damages--
				path := all[m.rnd.IntN(len(all))]
				if st, err := os.Stat(path); err == nil && !st.IsDir() {
					testkit.Must(t, os.Truncate(path, m.rnd.Int64N(st.Size()+1)))
				}
			}
		}
		r, err := m.run()
		if err != nil || r.Next != End {
			t.Fatalf("seed %d: %+v, %v", seed, r, err)
		}
		if diff := gocmp.Diff(want, m.report); diff != "" {
			t.Errorf("seed %d (-scan +job):\n%s", seed, diff)
		}
		if m.bill == nil || m.bill.Bill == nil || m.bill.Bill.Meter("efs.read").Sign() == 0 {
			t.Errorf("seed %d: the bill %+v", seed, m.bill)
		}
	}
}

// TestStepsMaxCost raises what a job may cost again and again. It must never cost more, and
// when it may cost enough, it must end with the report of a scan, and no unit may have run
// twice.
func TestStepsMaxCost(t *testing.T) {
	book, err := cost.Prices("us-east-1")
	testkit.Must(t, err)
	t.Chdir(t.TempDir())
	sel := fill(t, 1)
	want := scanned(t, sel, nil, false, false)
	m := begun(t, 1, sel)
	m.max = &MaxCost{Prices: book}
	m.after = func(r Round) {
		spent, err := book.Fanout(r.Used)
		testkit.Must(t, err)
		if spent.Total.Cmp(m.max.Most) > 0 {
			t.Fatalf("it may cost %v and costs %v", m.max.Most, spent.Total)
		}
	}
	var r Round
	last, stops := -1, 0
	for ; r.Next != End; m.again++ {
		m.max.Most = big.NewRat(int64(3+2*m.again), 1000)
		r, err = m.run()
		testkit.Must(t, err)
		switch {
		case r.Next == Stopped && (!strings.Contains(r.Why, "stopped before it may cost more than 0.") || m.report != ""):
			t.Fatalf("%+v", r)
		case r.Next == Stopped:
			stops++
		case r.Next != End:
			t.Fatalf("%+v", r)
		}
		done := int(r.Used.Units)
		if done < last {
			t.Errorf("run %d: %d units are done, and %d were", m.again, done, last)
		}
		last = done
	}
	for name, n := range m.ran {
		if n > 1 {
			t.Errorf("%s ran %d times", name, n)
		}
	}
	if diff := gocmp.Diff(want, m.report); diff != "" || stops < 5 {
		t.Errorf("after %d stops (-scan +job):\n%s", stops, diff)
	}
}

// TestStepsLost has every unit of a stage die, always. The job ends, and says what is
// missing.
func TestStepsLost(t *testing.T) {
	t.Chdir(t.TempDir())
	sel := fill(t, 0)
	for _, lost := range []stage{walking, sizing, reading, ending, finish, grouping} {
		m := begun(t, 0, sel)
		m.fail = func(u unit) bool { return u.Stage == lost }
		if lost == walking || lost == finish { // before it starts
			m.fail, m.rare = m.rare, m.fail
		}
		r, err := m.run()
		units := 0
		for _, s := range r.Stages {
			if units += s.Units; s.Done != s.Units {
				t.Errorf("%s: at the end, %+v", lost, s)
			}
		}
		if err != nil || r.Next != End || *r.Complete || r.Problems == 0 || r.Units != units || !strings.Contains(m.report, "the process that worked on it died: every attempt failed") {
			t.Errorf("%s: %+v, %v", lost, r, err)
		}
	}
}

// TestStepsCancelled cancels a job. No more units run, and there is no report.
func TestStepsCancelled(t *testing.T) {
	t.Chdir(t.TempDir())
	m := begun(t, 0, fill(t, 0))
	m.after = func(r Round) {
		if strings.Contains(r.Name, string(reading)) {
			testkit.Must(t, Cancel(m.store))
		}
	}
	r, err := m.run()
	if err != nil || r.Next != Cancelled || m.report != "" {
		t.Errorf("%+v, %v", r, err)
	}
	for _, o := range []stage{reading, ending, finish, grouping} {
		if all, _ := filepath.Glob(m.store.path("round-*-" + string(o) + "-1/*")); len(all) > 0 && o != reading {
			t.Errorf("%s ran", o)
		}
	}
}

// TestStepsFail scans what is not there.
func TestStepsFail(t *testing.T) {
	t.Chdir(t.TempDir())
	m := begun(t, 0, dedupe.Selection{Roots: []string{"none"}})
	if r, err := m.run(); err != nil || r.Next != Failed || !strings.Contains(r.Why, "none") {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := (&Helper{Store: folder{t.TempDir()}}).Plan(t.Context(), Round{}); err == nil {
		t.Error("a job that nobody began")
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("no time is left")
	cancel(why)
	if _, err := (&Helper{Store: begun(t, 0, fill(t, 1)).store}).Plan(ctx, Round{}); !errors.Is(err, why) {
		t.Errorf("without time: %v", err)
	}
}
