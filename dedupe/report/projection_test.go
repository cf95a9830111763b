package report

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"efsdedupe/dedupe"
	"efsdedupe/dedupe/cost"
)

const kib = 1 << 10

// reads are files that a call reads, each in one go, and what EFS counts of it
// by hand: whole MiB, then at least 32 KiB in steps of 1 KiB; access in steps of
// 128 KiB.
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
			m.Observe(dedupe.Event{Stage: dedupe.StageWalk, Files: 7})
			m.Observe(dedupe.Event{Stage: dedupe.StageWhole, Files: 7, Bytes: 1 << 40}) // announced, not read
			for _, n := range test.files {
				m.Observe(dedupe.Event{Stage: dedupe.StageWhole, Work: dedupe.Work{Opens: 1, BytesRead: n}})
			}
			checkMeters(t, test.read, test.access, func(class cost.StorageClass) cost.Usage {
				// What the usage said before is what flags left there.
				stale := cost.Usage{EFS: cost.EFS{StorageClass: class, ReadBytes: 1, AccessBytes: 1, MetadataOperations: 1}}
				return Measured(stale, dedupe.Report{}, m)
			})
		})
	}

	chosen := cost.Usage{Calls: 5, API: cost.REST, FreeTier: true, Lambda: cost.Lambda{Arch: cost.X86, EphemeralMB: 600}}
	got := Measured(chosen, dedupe.Report{Stats: dedupe.Stats{
		Files: 100, Directories: 3, Bytes: 100 * mib, ReclaimableBytes: 98 * mib,
		Work: dedupe.Work{Opens: 40}, Elapsed: 1234567 * time.Microsecond, PeakMemory: 50 * mib,
	}}, Reads{})
	want := cost.Usage{
		Calls: 5, API: cost.REST, FreeTier: true,
		Lambda: cost.Lambda{Arch: cost.X86, EphemeralMB: 600, MemoryMB: 1769, Duration: 1235 * time.Millisecond},
		EFS:    cost.EFS{MetadataOperations: 100 + 3 + 2*40, StoredBytes: 100 * mib, ReclaimableBytes: 98 * mib},
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
		{time.Hour, 20000 * mib, 0, time.Hour, 10240}, // too long for Lambda, which its price says
		{time.Second, 5000 * mib, 128, time.Second, 128},
	} {
		u := cost.Usage{Lambda: cost.Lambda{MemoryMB: test.chosen}}
		l := Measured(u, dedupe.Report{Stats: dedupe.Stats{Elapsed: test.elapsed, PeakMemory: test.peak}}, Reads{}).Lambda
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
		{"opens alone", 0, 5, 0, 0, 15},
		{"100 files of 1 MiB", 100 * mib, 100, 100 * mib, 100 * mib, 300},
		{"3 files of 1 KiB", 3 * kib, 3, 3 * 32 * kib, 3 * 128 * kib, 9},
		{"no opens: as if one file", mib + 1, 0, mib + 32*kib, mib + 128*kib, 0},
		{"fewer bytes than files", 2, 5, 2 * 32 * kib, 2 * 128 * kib, 15},
		{"one file a byte longer, past 1 MiB", 2*mib + 1, 2, 2*mib + 32*kib, 2*mib + 128*kib, 6},
		{"one file a byte longer, past 128 KiB", 256*kib + 1, 2, 128*kib + 129*kib, 128*kib + 256*kib, 6},
		{"two of three longer, past 32 KiB", 96*kib + 2, 3, 32*kib + 2*33*kib, 3 * 128 * kib, 9},
	} {
		t.Run(test.name, func(t *testing.T) {
			checkMeters(t, test.read, test.access, func(class cost.StorageClass) cost.Usage {
				u, err := ByHand(cost.Usage{EFS: cost.EFS{StorageClass: class, AccessBytes: 1}}, test.bytes, test.opens)
				if err != nil || u.EFS.MetadataOperations != test.op {
					t.Errorf("%d metadata operations, want %d", u.EFS.MetadataOperations, test.op)
				}
				return u
			})
		})
	}

	// By hand is measured, where what is measured is even.
	for _, test := range reads {
		n := int64(len(test.files))
		if n == 0 || slices.Min(test.files) != slices.Max(test.files) {
			continue
		}
		u, err := ByHand(cost.Usage{}, n*test.files[0], n)
		if got := u.EFS.ReadBytes; err != nil || got != test.read {
			t.Errorf("%s: %d bytes, %v, want %d", test.name, got, err, test.read)
		}
	}
}

// checkMeters holds what is read and accessed to be the same in every class: the
// bill knows which classes charge for access.
func checkMeters(t *testing.T, read, access int64, usage func(cost.StorageClass) cost.Usage) {
	t.Helper()
	for _, class := range []cost.StorageClass{"", cost.Standard, cost.NoStorage, cost.IA, cost.Archive} {
		if got := usage(class).EFS; got.ReadBytes != read || got.AccessBytes != access {
			t.Errorf("class %q: read %d and access %d bytes, want %d and %d", class, got.ReadBytes, got.AccessBytes, read, access)
		}
	}
}

func TestProject(t *testing.T) {
	book, u := prices(t, "us-east-1"), usages()["usual"]
	p := Project(book, u)
	if p.Err != nil || p.Bill == nil || p.Bill.Region != "us-east-1" || p.Usage != u {
		t.Errorf("projection %+v", p)
	}
	u.Calls = -1
	if p := Project(book, u); p.Err == nil || p.Bill != nil || p.Usage != u {
		t.Errorf("of -1 calls: %+v", p)
	}
}

// TestExplain holds that the advice goes by what is missing, not by words.
func TestExplain(t *testing.T) {
	missing := func(meters ...string) error { return &cost.PriceError{Region: "mars", Meters: meters} }
	for _, test := range []struct {
		err    error
		advice string
	}{
		{missing("api.http"), "leave the gateway out"},
		{missing("api.http", "efs.storage.standard"), "storage with the storage class none"},
		{missing("api.http", "dynamodb.read"), "choose the prices of a region"},
		{missing("lambda.requests"), "choose the prices of a region"},
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
	for _, test := range []struct {
		peak int64
		want []string
	}{
		{0, nil},
		{512 * mib, nil},
		{512*mib + 1, []string{"the scan took 513 MB of memory: a function of 512 MB would be killed"}},
	} {
		p := Projection{Usage: cost.Usage{Lambda: cost.Lambda{MemoryMB: 512}}, Bill: new(cost.Bill)}
		took := dedupe.Stats{PeakMemory: test.peak}
		p.Warn(took)
		if diff := cmp.Diff(test.want, p.Bill.Warnings); diff != "" {
			t.Errorf("%d bytes (-want +got):\n%s", test.peak, diff)
		}
		p.Bill = nil
		p.Warn(took) // nothing to add to
	}
}

func repeat(n int64, times int) []int64 { return slices.Repeat([]int64{n}, times) }
