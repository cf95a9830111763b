package cost

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestTree compares the model with what a real client sends, or may send at most.
func TestTree(t *testing.T) {
	indexed := func(n int64) Tree { return Tree{Files: n, Directories: 1} }
	for _, test := range []struct {
		name  string
		got   Messages
		most  int64
		bytes int64 // 0 if not worked out
	}{
		// 205 messages of 4 KiB, and the directory twice: 19.7 KB, metered as 20 KiB.
		{"standard set, cold", Tree{100, 1, 100}.Cold(), 208, 205*4*kib + 2*20*kib},
		{"standard set, warm", Tree{100, 1, 100}.Warm(), 207, 204*4*kib + 2*20*kib},
		{"300 small files", Tree{300, 1, 300}.Cold(), 610, 0},
		{"20 directories of 50 files", Tree{1000, 21, 1000}.Cold(), 2120, 0},
		{"index, cold", indexed(100).Cold(), 8, 5*4*kib + 20*kib},
		{"index, expired", indexed(100).Warm(), 6, 4*4*kib + 20*kib},
		{"5,000 files with index, cold", indexed(5000).Cold(), 15, 0},
		{"5,000 files with index, expired", indexed(5000).Warm(), 12, 0},
		{"an empty directory", Tree{0, 1, 0}.Cold(), 6, 6 * 4 * kib},
		{"a file", Tree{1, 0, 1}.Cold(), 7, 7 * 4 * kib},
		{"nothing", Tree{}.Cold(), 5, 5 * 4 * kib},
	} {
		if test.got.Count > test.most || test.got.Count < test.most*9/10-2 {
			t.Errorf("%s: %d messages, want about %d", test.name, test.got.Count, test.most)
		}
		if test.bytes != 0 && test.got.Bytes != test.bytes {
			t.Errorf("%s: %d bytes, want %d", test.name, test.got.Bytes, test.bytes)
		}
	}
}

// TestRealClient compares the model with what a Linux 6.1 client was counted to send.
// The model is fitted to the standard set only. TestModel in fixtures/nfs counts the other
// trees, one level below the mount.
func TestRealClient(t *testing.T) {
	for _, test := range []struct {
		name       string
		tree       Tree
		cold, warm int64 // 0 if not counted
	}{
		{"standard set, one level down", Tree{100, 1, 100}, 206, 203},
		{"standard set, two levels down", Tree{100, 1, 100}, 208, 203},
		{"one directory of 40 files", Tree{40, 1, 40}, 86, 83},
		{"7 directories of 13 files", Tree{91, 8, 91}, 215, 205},
		{"1,000 files", Tree{1000, 1, 1000}, 2010, 2007},
		{"30 directories of 2 files", Tree{60, 31, 60}, 245, 212},
		{"12 nested directories of 3 files", Tree{36, 13, 36}, 125, 110},
		{"25 directories of 1 file, none opened", Tree{25, 26, 0}, 80, 52},
		// With an index that knows all files. Warm is with expired attributes.
		{"index, standard set, two levels down", Tree{100, 1, 0}, 8, 6},
		{"index, standard set, fresh attributes", Tree{100, 1, 0}, 8, 3},
		{"index, one directory of 40 files", Tree{40, 1, 0}, 6, 5},
		{"index, 7 directories of 13 files", Tree{91, 8, 0}, 26, 18},
		{"index, 1,000 files", Tree{1000, 1, 0}, 7, 6},
		{"index, 3,000 files", Tree{3000, 1, 0}, 9, 0},
		{"index, 5,000 files", Tree{5000, 1, 0}, 10, 9},
		{"index, 8,000 files", Tree{8000, 1, 0}, 12, 0},
		{"index, 30 directories of 2 files", Tree{60, 31, 0}, 95, 64},
		{"index, 12 nested directories of 3 files", Tree{36, 13, 0}, 41, 28},
		{"index, 25 directories of 1 file", Tree{25, 26, 0}, 80, 54},
	} {
		for call, want := range map[string]int64{"cold": test.cold, "warm": test.warm} {
			got := test.tree.Cold().Count
			if call == "warm" {
				got = test.tree.Warm().Count
			}
			if off := max(got-want, want-got); want > 0 && off > 2 && 10*off > want {
				t.Errorf("%s, %s: the model has %d messages, the client sent %d", test.name, call, got, want)
			}
		}
	}
}

