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
	sel, eng, page, err := s.options(q)
	if err != nil {
		return err
	}
	rules, err := q.rules()
	if err == nil {
		err = q.find(&sel, &rules)
	}
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
	var reads cost.Reads
	var stored cost.Objects
	eng.Stored = stored.Add
	eng.Observe = func(e dedupe.Event) { reads.Add(e.Work.BytesRead, e.Work.BytesSpared) }
	ctx, cancel := s.endInTime(r.Context(), &eng, rules)
	defer cancel()
	within, tenant, err := s.within(ctx)
	if err != nil {
		return err
	}
	defer within.Close()
	eng.Within = within
	if page.Chooser, err = chooser(ctx, &eng, sel.Roots[0], rules); err != nil {
		return err
	}
	var folders choose.Found
	if rules.Folders && q.Next == "" { // the first page has them
		eng.Folder = folders.Add
	}
	var leave func()
	eng.Alone, leave = s.running.enter()
	defer leave()

	remember := s.recall(sel, &eng)
	ctx, refused := s.limitReads(ctx, &eng)
	found, err := dedupe.Scan(ctx, sel, eng)
	if err := cmp.Or(refused(), err); err != nil {
		return cmp.Or(q.refusal(err, sel), refusal(err))
	}
	charged := remember(r.Context(), ctx, &found)
	if err := chooseIn(r.Context(), &page, &folders, &found); err != nil {
		return err
	}
	took := report.Took(found)
	took.Stored = stored
	p := cost.Project(book, cost.Charged(cost.Measured(usage, took, reads), charged.Read, charged.Write))
	p.Warn(took)
	s.record(r, sel, tenant, found, charged, p)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Server-Timing", fmt.Sprintf("scan;dur=%.1f, total;dur=%.1f", report.Milliseconds(found.Stats.Elapsed), report.Milliseconds(time.Since(start))))
	return report.WritePage(w, found, &p, page)
}

// options turns a request into what the engine takes, and a page of the report. It
// fails with a problem for the caller.
func (s *service) options(q scanRequest) (dedupe.Selection, dedupe.Engine, report.Page, error) {
	page := report.Page{Limit: q.Limit, MaxBytes: maxAnswer, Tool: report.ThisTool("dedupe")}
	path, err := q.path()
	sel := dedupe.Selection{
		Roots:  []string{path},
		Filter: dedupe.Filter{MinSize: q.MinSize, MaxSize: q.MaxSize, Include: q.Include, Exclude: q.Exclude},
	}
	eng := dedupe.Engine{Mode: q.Mode, Workers: q.Workers, MaxFiles: s.MaxFiles, Memory: s.ScanMemory, Worker: s.Worker, Abandoned: &s.abandoned}
	switch {
	case err != nil:
	case utf8.RuneCountInString(path) > maxPath:
		err = fmt.Errorf("the path is longer than %d characters", maxPath)
	case q.Workers < 1 || q.Workers > s.MaxWorkers:
		err = fmt.Errorf("%d workers: choose 1 to %d", q.Workers, s.MaxWorkers)
	case q.Limit < 1 || q.Limit > maxLimit:
		err = fmt.Errorf("a limit of %d groups: choose 1 to %d", q.Limit, maxLimit)
	case max(len(q.Include), len(q.Exclude)) > maxGlobs:
		err = fmt.Errorf("there are more than %d globs", maxGlobs)
	default:
		err = cmp.Or(setTime(&sel.Filter.Newer, "newer", q.Newer), setTime(&sel.Filter.Older, "older", q.Older), eng.Validate(), sel.Validate())
	}
	for _, glob := range slices.Concat(q.Include, q.Exclude) {
		if utf8.RuneCountInString(glob) > maxGlob {
			err = fmt.Errorf("a glob is longer than %d characters", maxGlob)
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

// setTime sets a time to what a field says, if it is there.
func setTime(t *time.Time, field string, text *string) (err error) {
	if text == nil {
		return nil
	}
	if *t, err = time.Parse(time.RFC3339, *text); err != nil {
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
