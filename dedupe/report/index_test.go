package report

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"efsdedupe/dedupe"
	"efsdedupe/dedupe/cost"
	"efsdedupe/dedupe/mount"
)

// half is a scan of 100 files of 1 MiB in one directory, of which an index knew 60.
func half(items cost.Items) (dedupe.Report, *cost.Unindexed, cost.Usage) {
	var m cost.Reads
	for i := range 100 {
		if i < 60 {
			m.Add(0, mib)
		} else {
			m.Add(mib, 0)
		}
	}
	r := dedupe.Report{Stats: dedupe.Stats{
		Files: 100, Directories: 1, Bytes: 100 * mib, Elapsed: 300 * time.Millisecond,
		Work: dedupe.Work{Opens: 40, BytesRead: 40 * mib, FilesKnown: 60, OpensSpared: 60, BytesSpared: 60 * mib},
	}}
	took := Took(r)
	return r, cost.NewUnindexed(took, m, items), cost.Measured(cost.DefaultUsage(), took, m)
}

// inTable is one item of 100 files.
var inTable = cost.Items{LookUp: 1_000_000, Reread: 2_000_000, Rewrite: 7_000_000, Files: 100, Bytes: 6800}

func TestUnindexed(t *testing.T) {
	_, got, measured := half(inTable)
	want := &cost.Unindexed{ReadBytes: 100 * mib, AccessBytes: 100 * mib, OpenOperations: 200, Items: inTable,
		MetadataOperations: 207, MetadataBytes: 205*4096 + 2*20480, // 2 READDIRs of 19.7 KB
		WarmMetadata: cost.Messages{Count: 206, Bytes: 204*4096 + 2*20480},
		Relisting:    cost.Relisting{Messages: cost.Messages{Count: 1, Bytes: 20480}, Files: 100}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("index (-want +got):\n%s", diff)
	}
	if measured.EFS.ReadBytes != 40*mib || measured.EFS.MetadataOperations != 87 {
		t.Errorf("measured %+v", measured.EFS)
	}
}

// TestWeigh checks that the bills match the choice, whatever the scan itself read and was
// charged, and that the text explains them.
func TestWeigh(t *testing.T) {
	book := prices(t, "us-east-1")
	for _, test := range []struct {
		name       string
		items      cost.Items
		churn      int64
		throughput cost.Throughput
		want       []string // in the text
	}{
		{"in a table", inTable, 10_000, cost.Elastic, []string{
			"every call reads all  with the index, 1% churn",
			"efs.read                                    146,484.38                  1,464.84",
			"dynamodb.write                                    0.00                    138.68",
			"The index pays while less than 99.8392% of the files change between two calls; at 1% its first filling is paid for after 1 call.",
			"A call takes 420ms without the index and 222ms with it",
		}},
		{"all changes", inTable, 1_000_000, cost.Elastic, []string{
			"of the files change between two calls; at 100% it does not.",
		}},
		{"in a file", cost.Items{}, 333_333, cost.Elastic, []string{
			"with the index, 33.3333% churn",
			"The index pays unless all files change between two calls, and being in a file it costs nothing.",
		}},
		{"reads cost only time", inTable, 500_000, cost.Bursting, []string{
			"with the index, 50% churn",
			"The index pays while less than 2.7606% of the files change between two calls; at 50% it does not.",
			"Note: the calls need 659.205 MiBps",
			"Note: with the index, the calls need 330.168 MiBps",
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, index, u := half(test.items)
			u.EFS.Throughput, u.DynamoDB = test.throughput, cost.DynamoDB{ReadUnits: 1, WriteUnits: 1}
			p := cost.Project(book, u)
			p.Index = index
			p.Weigh(book, test.churn)
			if p.Err != nil {
				t.Fatal(p.Err)
			}
			if all := p.Weighed.All; all.DynamoDB != (cost.DynamoDB{}) || all.Index != (cost.Index{}) || all.Lambda.Duration != u.Lambda.Duration+120*time.Millisecond {
				t.Errorf("every call reads all: %+v", all)
			}
			text := string(write(t, Text, sample{report: r, projection: &p}, false))
			for _, want := range append(test.want, "The index saved 60 opens and 60 MiB.") {
				if !strings.Contains(text, want) {
					t.Errorf("no %q in:\n%s", want, text)
				}
			}
			saved, err := Read(bytes.NewReader(write(t, JSON, sample{report: r, projection: &p}, false)))
			if diff := cmp.Diff(index, saved.Index); err != nil || diff != "" {
				t.Errorf("%v, index (-written +read):\n%s", err, diff)
			}
		})
	}
}

// TestWeighFails checks that a usage without a price has no bill at all.
func TestWeighFails(t *testing.T) {
	book := prices(t, "us-east-1")
	for name, spoil := range map[string]func(*cost.Unindexed){
		"negative":       func(x *cost.Unindexed) { x.Items.LookUp = -1 },
		"too many files": func(x *cost.Unindexed) { x.Items.Files = cost.MaxItemFiles + 1 },
		"too many opens": func(x *cost.Unindexed) { x.OpenOperations = x.MetadataOperations + 1 },
	} {
		_, index, u := half(inTable)
		p := cost.Project(book, u)
		p.Index = index
		spoil(index)
		if p.Weigh(book, 10_000); p.Err == nil || p.Bill != nil || p.Weighed != nil {
			t.Errorf("%s: %+v", name, p)
		}
		p.Weigh(book, 10_000)
		p.Warn(cost.Scan{PeakMemory: 1 << 40}) // there is no bill to add to
	}
}

// TestWarnWeighed checks that all bills have the warning.
func TestWarnWeighed(t *testing.T) {
	p := weighed()
	p.Warn(cost.Scan{PeakMemory: 1 << 40})
	for _, b := range []*cost.Bill{p.Bill, p.Weighed.AllBill, p.Weighed.IndexBill} {
		if last := b.Warnings[len(b.Warnings)-1]; !strings.Contains(last, "would be killed") {
			t.Errorf("warnings %q", b.Warnings)
		}
	}
	if n := strings.Count(string(writeProjection(t, Text, p)), "would be killed"); n != 1 {
		t.Errorf("told %d times", n)
	}
}

// TestTookMessages checks that a bill uses the messages that were measured.
func TestTookMessages(t *testing.T) {
	sent := &mount.Traffic{Messages: map[string]int64{"READ": 200, "OPEN": 100, "READDIR": 2}, MeteredBytes: 100*4096 + 40000}
	took := Took(dedupe.Report{Stats: dedupe.Stats{Files: 100, Directories: 1, NFS: sent}})
	if want := (cost.Messages{Count: 102, Bytes: 100*4096 + 40000}); took.Messages != want {
		t.Errorf("%+v, want %+v", took.Messages, want)
	}
}
