package cost

import (
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"
)

// Projection is the bill for a month of calls, and the usage behind it. If the usage has
// no price, Bill is nil and Err says why.
type Projection struct {
	Usage   Usage
	Bill    *Bill
	Err     error
	Index   *Unindexed // nil: there is no index
	Weighed *Weighed   // nil unless Weigh compared calls with and without the index

	// AtColdShare has the totals if fewer calls are cold. It is empty unless the usage
	// has only cold calls.
	AtColdShare []ColdTotal
}

// ColdTotal is a month's total if only some calls are cold.
type ColdTotal struct {
	Share int64 // cold calls in a million
	Total *big.Rat
}

// Project prices usage from a price book.
func Project(book *Book, u Usage) Projection {
	bill, err := book.Bill(u)
	return Projection{Usage: u, Bill: bill, Err: err, AtColdShare: book.atColdShares(u, bill)}
}

// atColdShares returns the totals if 10% or 1% of the calls are cold, unless they are the
// bill's.
func (b *Book) atColdShares(u Usage, bill *Bill) (totals []ColdTotal) {
	if bill == nil || u.Warm > 0 {
		return nil
	}
	for _, share := range []int64{million / 10, million / 100} {
		u.Warm = million - share
		if fewer, err := b.Bill(u); err == nil && fewer.Total.Cmp(bill.Total) != 0 {
			totals = append(totals, ColdTotal{share, fewer.Total})
		}
	}
	return totals
}

const (
	// DefaultMemoryMB is the memory of a Lambda function that has one whole vCPU.
	DefaultMemoryMB = 1769

	// DefaultRegion has a price for everything.
	DefaultRegion = "us-east-1"

	// DefaultInit is what INIT of the function takes in a box of 1,769 MB: make test-box
	// ARGS='-run TestBoxInit'.
	DefaultInit = 20 * time.Millisecond
)

// DefaultExtras returns what the stack of deploy/template.yaml pays for besides calls and
// files, if each call scans the standard set of 100 files. A test measures these figures.
// The response is not compressed: with gzip it is 3,200 bytes.
func DefaultExtras() Extras {
	return Extras{
		LogBytes:       1400,
		AccessLogBytes: 440,
		RetentionDays:  30,
		ResponseBytes:  21_000,
		Metrics:        7,
		Alarms:         5,
	}
}

// WithoutService returns u without INIT and [Extras]: the function alone, as in the
// examples of AWS's pricing pages.
func WithoutService(u Usage) Usage {
	u.Lambda.Init, u.Extras = 0, Extras{}
	return u
}

// DefaultUsage returns what a bill assumes by default. It lacks what a call takes: see
// [Measured] and [ByHand].
func DefaultUsage() Usage {
	return Usage{
		Calls:  50_000_000,
		Hours:  int64(Month / time.Hour),
		Lambda: Lambda{Arch: ARM, Init: DefaultInit},
		API:    HTTP,
		EFS:    EFS{Throughput: Elastic, StorageClass: Standard},
		Extras: DefaultExtras(),
	}
}

// CheckBill checks before a scan that the book has a price for everything on its bill.
func CheckBill(book *Book, u Usage) error {
	u.Lambda.Duration = time.Second
	if u.Lambda.MemoryMB == 0 {
		u.Lambda.MemoryMB = DefaultMemoryMB
	}
	u.EFS.StoredBytes = 1
	u.EFS.Stored, _ = ByHandStored(1, 0, 1)
	u, err := ByHand(u, 1<<20, 1)
	if err != nil {
		return err
	}
	_, err = book.Bill(u)
	return Explain(err)
}

