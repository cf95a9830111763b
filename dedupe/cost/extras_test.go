package cost

import (
	"math"
	"strings"
	"testing"
	"time"

	"efsdedupe/fixtures/testkit"

	"github.com/google/go-cmp/cmp"
)

// TestService has the parts of a bill beside calls and files, worked out by hand.
func TestService(t *testing.T) {
	checkBills(t, []billTest{{
		// 2^20 calls that log 10 KiB are 10 GB, in the log for a month.
		"logs", Usage{Calls: 1 << 20, API: REST, Extras: Extras{LogBytes: 8 * kib, AccessLogBytes: 2 * kib, RetentionDays: 30}},
		[]string{"api.rest 3.67", "logs.ingestion 5.00", "logs.storage 0.30", "total 8.97"},
	}, {
		"logs kept for 15 of 31 days", Usage{Calls: 1 << 20, Hours: 744, Extras: Extras{LogBytes: 31 * kib, RetentionDays: 15}},
		[]string{"logs.ingestion 15.50", "logs.storage 0.45", "total 15.95"},
	}, {
		"no access log without an API", Usage{Calls: 1 << 20, Extras: Extras{AccessLogBytes: 2 * kib, RetentionDays: 30}},
		[]string{"total 0.00"},
	}, {
		"tiers of logs", Usage{Calls: 1 << 30, Extras: Extras{LogBytes: 60 * kib}}, // 61,440 GB
		[]string{"logs.ingestion 5120.00", "logs.ingestion 5120.00", "logs.ingestion 2048.00", "logs.ingestion 512.00", "total 12800.00"},
	}, {
		"answers", Usage{Calls: 1 << 30, Extras: Extras{ResponseBytes: 200 * kib}}, // 204,800 GB
		[]string{"transfer.out 921.60", "transfer.out 3481.60", "transfer.out 7168.00", "transfer.out 2560.00", "total 14131.20"},
	}, {
		"the free tier", Usage{Calls: 1 << 20, FreeTier: true, Extras: Extras{LogBytes: 6 * kib, RetentionDays: 30, ResponseBytes: 101 * kib, Metrics: 11, Alarms: 11}},
		[]string{"logs.ingestion 0.50", "logs.storage 0.03", "transfer.out 0.09", "metrics.custom 0.30", "metrics.alarms 0.10", "total 1.02"},
	}, {
		"metrics and alarms", Usage{Extras: Extras{Metrics: 7, Alarms: 5}},
		[]string{"metrics.custom 2.10", "metrics.alarms 0.50", "total 2.60"},
	}})
}

