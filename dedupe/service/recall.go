package service

import (
	"context"
	"errors"
	"log/slog"

	"efsdedupe/dedupe"
	"efsdedupe/dedupe/index"
)

// recall has a scan read only what the index does not know, if there is an index,
// and returns how to remember the rest: to be called when the scan is over, with the
// contexts of the request and of the scan, and its report, which then tells how the
// index was used. That returns what the index was charged.
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

// withFlushTime leaves half of the time that a scan keeps for its answer to remember
// what it read, also where the caller waits no more.
func withFlushTime(request, scan context.Context) (context.Context, context.CancelFunc) {
	over, _ := scan.Deadline()
	deadline, _ := request.Deadline()
	return context.WithDeadline(context.WithoutCancel(request), over.Add(deadline.Sub(over)/2))
}

// reasonFor is what callers are told of an error of the index: nothing of paths and
// tables.
func reasonFor(err error) string {
	var place *index.PlaceError
	var tunnel *index.TunnelError
	var kind *index.TypeError
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

// withoutPaths is what the log may have of an error of the index.
func (s *service) withoutPaths(err error) string {
	if place := (*index.PlaceError)(nil); errors.As(err, &place) && !s.LogPaths {
		return reasonFor(err)
	}
	return err.Error()
}
