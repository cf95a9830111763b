package job

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"efsdedupe/dedupe"
	"efsdedupe/dedupe/cost"
	"efsdedupe/dedupe/index"
	"efsdedupe/fixtures/testkit"
)

// TestBillion checks what a job of a billion files costs with numbers computed by hand from
// the price lists: what EFS meters at 0.03 USD a GiB, S3 requests, transitions, and
// functions of 1,769 MB on arm64 that take as long as EFS does for the operations.
func TestBillion(t *testing.T) {
	const files, gib = 1e9, 1 << 30
	book, err := cost.Prices("us-east-1")
	testkit.Must(t, err)
	f := Reference(files).Fanout()
	bill, err := book.Fanout(f)
	testkit.Must(t, err)

	const (
		opens      = 1.134 * files                                       // each with an OPEN, a READ and a CLOSE
		messages   = 2*opens + (2+1+1)*0.1625*files                      // a directory is opened, and listed twice
		hours      = (messages + opens) / 900_000 / 3600                 // with Elastic throughput
		perHour    = 1769.0 / 1024 * 0.0000133334 * 3600                 // of a function
		walks      = 1.1625 * files / (65536 * 0.85)                     // units
		reads      = 0.98*files/32_000 + 0.154*files/32_000              // units
		merges     = 3 * 256.0                                           // units
		withEnds   = 0.98 * files / 32_000 / 3                           // results
		gets       = walks + reads + merges + 256*(walks+withEnds+reads) // packs or lists, and what merges get
		puts       = 2 * (walks + reads + merges)                        // results, and packs or lists
		mebibyteps = 500.0
	)
	for name, c := range map[string]struct{ got, want, rounded float64 }{
		"EFS data":       {usd(bill, "efs.read"), 46.5 * 1024 * 0.03, 1428},
		"EFS metadata":   {usd(bill, "efs.metadata"), messages * 4096 / gib * 0.03, 334},
		"S3":             {usd(bill, "s3.get") + usd(bill, "s3.list"), gets*0.4e-6 + puts*5e-6, 7},
		"Step Functions": {100 * usd(bill, "states.transitions"), 100 * 2 * (walks + reads + merges) * 0.025 / 1000, 285},
	} {
		if math.Abs(c.got/c.want-1) > 0.001 || math.Round(c.got) != c.rounded {
			t.Errorf("%s costs %.2f, want %.2f, which is about %.0f", name, c.got, c.want, c.rounded)
		}
	}
	rates := cost.RatesOf(cost.Elastic, 0)
	if n := f.Saturating(rates); n != 900_000/10_000 {
		t.Errorf("%d functions saturate the file system, want 90", n)
	}
	if n := (cost.Fanout{DataBytes: 1 << 40}).Saturating(rates); n != int64(math.Ceil(20*1024/mebibyteps)) {
		t.Errorf("%d functions that only read saturate the file system, want 41", n)
	}
	for _, c := range []struct{ functions, usd, busy float64 }{{90, 9, 100}, {1000, 104, 9}, {10_000, 1037, 1}} {
		crowd, err := book.Crowd(f, rates, int64(c.functions))
		testkit.Must(t, err)
		got, _ := crowd.Cost.Float64()
		idle, _ := crowd.Idle.Float64()
		want := c.functions * hours * perHour
		if math.Abs(got/want-1) > 0.001 || math.Round(got) != c.usd || math.Round(100*crowd.Busy) != c.busy ||
			math.Abs(idle-(want-90*hours*perHour)) > 0.01 || fmt.Sprintf("%.1f", crowd.Time.Hours()) != "1.3" {
			t.Errorf("%v functions: %.2f USD, %.2f of it idle, %v busy, %v; want %.2f", c.functions, got, idle, crowd.Busy, crowd.Time, want)
		}
	}
}

func usd(b *cost.Bill, meter string) float64 {
	f, _ := b.Meter(meter).Float64()
	return f
}

// TestSample estimates a tree that is listed whole, and one of which a sample is listed.
func TestSample(t *testing.T) {
	t.Chdir(t.TempDir())
	for i := range 4000 {
		testkit.Write(t, make([]byte, 100+i%2*(i/2)), fmt.Sprintf("d%d/e%d/f%d", i/400, i/20, i))
	}
	sel := dedupe.Selection{Roots: []string{"."}}
	e, err := Sample(t.Context(), sel, 1e6, rand.New(rand.NewPCG(1, 1)))
	testkit.Must(t, err)
	if !e.Exact || e.Files != 4000 || e.Directories != 1+10+200 || e.Copies != 2001 || e.Large != 0 {
		t.Errorf("all of it: %+v", e)
	}
	e, err = Sample(t.Context(), sel, 400, rand.New(rand.NewPCG(1, 1)))
	testkit.Must(t, err)
	if e.Exact || e.Files < 3000 || e.Files > 5000 || e.Copies != e.Files { // which directories are in it depends on timing
		t.Errorf("a sample: %+v", e)
	}
}

// TestUsed prices what units used: what they read at least as EFS meters it.
func TestUsed(t *testing.T) {
	r := &result{Work: dedupe.Work{Opens: 10, BytesRead: 10}, Took: time.Second, Next: make([]unit, 3)}
	got := r.used()
	want := cost.Fanout{Reads: 10, DataBytes: 10 * 32 << 10, Messages: got.Messages, Time: time.Second, Units: 1, Transitions: 2, Puts: 4, Gets: 2}
	if got != want || got.Messages.Count < 20 {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// TestUsedIndex prices what units use of an index, which costs money only in a table.
func TestUsedIndex(t *testing.T) {
	book, err := cost.Prices("us-east-1")
	testkit.Must(t, err)
	r := &result{Index: &indexed{Units: index.Units{Read: 1e6 + 0.5, Write: 2e6}}}
	used := r.used()
	bill, err := book.Fanout(used)
	testkit.Must(t, err)
	if reads, writes := usd(bill, "dynamodb.read"), usd(bill, "dynamodb.write"); math.Abs(reads-0.125) > 1e-6 || writes != 1.25 || used.ReadUnits != 1e12+5e5 {
		t.Errorf("%v USD for reads, %v for writes: %+v", reads, writes, used)
	}
	for table, items := range map[bool]int64{true: 100, false: 0} {
		spec := Spec{Index: &Index{Table: table}, Limits: Limits{Entries: 100}}
		walk, remember := spec.walk(), unit{Stage: remembering, Items: spec.Index.items(100)}
		if f := walk.most(); f.ReadUnits != items*million/2 || f.WriteUnits != 0 {
			t.Errorf("in a table %v: a walk uses %+v", table, f)
		}
		if f := remember.most(); f.ReadUnits != items*million || f.WriteUnits != items*million {
			t.Errorf("in a table %v: the last stage uses %+v", table, f)
		}
	}
}
