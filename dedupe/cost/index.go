package cost

import (
	"cmp"
	"math"
	"math/big"
	"sort"
	"time"
)

// Index is an index of digests, which calls ask before they read. [EFS] then says what a
// call takes with an empty index; the index saves the known share of its reads, its
// accesses, and the operations that open and close files. The zero value is no index.
type Index struct {
	Known          int64 // files in a million that did not change since the previous call
	OpenOperations int64 // how many of [EFS.MetadataOperations] open and close files
}

// unknown is n for each call of the month, in units of den, minus what an index saves.
func (u Usage) unknown(den int64, n int64) *big.Rat {
	all := ratio(den, u.Calls, n)
	return all.Mul(all, ratio(million, million-u.Index.Known))
}

// cold is the same for what a page cache saves, too. What an index does not know has
// changed, so with one, a warm call reads it again.
func (u Usage) cold(den int64, n int64) *big.Rat {
	read := u.unknown(den, n)
	if u.Index == (Index{}) {
		read.Mul(read, ratio(million, million-u.Warm))
	}
	return read
}

// metadata is the metered bytes of all metadata operations of the month, in units of den.
// A warm call opens and closes files like a cold one.
func (u Usage) metadata(den int64) *big.Rat {
	open := u.Index.OpenOperations
	cold := Messages{u.EFS.MetadataOperations, u.EFS.MetadataBytes}
	warm := u.EFS.WarmMetadata
	if warm == (Messages{}) {
		warm = cold
	}
	calls := ratio(den*million, u.Calls)
	rest := sum(
		new(big.Rat).Mul(cold.without(open), ratio(1, million-u.Warm)),
		new(big.Rat).Mul(warm.without(open), ratio(1, u.Warm)))
	rest.Mul(rest, calls)
	opened := u.unknown(den, open)
	return rest.Add(rest, opened.Mul(opened, ratio(1, metadataBytes)))
}

// without is the metered bytes without this many messages of 4 KiB.
func (m Messages) without(count int64) *big.Rat {
	if m.Bytes == 0 {
		return ratio(1, m.Count-count, metadataBytes)
	}
	all := ratio(1, m.Bytes)
	return all.Sub(all, ratio(1, count, metadataBytes))
}

// Choice is calls that can use an index or read everything.
type Choice struct {
	All            Usage // without an index and without a table
	OpenOperations int64 // see [Index]
	Relisting      Relisting
	Items          Items // of the index's table; zero if the index costs nothing

	// Known is how long a call takes with an index if no file changed; 0 means as long
	// as the calls without an index.
	Known time.Duration
}

// Relisting is the second listing of directories in which files were opened, part of the
// metadata of a call that opens all.
type Relisting struct {
	Messages
	Files int64 // average files in a directory, rounded up
}

// AtChurn returns the usage with the index when churn files in a million change between
// two calls, each independently. Then a directory of k files is listed again in an
// expected 1−(1−churn)^k of the calls. The duration lies between that of calls that read
// nothing and that of calls that read all.
func (c Choice) AtChurn(churn int64) Usage {
	u := c.All
	u.Index = Index{Known: million - churn, OpenOperations: c.OpenOperations}
	u.DynamoDB = c.Items.AtChurn(churn)
	spared := c.Relisting.sparedAt(churn)
	u.EFS.MetadataOperations, u.EFS.MetadataBytes = spared.from(Messages{u.EFS.MetadataOperations, u.EFS.MetadataBytes})
	if w := &u.EFS.WarmMetadata; *w != (Messages{}) {
		w.Count, w.Bytes = spared.from(*w)
	}
	if c.Known > 0 {
		part := new(big.Rat).Mul(ratio(million, churn), ratio(1, int64(c.All.Lambda.Duration-c.Known)))
		u.Lambda.Duration = c.Known + time.Duration(ceil(part))
	}
	return u
}

// sparedAt is what of the second listings an index spares, rounded down.
func (r Relisting) sparedAt(churn int64) Messages {
	unchanged := math.Pow(1-float64(churn)/million, float64(r.Files))
	part := func(n int64) int64 { return int64(float64(n) * unchanged) }
	return Messages{part(r.Count), part(r.Bytes)}
}

// from subtracts m, which may be nothing, from messages that include it.
func (m Messages) from(all Messages) (count, bytes int64) {
	if m == (Messages{}) {
		return all.Count, all.Bytes
	}
	left := all.minus(m)
	left.Bytes = max(left.Bytes, MeteredMetadata(left.Count))
	return left.Count, left.Bytes
}

// Unindexed is what a call takes when its index of digests is empty. Items are those of
// the DynamoDB table with the index, or zero if the index is in a file.
type Unindexed struct {
	ReadBytes          int64 // as EFS meters them
	AccessBytes        int64 // as EFS meters them
	MetadataOperations int64
	MetadataBytes      int64 // metered; 0 means 4 KiB for each operation
	WarmMetadata       Messages
	OpenOperations     int64 // how many of MetadataOperations open and close files
	Relisting          Relisting
	Items              Items
}

