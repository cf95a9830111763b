package report

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"efsdedupe/dedupe"
	"efsdedupe/dedupe/cost"
)

// Projection is what a month of calls costs, and the usage it was priced from.
// Where that can't be priced, Err says why and Bill is nil.
type Projection struct {
	Usage   cost.Usage
	Bill    *cost.Bill
	Err     error
	Index   *Index   // nil: there is none
	Weighed *Weighed // nil: nobody asked whether an index pays
}

// Project prices usage from a price book.
func Project(book *cost.Book, u cost.Usage) Projection {
	bill, err := book.Bill(u)
	return Projection{Usage: u, Bill: bill, Err: err}
}

const (
	// DefaultMemoryMB is the memory of a Lambda function that has one whole vCPU.
	DefaultMemoryMB = 1769

	// DefaultRegion has a price for everything.
	DefaultRegion = "us-east-1"
)

// DefaultUsage is what a bill is made for unless its reader chooses otherwise.
// What a call takes is still missing.
func DefaultUsage() cost.Usage {
	return cost.Usage{
		Calls:  50_000_000,
		Lambda: cost.Lambda{Arch: cost.ARM},
		API:    cost.HTTP,
		EFS:    cost.EFS{Throughput: cost.Elastic, StorageClass: cost.Standard},
	}
}

// CheckBill finds out, before a scan, whether its bill can be made, and returns
// the prices to make it from.
func CheckBill(region string, u cost.Usage) (*cost.Book, error) {
	book, err := cost.Prices(region)
	if err != nil {
		return nil, err
	}
	u.Lambda.Duration = time.Second
	if u.Lambda.MemoryMB == 0 {
		u.Lambda.MemoryMB = DefaultMemoryMB
	}
	u.EFS.StoredBytes = 1
	if u, err = ByHand(u, 1<<20, 1); err != nil {
		return nil, err
	}
	return book, Explain(Project(book, u).Err)
}

// Explain adds to a price that is not known how to do without.
func Explain(err error) error {
	var missing *cost.PriceError
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

// Reads adds up what EFS counts of what a scan reads, and of what an index spares
// it to read.
type Reads struct {
	read, access             int64
	sparedRead, sparedAccess int64
}

// Observe counts the file that a step of a scan has read, or needed not to; it is
// made for dedupe.Engine.
func (m *Reads) Observe(e dedupe.Event) {
	m.sparedRead += cost.MeteredRead(e.Work.BytesSpared)
	m.sparedAccess += cost.MeteredAccess(e.Work.BytesSpared)
	m.read += cost.MeteredRead(e.Work.BytesRead)
	m.access += cost.MeteredAccess(e.Work.BytesRead)
}

// Measured returns u with what one scan took as what each call takes: its
// duration, its memory if u chooses none, and its use of EFS. The metadata
// operations are one for each file and directory found, and two more, open and
// close, for each open.
func Measured(u cost.Usage, r dedupe.Report, m Reads) cost.Usage {
	s := r.Stats
	u.Lambda.Duration = cost.BilledDuration(max(s.Elapsed, time.Millisecond))
	if u.Lambda.MemoryMB == 0 {
		u.Lambda.MemoryMB = min(max(DefaultMemoryMB, megabytes(s.PeakMemory)), maxMemoryMB)
	}
	u.EFS.MetadataOperations = s.Files + s.Directories + 2*s.Opens
	u.EFS.StoredBytes = s.Bytes
	u.EFS.ReclaimableBytes = s.ReclaimableBytes
	return m.meter(u)
}

// ByHand returns u with the use of EFS of a call that reads so many bytes in so
// many opens, the bytes spread evenly. The metadata operations are three for
// each open: looking the file up, open and close. Its error says that no call
// can do so much.
func ByHand(u cost.Usage, bytesRead, opens int64) (cost.Usage, error) {
	if bytesRead < 0 || bytesRead > 1<<50 || opens < 0 || opens > 1e9 {
		return u, errors.New("no call opens more than 1G files or reads more than 1024TiB: these are figures of one call, not of a month")
	}
	files := max(opens, 1)
	each, more := bytesRead/files, bytesRead%files
	u.EFS.MetadataOperations = 3 * opens
	return Reads{
		read:   (files-more)*cost.MeteredRead(each) + more*cost.MeteredRead(each+1),
		access: (files-more)*cost.MeteredAccess(each) + more*cost.MeteredAccess(each+1),
	}.meter(u), nil
}

// OnProvisioned returns u with all calls on provisioned concurrency if there is
// any: it is kept to be used.
func OnProvisioned(u cost.Usage) cost.Usage {
	u.Lambda.Provisioned.Calls = 0
	if u.Lambda.Provisioned.Environments > 0 {
		u.Lambda.Provisioned.Calls = u.Calls
	}
	return u
}

func (m Reads) meter(u cost.Usage) cost.Usage {
	u.EFS.ReadBytes, u.EFS.AccessBytes = m.read, m.access
	return u
}

// Warn adds to the bills what they can't know of the scan: a function too small for
// the memory that it took.
func (p *Projection) Warn(s dedupe.Stats) {
	took := megabytes(s.PeakMemory)
	if p.Bill == nil || took <= p.Usage.Lambda.MemoryMB {
		return
	}
	bills := []*cost.Bill{p.Bill}
	if w := p.Weighed; w != nil {
		bills = append(bills, w.AllBill, w.IndexBill)
	}
	for _, b := range bills {
		b.Warnings = append(b.Warnings, fmt.Sprintf(
			"the scan took %d MB of memory: a function of %d MB would be killed", took, p.Usage.Lambda.MemoryMB))
	}
}

func megabytes(bytes int64) int64 { return (bytes + 1<<20 - 1) >> 20 }
