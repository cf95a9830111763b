package service

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"efsdedupe/dedupe"
	"efsdedupe/dedupe/cost"
	"efsdedupe/dedupe/report"
)

// scanRequest is the body of POST /v1/scans.
type scanRequest struct {
	Path       string      `json:"path"` // relative to the root; "." is the root
	Mode       dedupe.Mode `json:"mode"`
	Workers    int         `json:"workers"`
	MinSize    int64       `json:"min_size"`
	MaxSize    int64       `json:"max_size"`
	Include    []string    `json:"include"`
	Exclude    []string    `json:"exclude"`
	Limit      int         `json:"limit"` // groups per page
	Next       string      `json:"next"`  // from the previous page
	Projection settings    `json:"projection"`
}

const (
	maxPath  = 4096
	maxGlobs = 100
	maxGlob  = 1024
	maxLimit = 10_000
)

func (s *service) scan(w http.ResponseWriter, r *http.Request) error {
	start := time.Now()
	q := scanRequest{Path: ".", Mode: dedupe.Goroutines, Workers: min(dedupe.DefaultWorkers, s.MaxWorkers), MinSize: 1, Limit: 1000, Projection: s.settings()}
	if err := decode(r, &q); err != nil {
		return err
	}
	sel, eng, page, err := s.options(q)
	if err != nil {
		return err
	}
	book, usage, err := q.Projection.check()
	if err != nil {
		return err
	}
	within, tenant, err := s.within(r.Context())
	if err != nil {
		return err
	}
	defer within.Close()
	eng.Within = within
	release, err := s.enter(r.Context())
	if err != nil {
		return err
	}
	defer release()
	var leave func()
	eng.Alone, leave = s.running.enter()
	defer leave()

	ctx, cancel := withAnswerTime(r.Context())
	defer cancel()
	var reads cost.Reads
	eng.Observe = func(e dedupe.Event) { reads.Add(e.Work.BytesRead, e.Work.BytesSpared) }
	remember := s.recall(sel, &eng)
	found, err := dedupe.Scan(ctx, sel, eng)
	if err != nil {
		return refusal(err)
	}
	charged := remember(r.Context(), ctx, &found)
	took := report.Took(found)
	p := cost.Project(book, cost.Charged(cost.Measured(usage, took, reads), charged.Read, charged.Write))
	p.Warn(took)
	s.record(r, q, tenant, found, charged, p)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Server-Timing", fmt.Sprintf("scan;dur=%.1f, total;dur=%.1f", report.Milliseconds(found.Stats.Elapsed), report.Milliseconds(time.Since(start))))
	return report.WritePage(w, found, &p, page)
}

// options turns a request into what the engine takes, and a page of the report. It
// fails with a problem for the caller.
func (s *service) options(q scanRequest) (dedupe.Selection, dedupe.Engine, report.Page, error) {
	page := report.Page{Limit: q.Limit, MaxBytes: maxAnswer, Tool: report.ThisTool("dedupe")}
	sel := dedupe.Selection{
		Roots:  []string{q.Path},
		Filter: dedupe.Filter{MinSize: q.MinSize, MaxSize: q.MaxSize, Include: q.Include, Exclude: q.Exclude},
	}
	eng := dedupe.Engine{Mode: q.Mode, Workers: q.Workers, MaxFiles: s.MaxFiles, Worker: s.Worker, Abandoned: &s.abandoned}
	var err error
	switch {
	case len(q.Path) > maxPath:
		err = fmt.Errorf("the path is longer than %d bytes", maxPath)
	case q.Workers > s.MaxWorkers:
		err = fmt.Errorf("%d workers: choose 1 to %d", q.Workers, s.MaxWorkers)
	case q.Limit < 1 || q.Limit > maxLimit:
		err = fmt.Errorf("a limit of %d groups: choose 1 to %d", q.Limit, maxLimit)
	case len(q.Include)+len(q.Exclude) > maxGlobs:
		err = fmt.Errorf("there are more than %d globs", maxGlobs)
	default:
		err = cmp.Or(eng.Validate(), sel.Validate())
	}
	for _, glob := range append(q.Include, q.Exclude...) {
		if len(glob) > maxGlob {
			err = fmt.Errorf("a glob is longer than %d bytes", maxGlob)
		}
	}
	if err == nil {
		page.After, err = report.ParseCursor(q.Next)
	}
	if err != nil {
		return sel, eng, page, refuse(http.StatusBadRequest, "%v", err)
	}
	return sel, eng, page, nil
}