// TestStarts has what starts, helpers and warm calls cost, worked out by hand.
func TestStarts(t *testing.T) {
	function := Lambda{Arch: ARM, MemoryMB: 1024, Duration: 100 * time.Millisecond}
	starting := function
	starting.Init = 900 * time.Millisecond
	checkBills(t, []billTest{{
		// A million calls of 0.1 GB-seconds, and 0.9 more for INIT.
		"INIT", Usage{Calls: million, Lambda: starting},
		[]string{"lambda.duration.arm64 1.33", "lambda.requests 0.20", "lambda.init.arm64 12.00", "total 13.53"},
	}, {
		"INIT of 1% of the calls", Usage{Calls: million, Warm: 990_000, Lambda: starting},
		[]string{"lambda.duration.arm64 1.33", "lambda.requests 0.20", "lambda.init.arm64 0.12", "total 1.65"},
	}, {
		// 400,000 GB-seconds are free: the call's 100,000, and 300,000 of 900,000.
		"INIT in the free tier", Usage{Calls: million, FreeTier: true, Lambda: starting},
		[]string{"lambda.init.arm64 8.00", "total 8.00"},
	}, {
		// The first tier ends at 7.5e9 GB-seconds; the calls take 7e9, INIT 63e9.
		"INIT in higher tiers", Usage{Calls: 70_000 * million, Lambda: starting},
		[]string{"lambda.duration.arm64 93333.80", "lambda.requests 14000.00", "lambda.init.arm64 6666.70",
			"lambda.init.arm64 135001.13", "lambda.init.arm64 546668.38", "total 795670.00"},
	}, {
		// Ten helpers of 0.1 GB-seconds each.
		"helpers", Usage{Calls: million, Lambda: function, Helpers: Helpers{Calls: 10, MemoryMB: 1024, Duration: time.Second}},
		[]string{"lambda.duration.arm64 1.33", "lambda.requests 0.20", "lambda.helpers.duration.arm64 13.33", "lambda.helpers.requests 2.00", "total 16.87"},
	}, {
		"helpers of a state machine", Usage{Calls: million, Lambda: function, Helpers: Helpers{Calls: 1, MemoryMB: 1024, Duration: time.Millisecond, Transitions: 4}},
		[]string{"lambda.duration.arm64 1.33", "lambda.requests 0.20", "lambda.helpers.duration.arm64 0.01", "lambda.helpers.requests 0.20",
			"states.transitions 100.00", "total 101.75"},
	}, {
		// The calls take 7e9 GB-seconds of the first tier's 7.5e9, the helpers 7e9 more, INIT 63e9.
		"helpers in higher tiers", Usage{Calls: 70_000 * million, Lambda: starting, Helpers: Helpers{Calls: 1, MemoryMB: 1024, Duration: 100 * time.Millisecond}},
		[]string{"lambda.duration.arm64 93333.80", "lambda.requests 14000.00", "lambda.helpers.duration.arm64 6666.70", "lambda.helpers.duration.arm64 78000.65",
			"lambda.helpers.requests 14000.00", "lambda.init.arm64 57000.48", "lambda.init.arm64 621335.28", "total 884336.90"},
	}, {
		"on provisioned concurrency nothing starts", Usage{Calls: 1000, Lambda: Lambda{Arch: ARM, MemoryMB: 1024, Duration: time.Second, Init: time.Second,
			Provisioned: ProvisionedConcurrency{Environments: 1, Kept: time.Hour, Calls: 1000}}},
		[]string{"lambda.provisioned_duration.arm64 0.01", "lambda.provisioned_concurrency.arm64 0.01", "lambda.requests 0.00", "total 0.02"},
	}, {
		// Half of the reads, and all of the writes.
		"warm calls", Usage{Calls: 1024, Warm: 500_000, EFS: EFS{Throughput: Elastic, StorageClass: IA, ReadBytes: gib, AccessBytes: gib, WriteBytes: mib}},
		[]string{"efs.read 15.36", "efs.write 0.06", "efs.access.ia 5.12", "total 20.54"},
	}, {
		"with an index, warm calls read what changed", Usage{Calls: 1024, Warm: 500_000, Index: Index{Known: 750_000}, EFS: EFS{Throughput: Elastic, ReadBytes: gib}},
		[]string{"efs.read 7.68", "total 7.68"},
	}})
}

// TestInitRounding checks that Lambda rounds up INIT and call together: 0.4 + 0.4 ms are
// one billed millisecond, which the call takes anyway.
func TestInitRounding(t *testing.T) {
	u := Usage{Calls: 1000, Lambda: Lambda{Arch: ARM, MemoryMB: 1024, Duration: 400 * time.Microsecond, Init: 400 * time.Microsecond}}
	if got := u.initSeconds(1024); got.Sign() != 0 {
		t.Errorf("%s GB-seconds, want none", got)
	}
	u.Lambda.Init = 700 * time.Microsecond
	if got := Decimal(u.initSeconds(1024), 6); got != "1" {
		t.Errorf("%s GB-seconds, want 1", got)
	}
}

func TestMeteredFile(t *testing.T) {
	for _, test := range []struct{ size, allocated, content, cold int64 }{
		{0, 0, 4 * kib, 126 * kib},
		{1, -1, 4 * kib, 126 * kib},
		{4 * kib, 4 * kib, 4 * kib, 126 * kib},
		{4*kib + 1, -1, 8 * kib, 126 * kib},
		{4*kib + 1, 8 * kib, 8 * kib, 126 * kib},
		{126 * kib, -1, 128 * kib, 128 * kib}, // 31.5 steps
		{124 * kib, -1, 124 * kib, 126 * kib},
		{mib, mib, mib, mib},
		{mib, 2 * mib, mib, mib},                        // a file system with larger blocks
		{gib, 0, 4 * kib, 126 * kib},                    // a hole
		{gib, 5 * kib, 8 * kib, 126 * kib},              // nearly
		{math.MaxInt64, -1, 1<<63 - 4096, 1<<63 - 4096}, // the largest
	} {
		content, cold := MeteredFile(test.size, test.allocated)
		if content != test.content || cold != test.cold {
			t.Errorf("%d bytes, %d allocated: %d and %d, want %d and %d", test.size, test.allocated, content, cold, test.content, test.cold)
		}
	}
}

