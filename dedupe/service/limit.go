package service

import (
	"context"
	"errors"
	"net/http"

	"efsdedupe/dedupe"
)

// limitReads makes a scan refuse to read more than MaxBytes. It adds up what the scan
// may read when the walk is over and the index was asked, so a refused scan has read
// nothing. Call it after recall. Run the scan with the context; refused then returns
// the problem for the caller, or nil. Without MaxBytes it leaves the scan alone.
func (s *service) limitReads(ctx context.Context, eng *dedupe.Engine) (limited context.Context, refused func() error) {
	if s.MaxBytes == 0 {
		return ctx, func() error { return nil }
	}
	limited, cancel := context.WithCancelCause(ctx)
	recall := eng.Recall
	eng.Recall = func(ctx context.Context, found *dedupe.Inventory) {
		if recall != nil {
			recall(ctx, found)
		}
		if unread := unreadBytes(found); unread > s.MaxBytes {
			cancel(refuse(http.StatusUnprocessableEntity,
				"the scan would read up to %d bytes and the limit is %d: choose a smaller directory, or filters", unread, s.MaxBytes))
		}
	}
	return limited, func() error {
		defer cancel(nil)
		if p := (*problem)(nil); errors.As(context.Cause(limited), &p) {
			return p
		}
		return nil
	}
}

// unreadBytes returns the size of all files that may have an equal and that no index
// knows. It stops growing near the largest int64.
func unreadBytes(found *dedupe.Inventory) int64 {
	var total uint64
	for c := range found.Copies() {
		if _, digest := c.Known(); digest == (dedupe.Digest{}) {
			total = min(total+uint64(c.Size()), 1<<63-1)
		}
	}
	return int64(total)
}