// TestListing lists entries of 197 bytes each, in READDIRs of 64 KiB, 128 KiB and so on, up
// to 256 KiB, and at least 4 KiB for the rest.
func TestListing(t *testing.T) {
	for entries, want := range map[int64]Messages{
		0:      {1, 4 * kib},
		20:     {1, 4 * kib},
		21:     {1, 5 * kib},
		332:    {1, 64 * kib},
		333:    {2, 68 * kib},
		1000:   {3, 196 * kib},
		10_000: {9, (192 + 6*256 + 196) * kib},
		20_000: {17, (192 + 14*256 + 72) * kib},
	} {
		if got := readdirs(entries); got != want {
			t.Errorf("%d entries: %+v, want %+v", entries, got, want)
		}
	}
}

func TestMetadata(t *testing.T) {
	book := prices(t, "us-east-1")
	for _, test := range []struct {
		name string
		efs  EFS
		warm int64
		x    Index
		want string // GB of 2^18 calls, so that 4 KiB a call are 1 GB
	}{
		{"4 KiB each", EFS{MetadataOperations: 3}, 0, Index{}, "3"},
		{"metered", EFS{MetadataOperations: 3, MetadataBytes: 20 * kib}, 0, Index{}, "5"},
		{"half warm", EFS{MetadataOperations: 3, WarmMetadata: Messages{1, 0}}, 500_000, Index{}, "2"},
		{"half warm, metered", EFS{MetadataOperations: 3, MetadataBytes: 20 * kib, WarmMetadata: Messages{1, 12 * kib}}, 500_000, Index{}, "4"},
		{"warm as cold", EFS{MetadataOperations: 3, MetadataBytes: 20 * kib}, 500_000, Index{}, "5"},
		{"an index knows 3 of 4", EFS{MetadataOperations: 5, MetadataBytes: 24 * kib}, 0, Index{750_000, 4}, "3"},
		{"and half are warm", EFS{MetadataOperations: 5, MetadataBytes: 24 * kib, WarmMetadata: Messages{4, 0}}, 500_000, Index{750_000, 4}, "2"},
	} {
		u := Usage{Calls: 1 << 18, Warm: test.warm, EFS: test.efs, Index: test.x}
		u.EFS.Throughput = Elastic
		bill := mustBill(t, book, u)
		if got := Decimal(bill.Items[0].Quantity, 6); bill.Items[0].Meter != "efs.metadata" || got != test.want {
			t.Errorf("%s: %s GB of %s, want %s", test.name, got, bill.Items[0].Meter, test.want)
		}
	}
	for want, e := range map[string]EFS{
		"metered metadata bytes is 8191, allowed: 8192 or more":      {MetadataOperations: 2, MetadataBytes: 8191},
		"metered warm metadata bytes is 4095, allowed: 4096 or more": {WarmMetadata: Messages{1, 4095}},
		"warm metadata operations is -1, allowed: 0 or more":         {WarmMetadata: Messages{-1, 0}},
	} {
		e.Throughput = Elastic
		if err := (Usage{EFS: e}).Validate(); err == nil || err.Error() != want {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}

// TestMeasuredMessages checks that what was counted replaces the model, and that a call
// without the index is modeled on top of it.
func TestMeasuredMessages(t *testing.T) {
	s := Scan{Files: 100, Directories: 1, Opens: 100, Messages: Messages{499, 499*4*kib + 16*kib}, Elapsed: time.Second}
	e := Measured(Usage{}, s, Reads{}).EFS
	if e.MetadataOperations != 499 || e.MetadataBytes != 499*4*kib+16*kib || e.WarmMetadata.Count != 206 {
		t.Errorf("measured: %+v", e)
	}
	s.Messages = Messages{Count: 3} // from a warm client, without sizes
	e = Measured(Usage{}, s, Reads{}).EFS
	if e.MetadataOperations != 3 || e.MetadataBytes != 3*4*kib || e.WarmMetadata != (Messages{3, 12 * kib}) {
		t.Errorf("few: %+v", e)
	}
	if x := NewUnindexed(s, Reads{}, Items{}); x.OpenOperations != 2 {
		t.Errorf("few, without an index: %+v", x)
	}
	s = Scan{Files: 100, Directories: 1, OpensSpared: 100, Messages: Messages{10, 60 * kib}}
	want := Messages{10 + 201, 60*kib + 200*4*kib + 20*kib}
	x := NewUnindexed(s, Reads{}, Items{})
	if got := (Messages{x.MetadataOperations, x.MetadataBytes}); got != want || x.OpenOperations != 200 {
		t.Errorf("without the index: %+v, want %+v", x, want)
	}
	u := WithMetadata(Usage{EFS: e, Index: Index{OpenOperations: 200}}, 7)
	if u.EFS.MetadataOperations != 7 || u.EFS.MetadataBytes != 0 || u.EFS.WarmMetadata != (Messages{}) || u.Index.OpenOperations != 7 {
		t.Errorf("given: %+v", u)
	}
}

// TestRelisting checks that an index spares the second listing of a directory in which
// nothing changed: always, never, and in 0.99^100 = 36.6032% of the calls.
func TestRelisting(t *testing.T) {
	c := choice()
	c.All.EFS.MetadataOperations, c.All.EFS.MetadataBytes = 207, 207*4*kib+32*kib
	c.All.EFS.WarmMetadata = Messages{204, 204*4*kib + 32*kib}
	c.Relisting = Relisting{Messages{1, 20 * kib}, 100}
	for churn, want := range map[int64]Messages{
		0:       {206, 206*4*kib + 16*kib},
		10_000:  {207, 207*4*kib + 32*kib - 7496}, // 20,480 × 0.366032, rounded down
		million: {207, 207*4*kib + 32*kib},
	} {
		u := c.AtChurn(churn)
		if got := (Messages{u.EFS.MetadataOperations, u.EFS.MetadataBytes}); got != want {
			t.Errorf("at %d: %+v, want %+v", churn, got, want)
		}
		want.Count, want.Bytes = want.Count-3, want.Bytes-3*4*kib
		if got := u.EFS.WarmMetadata; got != want {
			t.Errorf("warm, at %d: %+v, want %+v", churn, got, want)
		}
		if err := u.Validate(); err != nil {
			t.Error(err)
		}
	}
}

// TestTwoDurations checks that a call without the index takes longer by what one
// environment reads at 500 MiB/s, and that a call with it takes its share of that.
func TestTwoDurations(t *testing.T) {
	book := prices(t, "us-east-1")
	for _, test := range []struct {
		name       string
		took       time.Duration
		read       int64 // by the scan, of 100 MiB
		churn      int64
		all, index time.Duration
	}{
		{"the index knew all", 40 * time.Millisecond, 0, 0, 240 * time.Millisecond, 40 * time.Millisecond},
		{"and 1% change", 40 * time.Millisecond, 0, 10_000, 240 * time.Millisecond, 42 * time.Millisecond},
		{"and all change", 40 * time.Millisecond, 0, million, 240 * time.Millisecond, 240 * time.Millisecond},
		{"it knew half", 140 * time.Millisecond, 50 * mib, 0, 240 * time.Millisecond, 40 * time.Millisecond},
		{"it knew nothing", 240 * time.Millisecond, 100 * mib, 0, 240 * time.Millisecond, 40 * time.Millisecond},
		{"read faster than EFS can", 50 * time.Millisecond, 100 * mib, 0, 50 * time.Millisecond, time.Millisecond},
	} {
		p := Project(book, choice().All)
		p.Usage.Lambda.Duration, p.Usage.EFS.ReadBytes = test.took, test.read
		p.Index = &Unindexed{ReadBytes: 100 * mib, AccessBytes: 100 * mib, MetadataOperations: 301, OpenOperations: 200}
		p.Weigh(book, test.churn)
		if p.Err != nil {
			t.Fatal(p.Err)
		}
		got := []time.Duration{p.Weighed.All.Lambda.Duration, p.Weighed.IndexUsage.Lambda.Duration}
		if diff := cmp.Diff([]time.Duration{test.all, test.index}, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}
