package task

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
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
	Image    string `json:",omitempty"` // of predict: a path or a URL

	found *File // of scan, where to put what the file is, unless nil; in this process only
}

// runner runs tasks in this process, many at once, and keeps from task to task
// what is better kept: buffers, connections.
type runner struct {
	hasher    dedupe.LocalHasher
	client    http.Client
	predictor Predictor
	gate      chan struct{} // holds the predictions that run now; nil for no limit
}

// Predictor tells what an image, a PNG file, shows: the number of the class, its logit
// with six decimals, and the BLAKE3 of all logits, with a space between each. Many may
// call it at once.
type Predictor func(image []byte) (string, error)

func newRunner(p Predictor) *runner {
	return &runner{predictor: p, hasher: dedupe.LocalHasher{HashAll: true}, client: http.Client{
		Transport: &http.Transport{MaxIdleConnsPerHost: dedupe.MaxWorkers},
		// A task is one request; one that leads elsewhere has not the status 200.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// run is a task, the same in every mode. It returns the checksum.
func (r *runner) run(ctx context.Context, t task) (string, error) {
	switch t.Workload {
	case Scan:
		return r.scan(ctx, t)
	case Fib:
		return strconv.FormatUint(fib(uint64(t.Number), t.Steps), 10), nil
	case Fetch:
		return r.fetch(ctx, t.URL+"/"+strconv.Itoa(t.Number))
	case Predict:
		return r.predict(ctx, t.Image)
	}
	return "", fmt.Errorf("unknown workload %q", t.Workload)
}

// scan hashes a file with the product's own code, but all of it: the same computation
// in every language.
func (r *runner) scan(ctx context.Context, t task) (string, error) {
	f, err := r.hasher.Find(string(t.Path))
	if err != nil {
		return "", err
	}
	if t.found != nil {
		*t.found = File{f.Size, f.Inode}
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
		a, b = b, (a+b)%prime
	}
	return a
}

func (r *runner) fetch(ctx context.Context, url string) (string, error) {
	body, err := r.get(ctx, url)
	if err != nil {
		return "", err
	}
	defer body.Close()
	h := blake3.New()
	if _, err := io.Copy(h, body); err != nil {
		return "", fmt.Errorf("GET %s: %w", url, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// get returns the body of an answer with the status 200. Whoever calls it closes that.
func (r *runner) get(ctx context.Context, url string) (io.ReadCloser, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	response, err := r.client.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		response.Body.Close()
		return nil, fmt.Errorf("GET %s: status %s", url, response.Status)
	}
	return response.Body, nil
}

// predict reads an image, and then waits at the gate: what a prediction takes, pixels
// and the memory of the model, is there as often as predictions run at once.
func (r *runner) predict(ctx context.Context, source string) (string, error) {
	if r.predictor == nil {
		return "", errors.New("this program has no model: predict needs experiment-predictor")
	}
	image, err := r.read(ctx, source)
	if err != nil {
		return "", err
	}
	if r.gate != nil {
		r.gate <- struct{}{}
		defer func() { <-r.gate }()
	}
	sum, err := r.predictor(image)
	if err != nil {
		return "", fmt.Errorf("%s: %w", source, err)
	}
	return sum, nil
}

// read returns the content of a file or a URL.
func (r *runner) read(ctx context.Context, source string) ([]byte, error) {
	if !isHTTP(source) {
		return os.ReadFile(source)
	}
	body, err := r.get(ctx, source)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	content, err := io.ReadAll(body)
	if err != nil {
		return nil, fmt.Errorf("GET %s: %w", source, err)
	}
	return content, nil
}
