package report

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"testing"
	"time"

	"efsdedupe/dedupe"
	"efsdedupe/dedupe/cost"
	"efsdedupe/dedupe/mount"
	"efsdedupe/dedupe/report/reporttest"
	"efsdedupe/fixtures/testkit"
)

var update = flag.Bool("update", false, "write the golden files instead of comparing with them")

const mib = 1 << 20

func TestMain(m *testing.M) {
	time.Local = time.FixedZone("elsewhere", -7*60*60) // output must not depend on the time zone
	m.Run()
}

// sample is what a test writes: a report, and perhaps a projection.
type sample struct {
	name       string
	report     dedupe.Report
	projection *cost.Projection
}

// options returns the options of a scan in /home that asked for the whole bill.
func (s sample) options(colour bool) Options {
	return Options{Colour: colour, Bill: true, Tool: Tool{Name: "dedupe", Version: "v2.0.0", Revision: "abc123", Modified: true}, Dir: "/home"}
}

// samples together have every field that a report can have.
func samples() []sample {
	return []sample{
		{"everything", everything(), priced()},
		{"nothing", nothing(), nil},
		{"no-bill", unpriced(), unpayable()},
		{"indexed", indexed(), weighed()},
		{"not-alone", notAlone(), nil},
	}
}

func unpayable() *cost.Projection {
	return &cost.Projection{Err: errors.New("duration is 1h0m0s, allowed: above 0, at most 15m")}
}

func TestGolden(t *testing.T) {
	for _, s := range samples() {
		for _, f := range []Format{Text, JSON, CSV, Fdupes} {
			reporttest.Golden(t, *update, s.name+"."+string(f), write(t, f, s, false))
		}
		reporttest.Golden(t, *update, s.name+".colour", write(t, Text, s, true))
	}
	for _, f := range []Format{Text, JSON} {
		reporttest.Golden(t, *update, "projection."+string(f), writeProjection(t, f, priced()))
	}
	reporttest.Golden(t, *update, "projection-no-bill.text", writeProjection(t, Text, unpayable()))
}

// A file name must not control the terminal that it is printed on. The golden files check
// that, too, but -update would accept anything.
func TestTextIsHarmless(t *testing.T) {
	for _, s := range samples() {
		for _, r := range string(write(t, Text, s, false)) {
			if r != '\n' && (r < ' ' || r == '\x7f' || 0x80 <= r && r <= 0x9f || r == '\u202e') {
				t.Errorf("%s: text holds %U", s.name, r)
			}
		}
		coloured := write(t, Text, s, true)
		if !bytes.Contains(coloured, []byte("\x1b[1m")) {
			t.Errorf("%s: nothing is bold in colour", s.name)
		}
		// The text itself uses bold, faint and bold red, and ends them.
		own := strings.NewReplacer("\x1b[1m", "", "\x1b[2m", "", "\x1b[31;1m", "", "\x1b[22m", "", "\x1b[0;22m", "")
		if rest := own.Replace(string(coloured)); rest != string(write(t, Text, s, false)) {
			t.Errorf("%s: colour changes more than colour: %q", s.name, rest)
		}
	}
}

// A full disk or a closed pipe must not pass for a complete report.
func TestWriteErrors(t *testing.T) {
	for _, s := range samples() {
		for _, f := range []Format{Text, JSON, CSV, Fdupes} {
			whole := len(write(t, f, s, false))
			for room := 0; room < whole; room += 1 + whole/50 {
				if err := Write(&full{room}, f, s.report, s.projection, s.options(false)); !errors.Is(err, syscall.ENOSPC) {
					t.Errorf("%s as %s, %d of %d bytes written: error %v", s.name, f, room, whole, err)
				}
			}
		}
	}
	for _, f := range []Format{Text, JSON} {
		whole := len(writeProjection(t, f, priced()))
		for room := range whole {
			if err := WriteProjection(&full{room}, f, priced(), false); !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("projection as %s, %d of %d bytes written: error %v", f, room, whole, err)
			}
		}
	}
}

// full is a disk with room for that many bytes.
type full struct{ room int }

func (f *full) Write(b []byte) (int, error) {
	n := min(len(b), f.room)
	f.room -= n
	if n < len(b) {
		return n, syscall.ENOSPC
	}
	return n, nil
}

