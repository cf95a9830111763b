package results

import (
	"maps"
	"math/big"
	"slices"
	"strings"
	"time"

	"efsdedupe/dedupe/cost"
	"efsdedupe/dedupe/report"
)

// bill is what calls cost that are all alike, by what is paid for.
type bill struct {
	lambda, requests, gateway, efs, s3, total *big.Rat // of the calls of a month
	least, most                               *big.Rat // total, if each took as long as the shortest and the longest call
	million                                   *big.Rat // total of a million calls

	// What helpers cost is part of lambda: their duration, and of requests: themselves,
	// and the transitions of a state machine.
	helpers, transitions *big.Rat
}

// files is what reading files costs, wherever they are.
func (b *bill) files() *big.Rat { return new(big.Rat).Add(b.efs, b.s3) }

// pricer prices calls as an experiment's setup says. It keeps why it could not.
type pricer struct {
	setup    Setup
	book     *cost.Book
	unpriced []string // each reason once
}

func newPricer(s Setup) *pricer {
	p := &pricer{setup: s}
	var err error
	if p.book, err = s.book(); err != nil {
		p.fail(err)
	}
	return p
}

// book returns the prices of the setup.
func (s Setup) book() (*cost.Book, error) {
	if s.Prices != nil {
		return s.Prices, nil
	}
	return cost.Prices(s.Region)
}

func (p *pricer) fail(err error) {
	if why := strings.ReplaceAll(err.Error(), "\n", "; "); !slices.Contains(p.unpriced, why) {
		p.unpriced = append(p.unpriced, why)
	}
}

// CheckPrices finds out, before an experiment runs, whether what it finds can be
// priced, be it that a state machine runs, too. Its error says which price is not known.
func (s Setup) CheckPrices(stateMachine bool) error {
	book, err := s.book()
	if err != nil {
		return err
	}
	reads := Reads{MeteredReadBytes: 1, MetadataOperations: 1}
	if s.FromS3 {
		reads = Reads{Gets: 1}
	}
	var h cost.Helpers
	if stateMachine {
		h = cost.Helpers{Calls: 1, MemoryMB: vcpuMB, Duration: time.Second, Transitions: 1}
	}
	_, err = book.Bill(s.usage(s.Calls, vcpuMB, time.Second, reads, h))
	return err
}

// usage is a month of calls through an HTTP API that read so much from a file
// system with Elastic throughput, or from S3. What is stored is left out: it costs
// the same whatever reads it.
func (s Setup) usage(calls, memoryMB int64, billed time.Duration, r Reads, h cost.Helpers) cost.Usage {
	return cost.Usage{
		Calls:   calls,
		Lambda:  cost.Lambda{Arch: cost.Arch(s.Arch), MemoryMB: memoryMB, Duration: billed},
		Helpers: h,
		API:     cost.HTTP,
		EFS: cost.EFS{
			Throughput:         cost.Elastic,
			ReadBytes:          r.MeteredReadBytes,
			MetadataOperations: r.MetadataOperations,
			StorageClass:       cost.NoStorage,
		},
		S3: cost.S3{Gets: r.Gets},
	}
}

// month prices a month of calls that are all alike; it returns nil if it can't.
func (p *pricer) month(calls, memoryMB int64, billed time.Duration, r Reads, h cost.Helpers) *cost.Bill {
	if p.book == nil {
		return nil
	}
	b, err := p.book.Bill(p.setup.usage(calls, memoryMB, billed, r, h))
	if err != nil {
		p.fail(err)
		return nil
	}
	return b
}

