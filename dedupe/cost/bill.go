package cost

import (
	"cmp"
	"fmt"
	"math/big"
	"slices"
	"time"
)

// Bill is what a month costs. Its numbers are exact; print them with [Cents] and
// [Decimal].
type Bill struct {
	Region   string
	Currency string
	Date     string // of the price book, see [Book]
	Items    []Item // in a fixed order: Lambda and helpers, API, EFS, DynamoDB, then INIT and [Extras]

	// Total is the exact sum of the items' costs. Rounded, it can differ by a cent or two
	// from the sum of the rounded items, and is more accurate.
	Total *big.Rat

	// Reclaimable is the cost of storing the bytes that duplicates hold. It is part of
	// the storage item, not an addition to it.
	Reclaimable *big.Rat

	// Warnings are sentences that a reader of Total must know.
	Warnings []string
}

// Item is one tier of one meter: Cost is Quantity times UnitPrice. What the free tier
// covers is an item with a UnitPrice of 0.
type Item struct {
	Meter     string // such as "lambda.duration.arm64"
	Quantity  *big.Rat
	Unit      string // of Quantity, such as "GB-second"
	UnitPrice *big.Rat
	Cost      *big.Rat
	Source    string // of UnitPrice
	Checked   string // month in which Source was last read, as "2026-11"
}

// Bill prices a month. It returns an error for an invalid usage, see [Usage.Validate],
// and a *[PriceError] for meters that the usage needs and the book lacks.
func (b *Book) Bill(u Usage) (*Bill, error) {
	if err := u.Validate(); err != nil {
		return nil, err
	}
	t := &tally{book: b, freeTier: u.FreeTier}
	t.lambda(u)
	t.helpers(u)
	t.api(u)
	t.efs(u)
	t.dynamoDB(u)
	t.s3(u)
	t.extras(u)
	if len(t.missing) > 0 {
		return nil, &PriceError{Region: b.Region, Meters: t.missing}
	}
	return &Bill{
		Region:      b.Region,
		Currency:    b.Currency,
		Date:        b.Date,
		Items:       t.items,
		Total:       total(t.items),
		Reclaimable: t.reclaimable(u.EFS),
		Warnings:    t.warnings,
	}, nil
}

// tally builds a bill.
type tally struct {
	book     *Book
	freeTier bool
	items    []Item
	warnings []string
	missing  []string // meters without a price
}

// charge adds the items of a meter. A quantity of zero needs no price.
func (t *tally) charge(meter string, quantity *big.Rat) {
	t.chargeAfter(meter, new(big.Rat), meter, quantity)
}

// chargeAfter adds the items of a further quantity of a meter under another name. Tiers
// and the free tier are used up by what was already charged.
func (t *tally) chargeAfter(meter string, charged *big.Rat, name string, quantity *big.Rat) {
	if quantity.Sign() == 0 {
		return
	}
	p := t.price(meter)
	p.meter = name
	t.items = append(t.items, p.items(charged, quantity, t.freeTier)...)
}

// price returns the price of a meter, or notes once that there is none. Then the bill is
// an error.
func (t *tally) price(meter string) price {
	p, ok := t.book.prices[meter]
	if !ok && !slices.Contains(t.missing, meter) {
		t.missing = append(t.missing, meter)
	}
	return p
}

func (t *tally) warn(format string, args ...any) {
	t.warnings = append(t.warnings, fmt.Sprintf(format, args...))
}

// items spreads a quantity over the tiers that what was charged already leaves. The free
// tier comes first and does not use up the others, as in the examples on the Lambda
// pricing page.
func (p price) items(charged, quantity *big.Rat, freeTier bool) []Item {
	tiers := p.tiers
	if freeTier && p.free != nil {
		tiers = slices.Concat([]tier{{size: p.free, price: new(big.Rat)}}, tiers)
	}
	var items []Item
	used, rest := charged, quantity
	for _, t := range tiers {
		n := rest
		if t.size != nil {
			left := excess(t.size, used)
			used = excess(used, t.size)
			if left.Cmp(rest) < 0 {
				n = left
			}
		}
		if n.Sign() > 0 {
			items = append(items, Item{
				Meter:     p.meter,
				Quantity:  new(big.Rat).Set(n),
				Unit:      p.unit,
				UnitPrice: new(big.Rat).Set(t.price),
				Cost:      new(big.Rat).Mul(n, t.price),
				Source:    p.source,
				Checked:   p.checked,
			})
		}
		if n == rest {
			break
		}
		rest = new(big.Rat).Sub(rest, n)
	}
	return items
}