func TestFormats(t *testing.T) {
	for _, f := range []Format{Text, JSON, CSV, Fdupes} {
		// The one problem that no text lists must be reported.
		r := dedupe.Report{Problems: []*dedupe.Problem{{Op: "open", Path: "secret", Err: fs.ErrPermission}}}
		if told := bytes.Contains(write(t, f, sample{report: r}, false), []byte("secret")); told != f.TellsProblems() {
			t.Errorf("%s tells problems: %v, says %v", f, told, f.TellsProblems())
		}
	}
	if err := Write(new(bytes.Buffer), "xml", dedupe.Report{}, nil, Options{}); err == nil {
		t.Error("Write wrote xml")
	}
	for _, f := range []Format{CSV, Fdupes, "xml"} {
		if err := WriteProjection(new(bytes.Buffer), f, priced(), false); err == nil {
			t.Errorf("WriteProjection wrote %s", f)
		}
	}
	none := cost.Projection{Err: errors.New("no such region")}
	if err := WriteProjection(new(bytes.Buffer), JSON, &none, false); !errors.Is(err, none.Err) {
		t.Errorf("a projection that is none, as JSON: error %v", err)
	}
}

// copiesOf returns the copies with these files, which are sorted by path.
func copiesOf(files ...dedupe.File) (copies []*dedupe.Copy) {
	type inode struct{ device, number uint64 }
	links := make(map[inode][]string)
	for _, f := range files {
		of := inode{f.Device, f.Inode}
		links[of] = append(links[of], f.Path)
	}
	for _, f := range files {
		if paths := links[inode{f.Device, f.Inode}]; paths[0] == f.Path {
			copies = append(copies, dedupe.CopyOf(f, paths[1:]...))
		}
	}
	return copies
}

// everything is a report with all that is hard to write.
func everything() dedupe.Report {
	// Twelve files, one more than the text lists, one of them a hard link.
	cut := newGroup(mib, 10*mib)
	var set []dedupe.File
	for i := range 12 {
		set = append(set, newFile(fmt.Sprintf("/efs/set/%02d", i), mib, uint64(100+i)))
	}
	set[1].Inode = set[0].Inode
	for i := range set {
		set[i].Links, set[i].Allocated = 1, mib
	}
	set[0].Links, set[1].Links = 2, 2
	set[2].Allocated = 4096 // it is sparse
	cut.Copies = copiesOf(set...)
	cut.ReclaimableAllocated = 10*mib - 4096

	// Eleven files: listing the last takes no more space than saying that it is left out.
	nasty := newGroup(3072, 30720)
	for i, path := range nastyPaths {
		nasty.Copies = append(nasty.Copies, dedupe.CopyOf(newFile(path, 3072, uint64(200+i))))
	}

	// The first and the last are the same inode. The one between has the same number on
	// another device.
	devices := newGroup(100, 100)
	other := newFile("/b/2", 100, 7)
	other.Device = 2
	devices.Copies = copiesOf(newFile("/a/\t1", 100, 7), other, newFile("/c/\t3", 100, 7))

	empty := newGroup(0, 0)
	empty.Copies = copiesOf(newFile("/efs/empty", 0, 300), newFile("/efs/void", 0, 301))

	return dedupe.Report{
		Roots:       []string{"-r", "/efs/\xe9t\xe9"},
		Reason:      dedupe.ReasonProblems,
		Started:     time.Unix(1795437000, 5000),
		Finished:    time.Unix(1795437001, 234567891),
		FileSystems: []mount.FileSystem{{Type: "ext4"}, {Type: "nfs4", Identity: "fs-0123abcd"}},
		Skipped:     []dedupe.Skipped{{Path: "/efs/\xe9t\xe9/other", Rule: "one_file_system"}, {Path: "report.json", Rule: "own_output"}},
		Filter:      dedupe.Filter{MinSize: 1, MaxSize: 1 << 40, Include: []string{"*.jpg", "\xff*"}, Exclude: []string{"\xfe*"}},
		Index:       &dedupe.IndexUse{Used: true, Why: "the index is not used for \"/efs/images\""},
		Mode:        dedupe.Processes,
		Workers:     100,
		Groups:      []dedupe.Group{cut, nasty, devices, empty},
		Problems: []*dedupe.Problem{
			{Op: "open", Path: "/efs/\x1b[2Jsecret", Err: syscall.EACCES},
			{Op: "read", Path: "/efs/gr\xfcn", Err: fmt.Errorf("%w: it ended after 5 of 9 bytes", dedupe.ErrChanged)},
		},
		Stats: dedupe.Stats{
			Files: 12345, Bytes: 5 << 30, Directories: 1,
			Work:            dedupe.Work{Opens: 1234, BytesRead: 1<<30 + 1, FilesHashed: 1100, FilesCompared: 100, FilesKnown: 34, OpensSpared: 35, BytesSpared: 34 * mib},
			DuplicateGroups: 4, DuplicateFiles: 22, ReclaimableBytes: 10*mib + 30720 + 100,
			Elapsed: 1234567891 * time.Nanosecond, CPU: 90 * time.Second, PeakMemory: 300 * mib, WorkerProcesses: 101,
		},
	}
}

