package report

import (
	"bytes"
	"errors"
	"io"
	"math"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"efsdedupe/dedupe"
	"efsdedupe/dedupe/cost"
)

// usages are examples of what the commands price, by what is special about them.
func usages() map[string]cost.Usage {
	usual := cost.Usage{
		Calls:  50_000_000,
		Lambda: cost.Lambda{Arch: cost.ARM, MemoryMB: 1769, Duration: 300 * time.Millisecond},
		API:    cost.HTTP,
		EFS: cost.EFS{Throughput: cost.Elastic, StorageClass: cost.Standard,
			ReadBytes: 100 * mib, MetadataOperations: 303, StoredBytes: 5 << 30, ReclaimableBytes: 1 << 30},
	}
	with := func(change func(u *cost.Usage)) cost.Usage {
		u := usual
		change(&u)
		return u
	}
	return map[string]cost.Usage{
		"usual":    usual,
		"no calls": with(func(u *cost.Usage) { u.Calls = 0 }),
		"x86, REST, free tier, payload, /tmp": with(func(u *cost.Usage) {
			u.Lambda.Arch, u.API, u.FreeTier, u.RequestBytes, u.Lambda.EphemeralMB = cost.X86, cost.REST, true, 10*mib, 10240
		}),
		"provisioned concurrency": with(func(u *cost.Usage) {
			u.Lambda.Provisioned = cost.ProvisionedConcurrency{Environments: 10, Calls: u.Calls}
		}),
		"provisioned throughput": with(func(u *cost.Usage) { u.EFS.Throughput, u.EFS.ProvisionedMiBps = cost.Provisioned, 100 }),
		"bursting, no API":       with(func(u *cost.Usage) { u.EFS.Throughput, u.API = cost.Bursting, cost.NoAPI }),
		"infrequent access":      with(func(u *cost.Usage) { u.EFS.StorageClass, u.EFS.AccessBytes = cost.IA, 128*mib }),
		"an index in a table": with(func(u *cost.Usage) {
			u.Index = cost.Index{Known: 990_000, OpenOperations: 200}
			u.DynamoDB = cost.DynamoDB{ReadUnits: 1_633_968, WriteUnits: 999_999_999_999_999, StoredBytes: 6800}
		}),
		"what a scan measures": with(func(u *cost.Usage) {
			u.Hours, u.Lambda.Init, u.Extras = 730, 100*time.Millisecond, cost.DefaultExtras()
			u.EFS.MetadataOperations, u.EFS.MetadataBytes = 207, 880640
			u.EFS.WarmMetadata = cost.Messages{Count: 204, Bytes: 868352}
			u.EFS.Stored = cost.Objects{Files: 100, Directories: 1, Bytes: 5 << 30, ColdBytes: 5 << 30}
			u.EFS.Reclaimable = cost.Objects{Files: 98, Bytes: 1 << 30, ColdBytes: 1 << 30}
		}),
		"warm calls, peaks": with(func(u *cost.Usage) {
			u.Warm, u.EFS.Throughput, u.EFS.PeakFactor = 990_000, cost.Provisioned, 3e6
		}),
		"no storage": with(func(u *cost.Usage) {
			u.EFS.StorageClass, u.EFS.StoredBytes, u.EFS.ReclaimableBytes = cost.NoStorage, 0, 0
		}),
		// Rounded to the microsecond, it would be billed a millisecond less.
		"a nanosecond more": with(func(u *cost.Usage) { u.Lambda.Duration += time.Nanosecond }),
		"a nanosecond less": with(func(u *cost.Usage) { u.Lambda.Duration = 15*time.Minute - time.Nanosecond }),
		// 2^53 + 1 is the first number that a float cannot hold.
		"large": with(func(u *cost.Usage) {
			u.Calls, u.EFS.ReadBytes, u.EFS.StoredBytes, u.EFS.ReclaimableBytes = math.MaxInt64, 1<<53+1, math.MaxInt64, math.MaxInt64-1
		}),
	}
}

func TestRead(t *testing.T) {
	for name, u := range usages() {
		t.Run(name, func(t *testing.T) { readBack(t, "us-east-1", u) })
	}
	random := rand.New(rand.NewPCG(1, 2))
	regions := cost.Regions()
	read := 0
	for i := range 500 {
		region := regions[random.IntN(len(regions))]
		if i%2 == 0 {
			region = "us-east-1" // other regions lack prices
		}
		if readBack(t, region, randomUsage(random)) {
			read++
		}
	}
	if read < 100 {
		t.Errorf("only %d of 500 random usages had prices", read)
	}
}

func readUsage(r io.Reader) (cost.Usage, string, error) {
	saved, err := Read(r)
	return saved.Usage, saved.Region, err
}

