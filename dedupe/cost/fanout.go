package cost

import (
	"math"
	"math/big"
	"time"
)

// Fanout is what a scan uses that many small functions share: EFS with Elastic throughput,
// Lambda, S3 for what they pass on, Step Functions to run them, and DynamoDB for an index.
type Fanout struct {
	Reads       int64         // READ requests
	DataBytes   int64         // that EFS meters for them
	Messages    Messages      // other NFS requests
	Time        time.Duration // of all functions together
	Units       int64         // invocations
	Transitions int64         // of states
	Puts, Gets  int64         // S3 requests

	// Of an index in a table of DynamoDB, in millionths of a request unit.
	ReadUnits, WriteUnits int64
}

// fanoutMB is the memory of each function: that which comes with one processor.
const fanoutMB = 1769

// Add adds n times o.
func (f *Fanout) Add(o Fanout, n int64) {
	f.Reads += n * o.Reads
	f.DataBytes += n * o.DataBytes
	f.Messages = Messages{f.Messages.Count + n*o.Messages.Count, f.Messages.bytes() + n*o.Messages.bytes()}
	f.Time += time.Duration(n) * o.Time
	f.Units += n * o.Units
	f.Transitions += n * o.Transitions
	f.Puts += n * o.Puts
	f.Gets += n * o.Gets
	f.ReadUnits += n * o.ReadUnits
	f.WriteUnits += n * o.WriteUnits
}

// GBSeconds is what Lambda charges for the time.
func (f Fanout) GBSeconds() *big.Rat {
	return new(big.Rat).Mul(big.NewRat(fanoutMB, 1024), big.NewRat(int64(f.Time), int64(time.Second)))
}

// Fanout prices a scan by functions on arm64, without free tiers. Its error is a *[PriceError].
func (b *Book) Fanout(f Fanout) (*Bill, error) {
	t := &tally{book: b}
	t.charge("lambda.duration.arm64", f.GBSeconds())
	t.charge("lambda.requests", ratio(1, f.Units))
	t.charge("efs.read", ratio(gib, f.DataBytes))
	t.charge("efs.metadata", ratio(gib, f.Messages.bytes()))
	t.charge("s3.get", ratio(1, f.Gets))
	t.charge("s3.list", ratio(1, f.Puts)) // PUT costs what LIST does
	t.charge("states.transitions", ratio(1, f.Transitions))
	t.charge("dynamodb.read", ratio(million, f.ReadUnits))
	t.charge("dynamodb.write", ratio(million, f.WriteUnits))
	if len(t.missing) > 0 {
		return nil, &PriceError{Region: b.Region, Meters: t.missing}
	}
	return &Bill{Region: b.Region, Currency: b.Currency, Date: b.Date, Items: t.items, Total: total(t.items), Reclaimable: new(big.Rat)}, nil
}

// Rates are what a file system gives all its clients together, and what a function takes,
// each second.
type Rates struct {
	Operations, Bytes                 float64 // READs and other messages; metered bytes of READs
	FunctionOperations, FunctionBytes float64
}

// RatesOf returns the rates of a Regional file system. Source: EFS User Guide, Performance.
// No rates of functions are published: 10,000 operations and 500 MiB are assumptions.
func RatesOf(mode Throughput, provisionedMiBps int64) Rates {
	r := Rates{FunctionOperations: 10_000, FunctionBytes: 500 * mib}
	const readFactor = 3 // reads count a third, except with Elastic throughput
	switch mode {
	case Provisioned:
		r.Operations, r.Bytes = 55_000, readFactor*float64(provisionedMiBps)*mib
	case Bursting:
		r.Operations, r.Bytes = 35_000, readFactor*burstMiBps*mib
	default:
		r.Operations, r.Bytes = 900_000, 20*gib
	}
	return r
}

// Crowd is a number of functions at once, and what becomes of a scan with so many.
type Crowd struct {
	Functions int64
	Time      time.Duration
	Busy      float64  // share of the time that a function does not wait for the file system
	Cost      *big.Rat // of the functions
	Idle      *big.Rat // the part of Cost for functions beyond those that the file system can serve
}

// Saturating returns how many functions take all that a file system gives. More are no
// faster.
func (f Fanout) Saturating(r Rates) int64 {
	operations, bytes := float64(f.Reads+f.Messages.Count), float64(f.DataBytes)
	bound := max(operations/r.Operations, bytes/r.Bytes)
	if bound == 0 {
		return 1
	}
	const rounding = 1e-9
	return max(int64(math.Ceil(max(operations/r.FunctionOperations, bytes/r.FunctionBytes)/bound-rounding)), 1)
}

// Crowd returns what becomes of a scan with n functions at once. Its error is a *[PriceError].
func (b *Book) Crowd(f Fanout, r Rates, n int64) (Crowd, error) {
	operations, bytes := float64(f.Reads+f.Messages.Count), float64(f.DataBytes)
	alone := max(operations/r.FunctionOperations, bytes/r.FunctionBytes) // seconds that one function takes
	seconds := max(operations/r.Operations, bytes/r.Bytes, alone/float64(n))
	c := Crowd{Functions: n, Time: time.Duration(seconds * float64(time.Second)), Busy: 1}
	if seconds > 0 {
		c.Busy = min(alone/(float64(n)*seconds), 1)
	}
	bill, err := b.Fanout(Fanout{Time: time.Duration(n) * c.Time})
	if err != nil {
		return c, err
	}
	c.Cost = bill.Total
	used := min(f.Saturating(r), n)
	c.Idle = new(big.Rat).Mul(c.Cost, big.NewRat(n-used, n))
	return c, nil
}