// bill prices the median of calls, each median on its own.
func (p *pricer) bill(r *Series, s *stats) *bill {
	if s == nil {
		return nil
	}
	h := p.helpers(r, s.helpers, s.helpersBilled)
	month := p.month(p.setup.Calls, r.MemoryMB, s.paid(r, s.p50), s.reads, h)
	least := p.month(p.setup.Calls, r.MemoryMB, s.paid(r, s.least), s.reads, h)
	most := p.month(p.setup.Calls, r.MemoryMB, s.paid(r, s.most), s.reads, h)
	million := p.month(1e6, r.MemoryMB, s.paid(r, s.p50), s.reads, h)
	if month == nil || least == nil || most == nil || million == nil {
		return nil
	}
	helpers, transitions := meters(month, "lambda.helpers.duration."), meters(month, "states.")
	requests := meters(month, "lambda.requests")
	requests.Add(requests, meters(month, "lambda.helpers.requests")).Add(requests, transitions)
	lambda := meters(month, "lambda.duration.")
	return &bill{
		lambda:   lambda.Add(lambda, helpers),
		requests: requests,
		gateway:  meters(month, "api."),
		efs:      meters(month, "efs."),
		s3:       meters(month, "s3."),
		total:    month.Total,
		least:    least.Total,
		most:     most.Total,
		million:  million.Total,

		helpers:     helpers,
		transitions: transitions,
	}
}

// helpers are n invocations of a call of r, which are billed for so long together.
func (p *pricer) helpers(r *Series, n int, billed time.Duration) cost.Helpers {
	if n == 0 {
		return cost.Helpers{}
	}
	return cost.Helpers{Calls: int64(n), MemoryMB: p.setup.HelperMB, Duration: billed, Transitions: int64(r.Transitions)}
}

// call prices n calls that are all like c, one of r; it returns nil if it can't.
func (p *pricer) call(n int64, r *Series, c Call) *big.Rat {
	b := p.month(n, r.MemoryMB, c.paid(r), c.allReads(), p.helpers(r, len(c.Helpers), c.helpersBilled()))
	if b == nil {
		return nil
	}
	return b.Total
}

// meters adds up the meters whose names begin with prefix.
func meters(b *cost.Bill, prefix string) *big.Rat {
	sum := new(big.Rat)
	for _, item := range b.Items {
		if strings.HasPrefix(item.Meter, prefix) {
			sum.Add(sum, item.Cost)
		}
	}
	return sum
}

// run is one run of several instances at once. An instance takes as long as all
// its calls in the run together.
type run struct {
	number          int
	calls           int
	cost            *big.Rat // of all calls; nil if they can't be priced
	slowest, median time.Duration
}

func runsOf(s *Series, p *pricer) []run {
	byRun := make(map[int][]Call)
	for _, c := range s.Calls {
		byRun[c.Run] = append(byRun[c.Run], c)
	}
	var runs []run
	for _, number := range slices.Sorted(maps.Keys(byRun)) {
		runs = append(runs, runOf(number, byRun[number], s, p))
	}
	return runs
}

func runOf(number int, calls []Call, s *Series, p *pricer) run {
	instances := make(map[int]time.Duration)
	total := new(big.Rat)
	for _, c := range calls {
		instances[c.Instance] += c.Billed()
		if cost := p.call(1, s, c); cost != nil && total != nil {
			total.Add(total, cost)
		} else {
			total = nil
		}
	}
	took := slices.Collect(maps.Values(instances))
	return run{
		number:  number,
		calls:   len(calls),
		cost:    total,
		slowest: slices.Max(took),
		median:  percentile(took, 50),
	}
}

// typical is what a run of the runs comes to: the median cost, the median of the
// median instances, and the slowest instance of all.
func typical(runs []run) run {
	t := runs[0]
	var costs []*big.Rat
	var medians []time.Duration
	for _, r := range runs {
		costs = append(costs, r.cost)
		medians = append(medians, r.median)
		t.slowest = max(t.slowest, r.slowest)
	}
	t.median = percentile(medians, 50)
	if t.cost = nil; !slices.Contains(costs, nil) {
		t.cost = percentileFunc(costs, 50, (*big.Rat).Cmp)
	}
	return t
}

// quotient is a/b as a number to be shown; 0 where b is 0.
func quotient(a, b *big.Rat) float64 {
	if b.Sign() == 0 {
		return 0
	}
	q, _ := new(big.Rat).Quo(a, b).Float64()
	return q
}

// money prints an amount with thousands apart, to the cent or in whole dollars.
func money(amount *big.Rat, cents bool) string {
	if cents {
		return report.Commas(cost.Cents(amount))
	}
	return report.Commas(cost.Decimal(amount, 0))
}
