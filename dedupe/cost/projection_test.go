package cost

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"efsdedupe/fixtures/testkit"

	"github.com/google/go-cmp/cmp"
)

// reads are files that a call reads, each in one go, and what EFS meters for them, worked
// out by hand: whole MiB, then at least 32 KiB in steps of 1 KiB; access in steps of 128
// KiB.
var reads = []struct {
	name         string
	files        []int64 // bytes read of each
	read, access int64
}{
	{"nothing", nil, 0, 0},
	{"an empty file", []int64{0}, 0, 0},
	{"a byte", []int64{1}, 32 * kib, 128 * kib},
	{"100 files of 1 MiB", repeat(mib, 100), 100 * mib, 100 * mib},
	{"3 files of 1 KiB", repeat(kib, 3), 3 * 32 * kib, 3 * 128 * kib},
	{"32 KiB and a byte", []int64{32*kib + 1}, 33 * kib, 128 * kib},
	{"1 MiB and a byte", []int64{mib + 1}, mib + 32*kib, mib + 128*kib},
	{"uneven", []int64{200 * kib, 5*mib + 40*kib + 1, 10}, 200*kib + 5*mib + 41*kib + 32*kib, 256*kib + 5*mib + 128*kib + 128*kib},
}

func TestMeasured(t *testing.T) {
	for _, test := range reads {
		t.Run(test.name, func(t *testing.T) {
			var m Reads
			m.Add(0, 0) // found, but not read
			for _, n := range test.files {
				m.Add(n, 0)
			}
			checkMeters(t, test.read, test.access, func(class StorageClass) Usage {
				// Values already in the usage must be replaced; flags may have left them
				// there.
				stale := Usage{EFS: EFS{StorageClass: class, ReadBytes: 1, AccessBytes: 1, MetadataOperations: 1}}
				return Measured(stale, Scan{}, m)
			})
		})
	}

	chosen := Usage{Calls: 5, API: REST, FreeTier: true, Lambda: Lambda{Arch: X86, EphemeralMB: 600}}
	got := Measured(chosen, Scan{
		Files: 100, Directories: 3, StoredBytes: 100 * mib, ReclaimableBytes: 98 * mib,
		Opens: 40, Elapsed: 1234567 * time.Microsecond, PeakMemory: 50 * mib,
	}, Reads{})
	want := Usage{
		Calls: 5, API: REST, FreeTier: true,
		Lambda: Lambda{Arch: X86, EphemeralMB: 600, MemoryMB: 1769, Duration: 1235 * time.Millisecond},
		// To reach the root 5, or 2 if warm; two further directories 2 or 1 each; OPEN and
		// CLOSE; 3 READDIRs of 34 entries, and the same 3 again. An entry is 197 bytes, so
		// a READDIR is 7 KiB.
		EFS: EFS{
			MetadataOperations: 5 + 2*2 + 2*40 + 2*3, MetadataBytes: (5+4+80)*4*kib + 6*7*kib,
			WarmMetadata: Messages{4 + 2*1 + 2*40 + 2*3, (4+2+80)*4*kib + 6*7*kib},
			StoredBytes:  100 * mib, ReclaimableBytes: 98 * mib,
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("usage (-want +got):\n%s", diff)
	}
}

func TestMeasuredLambda(t *testing.T) {
	for _, test := range []struct {
		elapsed      time.Duration
		peak, chosen int64

		duration time.Duration
		memory   int64
	}{
		{0, 0, 0, time.Millisecond, 1769}, // no call is free
		{time.Nanosecond, 0, 0, time.Millisecond, 1769},
		{time.Second, 1769 * mib, 0, time.Second, 1769},
		{time.Second + 1, 1769*mib + 1, 0, 1001 * time.Millisecond, 1770},
		{time.Hour, 20000 * mib, 0, time.Hour, 10240}, // too long for Lambda; pricing it gives the error
		{time.Second, 5000 * mib, 128, time.Second, 128},
	} {
		u := Usage{Lambda: Lambda{MemoryMB: test.chosen}}
		l := Measured(u, Scan{Elapsed: test.elapsed, PeakMemory: test.peak}, Reads{}).Lambda
		if l.Duration != test.duration || l.MemoryMB != test.memory {
			t.Errorf("%v, peak %d bytes, %d MB chosen: %v at %d MB, want %v at %d MB",
				test.elapsed, test.peak, test.chosen, l.Duration, l.MemoryMB, test.duration, test.memory)
		}
	}
}

func TestByHand(t *testing.T) {
	for _, test := range []struct {
		name             string
		bytes, opens     int64
		read, access, op int64
	}{
		{"nothing", 0, 0, 0, 0, 0},
		{"opens alone", 0, 5, 0, 0, 5 + 2*5 + 2},
		{"100 files of 1 MiB", 100 * mib, 100, 100 * mib, 100 * mib, 207},
		{"3 files of 1 KiB", 3 * kib, 3, 3 * 32 * kib, 3 * 128 * kib, 13},
		{"no opens: as if one file", mib + 1, 0, mib + 32*kib, mib + 128*kib, 0},
		{"fewer bytes than files", 2, 5, 2 * 32 * kib, 2 * 128 * kib, 17},
		{"one file a byte longer, past 1 MiB", 2*mib + 1, 2, 2*mib + 32*kib, 2*mib + 128*kib, 11},
		{"one file a byte longer, past 128 KiB", 256*kib + 1, 2, 128*kib + 129*kib, 128*kib + 256*kib, 11},
		{"two of three longer, past 32 KiB", 96*kib + 2, 3, 32*kib + 2*33*kib, 3 * 128 * kib, 13},
	} {
		t.Run(test.name, func(t *testing.T) {
			checkMeters(t, test.read, test.access, func(class StorageClass) Usage {
				u, err := ByHand(Usage{EFS: EFS{StorageClass: class, AccessBytes: 1}}, test.bytes, test.opens)
				if err != nil || u.EFS.MetadataOperations != test.op {
					t.Errorf("%d metadata operations, want %d", u.EFS.MetadataOperations, test.op)
				}
				return u
			})
		})
	}

	// ByHand and Measured must agree if all files have the same size.
	for _, test := range reads {
		n := int64(len(test.files))
		if n == 0 || slices.Min(test.files) != slices.Max(test.files) {
			continue
		}
		u, err := ByHand(Usage{}, n*test.files[0], n)
		if got := u.EFS.ReadBytes; err != nil || got != test.read {
			t.Errorf("%s: %d bytes, %v, want %d", test.name, got, err, test.read)
		}
	}
}

// checkMeters checks that reads and accesses are the same in every class: the bill knows
// which classes charge for access.
func checkMeters(t *testing.T, read, access int64, usage func(StorageClass) Usage) {
	t.Helper()
	for _, class := range []StorageClass{"", Standard, NoStorage, IA, Archive} {
		if got := usage(class).EFS; got.ReadBytes != read || got.AccessBytes != access {
			t.Errorf("class %q: read %d and access %d bytes, want %d and %d", class, got.ReadBytes, got.AccessBytes, read, access)
		}
	}
}

func TestProject(t *testing.T) {
	book, u := prices(t, "us-east-1"), DefaultUsage()
	u.Lambda.Duration, u.Lambda.MemoryMB = time.Second, 128
	p := Project(book, u)
	if p.Err != nil || p.Bill == nil || p.Bill.Region != "us-east-1" || p.Usage != u {
		t.Errorf("projection %+v", p)
	}
	u.Calls = -1
	if p := Project(book, u); p.Err == nil || p.Bill != nil || p.Usage != u {
		t.Errorf("of -1 calls: %+v", p)
	}
}

// TestExplain checks that the advice depends on what is missing, not on words.
func TestExplain(t *testing.T) {
	missing := func(meters ...string) error { return &PriceError{Region: "mars", Meters: meters} }
	for _, test := range []struct {
		err    error
		advice string
	}{
		{missing("api.http"), "leave the gateway out"},
		{missing("api.http", "efs.storage.standard"), "storage with the storage class none"},
		{missing("api.http", "dynamodb.read"), "choose the prices of a region"},
		{missing("lambda.requests"), "choose the prices of a region"},
		{missing("lambda.requests"), "make a price book with 'dedupe cost import-prices', or choose"},
		{missing("efs.read", "efs.metadata"), "; to add prices, make a price book with 'dedupe cost import-prices'; leave what Elastic throughput costs out with the throughput bursting"},
		{missing("api.http", "efs.read", "logs.storage", "metrics.alarms"), "; leave the gateway out with the api none, what Elastic throughput costs with the throughput bursting, and logs, answers, metrics and alarms with the extras none"},
		{missing("efs.storage.standard"), "; leave storage out with the storage class none"},
		{missing("efs.read", "efs.write"), "choose the prices of a region"},
		{fmt.Errorf("with the index: %w", missing("dynamodb.read")), "choose the prices of a region"},
		{errors.New("there is no price for dynamodb.read in the catalogue"), ""},
	} {
		got := Explain(test.err)
		if !errors.Is(got, test.err) || (got == test.err) != (test.advice == "") || !strings.Contains(got.Error(), test.advice) {
			t.Errorf("%v: %v, want %q", test.err, got, test.advice)
		}
	}
	if err := Explain(nil); err != nil {
		t.Error(err)
	}
}

func TestWarn(t *testing.T) {
	const partial = "this bill is based on a partial scan: a complete one reads more and costs more"
	for _, test := range []struct {
		took Scan
		want []string
	}{
		{Scan{}, nil},
		{Scan{PeakMemory: 512 * mib}, nil},
		{Scan{PeakMemory: 512*mib + 1}, []string{"the scan took 513 MB of memory: a function of 512 MB would be killed"}},
		{Scan{Partial: true}, []string{partial}},
	} {
		p := Projection{Usage: Usage{Lambda: Lambda{MemoryMB: 512}}, Bill: new(Bill), Weighed: &Weighed{AllBill: new(Bill), IndexBill: new(Bill)}}
		p.Warn(test.took)
		for _, b := range []*Bill{p.Bill, p.Weighed.AllBill, p.Weighed.IndexBill} {
			if diff := cmp.Diff(test.want, b.Warnings); diff != "" {
				t.Errorf("%+v (-want +got):\n%s", test.took, diff)
			}
		}
		if len(p.Warnings()) != len(test.want) {
			t.Errorf("%+v: told as %q", test.took, p.Warnings())
		}
		p.Bill = nil
		p.Warn(test.took) // there is no bill to add to
	}
}

func repeat(n int64, times int) []int64 { return slices.Repeat([]int64{n}, times) }

func TestLargest(t *testing.T) {
	item := func(meter, amount string) Item { return Item{Meter: meter, Cost: testkit.Rat(amount)} }
	for _, test := range []struct {
		name  string
		bill  Bill
		meter string
		share int64
	}{
		{"no items", Bill{Total: testkit.Rat("0")}, "", 0},
		{"all free", Bill{Total: testkit.Rat("0"), Items: []Item{item("a", "0")}}, "", 0},
		{"tiers are added up", Bill{Total: testkit.Rat("10"), Items: []Item{item("a", "3"), item("b", "4"), item("a", "3")}}, "a", 60},
		{"not all", Bill{Total: testkit.Rat("1000"), Items: []Item{item("a", "999"), item("b", "1")}}, "a", 99},
		{"rounded", Bill{Total: testkit.Rat("3"), Items: []Item{item("a", "1"), item("b", "2")}}, "b", 67},
	} {
		if meter, share := test.bill.Largest(); meter != test.meter || share != test.share {
			t.Errorf("%s: %s is %d%%, want %s, %d%%", test.name, meter, share, test.meter, test.share)
		}
	}
}
