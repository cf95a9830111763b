package cost

import (
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// billTest is what somebody uses, and what that costs in us-east-1.
type billTest struct {
	name  string
	usage Usage
	want  []string // "meter cost", to the cent, without the free tier's zeros
}

func checkBills(t *testing.T, tests []billTest) {
	t.Helper()
	book := prices(t, "us-east-1")
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			bill := mustBill(t, book, test.usage)
			checkSums(t, bill)
			if diff := cmp.Diff(test.want, lines(bill)); diff != "" {
				t.Errorf("bill (-want +got):\n%s", diff)
			}
		})
	}
}

// TestLambdaExamples compares with the examples on the AWS Lambda pricing page.
func TestLambdaExamples(t *testing.T) {
	checkBills(t, []billTest{{
		"mobile application",
		Usage{Calls: 3 * million, FreeTier: true, Lambda: Lambda{Arch: X86, MemoryMB: 1536, Duration: 120 * time.Millisecond}},
		[]string{"lambda.duration.x86_64 2.33", "lambda.requests 0.40", "total 2.73"},
	}, {
		"7.44M calls of 2 s",
		Usage{Calls: 7_440_000, Lambda: Lambda{Arch: X86, MemoryMB: 1024, Duration: 2 * time.Second}},
		[]string{"lambda.duration.x86_64 248.00", "lambda.requests 1.49", "total 249.49"},
	}, {
		"ephemeral storage",
		Usage{Calls: 6 * million, FreeTier: true, Lambda: Lambda{Arch: X86, MemoryMB: 4096, Duration: 280 * time.Millisecond, EphemeralMB: 2048}},
		[]string{"lambda.duration.x86_64 105.33", "lambda.requests 1.00", "lambda.ephemeral_storage 0.08", "total 106.41"},
	}, {
		"provisioned concurrency",
		Usage{Calls: 3 * million, FreeTier: true, Lambda: Lambda{Arch: X86, MemoryMB: 1536, Duration: 120 * time.Millisecond,
			Provisioned: ProvisionedConcurrency{Environments: 100, Kept: 8 * time.Hour, Calls: 500_000, Duration: 100 * time.Millisecond}}},
		[]string{"lambda.duration.x86_64 0.83", "lambda.provisioned_duration.x86_64 0.73",
			"lambda.provisioned_concurrency.x86_64 18.00", "lambda.requests 0.40", "total 19.96"},
	}, {
		// The page adds rounded items and says 39.04; the exact sum is 39.045895.
		"response streaming",
		Usage{Calls: 3 * million, FreeTier: true, Lambda: Lambda{Arch: X86, MemoryMB: 1536, Duration: 500 * time.Millisecond,
			Streaming: Streaming{Calls: million, ResponseBytes: 7 * mib}}},
		[]string{"lambda.duration.x86_64 30.83", "lambda.requests 0.40", "lambda.response_streaming 7.81", "total 39.05"},
	}})
}

// TestInfracostExamples compares with the golden files of infracost.
func TestInfracostExamples(t *testing.T) {
	checkBills(t, []billTest{{
		"Lambda x86 tiers",
		Usage{Calls: 15_000 * million, Lambda: Lambda{Arch: X86, MemoryMB: 2048, Duration: 2048 * time.Millisecond}},
		[]string{"lambda.duration.x86_64 100000.20", "lambda.duration.x86_64 135000.00", "lambda.duration.x86_64 619203.10",
			"lambda.requests 3000.00", "total 857203.30"},
	}, {
		"Lambda arm64 tiers",
		Usage{Calls: 18_250 * million, Lambda: Lambda{Arch: ARM, MemoryMB: 2048, Duration: 2048 * time.Millisecond}},
		[]string{"lambda.duration.arm64 100000.50", "lambda.duration.arm64 135001.13", "lambda.duration.arm64 597356.53",
			"lambda.requests 3650.00", "total 836008.16"},
	}, {
		"HTTP API",
		Usage{Calls: 1000 * million, API: HTTP},
		[]string{"api.http 300.00", "api.http 630.00", "total 930.00"},
	}, {
		"REST API",
		Usage{Calls: 21_000 * million, API: REST},
		[]string{"api.rest 1165.50", "api.rest 1867.60", "api.rest 45220.00", "api.rest 1510.00", "total 49763.10"},
	}, {
		"EFS Provisioned, 100 MiBps with 230 GB",
		Usage{EFS: EFS{Throughput: Provisioned, ProvisionedMiBps: 100, StorageClass: Standard, StoredBytes: 230 * gib}},
		[]string{"efs.provisioned 531.00", "efs.storage.standard 69.00", "total 600.00"},
	}, {
		// 3 million write units and 8 million read units, since the prices of 2024-11.
		"DynamoDB on demand",
		Usage{Calls: million, DynamoDB: DynamoDB{ReadUnits: 8 * million, WriteUnits: 3 * million, StoredBytes: 230 * gib}},
		[]string{"dynamodb.read 1.00", "dynamodb.write 1.88", "dynamodb.storage 57.50", "total 60.38"},
	}})
}