// readBack reads a written usage back, from both documents, and compares it and its bill
// with the original. It returns false if the usage has no price.
func readBack(t *testing.T, region string, u cost.Usage) bool {
	t.Helper()
	p := cost.Project(prices(t, region), u)
	if p.Err != nil {
		if missing := (*cost.PriceError)(nil); !errors.As(p.Err, &missing) {
			t.Fatalf("%+v: %v", u, p.Err)
		}
		return false
	}
	for _, doc := range [][]byte{
		write(t, JSON, sample{report: nothing(), projection: &p}, false),
		writeProjection(t, JSON, &p),
	} {
		got, gotRegion, err := readUsage(bytes.NewReader(doc))
		if err != nil {
			t.Fatalf("%v: %s", err, doc)
		}
		if diff := cmp.Diff(u, got); diff != "" || gotRegion != region {
			t.Errorf("region %s, want %s; usage (-written +read):\n%s", gotRegion, region, diff)
		}
		exact := cmp.Comparer(func(a, b *big.Rat) bool { return a.Cmp(b) == 0 })
		if diff := cmp.Diff(p, cost.Project(prices(t, gotRegion), got), exact); diff != "" {
			t.Errorf("bill (-written +read):\n%s", diff)
		}
	}
	return true
}

func prices(t testing.TB, region string) *cost.Book {
	t.Helper()
	book, err := cost.Prices(region)
	if err != nil {
		t.Fatal(err)
	}
	return book
}

// randomUsage returns any valid usage that JSON has fields for.
func randomUsage(r *rand.Rand) cost.Usage {
	// Of any magnitude: most uniform numbers are very large.
	number := func(most int64) int64 { return min(r.Int64()>>r.IntN(63), most) }
	u := cost.Usage{
		Calls: number(math.MaxInt64),
		Lambda: cost.Lambda{
			Arch:     pick(r, cost.X86, cost.ARM),
			MemoryMB: 128 + r.Int64N(10240-128+1),
			Duration: 1 + time.Duration(number(int64(15*time.Minute-1))),
		},
		API:          pick(r, cost.NoAPI, cost.HTTP, cost.REST),
		RequestBytes: number(10 * mib),
		EFS: cost.EFS{
			Throughput:         pick(r, cost.Elastic, cost.Provisioned, cost.Bursting),
			ReadBytes:          number(math.MaxInt64),
			MetadataOperations: number(math.MaxInt64),
			StorageClass:       pick(r, cost.Standard, cost.OneZone, cost.IA, cost.OneZoneIA, cost.Archive, cost.NoStorage),
			StoredBytes:        number(math.MaxInt64),
		},
		FreeTier: r.IntN(2) == 0,
	}
	if r.IntN(2) == 0 {
		u.Hours, u.Warm, u.Lambda.Init = 672+r.Int64N(73), number(1e6), time.Duration(number(int64(time.Minute)))
		u.EFS.PeakFactor = 1e6 + r.Int64N(999e6)
		u.EFS.MetadataOperations = number(1e12)
		u.EFS.MetadataBytes = 4096*u.EFS.MetadataOperations + number(1e12)
		u.EFS.WarmMetadata = cost.Messages{Count: u.EFS.MetadataOperations, Bytes: u.EFS.MetadataBytes}
		u.EFS.Stored = cost.Objects{Files: number(1e12), Directories: number(1e12), Bytes: number(math.MaxInt64), ColdBytes: number(math.MaxInt64)}
		u.EFS.Reclaimable = cost.Objects{Files: number(u.EFS.Stored.Files), Bytes: number(u.EFS.Stored.Bytes), ColdBytes: number(u.EFS.Stored.ColdBytes)}
		u.Extras = cost.Extras{LogBytes: number(1e15), AccessLogBytes: number(1e15), RetentionDays: r.Int64N(3654), ResponseBytes: number(1e15), Metrics: number(1e15), Alarms: number(1e15)}
	}
	u.EFS.ReclaimableBytes = number(u.EFS.StoredBytes)
	if r.IntN(2) == 0 {
		u.Lambda.EphemeralMB = 512 + r.Int64N(10240-512+1)
		u.Lambda.Provisioned.Environments = number(math.MaxInt64-1) + 1
		u.Lambda.Provisioned.Calls = u.Calls
	}
	if r.IntN(4) == 0 {
		u.Index = cost.Index{Known: number(1e6), OpenOperations: number(u.EFS.MetadataOperations)}
		u.DynamoDB = cost.DynamoDB{ReadUnits: number(1e15), WriteUnits: number(1e15), StoredBytes: number(math.MaxInt64)}
	}
	if u.EFS.Throughput == cost.Provisioned {
		u.EFS.ProvisionedMiBps = number(3414)
	}
	if u.EFS.StorageClass == cost.Archive {
		u.EFS.Throughput, u.EFS.ProvisionedMiBps = cost.Elastic, 0
	}
	u.EFS.AccessBytes = u.EFS.ReadBytes + number(math.MaxInt64-u.EFS.ReadBytes)
	return u
}

func pick[T any](r *rand.Rand, choices ...T) T { return choices[r.IntN(len(choices))] }