func total(items []Item) *big.Rat {
	t := new(big.Rat)
	for _, i := range items {
		t.Add(t, i.Cost)
	}
	return t
}

const (
	freeEphemeralMB   = 512     // of /tmp, for every function
	freeStreamedBytes = 6 * mib // of every streamed response
	httpStep          = 512 * kib
)

// lambda charges the function. Calls on provisioned concurrency pay their own rate for
// duration, which the free tier does not cover, and the normal rate for requests and
// /tmp. Source: AWS Lambda pricing and its examples.
func (t *tally) lambda(u Usage) {
	l, p, s := u.Lambda, u.Lambda.Provisioned, u.Lambda.Streaming
	if l == (Lambda{}) {
		return
	}
	onDemand := u.Calls - p.Calls
	duration, kept := cmp.Or(p.Duration, l.Duration), cmp.Or(p.Kept, u.month())
	extraMB := max(0, l.EphemeralMB-freeEphemeralMB)
	arch := "." + string(l.Arch)

	t.charge("lambda.duration"+arch, u.callSeconds())
	t.charge("lambda.provisioned_duration"+arch, gbSeconds(p.Calls, l.MemoryMB, duration))
	t.charge("lambda.provisioned_concurrency"+arch, gbSeconds(p.Environments, l.MemoryMB, kept))
	t.checkProvisioned(p, duration, kept)
	t.charge("lambda.requests", ratio(1, u.Calls))
	t.charge("lambda.ephemeral_storage", sum(
		gbSeconds(onDemand, extraMB, l.Duration),
		gbSeconds(p.Calls, extraMB, duration),
		u.initSeconds(extraMB)))
	t.charge("lambda.response_streaming", ratio(gib, s.Calls, max(0, s.ResponseBytes-freeStreamedBytes)))
}

// checkProvisioned warns if the environments that are kept cannot run all calls that are
// billed as running on them.
func (t *tally) checkProvisioned(p ProvisionedConcurrency, duration, kept time.Duration) {
	busy := ratio(kept.Milliseconds(), p.Calls, BilledDuration(duration).Milliseconds())
	if busy.Cmp(ratio(1, p.Environments)) > 0 {
		t.warn("the calls keep %s environments busy on average, more than the %d of provisioned concurrency: those that run on others cost more than on this bill", Decimal(busy, 3), p.Environments)
	}
}

// initSeconds is what INIT adds to the GB-seconds of the cold calls that are not on
// provisioned concurrency. Lambda rounds up INIT and call together. Source: AWS Lambda
// pricing, AWS's announcement that it bills INIT since 2025-08.
func (u Usage) initSeconds(mb int64) *big.Rat {
	l := u.Lambda
	added := BilledDuration(l.Duration+l.Init) - BilledDuration(l.Duration)
	return ratio(1024*1000*million, u.Calls-l.Provisioned.Calls, million-u.Warm, mb, added.Milliseconds())
}

// gbSeconds is n × MB/1024 × seconds, with d rounded up to the millisecond.
func gbSeconds(n, mb int64, d time.Duration) *big.Rat {
	return ratio(1024*1000, n, mb, BilledDuration(d).Milliseconds())
}

// api charges API Gateway: a REST API counts calls; an HTTP API counts one request per
// started 512 KB, at least one. Source: Amazon API Gateway pricing.
func (t *tally) api(u Usage) {
	switch u.API {
	case HTTP:
		steps := max(1, roundUp(u.RequestBytes, httpStep)/httpStep)
		t.charge("api.http", ratio(1, u.Calls, steps))
	case REST:
		t.charge("api.rest", ratio(1, u.Calls))
	}
}