// Somebody compared a real bill with the meters: they give 9.4769, AWS charged 9.4655.
// The prices are those of ap-northeast-1.
func TestReconciledBill(t *testing.T) {
	bill := mustBill(t, prices(t, "ap-northeast-1"), Usage{Calls: 1,
		EFS: EFS{Throughput: Elastic, ReadBytes: 250_793_018_040, WriteBytes: 2_057_315_052}})
	if got := Decimal(bill.Total, 4); got != "9.4769" {
		t.Errorf("total %s, want 9.4769", got)
	}
}

// TestHeadline is the month that the tool was made for: 50 million calls of 100 files of
// 1 MiB each, with 3 metadata operations per file.
func TestHeadline(t *testing.T) {
	usage := Usage{
		Calls:  50 * million,
		Lambda: Lambda{Arch: X86, MemoryMB: 1769, Duration: time.Second},
		API:    HTTP,
		EFS:    EFS{Throughput: Elastic, ReadBytes: 100 * MeteredRead(mib), MetadataOperations: 300},
	}
	arm, rest, provisioned := usage, usage, usage
	arm.Lambda.Arch = ARM
	rest.API = REST
	provisioned.EFS = EFS{Throughput: Provisioned, ReadBytes: usage.EFS.ReadBytes}

	book := prices(t, "us-east-1")
	tests := []struct {
		name, meter string
		usage       Usage
		want        string
	}{
		{"x86", "lambda.duration.x86_64", usage, "1439.62"},
		{"arm64", "lambda.duration.arm64", arm, "1151.70"},
		{"requests", "lambda.requests", usage, "10.00"},
		{"HTTP API", "api.http", usage, "50.00"},
		{"REST API", "api.rest", rest, "175.00"},
		{"reads", "efs.read", usage, "146484.38"},
		{"metadata", "efs.metadata", usage, "1716.61"},
		{"provisioned", "efs.provisioned", provisioned, "3858.02"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			bill := mustBill(t, book, test.usage)
			for _, i := range bill.Items {
				if i.Meter == test.meter {
					if got := Cents(i.Cost); got != test.want {
						t.Errorf("%s: %s, want %s", i.Meter, got, test.want)
					}
					return
				}
			}
			t.Errorf("no item %s among %v", test.meter, lines(bill))
		})
	}
	if got := Decimal(neededMiBps(provisioned), 1); got != "643" {
		t.Errorf("needs %s MiBps, want 643", got)
	}
}

func TestEFSItems(t *testing.T) {
	tests := []struct {
		name  string
		efs   EFS
		calls int64
		want  []string
	}{{
		"IA with elastic throughput",
		EFS{Throughput: Elastic, ReadBytes: 1 * gib, AccessBytes: 2 * gib, StorageClass: IA, StoredBytes: 1000 * gib},
		10, []string{"efs.read 0.30", "efs.access.ia 0.20", "efs.storage.ia 16.00", "total 16.50"},
	}, {
		"IA with bursting throughput",
		EFS{Throughput: Bursting, StorageClass: IA, StoredBytes: 1000 * gib},
		0, []string{"efs.storage.ia.not_elastic 25.00", "total 25.00"},
	}, {
		"IA brings no throughput with it",
		EFS{Throughput: Provisioned, ProvisionedMiBps: 10, StorageClass: OneZoneIA, StoredBytes: 1000 * gib},
		0, []string{"efs.provisioned 60.00", "efs.storage.one_zone_ia 13.30", "total 73.30"},
	}, {
		"archive",
		EFS{Throughput: Elastic, ReadBytes: 1 * gib, AccessBytes: 1 * gib, StorageClass: Archive, StoredBytes: 1000 * gib},
		100, []string{"efs.read 3.00", "efs.access.archive 3.00", "efs.storage.archive 8.00", "total 14.00"},
	}, {
		"writes, and less provisioned than storage includes",
		EFS{Throughput: Provisioned, ProvisionedMiBps: 10, StorageClass: OneZone, StoredBytes: 1000 * gib, WriteBytes: gib},
		1, []string{"efs.storage.one_zone 160.00", "total 160.00"},
	}}
	book := prices(t, "us-east-1")
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := lines(mustBill(t, book, Usage{Calls: test.calls, EFS: test.efs}))
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("bill (-want +got):\n%s", diff)
			}
		})
	}
}

