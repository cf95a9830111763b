package service

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"
	"unicode/utf8"

	"efsdedupe/dedupe"
	"efsdedupe/dedupe/choose"
	"efsdedupe/dedupe/cost"
	"efsdedupe/dedupe/index"
	"efsdedupe/dedupe/report"
)

// scanRequest is the body of POST /v1/scans.
type scanRequest struct {
	selectionRequest
	rulesRequest
	findRequest
	Mode       dedupe.Mode `json:"mode"`
	Workers    int         `json:"workers"`
	Limit      int         `json:"limit"` // groups per page
	Next       string      `json:"next"`  // from the previous page
	Projection settings    `json:"projection"`
}

// selectionRequest is the part of a request that says what to scan.
type selectionRequest struct {
	Path       *string  `json:"path,omitempty"`        // relative to the root; "." is the root
	PathBase64 []byte   `json:"path_base64,omitempty"` // the same for a path of any bytes
	MinSize    int64    `json:"min_size"`
	MaxSize    int64    `json:"max_size"`
	Include    []string `json:"include,omitempty"`
	Exclude    []string `json:"exclude,omitempty"`
	Newer      *string  `json:"newer,omitempty"` // RFC 3339
	Older      *string  `json:"older,omitempty"` // RFC 3339
}

const (
	maxPath  = 4096 // characters
	maxGlobs = 100  // in each of include and exclude
	maxGlob  = 1024 // characters
	maxLimit = 10_000
)

func (s *service) scan(w http.ResponseWriter, r *http.Request) error {
	start := time.Now()
	q := scanRequest{Mode: dedupe.Goroutines, Workers: min(dedupe.DefaultWorkers, s.MaxWorkers), Limit: 1000, Projection: s.settings()}
	q.MinSize = 1
	if err := decode(r, &q); err != nil {
		return err
	}
	o, err := s.order(q)
	if err != nil {
		return err
	}
	book, usage, err := s.check(q.Projection)
	if err != nil {
		return err
	}
	// No file system is touched before: one that hangs must not keep more requests than
	// there are slots.
	release, err := s.gate.enter(r.Context())
	if err != nil {
		return err
	}
	defer release()
	var leave func()
	o.eng.Alone, leave = s.running.enter()
	defer leave()
	f, err := s.run(r.Context(), &o)
	if err != nil {
		return err
	}
	took := report.Took(f.report)
	took.Stored = f.stored
	p := cost.Project(book, cost.Charged(cost.Measured(usage, took, f.reads), f.charged.Read, f.charged.Write))
	p.Warn(took)
	s.record(r, o.sel, f.tenant, f.report, f.charged, p)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Server-Timing", fmt.Sprintf("scan;dur=%.1f, total;dur=%.1f", report.Milliseconds(f.report.Stats.Elapsed), report.Milliseconds(time.Since(start))))
	return report.WritePage(w, f.report, &p, o.page)
}

// finding is the report of a scan, as the rules want it, and what the bill and the log need
// besides.
type finding struct {
	report  dedupe.Report
	tenant  string
	reads   cost.Reads
	stored  cost.Objects
	charged index.Units
}

// run scans. It fails with a problem for the caller.
func (s *service) run(request context.Context, o *order) (*finding, error) {
	f := new(finding)
	eng := &o.eng
	eng.Stored = f.stored.Add
	eng.Observe = func(e dedupe.Event) { f.reads.Add(e.Work.BytesRead, e.Work.BytesSpared) }
	ctx, cancel := s.endInTime(request, eng, o.rules)
	defer cancel()
	within, tenant, err := s.within(ctx)
	if err != nil {
		return nil, err
	}
	defer within.Close()
	f.tenant, eng.Within = tenant, within
	if o.page.Chooser, err = chooser(ctx, eng, o.sel.Roots[0], o.rules); err != nil {
		return nil, err
	}
	var folders choose.Found
	if o.rules.Folders && o.page.After == (report.Cursor{}) { // the first page has them
		eng.Folder = folders.Add
	}
	remember := s.recall(o.sel, eng)
	ctx, refused := s.limitReads(ctx, eng)
	f.report, err = dedupe.Scan(ctx, o.sel, *eng)
	if err := cmp.Or(refused(), err); err != nil {
		return nil, cmp.Or(refusalOfCopies(err, o.sel), refusal(err))
	}
	f.charged = remember(request, ctx, &f.report)
	return f, chooseIn(request, &o.page, &folders, &f.report)
}

// order is a scan as a request asks for it: what the engine takes, and a page of the report.
type order struct {
	sel   dedupe.Selection
	eng   dedupe.Engine
	page  report.Page
	rules choose.Rules
}

// order turns a request into an order. It fails with a problem for the caller.
func (s *service) order(q scanRequest) (order, error) {
	path, err := q.path()
	o := order{
		sel: dedupe.Selection{
			Roots:  []string{path},
			Filter: dedupe.Filter{MinSize: q.MinSize, MaxSize: q.MaxSize, Include: q.Include, Exclude: q.Exclude},
		},
		eng:  dedupe.Engine{Mode: q.Mode, Workers: q.Workers, MaxFiles: s.MaxFiles, Memory: s.ScanMemory, Worker: s.Worker, Abandoned: &s.abandoned},
		page: report.Page{Limit: q.Limit, MaxBytes: maxAnswer, Tool: report.ThisTool("dedupe")},
	}
	if err == nil {
		err = s.checkScan(q, path)
	}
	if err == nil {
		f := &o.sel.Filter
		err = cmp.Or(setTime(&f.Newer, "newer", q.Newer), setTime(&f.Older, "older", q.Older), o.eng.Validate(), o.sel.Validate())
	}
	if err == nil {
		o.page.After, err = report.ParseCursor(q.Next)
	}
	if err == nil {
		o.rules, err = q.rules()
	}
	if err == nil {
		err = q.add(&o)
	}
	if err != nil {
		return o, refuse(http.StatusBadRequest, "%v", err)
	}
	return o, nil
}

