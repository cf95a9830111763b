package cost

import (
	"errors"
	"fmt"
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
}

// Project prices usage from a price book.
func Project(book *Book, u Usage) Projection {
	bill, err := book.Bill(u)
	return Projection{Usage: u, Bill: bill, Err: err}
}

const (
	// DefaultMemoryMB is the memory of a Lambda function that has one whole vCPU.
	DefaultMemoryMB = 1769

	// DefaultRegion has a price for everything.
	DefaultRegion = "us-east-1"
)

// DefaultUsage returns what a bill assumes by default. It lacks what a call takes: see
// [Measured] and [ByHand].
func DefaultUsage() Usage {
	return Usage{
		Calls:  50_000_000,
		Lambda: Lambda{Arch: ARM},
		API:    HTTP,
		EFS:    EFS{Throughput: Elastic, StorageClass: Standard},
	}
}

// CheckBill checks before a scan that the book has a price for everything on its bill.
func CheckBill(book *Book, u Usage) error {
	u.Lambda.Duration = time.Second
	if u.Lambda.MemoryMB == 0 {
		u.Lambda.MemoryMB = DefaultMemoryMB
	}
	u.EFS.StoredBytes = 1
	u, err := ByHand(u, 1<<20, 1)
	if err != nil {
		return err
	}
	return Explain(Project(book, u).Err)
}

// Explain adds to the error of a missing price what to choose instead.
func Explain(err error) error {
	var missing *PriceError
	if !errors.As(err, &missing) {
		return err
	}
	optional := func(meter string) bool {
		return strings.HasPrefix(meter, "api.") || strings.HasPrefix(meter, "efs.storage.")
	}
	if slices.ContainsFunc(missing.Meters, func(meter string) bool { return !optional(meter) }) {
		return fmt.Errorf("%w; choose the prices of a region that is known", err)
	}
	return fmt.Errorf("%w; leave the gateway out with the api none, and storage with the storage class none", err)
}

// maxMemoryMB is the most that a Lambda function can have.
const maxMemoryMB = 10240

// Reads sums the bytes that EFS meters for the files that a scan reads, and for those
// that an index saves it from reading.
type Reads struct {
	read, access             int64
	sparedRead, sparedAccess int64
}

// Add counts one file: the bytes read, and the bytes that an index saved.
func (m *Reads) Add(read, spared int64) {
	m.read += MeteredRead(read)
	m.access += MeteredAccess(read)
	m.sparedRead += MeteredRead(spared)
	m.sparedAccess += MeteredAccess(spared)
}

func (m Reads) meter(u Usage) Usage {
	u.EFS.ReadBytes, u.EFS.AccessBytes = m.read, m.access
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
}

// Measured returns u for calls that each do what one scan did: its duration, its use of
// EFS, and its memory unless u sets one. It counts one metadata operation for each file
// and directory found, and two for each open: open and close.
func Measured(u Usage, s Scan, m Reads) Usage {
	u.Lambda.Duration = BilledDuration(max(s.Elapsed, time.Millisecond))
	if u.Lambda.MemoryMB == 0 {
		u.Lambda.MemoryMB = min(max(DefaultMemoryMB, megabytes(s.PeakMemory)), maxMemoryMB)
	}
	u.EFS.MetadataOperations = s.Files + s.Directories + 2*s.Opens
	u.EFS.StoredBytes = s.StoredBytes
	u.EFS.ReclaimableBytes = s.ReclaimableBytes
	return m.meter(u)
}

// ByHand returns u for calls that each open this many files and read this many bytes,
// spread evenly over them. It counts three metadata operations for each file: look up,
// open and close. It returns an error if no call can do so much.
func ByHand(u Usage, bytesRead, opens int64) (Usage, error) {
	if bytesRead < 0 || bytesRead > 1<<50 || opens < 0 || opens > 1e9 {
		return u, errors.New("no call opens more than 1G files or reads more than 1024TiB: these are figures of one call, not of a month")
	}
	files := max(opens, 1)
	each, more := bytesRead/files, bytesRead%files
	u.EFS.MetadataOperations = 3 * opens
	return Reads{
		read:   (files-more)*MeteredRead(each) + more*MeteredRead(each+1),
		access: (files-more)*MeteredAccess(each) + more*MeteredAccess(each+1),
	}.meter(u), nil
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
