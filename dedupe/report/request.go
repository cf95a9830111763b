package report

import (
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
	u := DefaultUsage()
	u.Lambda.Duration = time.Second
	u.Lambda.MemoryMB = DefaultMemoryMB
	return Request{Calls: u.Calls, Region: DefaultRegion, Usage: usageOf(u)}
}

// Project answers the request.
func (q Request) Project() (Projection, error) {
	book, err := cost.Prices(q.Region)
	if err != nil {
		return Projection{}, err
	}
	u := q.Usage.usage(q.Calls)
	if q.BytesRead != 0 || q.Opens != 0 {
		if u, err = ByHand(u, q.BytesRead, q.Opens); err != nil {
			return Projection{}, err
		}
	}
	p := Project(book, u)
	return p, Explain(p.Err)
}
