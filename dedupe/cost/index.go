package cost

import (
	"cmp"
	"math"
	"math/big"
	"sort"
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

// metadata is the bytes of all metadata operations of the month, in units of den.
func (u Usage) metadata(den int64) *big.Rat {
	operations := sum(
		ratio(den, u.Calls, u.EFS.MetadataOperations-u.Index.OpenOperations),
		u.unknown(den, u.Index.OpenOperations))
	return operations.Mul(operations, ratio(1, metadataBytes))
}

// Choice is calls that can use an index or read everything.
type Choice struct {
	All            Usage // without an index and without a table
	OpenOperations int64 // see [Index]
	Items          Items // of the index's table; zero if the index costs nothing
}

// AtChurn returns the usage with the index when churn files in a million change between
// two calls. It keeps the duration of the calls without an index, because how the index
// changes that is not known.
func (c Choice) AtChurn(churn int64) Usage {
	u := c.All
	u.Index = Index{Known: million - churn, OpenOperations: c.OpenOperations}
	u.DynamoDB = c.Items.AtChurn(churn)
	return u
}

// Unindexed is what a call takes when its index of digests is empty. Items are those of
// the DynamoDB table with the index, or zero if the index is in a file.
type Unindexed struct {
	ReadBytes          int64 // as EFS meters them
	AccessBytes        int64 // as EFS meters them
	MetadataOperations int64
	OpenOperations     int64 // how many of MetadataOperations open and close files
	Items              Items
}

// NewUnindexed adds what an indexed scan took and what the index saved.
func NewUnindexed(s Scan, m Reads, items Items) *Unindexed {
	opens := 2 * (s.Opens + s.OpensSpared)
	return &Unindexed{
		ReadBytes:          m.read + m.sparedRead,
		AccessBytes:        m.access + m.sparedAccess,
		MetadataOperations: s.Files + s.Directories + opens,
		OpenOperations:     opens,
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
// Both are billed for the duration of the scan, so the index saves more of Lambda's
// duration than the bills show. They leave out the time to write to the index, too: a
// scan's duration ends before it. Where reads dominate the bill, this is less than 1%.
func (p *Projection) Weigh(book *Book, churn int64) {
	if p.Err != nil {
		return
	}
	u := p.Usage
	u.EFS.ReadBytes, u.EFS.AccessBytes, u.EFS.MetadataOperations = p.Index.ReadBytes, p.Index.AccessBytes, p.Index.MetadataOperations
	u.Index, u.DynamoDB = Index{}, DynamoDB{}
	w, err := book.Weigh(Choice{All: u, OpenOperations: p.Index.OpenOperations, Items: p.Index.Items}, churn)
	if err != nil {
		p.Bill, p.Err = nil, err
		return
	}
	p.Weighed = &w
}

// Weighed compares both sides of a [Choice] at one churn.
type Weighed struct {
	Choice
	Churn int64 // files in a million that change between two calls

	AllBill   *Bill
	IndexBill *Bill

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
	w.Choice, w.Churn = c, churn
	if err := c.Items.validate(); err != nil {
		return Weighed{}, err
	}
	if w.AllBill, err = b.Bill(c.All); err != nil {
		return Weighed{}, err
	}
	if w.IndexBill, err = b.Bill(c.AtChurn(churn)); err != nil {
		return Weighed{}, err
	}
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
