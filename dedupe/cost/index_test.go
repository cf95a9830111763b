package cost

import (
	"iter"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// items yields pairs of bytes and files.
func items(pairs ...[2]int64) iter.Seq2[int64, int64] {
	return func(yield func(int64, int64) bool) {
		for _, p := range pairs {
			if !yield(p[0], p[1]) {
				return
			}
		}
	}
}

// TestItemsOf has results worked out by hand: a read unit is 4 KiB, or 8 KiB if
// eventually consistent; a write unit is 1 KiB; storage adds 100 bytes per item.
func TestItemsOf(t *testing.T) {
	for _, test := range []struct {
		name  string
		items iter.Seq2[int64, int64]
		want  Items
	}{
		{"none", items(), Items{}},
		{"a byte", items([2]int64{1, 1}), Items{LookUp: 500_000, Reread: 1 * million, Rewrite: 1 * million, Files: 1, Bytes: 101}},
		{"4 KiB", items([2]int64{4096, 60}), Items{LookUp: 500_000, Reread: 1 * million, Rewrite: 4 * million, Files: 60, Bytes: 4196}},
		{"a byte more", items([2]int64{4097, 60}), Items{LookUp: 1 * million, Reread: 2 * million, Rewrite: 5 * million, Files: 60, Bytes: 4197}},
		// 6,700 bytes are 2 read units if consistent, else 1, and 7 write units.
		{"100 files", items([2]int64{6700, 100}), Items{LookUp: 1 * million, Reread: 2 * million, Rewrite: 7 * million, Files: 100, Bytes: 6800}},
		// Its first item is looked up and never rewritten; 1 × 10 and 3 × 40 are 130/4.
		{"split", items([2]int64{80, 0}, [2]int64{1000, 10}, [2]int64{2500, 40}),
			Items{LookUp: 1_500_000, Reread: 2 * million, Rewrite: 4 * million, Files: 33, Bytes: 3880}},
		{"full", items([2]int64{1, 2000}), Items{LookUp: 500_000, Reread: 1 * million, Rewrite: 1 * million, Files: MaxItemFiles, Bytes: 101}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, ItemsOf(test.items)); diff != "" {
				t.Errorf("items (-want +got):\n%s", diff)
			}
		})
	}
}

func TestItemsAtChurn(t *testing.T) {
	hundred := Items{LookUp: 1 * million, Reread: 2 * million, Rewrite: 7 * million, Files: 100, Bytes: 6800}
	one := Items{LookUp: 500_000, Reread: 1 * million, Rewrite: 1 * million, Files: 1, Bytes: 101}
	for _, test := range []struct {
		name  string
		items Items
		churn int64
		want  DynamoDB
	}{
		{"in no table", Items{}, 500_000, DynamoDB{}},
		{"nothing changes", hundred, 0, DynamoDB{ReadUnits: 1 * million, StoredBytes: 6800}},
		{"all changes", hundred, million, DynamoDB{ReadUnits: 3 * million, WriteUnits: 7 * million, StoredBytes: 6800}},
		// 1 − 0.99^100 = 0.63396765872…
		{"1%", hundred, 10_000, DynamoDB{ReadUnits: 2_267_936, WriteUnits: 4_437_774, StoredBytes: 6800}},
		{"10% of one file", one, 100_000, DynamoDB{ReadUnits: 600_000, WriteUnits: 100_000, StoredBytes: 101}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, test.items.AtChurn(test.churn)); diff != "" {
				t.Errorf("units (-want +got):\n%s", diff)
			}
		})
	}
}

// Using the average for all items must never give less than treating each on its own,
// which this computes with floats.
func TestItemsAtChurnIsNotTooLittle(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		pairs := make([][2]int64, 1+random.IntN(20))
		for i := range pairs {
			files := random.Int64N(200)
			pairs[i] = [2]int64{100 + 64*files, files}
		}
		churn := random.Int64N(million) >> random.IntN(20)
		each := 0.0
		for _, p := range pairs {
			each += math.Ceil(float64(p[0])/1024) * (1 - math.Pow(1-float64(churn)/million, float64(p[1])))
		}
		if got := float64(ItemsOf(items(pairs...)).AtChurn(churn).WriteUnits) / million; got < each-1e-6 {
			t.Errorf("%d of a million in %v: %f write units, each for itself %f", churn, pairs, got, each)
		}
	}
}

// choice is the standard set: 100 files of 1 MiB in one directory, whose digests are one
// item.
func choice() Choice {
	return Choice{
		All: Usage{Calls: 50 * million, Lambda: Lambda{Arch: ARM, MemoryMB: 1769, Duration: 300 * time.Millisecond}, API: HTTP,
			EFS: EFS{Throughput: Elastic, ReadBytes: 100 * mib, AccessBytes: 100 * mib, MetadataOperations: 301}},
		OpenOperations: 200,
		Items:          ItemsOf(items([2]int64{6700, 100})),
	}
}

