package service

import (
	"context"
	"errors"
	"net/http"
	"time"

	"efsdedupe/dedupe/cost"
	"efsdedupe/dedupe/job"
)

// planJSON is what a job will take and cost on AWS, at most.
type planJSON struct {
	Exact       bool    `json:"exact"` // the whole tree was listed, not a sample of it
	Files       int64   `json:"files"`
	Directories int64   `json:"directories"`
	Bytes       int64   `json:"bytes"`
	FilesToRead int64   `json:"files_to_read"`
	Messages    int64   `json:"nfs_messages"` // besides READ
	Reads       int64   `json:"nfs_reads"`
	ReadBytes   int64   `json:"metered_read_bytes"`
	Units       int64   `json:"units"`
	Transitions int64   `json:"transitions"`
	Puts        int64   `json:"s3_puts"`
	Gets        int64   `json:"s3_gets"`
	GBSeconds   float64 `json:"gb_seconds"`

	Region   string      `json:"region"`
	Currency string      `json:"currency"`
	Total    float64     `json:"total"`
	Decimal  string      `json:"total_decimal"`
	Crowds   []crowdJSON `json:"functions"`
}

// crowdJSON is how long a job takes with a number of functions at once, and what those cost.
type crowdJSON struct {
	Functions int64   `json:"functions"`
	Hours     float64 `json:"hours"`
	Busy      float64 `json:"busy"` // share of the time
	Cost      float64 `json:"cost"`
	Idle      float64 `json:"idle_cost"` // of functions beyond those that the file system can serve
}

// planJob answers what a job will take. The first number of functions is the one that
// saturates the file system.
func (s *service) planJob(w http.ResponseWriter, r *http.Request, spec job.Spec) error {
	book, err := s.book(s.region())
	if err != nil {
		return err
	}
	release, err := s.gate.enter(r.Context())
	if err != nil {
		return err
	}
	defer release()
	ctx, cancel := context.WithTimeout(r.Context(), s.MaxDuration*9/10)
	defer cancel()
	e, err := s.Jobs.Runner.Plan(ctx, spec)
	if err != nil {
		return refusal(err)
	}
	doc, err := planOf(book, e)
	var missing *cost.PriceError
	if errors.As(err, &missing) {
		return refuse(http.StatusUnprocessableEntity, "%v", err)
	}
	if err != nil {
		return err
	}
	return answer(w, doc)
}

func planOf(book *cost.Book, e job.Estimate) (planJSON, error) {
	f, rates := e.Fanout(), cost.RatesOf(cost.Elastic, 0)
	best, err := book.Crowd(f, rates, f.Saturating(rates))
	if err != nil {
		return planJSON{}, err
	}
	f.Time = time.Duration(best.Functions) * best.Time
	bill, err := book.Fanout(f)
	if err != nil {
		return planJSON{}, err
	}
	doc := planJSON{
		Exact: e.Exact, Files: e.Files, Directories: e.Directories, Bytes: e.Bytes, FilesToRead: e.Copies,
		Messages: f.Messages.Count, Reads: f.Reads, ReadBytes: f.DataBytes, Units: f.Units, Transitions: f.Transitions, Puts: f.Puts, Gets: f.Gets,
		Region: bill.Region, Currency: bill.Currency, Decimal: cost.Decimal(bill.Total, 9),
	}
	doc.GBSeconds, _ = f.GBSeconds().Float64()
	doc.Total, _ = bill.Total.Float64()
	for _, n := range []int64{best.Functions, 2 * best.Functions, 10 * best.Functions, 100 * best.Functions} {
		c, err := book.Crowd(f, rates, n)
		if err != nil {
			return doc, err
		}
		one := crowdJSON{Functions: n, Hours: c.Time.Hours(), Busy: c.Busy}
		one.Cost, _ = c.Cost.Float64()
		one.Idle, _ = c.Idle.Float64()
		doc.Crowds = append(doc.Crowds, one)
	}
	return doc, nil
}