var nastyPaths = []string{
	"-rf",
	"\x1b[31mred",
	"\xff\xfe",
	` leading and trailing `,
	`"quoted"`,
	`<b>&amp;</b>`,
	`back\slash`,
	"bidi \u202etxt.exe",
	"new\nline, tab\t and \r\n",
	"nel\u0085 c1 \u009b31m \u2028",
	"日本語/é",
}

func nothing() dedupe.Report {
	return dedupe.Report{
		Roots:    []string{"."},
		Mode:     dedupe.Goroutines,
		Workers:  1,
		Complete: true,
		Stats:    dedupe.Stats{Files: 1, Bytes: 1023, Directories: 2, Elapsed: 40 * time.Microsecond},
	}
}

// unpriced was interrupted after the first group.
func unpriced() dedupe.Report {
	one := newGroup(5, 5)
	one.Copies = copiesOf(newFile("a", 5, 1), newFile("b", 5, 2))
	return dedupe.Report{
		Roots:       []string{"."},
		Mode:        dedupe.Goroutines,
		Workers:     64,
		Interrupted: true,
		Groups:      []dedupe.Group{one},
		Stats: dedupe.Stats{Files: 2, Bytes: 10, Directories: 1, Work: dedupe.Work{Opens: 2, BytesRead: 10, FilesHashed: 2},
			DuplicateGroups: 1, DuplicateFiles: 1, ReclaimableBytes: 5, Elapsed: time.Hour},
	}
}

// priced has a bill of round figures, because the price book's figures change.
func priced() *cost.Projection {
	return &cost.Projection{
		Usage: cost.Usage{
			Calls: 50_000_000,
			Lambda: cost.Lambda{Arch: cost.ARM, MemoryMB: 1769, Duration: 1235 * time.Millisecond, EphemeralMB: 512,
				Provisioned: cost.ProvisionedConcurrency{Environments: 3}},
			API: cost.HTTP, RequestBytes: 1024,
			EFS: cost.EFS{Throughput: cost.Provisioned, ProvisionedMiBps: 20, ReadBytes: 1<<30 + 32768, AccessBytes: 2 << 30,
				MetadataOperations: 14814, StorageClass: cost.IA, StoredBytes: 5 << 30, ReclaimableBytes: 10516580},
			FreeTier: true,
		},
		Bill: &cost.Bill{
			Region: "mars-north-1", Currency: "USD", Date: "2026-11",
			Items: []cost.Item{
				{Meter: "lambda.requests", Quantity: testkit.Rat("1000000"), Unit: "request", UnitPrice: testkit.Rat("0"), Cost: testkit.Rat("0"), Source: "Lambda pricing", Checked: "2026-10"},
				{Meter: "lambda.requests", Quantity: testkit.Rat("49000000"), Unit: "request", UnitPrice: testkit.Rat("0.0000002"), Cost: testkit.Rat("9.8"), Source: "Lambda pricing", Checked: "2026-10"},
				{Meter: "efs.read", Quantity: testkit.Rat("4882812.5"), Unit: "GB", UnitPrice: testkit.Rat("0.03"), Cost: testkit.Rat("146484.375"), Source: "EFS pricing", Checked: "2026-11"},
				{Meter: "efs.storage.ia", Quantity: testkit.Rat("1/3"), Unit: "GB-month", UnitPrice: testkit.Rat("0.01"), Cost: testkit.Rat("1/300"), Source: "EFS pricing", Checked: "2026-11"},
			},
			Total:       testkit.Rat("146494.178333"),
			Reclaimable: testkit.Rat("0.005"),
			Warnings:    []string{"one without a full stop", "one with one."},
		},
	}
}

