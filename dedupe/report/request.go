package report

import (
	"errors"
	"fmt"
	"io"
	"time"

	"efsdedupe/dedupe/cost"
)

// Request asks for a projection, in JSON. It has the fields of a projection's document,
// and can give what a call reads in bytes and opens instead of in EFS meters.
type Request struct {
	Calls     int64     `json:"calls"`
	Region    string    `json:"region"`
	BytesRead int64     `json:"bytes_read"`
	Opens     int64     `json:"opens"`
	Extras    Extras    `json:"extras"`
	Usage     usageJSON `json:"usage"`
}

// NewRequest returns a request with the default values.
func NewRequest() Request {
	u := cost.DefaultUsage()
	u.Lambda.Duration = time.Second
	u.Lambda.MemoryMB = cost.DefaultMemoryMB
	return Request{Calls: u.Calls, Region: cost.DefaultRegion, Extras: AllExtras, Usage: usageOf(u)}
}

// Cost returns the usage that the request asks about.
func (q Request) Cost() (cost.Usage, error) {
	u, err := q.Extras.Choose(q.Usage.usage(q.Calls))
	if err != nil {
		return cost.Usage{}, err
	}
	u.EFS = u.EFS.Metered()
	if q.BytesRead == 0 && q.Opens == 0 {
		return u, nil
	}
	// ByHand replaces these, so nothing else notices negative values.
	if min(u.EFS.ReadBytes, u.EFS.AccessBytes, u.EFS.MetadataOperations) < 0 {
		return u, errors.New("metered_read_bytes, metered_access_bytes and metadata_operations cannot be negative")
	}
	return cost.ByHand(u, q.BytesRead, q.Opens)
}

// ReadUsage reads a file with the fields of a projection's usage, for so many calls a
// month. A missing field is 0, as in a projection, and of those that a projection always
// has it is that of [NewRequest]. Unknown fields are errors, and so is a usage that nobody
// can have.
func ReadUsage(r io.Reader, calls int64) (cost.Usage, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxUsage+1))
	if err != nil {
		return cost.Usage{}, err
	}
	if len(data) > maxUsage {
		return cost.Usage{}, fmt.Errorf("it has more than %d bytes, which no usage has", maxUsage)
	}
	usual := cost.WithoutService(NewRequest().Usage.usage(calls))
	usual.Hours = 0
	fields := usageOf(usual)
	if err := Decode(data, &fields); err != nil {
		return cost.Usage{}, err
	}
	if fields.API == "" || fields.StorageClass == "" {
		return cost.Usage{}, errors.New("api and storage_class cannot be empty: none leaves them out of the bill")
	}
	u := fields.usage(calls)
	u.EFS = u.EFS.Metered()
	return u, u.Validate()
}

const maxUsage = 64 << 10

// Extras is whether a bill has logs, answers, metrics and alarms.
type Extras string

const (
	AllExtras Extras = "all"
	NoExtras  Extras = "none"
)

// Choose returns u without what was not chosen. Without an API, the defaults are not on
// the bill: it is the function's alone.
func (x Extras) Choose(u cost.Usage) (cost.Usage, error) {
	switch {
	case x != AllExtras && x != NoExtras:
		return u, fmt.Errorf("extras is %q: choose %s or %s", x, AllExtras, NoExtras)
	case x == NoExtras:
		u.Extras = cost.Extras{}
	case u.API == cost.NoAPI && u.Extras == cost.DefaultExtras():
		u = cost.WithoutService(u)
	}
	return u, nil
}