// Explain adds to the error of a missing price what to do about it: to give the price, or
// to choose something else.
func Explain(err error) error {
	var missing *PriceError
	if !errors.As(err, &missing) {
		return err
	}
	const add = "to add prices, make a price book with 'dedupe cost import-prices'"
	var parts []string
	known := 0
	for _, o := range optionals() {
		n := len(parts)
		for _, meter := range missing.Meters {
			if slices.ContainsFunc(o.prefixes, func(prefix string) bool { return strings.HasPrefix(meter, prefix) }) {
				known++
				parts = append(parts[:n], o.part+" with the "+o.choice)
			}
		}
	}
	if known < len(missing.Meters) {
		return fmt.Errorf("%w; %s, or choose the prices of a region that is known", err, add)
	}
	if last := len(parts) - 1; last > 0 {
		parts[last] = "and " + parts[last]
	}
	parts[0] = strings.Replace(parts[0], " with ", " out with ", 1)
	return fmt.Errorf("%w; %s; leave %s", err, add, strings.Join(parts, ", "))
}

// optional is a part of a bill that can be left out of it.
type optional struct {
	prefixes     []string // of its meters
	part, choice string
}

func optionals() []optional {
	return []optional{
		{[]string{"api."}, "the gateway", "api none"},
		{[]string{"efs.storage."}, "storage", "storage class none"},
		{[]string{"efs.read", "efs.metadata"}, "what Elastic throughput costs", "throughput bursting"},
		{[]string{"logs.", "transfer.", "metrics."}, "logs, answers, metrics and alarms", "extras none"},
	}
}

// maxMemoryMB is the most that a Lambda function can have.
const maxMemoryMB = 10240

// Reads sums the bytes that EFS meters for the files that a scan reads, and for those
// that an index saves it from reading.
type Reads struct {
	Read, Access             int64 // as EFS meters reading, and access in IA or Archive
	SparedRead, SparedAccess int64
}

// Merge adds what another part of the scan read.
func (m *Reads) Merge(o Reads) {
	m.Read += o.Read
	m.Access += o.Access
	m.SparedRead += o.SparedRead
	m.SparedAccess += o.SparedAccess
}

// Add counts one file: the bytes read, and the bytes that an index saved.
func (m *Reads) Add(read, spared int64) {
	m.Read += MeteredRead(read)
	m.Access += MeteredAccess(read)
	m.SparedRead += MeteredRead(spared)
	m.SparedAccess += MeteredAccess(spared)
}

func (m Reads) meter(u Usage) Usage {
	u.EFS.ReadBytes, u.EFS.AccessBytes = m.Read, m.Access
	return u
}

// Scan holds the figures of one scan that a bill depends on.
type Scan struct {
	Elapsed    time.Duration
	PeakMemory int64 // bytes
	Partial    bool  // it did not read everything

	Files, Directories int64 // found
	Opens, OpensSpared int64 // OpensSpared: those that an index saved
	StoredBytes        int64
	ReclaimableBytes   int64
	Stored             Objects // files as metered; zero if nobody counted
	Reclaimable        Objects // likewise, at most Stored

	AnswerBytes int64 // of the service, about; 0 if unknown

	// Messages are the NFS requests besides READ and WRITE that the scan sent, if they
	// were counted. Zero means unknown: then they are modeled, see [Tree].
	Messages Messages
}

func (s Scan) tree() Tree { return Tree{Files: s.Files, Directories: s.Directories, Opens: s.Opens} }

// metadata is what the scan sent, measured or else modeled.
func (s Scan) metadata() Messages {
	if m := s.Messages; m.Count > 0 {
		return Messages{m.Count, max(m.Bytes, MeteredMetadata(m.Count))}
	}
	return s.tree().Cold()
}

// warm is what a warm call sends: as modeled, but not more than was measured.
func (t Tree) warm(measured Messages) Messages {
	if m := t.Warm(); m.Count < measured.Count {
		return m
	}
	return measured
}