// notAlone shared the process with another scan.
func notAlone() dedupe.Report {
	r := nothing()
	r.Stats.CPUUnknown = true
	one := mount.Traffic{Point: "/mnt/\xe9", Messages: map[string]int64{"READ": 200, "OPEN": 100, "CLOSE": 100, "READDIR": 1}, BytesSent: 100_000,
		BytesReceived: 105_000_000, MeteredBytes: 839_200, Retransmissions: 3, Timeouts: 1, RoundTrip: 1234567 * time.Nanosecond}
	other := mount.Traffic{Point: "/mnt/efs", Messages: map[string]int64{}}
	all := one
	all.Point, all.Mounts = "", []mount.Traffic{one, other}
	r.Stats.NFS = &all
	return r
}

// indexed read one of two files; the index knew the other.
func indexed() dedupe.Report {
	r := nothing()
	r.Stats = dedupe.Stats{Files: 2, Bytes: 2 * mib, Directories: 1, Elapsed: 40 * time.Millisecond,
		Work: dedupe.Work{Opens: 1, BytesRead: mib, FilesHashed: 1, FilesKnown: 1, OpensSpared: 1, BytesSpared: mib},
		NFS:  &mount.Traffic{Point: "/mnt/efs", Messages: map[string]int64{"READDIR": 1}, BytesSent: 180, BytesReceived: 300, MeteredBytes: 4096, RoundTrip: time.Millisecond}}
	return r
}

// weighed has bills of round figures: the one with the index has half the reads, and a
// table.
func weighed() *cost.Projection {
	p := priced()
	p.Usage.DynamoDB = cost.DynamoDB{ReadUnits: 1_500_000, WriteUnits: 1, StoredBytes: 301}
	p.Index = &cost.Unindexed{ReadBytes: 2 * mib, AccessBytes: 2 * mib, MetadataOperations: 7, OpenOperations: 4,
		MetadataBytes: 7*4096 + 1024, WarmMetadata: cost.Messages{Count: 6, Bytes: 6 * 4096},
		Relisting: cost.Relisting{Messages: cost.Messages{Count: 2, Bytes: 8192}, Files: 2},
		Items:     cost.Items{LookUp: 500_000, Reread: 1_000_000, Rewrite: 1_000_000, Files: 2, Bytes: 301}}
	item := func(meter, usd string) cost.Item {
		return cost.Item{Meter: meter, Quantity: testkit.Rat(usd), Unit: "GB", UnitPrice: testkit.Rat("1"), Cost: testkit.Rat(usd), Source: "a page", Checked: "2026-11"}
	}
	all, index := *p.Bill, *p.Bill
	all.Items, all.Total = []cost.Item{item("lambda.requests", "10"), item("efs.read", "5000")}, testkit.Rat("5010")
	index.Items, index.Total = []cost.Item{item("lambda.requests", "10"), item("efs.read", "2500"), item("dynamodb.read", "0.125")}, testkit.Rat("2510.125")
	all.Warnings, index.Warnings = []string{"of both", "of one"}, []string{"of both", "of the other."}
	p.Weighed = &cost.Weighed{
		Choice: cost.Choice{All: p.Usage, OpenOperations: 4, Items: p.Index.Items}, Churn: 500_000,
		IndexUsage: cost.Choice{All: p.Usage, OpenOperations: 4, Items: p.Index.Items}.AtChurn(500_000),
		AllBill:    &all, IndexBill: &index, BreakEven: 998_392, Repaid: 7,
	}
	return p
}

func newGroup(size, reclaimable int64) dedupe.Group {
	g := dedupe.Group{Size: size, Reclaimable: reclaimable}
	for i := range g.Digest {
		g.Digest[i] = byte(int64(i) + size/100)
	}
	return g
}

func newFile(path string, size int64, inode uint64) dedupe.File {
	return dedupe.File{Path: path, Size: size, Device: 1, Inode: inode,
		ModTime:    dedupe.Timestamp{Sec: 1795437296, Nsec: 789e6}, // 2026-11-23T12:34:56.789Z
		ChangeTime: dedupe.Timestamp{Sec: 1795437296, Nsec: 789e6 + 1}}
}

func write(t testing.TB, f Format, s sample, colour bool) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, f, s.report, s.projection, s.options(colour)); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func writeProjection(t testing.TB, f Format, p *cost.Projection) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := WriteProjection(&b, f, p, false); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
