package task

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/zeebo/blake3"

	"efsdedupe/dedupe"
)

// task is one of an event's tasks. It is what a worker process is sent.
type task struct {
	Workload string
	Number   int
	Path     []byte `json:",omitempty"` // of scan; no string, because a name may be any bytes
	Steps    int64  `json:",omitempty"` // of fib
	URL      string `json:",omitempty"` // of fetch
}

// runner runs tasks in this process, many at once, and keeps from task to task
// what is better kept: buffers, connections.
type runner struct {
	hasher dedupe.LocalHasher
	client http.Client
}

func newRunner() *runner {
	return &runner{hasher: dedupe.LocalHasher{HashAll: true}, client: http.Client{
		Transport: &http.Transport{MaxIdleConnsPerHost: dedupe.MaxWorkers},
		// A task is one request; one that leads elsewhere has not the status 200.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// run is a task, the same in every mode. It returns the checksum.
func (r *runner) run(ctx context.Context, t task) (string, error) {
	switch t.Workload {
	case Scan:
		return r.scan(ctx, string(t.Path))
	case Fib:
		return strconv.FormatUint(fib(uint64(t.Number), t.Steps), 10), nil
	case Fetch:
		return r.fetch(ctx, t.URL+"/"+strconv.Itoa(t.Number))
	}
	return "", fmt.Errorf("unknown workload %q", t.Workload)
}

// scan hashes a file with the product's own code, but all of it: the same compute
// in every language.
func (r *runner) scan(ctx context.Context, path string) (string, error) {
	f, err := r.hasher.Find(path)
	if err != nil {
		return "", err
	}
	signed := r.hasher.Hash(ctx, dedupe.Batch{Files: []dedupe.File{f}, Want: dedupe.StageWhole})[0]
	if signed.Problem != nil {
		return "", signed.Problem
	}
	return signed.Digest.String(), nil
}

// fib makes as many steps as it is asked for: the work is what is wanted, not the
// number.
func fib(start uint64, steps int64) uint64 {
	a, b := start, uint64(1)
	for range steps {
		a, b = b, (a+b)%Prime
	}
	return a
}

func (r *runner) fetch(ctx context.Context, url string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	response, err := r.client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("GET %s: status %s", url, response.Status)
	}
	h := blake3.New()
	if _, err := io.Copy(h, response.Body); err != nil {
		return "", fmt.Errorf("GET %s: %w", url, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