// NewUnindexed adds what an indexed scan took and what the index saved.
func NewUnindexed(s Scan, m Reads, items Items) *Unindexed {
	full := s.tree()
	full.Opens += s.OpensSpared
	relisting := full.relisting()
	all := s.metadata().plus(full.Cold().minus(s.tree().Cold()))
	return &Unindexed{
		ReadBytes:          m.Read + m.SparedRead,
		AccessBytes:        m.Access + m.SparedAccess,
		MetadataOperations: all.Count,
		MetadataBytes:      all.Bytes,
		WarmMetadata:       full.warm(all),
		OpenOperations:     min(fileMessages*full.Opens, max(0, all.Count-relisting.Count)),
		Relisting:          Relisting{relisting, full.filesPerDirectory()},
		Items:              items,
	}
}

// Charged returns u with the request units that DynamoDB charges for a call.
func Charged(u Usage, readUnits, writeUnits float64) Usage {
	millionths := func(units float64) int64 { return int64(math.Round(units * million)) }
	u.DynamoDB.ReadUnits, u.DynamoDB.WriteUnits = millionths(readUnits), millionths(writeUnits)
	return u
}

// Weigh prices calls with p.Index, which must be set, beside calls that read everything.
// Each is billed for its own duration: the scan's, longer or shorter by the time that one
// environment takes to read the difference. That leaves out opening files and writing to
// the index.
func (p *Projection) Weigh(book *Book, churn int64) {
	if p.Err != nil {
		return
	}
	w, err := book.Weigh(p.Index.choice(p.Usage), churn)
	if err != nil {
		p.Bill, p.Err = nil, err
		return
	}
	p.Weighed = &w
}

// choice returns calls with and without the index, if a call with it takes u.
func (x *Unindexed) choice(u Usage) Choice {
	known := max(time.Millisecond, u.Lambda.Duration-readTime(u.EFS.ReadBytes))
	u.Lambda.Duration += max(0, readTime(x.ReadBytes)-readTime(u.EFS.ReadBytes))
	u.EFS.ReadBytes, u.EFS.AccessBytes = x.ReadBytes, x.AccessBytes
	u.EFS.MetadataOperations, u.EFS.MetadataBytes, u.EFS.WarmMetadata = x.MetadataOperations, x.MetadataBytes, x.WarmMetadata
	u.Index, u.DynamoDB = Index{}, DynamoDB{}
	return Choice{All: u, OpenOperations: x.OpenOperations, Relisting: x.Relisting, Items: x.Items, Known: known}
}

// readTime is how long one environment takes to read metered bytes.
func readTime(bytes int64) time.Duration {
	return time.Duration(ceil(ratio(clientMiBps*mib, bytes, int64(time.Second))))
}

// Weighed compares both sides of a [Choice] at one churn.
type Weighed struct {
	Choice
	Churn      int64 // files in a million that change between two calls
	IndexUsage Usage // at this churn

	AllBill   *Bill
	IndexBill *Bill

	AllAtColdShare   []ColdTotal // see [Projection.AtColdShare]
	IndexAtColdShare []ColdTotal

	// BreakEven is the churn, in files per million, below which a month with the index
	// costs less than one without. It is 0 if the index never costs less, and a million
	// if it costs less unless all files change.
	BreakEven int64

	// Repaid is the number of calls, at the given churn, after which the index has saved
	// more than its first filling cost. It is 0 if filling costs nothing, or if nothing
	// is saved, which is at [Weighed.BreakEven] and above.
	Repaid int64
}

// Weigh prices both usages at a churn, in files per million.
func (b *Book) Weigh(c Choice, churn int64) (w Weighed, err error) {
	w.Choice, w.Churn, w.IndexUsage = c, churn, c.AtChurn(churn)
	if err := c.Items.validate(); err != nil {
		return Weighed{}, err
	}
	if w.AllBill, err = b.Bill(c.All); err != nil {
		return Weighed{}, err
	}
	if w.IndexBill, err = b.Bill(w.IndexUsage); err != nil {
		return Weighed{}, err
	}
	w.AllAtColdShare, w.IndexAtColdShare = b.atColdShares(c.All, w.AllBill), b.atColdShares(w.IndexUsage, w.IndexBill)
	filling, err := b.Bill(Usage{Calls: 1, DynamoDB: c.Items.filling()})
	if err != nil {
		return Weighed{}, err
	}
	// What a call takes only grows with the churn, so there is one such point.
	w.BreakEven = int64(sort.Search(million, func(churn int) bool {
		bill, failed := b.Bill(c.AtChurn(int64(churn)))
		err = cmp.Or(err, failed)
		return failed != nil || bill.Total.Cmp(w.AllBill.Total) >= 0
	}))
	if spared := excess(w.AllBill.Total, w.IndexBill.Total); spared.Sign() > 0 {
		needed := new(big.Rat).Mul(filling.Total, ratio(1, c.All.Calls))
		w.Repaid = ceil(needed.Quo(needed, spared))
	}
	return w, err
}