// A GET costs the same whatever its size: 50 million calls with 100 of them are 5 billion.
func TestS3Items(t *testing.T) {
	for region, want := range map[string][]string{
		"us-east-1":      {"s3.list 250.00", "s3.get 2000.00", "total 2250.00"},
		"ap-northeast-1": {"s3.list 235.00", "s3.get 1850.00", "total 2085.00"},
		"ap-northeast-2": {"s3.list 225.00", "s3.get 1750.00", "total 1975.00"},
	} {
		got := lines(mustBill(t, prices(t, region), Usage{Calls: 50 * million, S3: S3{Lists: 1, Gets: 100}}))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", region, diff)
		}
	}
}

func TestReclaimable(t *testing.T) {
	efs := EFS{Throughput: Elastic, StorageClass: Standard, StoredBytes: 1000 * gib, ReclaimableBytes: 250 * gib}
	bill := mustBill(t, prices(t, "us-east-1"), Usage{EFS: efs})
	if got := Cents(bill.Reclaimable); got != "75.00" {
		t.Errorf("reclaimable %s, want 75.00", got)
	}
	if got := Cents(bill.Total); got != "300.00" {
		t.Errorf("total %s, want 300.00: duplicates are a part of what is stored", got)
	}
}

func TestWarnings(t *testing.T) {
	reads := int64(100 * mib)
	tests := []struct {
		name  string
		usage Usage
		want  []string // the start of each
	}{
		{"elastic", Usage{Calls: 50 * million, EFS: EFS{Throughput: Elastic, ReadBytes: reads}}, nil},
		{"average rate", Usage{Calls: 50 * million, EFS: EFS{Throughput: Provisioned, ReadBytes: reads}},
			[]string{"643.004 MiBps is the average rate of the month"}},
		{"too little provisioned", Usage{Calls: 50 * million, EFS: EFS{Throughput: Provisioned, ReadBytes: reads, ProvisionedMiBps: 600}},
			[]string{"the calls need 643.004 MiBps on average, more than the 600 provisioned"}},
		{"bursting", Usage{Calls: 50 * million, EFS: EFS{Throughput: Bursting, ReadBytes: reads, StorageClass: Standard, StoredBytes: 1024 * gib}},
			[]string{"the calls need 643.004 MiBps on average, more than the baseline of 51.2"}},
		{"baseline suffices", Usage{Calls: million, EFS: EFS{Throughput: Bursting, ReadBytes: reads, StorageClass: Standard, StoredBytes: 1024 * gib}}, nil},
		{"storage brings throughput", Usage{EFS: EFS{Throughput: Provisioned, ProvisionedMiBps: 100, StorageClass: Standard, StoredBytes: 230 * gib, ReclaimableBytes: 30 * gib}},
			[]string{"deleting the duplicates also ends the throughput included with them: 1.5 MiBps more would be billed"}},
		{"one client", Usage{Calls: 1, Lambda: Lambda{Arch: ARM, MemoryMB: 128, Duration: 100 * time.Millisecond}, EFS: EFS{Throughput: Elastic, ReadBytes: reads}},
			[]string{"a call of 100ms moves 1000 MiBps, more than the 500"}},
		{"enough environments", OnProvisioned(Usage{Calls: 50 * million, Lambda: Lambda{Arch: ARM, MemoryMB: 128, Duration: 300 * time.Millisecond, Provisioned: ProvisionedConcurrency{Environments: 6}}}), nil},
		{"too few environments", OnProvisioned(Usage{Calls: 50 * million, Lambda: Lambda{Arch: ARM, MemoryMB: 128, Duration: 300 * time.Millisecond, Provisioned: ProvisionedConcurrency{Environments: 5}}}),
			[]string{"the calls keep 5.787 environments busy on average, more than the 5 of provisioned concurrency"}},
	}
	book := prices(t, "us-east-1")
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := mustBill(t, book, test.usage).Warnings
			if len(got) != len(test.want) {
				t.Fatalf("warnings %q, want %q", got, test.want)
			}
			for i, want := range test.want {
				if !strings.HasPrefix(got[i], want) {
					t.Errorf("warning %q, want %q", got[i], want)
				}
			}
		})
	}
}