// enter waits until another scan may run. Call release when the scan is over.
func (s *service) enter(ctx context.Context) (release func(), err error) {
	busy := refuse(http.StatusTooManyRequests, "too many scans are running: try again later").with("retry_after_seconds", 1)
	select {
	case s.waiting <- struct{}{}:
	default:
		return nil, busy
	}
	select {
	case s.scans <- struct{}{}:
		return func() { <-s.scans; <-s.waiting }, nil
	case <-ctx.Done():
		<-s.waiting
		return nil, busy
	}
}

// attendance tracks which scans have had the process to themselves from the first
// file to the last byte of the answer.
type attendance struct {
	mu      sync.Mutex
	present int // scans running now
	came    int // scans ever started
}

// enter starts a scan. Alone reports whether no other scan has run since.
func (a *attendance) enter() (alone func() bool, leave func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.present++
	a.came++
	first, came := a.present == 1, a.came
	alone = func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return first && a.came == came
	}
	leave = func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.present--
	}
	return alone, leave
}

// withAnswerTime ends a scan early enough to write the answer before the deadline.
func withAnswerTime(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, _ := ctx.Deadline()
	left := time.Until(deadline)
	return context.WithDeadline(ctx, deadline.Add(-min(answerTime, left/2)))
}

// refusal turns an engine error into a problem for the caller. A missing path, a path
// outside the root and a symbolic link look the same, so they reveal nothing.
func refusal(err error) error {
	var root *dedupe.RootError
	switch {
	case errors.As(err, &root):
		return refuse(http.StatusNotFound, "no directory or file at that path: use a path relative to your root, without symbolic links")
	case errors.Is(err, dedupe.ErrTooManyFiles):
		return refuse(http.StatusUnprocessableEntity, "%v", err)
	case errors.Is(err, dedupe.ErrHung), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return refuse(http.StatusServiceUnavailable, "the file system does not answer: try again later")
	}
	return err
}

// settings are the inputs of a bill that a scan does not measure.
type settings struct {
	Calls        int64             `json:"calls"`
	Region       string            `json:"region"`
	Arch         cost.Arch         `json:"arch"`
	MemoryMB     int64             `json:"memory_mb"` // 0: as much as the scan needs
	API          cost.API          `json:"api"`
	Throughput   cost.Throughput   `json:"throughput"`
	StorageClass cost.StorageClass `json:"storage_class"`
	FreeTier     bool              `json:"free_tier"`
}

// settings returns the defaults of a request: those of the bill, with the memory of
// this function.
func (s *service) settings() settings {
	u := cost.DefaultUsage()
	return settings{
		Calls:        u.Calls,
		Region:       cost.DefaultRegion,
		Arch:         u.Lambda.Arch,
		MemoryMB:     s.MemoryMB,
		API:          u.API,
		Throughput:   u.EFS.Throughput,
		StorageClass: u.EFS.StorageClass,
	}
}

// check makes sure before the scan that the bill can be calculated.
func (c settings) check() (*cost.Book, cost.Usage, error) {
	u := cost.Usage{
		Calls:    c.Calls,
		Lambda:   cost.Lambda{Arch: c.Arch, MemoryMB: c.MemoryMB},
		API:      c.API,
		EFS:      cost.EFS{Throughput: c.Throughput, StorageClass: c.StorageClass},
		FreeTier: c.FreeTier,
	}
	book, err := cost.CheckBill(c.Region, u)
	if err != nil {
		return nil, u, refuse(http.StatusBadRequest, "%v", err)
	}
	return book, u, nil
}
