package cost

import (
	"flag"
	"math/big"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// standardJob is 50M calls on the standard set: 100 files of 1 MiB, in 300 ms.
func standardJob(t testing.TB) Job {
	t.Helper()
	u := DefaultUsage()
	u.Lambda.MemoryMB, u.Lambda.Duration = DefaultMemoryMB, 300*time.Millisecond
	u.EFS.StoredBytes = 100 * mib
	u.EFS.Stored, _ = ByHandStored(100*mib, 0, 100)
	u, err := ByHand(u, 100*mib, 100)
	if err != nil {
		t.Fatal(err)
	}
	return NewJob(u, Scan{Files: 100, Directories: 1, Opens: 100}, nil)
}

func advise(t testing.TB, j Job) *Advice {
	t.Helper()
	a, err := prices(t, "us-east-1").Advise(j)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// way returns a way by its name.
func (a *Advice) way(t testing.TB, name string) Way {
	t.Helper()
	i := slices.IndexFunc(a.Ways, func(w Way) bool { return w.Name == name })
	if i < 0 {
		t.Fatalf("no way %q; rejected: %v", name, a.Rejected)
	}
	return a.Ways[i]
}

// files is what a bill has for files: all but the function, the gateway and the extras.
func (b *Bill) files() *big.Rat {
	t := new(big.Rat)
	for _, i := range b.Items {
		if strings.HasPrefix(i.Meter, "efs.") || strings.HasPrefix(i.Meter, "s3.") {
			t.Add(t, i.Cost)
		}
	}
	return t
}

// What reading the standard set costs in 50M calls, without what it costs to store. The
// figures are derived by hand from the prices and from what a call reads and sends.
func TestAdvisedCost(t *testing.T) {
	still := standardJob(t)
	still.Staleness = time.Minute
	changing := still
	changing.Churn = 10_000
	for _, test := range []struct {
		job  Job
		name string
		want string
	}{
		{still, "every call reads all, elastic", "147714.61"}, // 100 MiB; 207 messages, of which two are of 20 KiB
		{still, "every call reads all, provisioned", "3960.00"},
		{still, "every call reads all, bursting with One Zone padding", "2109.60"},
		{still, "index, fresh listings, bursting", "0.00"},
		{still, "index, fresh listings, elastic", "57.22"}, // 40 KiB
		{still, "index, fresh listings, provisioned", "6.00"},
		{still, "answers kept 1m, bursting", "0.00"},
		{still, "answers kept 1m, elastic", "127.64"}, // 43,200 scans
		{still, "S3, a LIST a call", "250.00"},
		{still, "S3, a HEAD for each file", "2250.00"},
		{changing, "index, fresh listings, provisioned", "48.00"},
	} {
		files := advise(t, test.job).way(t, test.name).Bill.files()
		files.Sub(files, ratio(1000, 28)) // storing 100 MiB costs between 2 and 30 thousandths
		want, _ := new(big.Rat).SetString(test.want)
		if off := files.Sub(files, want); off.Abs(off).Cmp(ratio(1000, 30)) > 0 {
			t.Errorf("%s: %s off the %s for files", test.name, Decimal(off, 4), test.want)
		}
	}
}

func TestAdviceOrder(t *testing.T) {
	j := standardJob(t)
	j.Churn, j.Staleness, j.Warm, j.CPU, j.PeakMemory = 1000, time.Second, 900_000, 100*time.Millisecond, 20*mib
	a := advise(t, j)
	if len(a.Ways) < 12 {
		t.Errorf("only %d ways", len(a.Ways))
	}
	names := make(map[string]bool)
	for i, w := range a.Ways {
		if i > 0 && w.Bill.Total.Cmp(a.Ways[i-1].Bill.Total) < 0 {
			t.Errorf("%s is cheaper than the one before it", w.Name)
		}
		if names[w.Name] {
			t.Errorf("%s is listed twice", w.Name)
		}
		names[w.Name] = true
		if w.Bill.Total.Cmp(total(w.Bill.Items)) != 0 || w.Usage.Calls != j.All.Calls {
			t.Errorf("%s: %+v", w.Name, w.Usage)
		}
		if (w.Meter == "") != (w.More.Sign() == 0) || w.Meter != "" && w.More.Sign() < 0 {
			t.Errorf("%s: %s more for %q", w.Name, Cents(w.More), w.Meter)
		}
	}
	if a.Ways[0].Meter != "" {
		t.Errorf("the first costs more for %s", a.Ways[0].Meter)
	}
}

// Options are pure: to apply one twice, or after others, changes nothing.
func TestOptionsArePure(t *testing.T) {
	j := standardJob(t)
	j.Staleness, j.Warm = time.Hour, 500_000
	u := j.usage()
	for _, o := range slices.Concat(j.readings(), j.throughputs(), j.objects(), j.tunings()) {
		first, err := o.apply(u)
		again, err2 := o.apply(u)
		if diff := cmp.Diff(first, again); diff != "" || (err == nil) != (err2 == nil) {
			t.Errorf("%s: %v, then %v:\n%s", o.Name, err, err2, diff)
		}
		if err == nil && first.Validate() != nil {
			t.Errorf("%s: %v", o.Name, first.Validate())
		}
	}
	if diff := cmp.Diff(u, j.usage()); diff != "" {
		t.Errorf("the job changed:\n%s", diff)
	}
}

func TestRejectedWays(t *testing.T) {
	j := standardJob(t)
	j.Churn = 500_000
	j.All.EFS.PeakFactor = 10 * million
	why := make(map[string]string)
	for _, r := range advise(t, j).Rejected {
		why[r.Name] = r.Why.Error()
	}
	for name, want := range map[string]string{
		"page cache":                        "--cold-share",
		"answers kept 0s":                   "--staleness",
		"index, fresh listings, bursting":   "MiBps on average, more than the baseline of 1",
		"every call reads all, provisioned": "EFS provisions at most 3414",
	} {
		if !strings.Contains(why[name], want) {
			t.Errorf("%s: rejected for %q, want one with %q", name, why[name], want)
		}
	}

	// A region without a price for something has fewer ways.
	a, err := prices(t, "eu-central-1").Advise(standardJobOf(t, WithoutService))
	if err != nil {
		t.Fatal(err)
	}
	if a.Ways[0].Usage.EFS.Throughput != Bursting || a.Ways[0].Usage.EFS.StorageClass == OneZone {
		t.Errorf("in eu-central-1: %s", a.Ways[0].Name)
	}
	j = standardJob(t)
	if _, err := prices(t, "ca-central-1").Advise(j); err == nil || !strings.Contains(err.Error(), `no price for "logs.storage"`) {
		t.Errorf("in ca-central-1: %v", err)
	}
}

// standardJobOf is a standard job with a changed usage, small enough for bursting.
func standardJobOf(t testing.TB, change func(Usage) Usage) Job {
	j := standardJob(t)
	j.All = change(j.All)
	j.All.Calls = 1000
	return j
}

// Keeping answers longer than calls come apart changes nothing, and never costs more.
func TestKeptAnswers(t *testing.T) {
	j := standardJob(t)
	var last *big.Rat
	for _, age := range []time.Duration{time.Nanosecond, time.Second, 10 * time.Second, time.Hour} {
		j.Staleness = age
		read := advise(t, j).way(t, "answers kept "+Brief(age)+", elastic").Bill.Meter("efs.read")
		if last != nil && read.Cmp(last) >= 0 {
			t.Errorf("%v: reads cost %s, and %s when answers are newer", age, Cents(read), Cents(last))
		}
		last = read
	}
	j.Staleness, j.Trees = time.Nanosecond, 1000
	if read := advise(t, j).way(t, "answers kept 1ns, elastic").Bill.Meter("efs.read"); Cents(read) != "146484.38" {
		t.Errorf("all calls scan: %s", Cents(read))
	}
}

// Each tree is stored, in the file system, in the table and in a bucket.
func TestTrees(t *testing.T) {
	one, many := standardJob(t), standardJob(t)
	many.Trees = 1000
	for name, meter := range map[string]string{"index, fresh listings, elastic": "efs.storage.standard", "index, fresh listings, bursting": "dynamodb.storage", "S3, a LIST a call": "s3.storage"} {
		want := advise(t, one).way(t, name).Bill.Meter(meter)
		got := advise(t, many).way(t, name).Bill.Meter(meter)
		if want.Mul(want, ratio(1, 1000)).Cmp(got) != 0 || got.Sign() == 0 {
			t.Errorf("%s: %s for 1,000 trees, want %s", meter, Cents(got), Cents(want))
		}
	}
	many.Trees = 1 << 62
	if e := advise(t, many).way(t, "index, fresh listings, elastic").Usage.EFS; e.StoredBytes <= 0 || e.Stored.Bytes <= 0 {
		t.Errorf("many trees: %+v", e)
	}
}

// With half the memory, a call's CPU time doubles and its waits do not.
func TestMemoryTuning(t *testing.T) {
	j := standardJob(t)
	j.CPU = 100 * time.Millisecond
	if got := j.withMemory(j.All, DefaultMemoryMB/2).Lambda.Duration.Round(time.Millisecond); got != 400*time.Millisecond {
		t.Errorf("%v with half the memory", got)
	}
	if got := j.withMemory(j.All, 884).Lambda.Init.Round(time.Millisecond); got != 2*DefaultInit {
		t.Errorf("INIT of %v with half the memory", got)
	}
	if got := j.withMemory(j.All, 3538).Lambda.Duration; got != 300*time.Millisecond {
		t.Errorf("%v with twice the memory: a call has one thread of work", got)
	}
}

// The model of an index in a table is close to what a scan measures of the standard set: see
// the report in dedupe/report.
func TestModeledItems(t *testing.T) {
	got := Tree{Files: 100, Directories: 1, Opens: 100}.items()
	if got.LookUp != million || got.Reread != 2*million || got.Rewrite != 8*million || got.Files != 100 {
		t.Errorf("%+v", got)
	}
}

// Whatever a report says, advice is in order, or an error.
func TestAdviseAnything(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	number := func() int64 { return (r.Int64() - r.Int64N(4)) >> r.IntN(63) }
	book, advised := prices(t, "us-east-1"), 0
	for range 3000 {
		u := standardJob(t).All
		u.Warm, u.EFS.PeakFactor = r.Int64N(million+1), r.Int64N(1000*million)
		if r.IntN(2) == 0 {
			u.Calls, u.EFS.ReadBytes, u.EFS.MetadataOperations, u.EFS.MetadataBytes = number(), number(), number(), number()
			u.EFS.StoredBytes, u.EFS.Stored = number(), Objects{Files: number(), Bytes: number()}
		}
		u.EFS.StorageClass = []StorageClass{Standard, OneZone, IA, OneZoneIA, Archive, NoStorage}[r.IntN(6)]
		var x *Unindexed
		if r.IntN(2) == 0 {
			x = &Unindexed{ReadBytes: number(), MetadataOperations: number(), OpenOperations: number(), Relisting: Relisting{Messages{number(), number()}, number()}, Items: Items{number(), number(), number(), number(), number()}}
		}
		j := NewJob(u, Scan{Files: number(), Directories: number(), Opens: number(), OpensSpared: number(), PeakMemory: number()}, x)
		j.Churn, j.Staleness, j.Trees, j.CPU = r.Int64N(million+1), time.Duration(r.Int64()>>r.IntN(63)), 1+r.Int64N(1e9), time.Duration(r.Int64N(1e12))
		a, err := book.Advise(j)
		if err != nil {
			continue
		}
		advised++
		if !slices.IsSortedFunc(a.Ways, func(v, w Way) int { return v.Bill.Total.Cmp(w.Bill.Total) }) {
			t.Fatalf("not in order: %+v", j)
		}
	}
	if advised < 300 {
		t.Errorf("only %d of 3,000 jobs had a way", advised)
	}
}

func TestBrief(t *testing.T) {
	for d, want := range map[time.Duration]string{0: "0s", time.Minute: "1m", time.Hour: "1h", 90 * time.Second: "1m30s", 100 * time.Millisecond: "100ms", 61 * time.Minute: "1h1m", 10 * time.Second: "10s"} {
		if got := Brief(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}

// TestAdviceTable holds the table in README.md to what advise says. Run it with -update to
// write the table.
func TestAdviceTable(t *testing.T) {
	j := standardJob(t)
	j.Staleness, j.Warm, j.All.EFS.PeakFactor = time.Minute, 900_000, 3*million
	still := advise(t, j)
	j.Churn = 10_000
	changing := advise(t, j)

	price := func(a *Advice, name string) string {
		i := slices.IndexFunc(a.Ways, func(w Way) bool { return w.Name == name })
		if i < 0 {
			return "—"
		}
		return grouped(Decimal(a.Ways[i].Bill.Total, 0))
	}
	table := "| way | no changes | 1% changes | needs |\n| --- | ---: | ---: | --- |\n"
	listed := make(map[string]bool)
	for _, w := range slices.Concat(still.Ways, changing.Ways) {
		tuned := strings.HasSuffix(w.Name, ", One Zone") || strings.HasSuffix(w.Name, ", x86_64")
		if !listed[w.Name] && !tuned {
			listed[w.Name] = true
			needs := strings.Join(w.Requires, "; ")
			if needs == "" {
				needs = "nothing"
			}
			table += "| " + w.Name + " | " + price(still, w.Name) + " | " + price(changing, w.Name) + " | " + needs + " |\n"
		}
	}

	holdTable(t, "AdviceTable", table)
}

// holdTable holds a table in README.md to what a test found, or writes it there.
func holdTable(t *testing.T, run, table string) {
	t.Helper()
	data, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	begin, end := "<!-- go test ./dedupe/cost -run "+run+" -update -->\n", "<!-- end -->"
	before, rest, found := strings.Cut(string(data), begin)
	_, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatal("README.md has no place for the table")
	}
	want := before + begin + table + end + after
	if *update {
		if err := os.WriteFile("README.md", []byte(want), 0o666); err != nil {
			t.Fatal(err)
		}
	} else if diff := cmp.Diff(want, string(data)); diff != "" {
		t.Errorf("README.md is out of date: run the test with -update (-want +got):\n%s", diff)
	}
}

var update = flag.Bool("update", false, "write the tables in README.md")

// grouped separates thousands with commas.
func grouped(digits string) string {
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