// checkScan returns an error if a field is too large or too long.
func (s *service) checkScan(q scanRequest, path string) error {
	switch {
	case utf8.RuneCountInString(path) > maxPath:
		return fmt.Errorf("the path is longer than %d characters", maxPath)
	case q.Workers < 1 || q.Workers > s.MaxWorkers:
		return fmt.Errorf("%d workers: choose 1 to %d", q.Workers, s.MaxWorkers)
	case q.Limit < 1 || q.Limit > maxLimit:
		return fmt.Errorf("a limit of %d groups: choose 1 to %d", q.Limit, maxLimit)
	case max(len(q.Include), len(q.Exclude)) > maxGlobs:
		return fmt.Errorf("there are more than %d globs", maxGlobs)
	}
	for _, glob := range slices.Concat(q.Include, q.Exclude) {
		if utf8.RuneCountInString(glob) > maxGlob {
			return fmt.Errorf("a glob is longer than %d characters", maxGlob)
		}
	}
	return nil
}

// setTime sets a time to what a field says, if it is there.
func setTime(t *time.Time, field string, text *string) (err error) {
	if text == nil {
		return nil
	}
	if *t, err = time.Parse(time.RFC3339, *text); err != nil || t.IsZero() {
		return fmt.Errorf("%s is %.40q: write a time such as 2026-01-31T12:00:00Z", field, *text)
	}
	return nil
}

// path returns the path to scan.
func (q selectionRequest) path() (string, error) {
	if q.PathBase64 == nil && q.Path == nil {
		return ".", nil
	}
	return pathOf("path", q.Path, q.PathBase64)
}

// pathOf returns the path in a field, or in its twin for a path of any bytes. A report has a
// path that is not UTF-8 twice, readable and in base64, and a client may send back both.
func pathOf(field string, path *string, full []byte) (string, error) {
	switch {
	case full == nil && path == nil:
		return "", nil
	case full == nil:
		return *path, nil
	case path != nil && *path != string([]rune(string(full))):
		return "", fmt.Errorf("%s and %[1]s_base64 name different paths: leave one of them out", field)
	}
	return string(full), nil
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

// refusal turns an engine error into a problem for the caller. A missing path, a path
// outside the root and a symbolic link look the same, so they reveal nothing.
func refusal(err error) error {
	var root *dedupe.RootError
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return refuse(http.StatusServiceUnavailable, "the file system does not answer: try again later").after(patience)
	case errors.As(err, &root):
		return refuse(http.StatusNotFound, "no directory or file at that path: use a path relative to your root, without symbolic links")
	case errors.Is(err, dedupe.ErrTooManyFiles):
		return refuse(http.StatusUnprocessableEntity, "%v", err)
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
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
	Extras       report.Extras     `json:"extras"`
	FreeTier     bool              `json:"free_tier"`
}

// settings returns the defaults of a request: those of the bill, with the memory of
// this function.
func (s *service) settings() settings {
	u := cost.DefaultUsage()
	return settings{
		Calls:        u.Calls,
		Region:       s.region(),
		Arch:         u.Lambda.Arch,
		MemoryMB:     s.MemoryMB,
		API:          u.API,
		Throughput:   u.EFS.Throughput,
		StorageClass: u.EFS.StorageClass,
		Extras:       report.AllExtras,
	}
}

// check makes sure before the scan that the bill can be calculated.
func (s *service) check(c settings) (*cost.Book, cost.Usage, error) {
	if err := checkNamed(c.API, c.StorageClass); err != nil {
		return nil, cost.Usage{}, err
	}
	u := cost.DefaultUsage()
	u.Calls, u.API, u.FreeTier = c.Calls, c.API, c.FreeTier
	u.Lambda.Arch, u.Lambda.MemoryMB = c.Arch, c.MemoryMB
	u.EFS.Throughput, u.EFS.StorageClass = c.Throughput, c.StorageClass
	u, err := c.Extras.Choose(u)
	if err != nil {
		return nil, u, refuse(http.StatusBadRequest, "%v", err)
	}
	book, err := s.book(c.Region)
	if err == nil {
		err = cost.CheckBill(book, u)
	}
	if err != nil {
		return nil, u, refuse(http.StatusBadRequest, "%v", err)
	}
	return book, u, nil
}

// region is the region whose prices a bill has by default.
func (s *service) region() string {
	if s.Prices != nil {
		return s.Prices.Region
	}
	return cost.DefaultRegion
}

// book returns the prices of a region.
func (s *service) book(region string) (*cost.Book, error) {
	if s.Prices != nil && s.Prices.Region == region {
		return s.Prices, nil
	}
	return cost.Prices(region)
}

// checkNamed refuses empty names, which mean none where a usage is made in Go.
func checkNamed(api cost.API, class cost.StorageClass) error {
	if api == "" || class == "" {
		return refuse(http.StatusBadRequest, "api and storage_class cannot be empty: none leaves them out of the bill")
	}
	return nil
}
