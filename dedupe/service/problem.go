package service

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/http"
	"strconv"
	"time"
)

// problem is an error to show to the caller, in the form of RFC 9457.
type problem struct {
	status int
	detail string
	more   map[string]any // extension members
	retry  int            // after how many seconds it may help to try again; 0: it does not help
}

// refuse returns a problem. Its detail tells the caller what is wrong and what to do.
// It must not reveal anything outside the caller's root.
func refuse(status int, detail string, args ...any) *problem {
	return &problem{status: status, detail: fmt.Sprintf(detail, args...)}
}

func (p *problem) with(member string, value any) *problem {
	p.more = map[string]any{member: value}
	return p
}

// after sets when to try again.
func (p *problem) after(wait time.Duration) *problem {
	p.retry = int(math.Ceil(wait.Seconds()))
	return p.with("retry_after_seconds", p.retry)
}

func (p *problem) Error() string { return p.detail }

func (p *problem) write(w http.ResponseWriter, r *http.Request) {
	doc := map[string]any{
		"type":     "about:blank",
		"title":    http.StatusText(p.status),
		"status":   p.status,
		"detail":   p.detail,
		"instance": r.URL.Path,
	}
	maps.Copy(doc, p.more)
	w.Header().Set("Content-Type", "application/problem+json")
	if p.retry > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(p.retry))
	}
	w.WriteHeader(p.status)
	json.NewEncoder(w).Encode(doc)
}