// A quantity at the bound of a tier stays in it; one more starts the next.
func TestTierBoundaries(t *testing.T) {
	book := prices(t, "us-east-1")
	tests := []struct {
		name  string
		usage Usage
		want  []string
	}{
		{"HTTP at the bound", Usage{Calls: 300 * million, API: HTTP}, []string{"api.http 300000000 × 0.000001"}},
		{"HTTP past it", Usage{Calls: 300*million + 1, API: HTTP}, []string{"api.http 300000000 × 0.000001", "api.http 1 × 0.0000009"}},
		{"HTTP, 512 KB", Usage{Calls: 5, API: HTTP, RequestBytes: 512 * kib}, []string{"api.http 5 × 0.000001"}},
		{"HTTP, a byte more", Usage{Calls: 5, API: HTTP, RequestBytes: 512*kib + 1}, []string{"api.http 10 × 0.000001"}},
		{"REST counts calls", Usage{Calls: 5, API: REST, RequestBytes: 10 * mib}, []string{"api.rest 5 × 0.0000035"}},
		{"all of it free", Usage{Calls: million, FreeTier: true, Lambda: Lambda{Arch: ARM, MemoryMB: 1024, Duration: 400 * time.Millisecond}},
			[]string{"lambda.duration.arm64 400000 × 0", "lambda.requests 1000000 × 0"}},
		{"one call past free", Usage{Calls: million + 1, FreeTier: true, Lambda: Lambda{Arch: ARM, MemoryMB: 1024, Duration: 400 * time.Millisecond}},
			[]string{"lambda.duration.arm64 400000 × 0", "lambda.duration.arm64 0.4 × 0.0000133334",
				"lambda.requests 1000000 × 0", "lambda.requests 1 × 0.0000002"}},
		{"/tmp of 512 MB", Usage{Calls: 1, Lambda: Lambda{Arch: ARM, MemoryMB: 1024, Duration: time.Second, EphemeralMB: 512}},
			[]string{"lambda.duration.arm64 1 × 0.0000133334", "lambda.requests 1 × 0.0000002"}},
		{"no calls", Usage{API: REST, Lambda: Lambda{Arch: ARM, MemoryMB: 1024, Duration: time.Second}}, nil},
		{"environments kept all month", Usage{Lambda: Lambda{Arch: ARM, MemoryMB: 1024, Duration: time.Second, Provisioned: ProvisionedConcurrency{Environments: 2}}},
			[]string{"lambda.provisioned_concurrency.arm64 5184000 × 0.0000033334"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var got []string
			for _, i := range mustBill(t, book, test.usage).Items {
				got = append(got, i.Meter+" "+Decimal(i.Quantity, 12)+" × "+Decimal(i.UnitPrice, 12))
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("items (-want +got):\n%s", diff)
			}
		})
	}
}

func TestUnknownMeter(t *testing.T) {
	book := prices(t, "eu-west-1")
	efs := EFS{Throughput: Elastic, StorageClass: Archive, StoredBytes: gib}
	_, err := book.Bill(Usage{EFS: efs})
	const want = `no price for "efs.storage.archive" in eu-west-1 (known in: us-east-1, us-east-2)`
	if err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
	var missing *PriceError
	if !errors.As(err, &missing) || missing.Region != "eu-west-1" || !cmp.Equal(missing.Meters, []string{"efs.storage.archive"}) {
		t.Errorf("the error does not tell programs what is missing: %#v", err)
	}

	efs.StoredBytes = 0
	if _, err := book.Bill(Usage{EFS: efs}); err != nil {
		t.Errorf("nothing stored: %v", err)
	}
}