// extras charges INIT and what a service pays for besides calls and files. Both logs
// share the tiers of vended logs. They are stored in full for the days that they are kept:
// CloudWatch compresses them, but does not promise how much. Source: Amazon CloudWatch
// pricing; Amazon EC2 on-demand pricing, data transfer.
func (t *tally) extras(u Usage) {
	if l := u.Lambda; l != (Lambda{}) {
		meter, arch := "lambda.duration.", string(l.Arch)
		t.chargeAfter(meter+arch, sum(u.callSeconds(), u.helperSeconds()), "lambda.init."+arch, u.initSeconds(l.MemoryMB))
	}
	x := u.Extras
	logged := ratio(gib, u.Calls, x.LogBytes)
	if u.API == HTTP || u.API == REST {
		logged.Add(logged, ratio(gib, u.Calls, x.AccessLogBytes))
	}
	months := ratio(int64(u.month()/time.Hour), x.RetentionDays, 24)
	t.charge("logs.ingestion", logged)
	t.charge("logs.storage", months.Mul(months, logged))
	t.charge("transfer.out", ratio(gib, u.Calls, x.ResponseBytes))
	t.charge("metrics.custom", ratio(1, x.Metrics))
	t.charge("metrics.alarms", ratio(1, x.Alarms))
}

// s3 charges requests and storage of class Standard. Source: Amazon S3 pricing.
func (t *tally) s3(u Usage) {
	t.charge("s3.list", ratio(1, u.Calls, u.S3.Lists))
	t.charge("s3.get", ratio(1, u.Calls, u.S3.Gets))
	t.charge("s3.storage", ratio(gib, u.S3.StoredBytes))
}

// Meters returns the meters of the bills, each once, in the order of the bills.
func Meters(bills ...*Bill) []string {
	var names []string
	for _, b := range bills {
		for _, item := range b.Items {
			if !slices.Contains(names, item.Meter) {
				names = append(names, item.Meter)
			}
		}
	}
	return names
}

// Meter returns what all tiers of a meter cost together.
func (b *Bill) Meter(name string) *big.Rat {
	t := new(big.Rat)
	for _, item := range b.Items {
		if item.Meter == name {
			t.Add(t, item.Cost)
		}
	}
	return t
}

// Largest returns the meter that costs the most and its share of the total in percent,
// rounded, but 100 only if it is everything. If nothing costs anything, it returns "" and
// 0.
func (b *Bill) Largest() (meter string, percent int64) {
	if b.Total.Sign() == 0 {
		return "", 0
	}
	for _, name := range Meters(b) {
		if meter == "" || b.Meter(name).Cmp(b.Meter(meter)) > 0 {
			meter = name
		}
	}
	share, _ := new(big.Rat).Quo(b.Meter(meter), b.Total).Float64()
	if percent = int64(share*100 + 0.5); percent == 100 && b.Meter(meter).Cmp(b.Total) < 0 {
		percent = 99
	}
	return meter, percent
}

// Above returns how much more b costs than other, also in percent of other. Both are
// negative if b costs less. The percentage is 0 if other costs nothing.
func (b *Bill) Above(other *Bill) (more, percent *big.Rat) {
	more, percent = new(big.Rat).Sub(b.Total, other.Total), new(big.Rat)
	if other.Total.Sign() > 0 {
		percent.Mul(big.NewRat(100, 1), percent.Quo(more, other.Total))
	}
	return more, percent
}

// PerCall returns what one call costs, without storage. It is nil for no calls.
func (b *Bill) PerCall(calls int64) *big.Rat {
	if calls == 0 {
		return nil
	}
	t := new(big.Rat)
	for _, item := range b.Items {
		if item.Unit != "GB-month" {
			t.Add(t, item.Cost)
		}
	}
	return t.Quo(t, new(big.Rat).SetInt64(calls))
}
