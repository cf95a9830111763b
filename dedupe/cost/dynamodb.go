package cost

import (
	"errors"
	"iter"
	"math"
	"math/big"
)

// million is how many parts a unit, and a share, is counted in: see [DynamoDB] and
// [Index].
const million = 1_000_000

// DynamoDB is a table in on-demand capacity mode, of the class Standard, that calls
// read and write. Units are in millionths, because the average call may take less
// than one: not every call writes.
type DynamoDB struct {
	ReadUnits   int64 // per call, in millionths of a read request unit
	WriteUnits  int64 // per call, in millionths of a write request unit
	StoredBytes int64
}

// dynamoDB charges the units of all calls, and storage. The free tier leaves it
// alone: DynamoDB's is of provisioned capacity, and of storage in all tables of the
// account together.
func (t *tally) dynamoDB(u Usage) {
	t.charge("dynamodb.read", ratio(million, u.Calls, u.DynamoDB.ReadUnits))
	t.charge("dynamodb.write", ratio(million, u.Calls, u.DynamoDB.WriteUnits))
	t.charge("dynamodb.storage", ratio(gib, u.DynamoDB.StoredBytes))
}

// Items is the items of a table in which an index keeps what it knows of the files
// that a call would read. The zero value is an index in no table.
type Items struct {
	LookUp  int64 // millionths of a read unit: all items, eventually consistent
	Reread  int64 // millionths of a read unit: those that hold files, consistent, as before each write
	Rewrite int64 // millionths of a write unit: those that hold files
	Files   int64 // in an item that holds any: the average, weighted with what writing it takes, rounded up
	Bytes   int64 // stored
}

const (
	readUnitBytes  = 4 * kib // a consistent read; an eventually consistent one is half a unit
	writeUnitBytes = 1 * kib
	itemBytes      = 100 // stored with every item, for its place in the table

	// MaxItemFiles is the most files that [Items] can have in an item. It bounds how
	// long the fractions of [Items.AtChurn] are.
	MaxItemFiles = 1024
)

// ItemsOf counts items, each as its size in bytes, names of attributes included,
// and how many files it holds. Every item is rounded up on its own, also in a batch.
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

// AtChurn is what a call takes when that many files in a million have changed since
// the call before, each independently of the others. It looks all items up, and
// rewrites those that hold a changed file: of an item of k files this is expected
// in 1−(1−churn)^k of the calls. As that grows ever slower with k, taking all items
// for as full as the average one is never too little.
//
// That an index writes what it uses again every week, so that it does not expire,
// is left out.
func (i Items) AtChurn(churn int64) DynamoDB {
	k := big.NewInt(i.Files)
	all := new(big.Int).Exp(big.NewInt(million), k, nil)
	none := new(big.Int).Exp(big.NewInt(million-churn), k, nil)
	rewritten := new(big.Rat).SetFrac(new(big.Int).Sub(all, none), all)
	part := func(n int64) int64 { return ceil(new(big.Rat).Mul(ratio(1, n), rewritten)) }
	return DynamoDB{ReadUnits: i.LookUp + part(i.Reread), WriteUnits: part(i.Rewrite), StoredBytes: i.Bytes}
}

// filling is what writing all items for the first time takes: each is looked up,
// and read before it is written, when it is not there.
func (i Items) filling() DynamoDB {
	return DynamoDB{ReadUnits: i.LookUp + i.Reread, WriteUnits: i.Rewrite}
}

// ceil is the least integer that is not below r, which is not negative; at most that
// of 64 bits.
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