// FuzzBill checks what holds for every bill: each item multiplies out, the total is their
// sum, and one more call never costs less.
func FuzzBill(f *testing.F) {
	f.Add(int64(50*million), uint16(1641), uint32(1000), uint16(0), uint8(0b1001), int64(100*mib), int64(0), int64(300), int64(gib), uint16(7), uint32(10_000), int64(500_000))
	f.Add(int64(300*million), uint16(0), uint32(0), uint16(9000), uint8(0xff), int64(1), int64(1), int64(1), int64(1), uint16(0), uint32(million), int64(1))
	f.Add(int64(-1), uint16(0), uint32(0), uint16(0), uint8(0), int64(0), int64(0), int64(0), int64(0), uint16(0), uint32(0), int64(0))
	book := prices(f, "us-east-1")
	f.Fuzz(func(t *testing.T, calls int64, memory uint16, ms uint32, tmp uint16, kinds uint8, read, write, ops, stored int64, provisioned uint16, churn uint32, units int64) {
		usage := Usage{
			Calls: calls,
			Lambda: Lambda{
				Arch:        pick(kinds, X86, ARM),
				MemoryMB:    128 + int64(memory)%10113,
				Duration:    time.Duration(ms%900_000+1) * time.Millisecond,
				EphemeralMB: 512 + int64(tmp)%9729,
				Provisioned: ProvisionedConcurrency{Environments: int64(provisioned)},
			},
			API: pick(kinds>>1, NoAPI, HTTP, REST),
			EFS: EFS{
				Throughput: pick(kinds>>3, Elastic, Provisioned, Bursting),
				ReadBytes:  read, WriteBytes: write, MetadataOperations: ops,
				StorageClass: pick(kinds>>5, Standard, OneZone),
				StoredBytes:  stored, ReclaimableBytes: stored / 3,
			},
			Index:    Index{Known: million - int64(churn)%(million+1), OpenOperations: ops / 2},
			DynamoDB: DynamoDB{ReadUnits: units, WriteUnits: units / 2, StoredBytes: stored},
			FreeTier: kinds>>7 == 1,
		}
		bill, err := book.Bill(usage)
		if (err == nil) != (min(calls, read, write, ops, stored, units) >= 0 && units <= maxUnits) {
			t.Fatalf("error %v for %+v", err, usage)
		}
		if err != nil {
			return
		}
		checkSums(t, bill)
		usage.Calls++
		if usage.Calls < 0 {
			return
		}
		if more := mustBill(t, book, usage); more.Total.Cmp(bill.Total) < 0 {
			t.Errorf("%s for %d calls, %s for one more", bill.Total, calls, more.Total)
		}
	})
}

func checkSums(t *testing.T, bill *Bill) {
	t.Helper()
	total := new(big.Rat)
	for _, i := range bill.Items {
		if i.Quantity.Sign() <= 0 {
			t.Errorf("%s: quantity %s", i.Meter, i.Quantity)
		}
		if new(big.Rat).Mul(i.Quantity, i.UnitPrice).Cmp(i.Cost) != 0 {
			t.Errorf("%s: %s × %s is not %s", i.Meter, i.Quantity, i.UnitPrice, i.Cost)
		}
		total.Add(total, i.Cost)
	}
	if total.Cmp(bill.Total) != 0 {
		t.Errorf("total %s, items sum to %s", bill.Total, total)
	}
	if bill.Reclaimable.Sign() < 0 || bill.Reclaimable.Cmp(total) > 0 {
		t.Errorf("reclaimable %s of %s", bill.Reclaimable, total)
	}
}

// pick maps any number to one of the choices.
func pick[T any](n uint8, choices ...T) T {
	return choices[int(n)%len(choices)]
}

// lines returns the priced items of a bill as "meter cost" lines.
func lines(bill *Bill) []string {
	var lines []string
	for _, i := range bill.Items {
		if i.UnitPrice.Sign() > 0 {
			lines = append(lines, i.Meter+" "+Cents(i.Cost))
		}
	}
	return append(lines, "total "+Cents(bill.Total))
}

func prices(t testing.TB, region string) *Book {
	t.Helper()
	book, err := Prices(region)
	if err != nil {
		t.Fatal(err)
	}
	return book
}

func mustBill(t testing.TB, book *Book, usage Usage) *Bill {
	t.Helper()
	bill, err := book.Bill(usage)
	if err != nil {
		t.Fatal(err)
	}
	return bill
}