func TestObjects(t *testing.T) {
	var o Objects
	o.Add(1, -1, 3)
	o.Add(mib, mib, 1)
	o.Add(1, -1, -1)
	if want := (Objects{Files: 3, Bytes: mib + 8*kib, ColdBytes: mib + 252*kib}); o != want {
		t.Errorf("%+v, want %+v", o, want)
	}
	o.Add(math.MaxInt64, -1, 3)
	if o.Bytes != math.MaxInt64 || o.ColdBytes != math.MaxInt64 {
		t.Errorf("%+v, want the most", o)
	}
	stored, reclaimable := ByHandStored(10, 4, 4) // 2 or 3 bytes each
	if stored != (Objects{Files: 4, Bytes: 16 * kib, ColdBytes: 504 * kib}) || reclaimable != (Objects{Files: 2, Bytes: 8 * kib, ColdBytes: 252 * kib}) {
		t.Errorf("by hand: %+v, %+v", stored, reclaimable)
	}
}

// TestStorage prices a million files in every class: 2^20 × 4 KiB are 4 GB, with 2 KiB of
// metadata 6 GB, and 126 KiB are 126 GB.
func TestStorage(t *testing.T) {
	var million Objects
	million.Add(1, -1, 1<<20)
	for _, test := range []struct {
		class      StorageClass
		throughput Throughput
		want       []string
		dirs       int64
	}{
		{Standard, Elastic, []string{"efs.storage.standard 1.80", "total 1.80"}, 0},
		{Standard, Elastic, []string{"efs.storage.standard 3.60", "total 3.60"}, 1 << 20},
		{OneZone, Elastic, []string{"efs.storage.one_zone 0.96", "total 0.96"}, 0},
		{IA, Elastic, []string{"efs.storage.ia 2.02", "efs.storage.standard 0.60", "total 2.62"}, 0},
		{IA, Elastic, []string{"efs.storage.ia 2.02", "efs.storage.standard 2.40", "total 4.42"}, 1 << 20},
		{IA, Bursting, []string{"efs.storage.ia.not_elastic 3.15", "efs.storage.standard 0.60", "total 3.75"}, 0},
		{OneZoneIA, Elastic, []string{"efs.storage.one_zone_ia 1.68", "efs.storage.one_zone 0.32", "total 2.00"}, 0},
		{Archive, Elastic, []string{"efs.storage.archive 1.01", "efs.storage.standard 0.60", "total 1.61"}, 0},
		{NoStorage, Elastic, []string{"total 0.00"}, 0},
	} {
		e := EFS{Throughput: test.throughput, StorageClass: test.class, StoredBytes: 1 << 20, Stored: million}
		e.Stored.Directories = test.dirs
		bill := mustBill(t, prices(t, "us-east-1"), Usage{EFS: e})
		if diff := cmp.Diff(test.want, lines(bill)); diff != "" {
			t.Errorf("%s, %s (-want +got):\n%s", test.class, test.throughput, diff)
		}
	}
	e := EFS{Throughput: Elastic, StorageClass: Standard, StoredBytes: 1 << 20, ReclaimableBytes: 1 << 19, Stored: million}
	e.Reclaimable.Add(1, -1, 1<<19)
	if got := Cents(mustBill(t, prices(t, "us-east-1"), Usage{EFS: e}).Reclaimable); got != "0.90" {
		t.Errorf("reclaimable %s, want 0.90", got)
	}
	e.Reclaimable.Files = 1<<20 + 1
	if err := (Usage{EFS: e}).Validate(); err == nil || err.Error() != "reclaimable files is 1048577, allowed: 0 to 1048576" {
		t.Errorf("error %v", err)
	}
}

