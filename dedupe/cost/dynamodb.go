package cost

import (
	"errors"
	"iter"
	"math"
	"math/big"
)

// million is the number of parts in a unit or a share: see [DynamoDB] and [Index].
const million = 1_000_000

// DynamoDB is a table in on-demand mode, of the class Standard, that calls read and
// write. Units are in millionths, because the average call may take less than one: not
// every call writes.
type DynamoDB struct {
	ReadUnits   int64 // per call, in millionths of a read request unit
	WriteUnits  int64 // per call, in millionths of a write request unit
	StoredBytes int64
}

// dynamoDB charges the units of all calls, and storage. DynamoDB's free tier does not
// apply: it covers provisioned capacity, and storage of all tables of the account
// together.
func (t *tally) dynamoDB(u Usage) {
	t.charge("dynamodb.read", ratio(million, u.Calls, u.DynamoDB.ReadUnits))
	t.charge("dynamodb.write", ratio(million, u.Calls, u.DynamoDB.WriteUnits))
	t.charge("dynamodb.storage", ratio(gib, u.DynamoDB.StoredBytes))
}

// Items describes the table items in which an index keeps what it knows of the files that
// a call would read. The zero value is an index without a table.
type Items struct {
	LookUp  int64 // millionths of a read unit: all items, eventually consistent
	Reread  int64 // millionths of a read unit: items with files, consistent, before each write
	Rewrite int64 // millionths of a write unit: items with files
	Files   int64 // average files in an item with files, weighted by the cost of writing it, rounded up
	Bytes   int64 // stored
}

const (
	readUnitBytes  = 4 * kib // for a consistent read; an eventually consistent one is half a unit
	writeUnitBytes = 1 * kib
	itemBytes      = 100 // stored with every item, for its place in the table

	// MaxItemFiles is the most files that an item of [Items] can have. It bounds the
	// length of the fractions in [Items.AtChurn].
	MaxItemFiles = 1024
)

// ItemsOf adds up items. Each is its size in bytes, including attribute names, and the
// number of files in it. DynamoDB rounds up each item on its own, even in a batch.
// Source: Amazon DynamoDB Developer Guide, on-demand capacity mode, and item sizes.
func ItemsOf(items iter.Seq2[int64, int64]) Items {
	var all Items
	weighted := new(big.Int)
	for bytes, files := range items {
		reads := roundUp(bytes, readUnitBytes) / readUnitBytes * million
		all.LookUp += reads / 2
		all.Bytes += bytes + itemBytes
		if files == 0 {
			continue
		}
		writes := roundUp(bytes, writeUnitBytes) / writeUnitBytes * million
		all.Reread += reads
		all.Rewrite += writes
		weighted.Add(weighted, new(big.Int).Mul(big.NewInt(writes), big.NewInt(files)))
	}
	if all.Rewrite > 0 {
		files := ceil(new(big.Rat).SetFrac(weighted, big.NewInt(all.Rewrite)))
		all.Files = min(files, MaxItemFiles)
	}
	return all
}

func (i Items) validate() error {
	var c checks
	c.within("millionths of a read unit to look an index up", i.LookUp, 0, maxUnits)
	c.within("millionths of a read unit to rewrite an index", i.Reread, 0, maxUnits)
	c.within("millionths of a write unit to rewrite an index", i.Rewrite, 0, maxUnits)
	c.within("files in an item", i.Files, 0, MaxItemFiles)
	c.within("bytes of an index", i.Bytes, 0, math.MaxInt64)
	return errors.Join(c...)
}

// AtChurn returns what a call takes when churn files in a million have changed since the
// previous call, each independently. The call looks up all items, and rewrites those with
// a changed file: an item of k files in an expected 1−(1−churn)^k of the calls. That
// grows ever more slowly with k, so using the average k for all items never gives too
// little.
//
// It leaves out that an index rewrites entries in use every week, so that they do not
// expire.
func (i Items) AtChurn(churn int64) DynamoDB {
	k := big.NewInt(i.Files)
	all := new(big.Int).Exp(big.NewInt(million), k, nil)
	none := new(big.Int).Exp(big.NewInt(million-churn), k, nil)
	rewritten := new(big.Rat).SetFrac(new(big.Int).Sub(all, none), all)
	part := func(n int64) int64 { return ceil(new(big.Rat).Mul(ratio(1, n), rewritten)) }
	return DynamoDB{ReadUnits: i.LookUp + part(i.Reread), WriteUnits: part(i.Rewrite), StoredBytes: i.Bytes}
}

// filling returns what writing all items for the first time takes: each is looked up,
// found missing, and read again before it is written.
func (i Items) filling() DynamoDB {
	return DynamoDB{ReadUnits: i.LookUp + i.Reread, WriteUnits: i.Rewrite}
}

// ceil returns the least integer not below r, which must not be negative. It returns at
// most the largest 64-bit integer.
func ceil(r *big.Rat) int64 {
	q, rest := new(big.Int).QuoRem(r.Num(), r.Denom(), new(big.Int))
	if rest.Sign() > 0 {
		q.Add(q, big.NewInt(1))
	}
	if !q.IsInt64() {
		return math.MaxInt64
	}
	return q.Int64()
}
