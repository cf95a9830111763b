package report

import (
	"errors"
	"time"

	"efsdedupe/dedupe/cost"
)

// Request asks for a projection, in JSON: what a projection's document says, and
// what a call reads, in bytes and opens, instead of as EFS meters it.
type Request struct {
	Calls     int64     `json:"calls"`
	Region    string    `json:"region"`
	BytesRead int64     `json:"bytes_read"`
	Opens     int64     `json:"opens"`
	Usage     usageJSON `json:"usage"`
}

// NewRequest returns a request with what it asks for unless it says otherwise.
func NewRequest() Request {
	u := cost.DefaultUsage()
	u.Lambda.Duration = time.Second
	u.Lambda.MemoryMB = cost.DefaultMemoryMB
	return Request{Calls: u.Calls, Region: cost.DefaultRegion, Usage: usageOf(u)}
}

// Cost is the usage that the request asks about.
func (q Request) Cost() (cost.Usage, error) {
	u := q.Usage.usage(q.Calls)
	if q.BytesRead == 0 && q.Opens == 0 {
		return u, nil
	}
	// ByHand replaces these, so nobody else finds them negative.
	if min(u.EFS.ReadBytes, u.EFS.AccessBytes, u.EFS.MetadataOperations) < 0 {
		return u, errors.New("metered_read_bytes, metered_access_bytes and metadata_operations cannot be negative")
	}
	return cost.ByHand(u, q.BytesRead, q.Opens)
}