// Measured returns u for calls that each do what one scan did: its duration, its use of
// EFS, and its memory unless u sets one.
func Measured(u Usage, s Scan, m Reads) Usage {
	u.Lambda.Duration = BilledDuration(max(s.Elapsed, time.Millisecond))
	if u.Lambda.MemoryMB == 0 {
		u.Lambda.MemoryMB = min(max(DefaultMemoryMB, megabytes(s.PeakMemory)), maxMemoryMB)
	}
	u = u.sending(s.metadata(), s.tree().warm(s.metadata()))
	if u.Extras.ResponseBytes > 0 && s.AnswerBytes > 0 {
		u.Extras.ResponseBytes = s.AnswerBytes
	}
	if s.Stored.Files > 0 {
		s.Stored.Directories = s.Directories
	}
	u.EFS.StoredBytes, u.EFS.Stored = s.StoredBytes, s.Stored
	u.EFS.ReclaimableBytes, u.EFS.Reclaimable = s.ReclaimableBytes, s.Reclaimable.within(s.Stored)
	return m.meter(u)
}

func (u Usage) sending(cold, warm Messages) Usage {
	u.EFS.MetadataOperations, u.EFS.MetadataBytes = cold.Count, cold.Bytes
	u.EFS.WarmMetadata = warm
	return u
}

// ByHand returns u for calls that each open this many files in one directory and read this
// many bytes, spread evenly over them. The metadata of a call that opens files is modeled,
// see [Tree]. It returns an error if no call can do so much.
func ByHand(u Usage, bytesRead, opens int64) (Usage, error) {
	if bytesRead < 0 || bytesRead > 1<<50 || opens < 0 || opens > 1e9 {
		return u, errors.New("no call opens more than 1G files or reads more than 1024TiB: these are figures of one call, not of a month")
	}
	files := max(opens, 1)
	each, more := bytesRead/files, bytesRead%files
	u = u.sending(Messages{}, Messages{})
	u.Index.OpenOperations = min(u.Index.OpenOperations, fileMessages*opens)
	if opens > 0 {
		tree := Tree{Files: opens, Directories: 1, Opens: opens}
		u = u.sending(tree.Cold(), tree.Warm())
	}
	return Reads{
		Read:   (files-more)*MeteredRead(each) + more*MeteredRead(each+1),
		Access: (files-more)*MeteredAccess(each) + more*MeteredAccess(each+1),
	}.meter(u), nil
}

// WithMetadata returns u for calls that each send this many requests of 4 KiB besides READ
// and WRITE, whatever was measured or modeled.
func WithMetadata(u Usage, operations int64) Usage {
	u.Index.OpenOperations = min(u.Index.OpenOperations, operations)
	return u.sending(Messages{Count: operations}, Messages{})
}

// OnProvisioned returns u with all calls on provisioned concurrency, if u has any.
func OnProvisioned(u Usage) Usage {
	u.Lambda.Provisioned.Calls = 0
	if u.Lambda.Provisioned.Environments > 0 {
		u.Lambda.Provisioned.Calls = u.Calls
	}
	return u
}

// Warn adds warnings to the bills if the scan was partial or took more memory than the
// function has.
func (p *Projection) Warn(s Scan) {
	if p.Bill == nil {
		return
	}
	var warnings []string
	if s.Partial {
		warnings = append(warnings, "this bill is based on a partial scan: a complete one reads more and costs more")
	}
	if took := megabytes(s.PeakMemory); took > p.Usage.Lambda.MemoryMB {
		warnings = append(warnings, fmt.Sprintf(
			"the scan took %d MB of memory: a function of %d MB would be killed", took, p.Usage.Lambda.MemoryMB))
	}
	bills := []*Bill{p.Bill}
	if w := p.Weighed; w != nil {
		bills = append(bills, w.AllBill, w.IndexBill)
	}
	for _, b := range bills {
		b.Warnings = append(b.Warnings, warnings...)
	}
}

// Warnings returns the warnings of all bills, each once.
func (p *Projection) Warnings() []string {
	if p.Weighed == nil {
		return p.Bill.Warnings
	}
	all := slices.Clone(p.Weighed.AllBill.Warnings)
	for _, warning := range p.Weighed.IndexBill.Warnings {
		if !slices.Contains(all, warning) {
			all = append(all, "with the index, "+warning)
		}
	}
	return all
}

func megabytes(bytes int64) int64 { return (bytes + 1<<20 - 1) >> 20 }