func TestReadErrors(t *testing.T) {
	good := string(writeProjection(t, JSON, priced()))
	if _, _, err := readUsage(strings.NewReader(good)); err != nil {
		t.Fatalf("the projection that the cases vary: %v", err)
	}
	altered := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Errorf("nothing to alter: no %s", old)
		}
		return strings.Replace(good, old, new, 1)
	}
	const (
		notJSON = "not a JSON report: "
		noUsage = "the report has no projection to take the usage from"
		invalid = "no report has such a usage: "
	)
	for _, test := range []struct{ name, doc, want string }{
		{"empty", "", notJSON + "it ends too early"},
		{"text", string(write(t, Text, samples()[0], false)), notJSON},
		{"CSV", string(write(t, CSV, samples()[0], false)), notJSON},
		{"array", "[]", notJSON + "it is not a report"},
		{"null", "null", notJSON + "it is not a report"},
		{"other JSON", `{"name": "package"}`, `its schema is ""`},
		{"later version", altered("dedupe.projection/v1", "dedupe.projection/v2"), `its schema is "dedupe.projection/v2"`},
		{"no projection", string(write(t, JSON, samples()[1], false)), noUsage},
		{"no bill", string(write(t, JSON, samples()[2], false)), noUsage},
		{"projection null", `{"schema": "dedupe.report/v1", "projection": null}`, noUsage},
		{"no usage", `{"schema": "dedupe.report/v1", "projection": {"calls": 5, "region": "us-east-1"}}`, noUsage},
		{"truncated", good[:len(good)/2], notJSON + "it ends too early"},
		{"truncated by a byte", good[:len(good)-2], notJSON + "it ends too early"},
		{"two of them", good + good, notJSON + "there is more after it"},
		{"garbage after it", good + "}", notJSON + "there is more after it"},
		{"huge count", altered(`"calls":50000000`, `"calls":1e300`), notJSON},
		{"count past int64", altered(`"calls":50000000`, `"calls":9223372036854775808`), notJSON},
		{"huge duration", altered(`"duration_ms":1235`, `"duration_ms":1e300`), invalid + "duration is "},
		{"duration past float64", altered(`"duration_ms":1235`, `"duration_ms":1e999`), notJSON},
		{"negative", altered(`"stored_bytes":5368709120`, `"stored_bytes":-1`), invalid + "bytes stored is -1"},
		{"unknown class", altered(`"storage_class":"ia"`, `"storage_class":"glacier"`), invalid + `storage class is "glacier"`},
		{"number for a string", altered(`"arch":"arm64"`, `"arch":64`), notJSON},
	} {
		t.Run(test.name, func(t *testing.T) {
			u, region, err := readUsage(strings.NewReader(test.doc))
			if err == nil || !strings.HasPrefix(err.Error(), test.want) {
				t.Errorf("error %v, want %s", err, test.want)
			}
			if u != (cost.Usage{}) || region != "" {
				t.Errorf("beside the error it returned %+v of %s", u, region)
			}
		})
	}

	// An error of the reader must not pass for the end of the report.
	if _, _, err := readUsage(io.MultiReader(strings.NewReader(good), broken{})); err == nil {
		t.Error("read from a broken file")
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, dedupe.ErrChanged }

// FuzzRead checks that Read returns an error, or a usage that can be priced, written and
// read back unchanged.
func FuzzRead(f *testing.F) {
	for _, s := range samples() {
		f.Add(write(f, JSON, s, false))
	}
	book := prices(f, "us-east-1")
	for _, u := range usages() {
		p := cost.Project(book, u)
		f.Add(writeProjection(f, JSON, &p))
	}
	f.Add([]byte(`{"schema":"dedupe.report/v1","projection":{"region":"us-east-1","calls":1,"usage":{"duration_ms":1e-9,"free_tier":true}}}`))
	f.Add([]byte(`{"schema":"dedupe.projection/v1","usage":{"memory_mb":128,"arch":"arm64","duration_ms":1e300}}`))
	f.Add([]byte(`{"schema":"dedupe.report/v1","Schema":"dedupe.projection/v1"}[`))
	f.Add(writeProjection(f, JSON, weighed()))
	f.Fuzz(func(t *testing.T, doc []byte) {
		saved, err := Read(bytes.NewReader(doc))
		u, region := saved.Usage, saved.Region
		if err != nil {
			if u != (cost.Usage{}) || region != "" || err.Error() == "" {
				t.Errorf("%q beside %+v of %q", err, u, region)
			}
			return
		}
		p := cost.Project(book, u)
		if p.Err != nil {
			if missing := (*cost.PriceError)(nil); !errors.As(p.Err, &missing) {
				t.Errorf("read, but it can't be priced: %v", p.Err)
			}
			return
		}
		if p.Index = saved.Index; p.Index != nil {
			p.Weigh(book, 10_000)
			if (p.Err == nil) != (p.Weighed != nil) {
				t.Errorf("error %v, weighed %+v", p.Err, p.Weighed)
			}
			p = cost.Project(book, u)
		}
		again, _, err := readUsage(bytes.NewReader(writeProjection(t, JSON, &p)))
		if err != nil || again != u {
			t.Errorf("error %v, usage (-read +read again):\n%s", err, cmp.Diff(u, again))
		}
	})
}
