package service

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"efsdedupe/dedupe"
	"efsdedupe/dedupe/index"
	"efsdedupe/dedupe/mount"
)

// recall makes a scan skip files that the index already knows, if there is an index.
// Call remember after the scan, with the contexts of the request and the scan: it
// saves what the scan read, adds the use of the index to the report, and returns the
// units that the index charged.
func (s *service) recall(sel dedupe.Selection, eng *dedupe.Engine) (remember func(request, scan context.Context, r *dedupe.Report) index.Units) {
	if s.Index == nil {
		return func(_, _ context.Context, _ *dedupe.Report) index.Units { return index.Units{} }
	}
	use := s.Index.Attach(sel, eng)
	return func(request, scan context.Context, r *dedupe.Report) index.Units {
		ctx, cancel := withFlushTime(request, scan)
		defer cancel()
		why := ""
		if err := use.Flush(ctx); err != nil {
			why = reasonFor(err)
			s.Log.LogAttrs(request, slog.LevelWarn, "the index failed, and what it did not answer was read",
				slog.String("event", eventIndexFailed), slog.String("request_id", callerOf(request).RequestID), slog.String("error", s.withoutPaths(err)))
		}
		use.Describe(r, why)
		return use.Units()
	}
}

// withFlushTime gives the index half of the time between the end of the scan, or the
// latest time for it, and the deadline of the request. In that time it saves what was
// read, even if the caller has hung up.
func withFlushTime(request, scan context.Context) (context.Context, context.CancelFunc) {
	over, _ := scan.Deadline()
	if scan.Err() != nil {
		over = time.Now()
	}
	deadline, _ := request.Deadline()
	return context.WithDeadline(context.WithoutCancel(request), over.Add(deadline.Sub(over)/2))
}

// reasonFor explains an index error to callers without naming paths or tables.
func reasonFor(err error) string {
	var place *index.PlaceError
	var tunnel *mount.TunnelError
	var kind *mount.TypeError
	switch {
	case errors.As(err, &tunnel):
		return "a mount leads through a tunnel, which does not tell the file system: give its identity"
	case errors.As(err, &kind):
		return kind.Error()
	case errors.As(err, &place):
		return "the place of a directory in its file system is not known"
	}
	return "the index did not answer"
}

// withoutPaths returns an index error as the log may show it: without paths, unless
// LogPaths is set.
func (s *service) withoutPaths(err error) string {
	if place := (*index.PlaceError)(nil); errors.As(err, &place) && !s.LogPaths {
		return reasonFor(err)
	}
	return err.Error()
}