func TestWeigh(t *testing.T) {
	book := prices(t, "us-east-1")
	both := []string{"lambda.duration.arm64 345.51", "lambda.requests 10.00", "api.http 50.00"}
	all := append(both[:3:3], "efs.read 146484.38", "efs.metadata 1722.34", "total 148612.22")

	// Of the metadata, 101 operations remain and 2 of 200: 50M × 103 × 4 KiB. For the
	// table, 50M × 2.267936 read units at 0.125 and 4.437774 write units at 0.625 per
	// million.
	w, err := book.Weigh(choice(), 10_000)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(all, lines(w.AllBill)); diff != "" {
		t.Errorf("every call reads all (-want +got):\n%s", diff)
	}
	want := append(both[:3:3], "efs.read 1464.84", "efs.metadata 589.37",
		"dynamodb.read 14.17", "dynamodb.write 138.68", "dynamodb.storage 0.00", "total 2612.58")
	if diff := cmp.Diff(want, lines(w.IndexBill)); diff != "" {
		t.Errorf("with the index (-want +got):\n%s", diff)
	}
	// If nearly everything changes, a month of the table is 50M × (3 × 0.125 + 7 × 0.625)
	// per million = 237.50 plus its item of 6,800 bytes. The index saves 1% of
	// 146,484.375 + 50M × 200 × 4 KiB × 0.03 = 147,628.78. They meet at 99.839124%.
	if w.BreakEven != 998_392 {
		t.Errorf("break-even at %d", w.BreakEven)
	}
	// Filling costs 3 × 0.125 + 7 × 0.625 millionths, a thousandth of what a call saves.
	if w.Repaid != 1 {
		t.Errorf("repaid after %d calls", w.Repaid)
	}
}

func TestWeighExtremes(t *testing.T) {
	book := prices(t, "us-east-1")
	change := func(f func(*Choice)) Choice {
		c := choice()
		f(&c)
		return c
	}
	for _, test := range []struct {
		name      string
		choice    Choice
		churn     int64
		breakEven int64
		repaid    int64
	}{
		{"in a file", change(func(c *Choice) { c.Items = Items{} }), 10_000, million, 0},
		{"all changes", choice(), million, 998_392, 0},
		{"reads cost nothing", change(func(c *Choice) { c.All.EFS.Throughput = Bursting }), 0, 0, 0},
		{"no calls", change(func(c *Choice) { c.All.Calls = 0 }), 0, 0, 0},
		// A read of 32 KiB and two operations are 40 KiB × 0.03 per GiB = 1.1444
		// millionths. Looking up is half of 0.125, rewriting 0.75, filling both together
		// 0.8125. So (1−c) × 1.1444 = 0.0625 + 0.75 c, and at c = 0.5 a call saves
		// 0.1347.
		{"one small file", change(func(c *Choice) {
			c.All.EFS.ReadBytes, c.All.EFS.MetadataOperations, c.OpenOperations = 32*kib, 4, 2
			c.Items = ItemsOf(items([2]int64{200, 1}))
		}), 900_000, 571_107, 0},
		{"one small file, repaid", change(func(c *Choice) {
			c.All.EFS.ReadBytes, c.All.EFS.MetadataOperations, c.OpenOperations = 32*kib, 4, 2
			c.Items = ItemsOf(items([2]int64{200, 1}))
		}), 500_000, 571_107, 7},
	} {
		t.Run(test.name, func(t *testing.T) {
			w, err := book.Weigh(test.choice, test.churn)
			if err != nil || w.BreakEven != test.breakEven || w.Repaid != test.repaid {
				t.Errorf("break-even at %d, repaid after %d, %v; want %d, %d", w.BreakEven, w.Repaid, err, test.breakEven, test.repaid)
			}
		})
	}
	noTables := prices(t, "eu-west-1")
	delete(noTables.prices, "dynamodb.read")
	delete(noTables.prices, "dynamodb.storage")
	if _, err := noTables.Weigh(change(func(c *Choice) { c.All.API = NoAPI }), 0); err == nil ||
		err.Error() != `no price for "dynamodb.read" in eu-west-1 (known in: us-east-1 and 12 others)
no price for "dynamodb.storage" in eu-west-1 (known in: us-east-1 and 11 others)` {
		t.Errorf("eu-west-1 without tables: %v", err)
	}
}

// On both sides of the break-even point the bills must compare as it says.
func TestBreakEven(t *testing.T) {
	book := prices(t, "us-east-1")
	random := rand.New(rand.NewPCG(3, 4))
	between := 0
	for range 50 {
		files := 1 + random.Int64N(300)
		c := choice()
		c.All.Calls = 1 + random.Int64N(100*million)
		c.All.EFS.Throughput = pick(uint8(random.IntN(3)), Elastic, Provisioned, Bursting)
		c.All.EFS.ReadBytes = random.Int64N(files * 64 * kib)
		c.OpenOperations = 2 * files
		c.All.EFS.MetadataOperations = 3*files + 1
		c.Items = ItemsOf(items([2]int64{100 + random.Int64N(400*files), files}, [2]int64{100, random.Int64N(3)}))
		w, err := book.Weigh(c, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, churn := range []int64{0, w.BreakEven - 1, w.BreakEven, million} {
			pays := churn >= 0 && mustBill(t, book, c.AtChurn(max(churn, 0))).Total.Cmp(w.AllBill.Total) < 0
			if pays != (churn >= 0 && churn < w.BreakEven) {
				t.Errorf("break-even at %d; at %d it pays: %v; of %+v", w.BreakEven, churn, pays, c)
			}
		}
		if 0 < w.BreakEven && w.BreakEven < million {
			between++
		}
	}
	if between < 10 {
		t.Errorf("only %d of 50 have a break-even", between)
	}
}

// At every churn, the saved part and the rest must add up to the whole.
func TestIndexSparesReads(t *testing.T) {
	book := prices(t, "us-east-1")
	for _, class := range []StorageClass{Standard, IA, Archive} {
		c := choice()
		c.All.EFS.StorageClass, c.Items = class, Items{}
		for _, churn := range []int64{0, 1, 10_000, 333_333, million} {
			left, rest := mustBill(t, book, c.AtChurn(churn)), mustBill(t, book, c.AtChurn(million-churn))
			all, none := mustBill(t, book, c.All), mustBill(t, book, c.AtChurn(0))
			if sum(left.Total, rest.Total).Cmp(sum(all.Total, none.Total)) != 0 {
				t.Errorf("%s at %d: %s and %s of %s and %s", class, churn, left.Total, rest.Total, all.Total, none.Total)
			}
		}
	}
}