func TestThroughput(t *testing.T) {
	reads := int64(100 * mib)
	average := EFS{Throughput: Provisioned, ReadBytes: reads}
	threefold := average
	threefold.PeakFactor = 3 * million
	tooLittle := threefold
	tooLittle.ProvisionedMiBps = 700
	for _, test := range []struct {
		name    string
		usage   Usage
		want    string // of the bill
		warning string // its start; none if empty
	}{
		{"the average of 720 hours", Usage{Calls: 50 * million, EFS: average}, "3858.02", "643.004 MiBps is the average"},
		{"the average of 730 hours", Usage{Calls: 50 * million, Hours: 730, EFS: average}, "3805.18", "634.196 MiBps is the average"},
		{"three times", Usage{Calls: 50 * million, EFS: threefold}, "11574.07", ""},
		{"warm calls", Usage{Calls: 50 * million, Warm: 900_000, EFS: average}, "385.80", "64.3 MiBps is the average"},
		{"the least", Usage{Calls: 1, EFS: average}, "6.00", ""},
		{"the most", Usage{Calls: 500 * million, EFS: average}, "38580.25", "6430.041 MiBps is the average"},
		{"too little for peaks", Usage{Calls: 50 * million, EFS: tooLittle}, "4200.00", "the calls need 1929.012 MiBps at their peak, more than the 700 provisioned"},
		{"bursting, free", Usage{Calls: 77_760, EFS: EFS{Throughput: Bursting, ReadBytes: reads}}, "0.00", ""},
		{"bursting, a call more", Usage{Calls: 77_761, EFS: EFS{Throughput: Bursting, ReadBytes: reads}}, "0.00", "the calls need 1 MiBps on average, more than the baseline of 1"},
		{"One Zone", Usage{Calls: 1024, EFS: EFS{Throughput: Elastic, StorageClass: OneZone, ReadBytes: gib}}, "30.72",
			"a One Zone file system is in one zone: with subnets in two, half of the calls pay 0.01 per GB each way, about 10.24 USD a month"},
	} {
		bill := mustBill(t, prices(t, "us-east-1"), test.usage)
		if got := Cents(bill.Total); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
		if got := strings.Join(bill.Warnings, "\n"); !strings.HasPrefix(got, test.warning) || (got == "") != (test.warning == "") {
			t.Errorf("%s: warnings %q, want %q", test.name, got, test.warning)
		}
	}
	for _, mibps := range []int64{-1, 3415} {
		u := Usage{EFS: EFS{Throughput: Provisioned, ProvisionedMiBps: mibps}}
		if err := u.Validate(); err == nil || !strings.HasSuffix(err.Error(), "allowed: 1 to 3414") {
			t.Errorf("%d MiBps: error %v", mibps, err)
		}
	}
}

func TestAmount(t *testing.T) {
	for amount, want := range map[string]string{
		"0": "0.00", "0.004": "0.004", "0.0049": "0.0049", "0.005": "0.01", "0.0000002": "0.0000002", "1/300": "0.00333",
		"-0.0012345": "-0.00123", "12.345": "12.35", "146484.375": "146484.38",
	} {
		if got := Amount(testkit.Rat(amount)); got != want {
			t.Errorf("%s: %s, want %s", amount, got, want)
		}
	}
	for total, want := range map[string]string{"99.99": "0.00333", "100": "0.00"} {
		if got := (&Bill{Total: testkit.Rat(total)}).Amount(testkit.Rat("1/300")); got != want {
			t.Errorf("in a bill of %s: %s, want %s", total, got, want)
		}
	}
}

// TestColdShares checks the totals for 10% and 1% cold calls.
func TestColdShares(t *testing.T) {
	book := prices(t, "us-east-1")
	u := Usage{Calls: 1000, EFS: EFS{Throughput: Elastic, ReadBytes: gib}}
	p := Project(book, u)
	var got []string
	for _, c := range p.AtColdShare {
		got = append(got, Decimal(ratio(million, c.Share), 2)+" "+Cents(c.Total))
	}
	if diff := cmp.Diff([]string{"0.1 3.00", "0.01 0.30"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	u.Warm = 1
	if p := Project(book, u); p.AtColdShare != nil {
		t.Errorf("of calls that are not all cold: %v", p.AtColdShare)
	}
	if p := Project(book, Usage{Calls: 1, API: HTTP}); p.AtColdShare != nil {
		t.Errorf("where it makes no difference: %v", p.AtColdShare)
	}
}
