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
// contexts of the request and of the scan. That tells what the index was charged.
func (s *service) recall(opts *dedupe.Options) (remember func(request, scan context.Context) index.Units) {
	if s.Index == nil {
		return func(_, _ context.Context) index.Units { return index.Units{} }
	}
	use := s.Index.Scan(*opts)
	opts.Wrap = use.Wrap
	return func(request, scan context.Context) index.Units {
		ctx, cancel := withFlushTime(request, scan)
		defer cancel()
		if err := use.Flush(ctx); err != nil {
			s.Log.LogAttrs(request, slog.LevelWarn, "the index failed, and what it did not answer was read",
				slog.String("event", eventIndexFailed), slog.String("request_id", callerOf(request).RequestID), slog.String("error", s.withoutPaths(err)))
		}
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

// withoutPaths is what the log may have of an error of the index.
func (s *service) withoutPaths(err error) string {
	var place *index.PlaceError
	var tunnel *index.TunnelError
	switch {
	case s.LogPaths:
	case errors.As(err, &tunnel):
		return "a mount leads through a tunnel, which does not tell the file system: give its identity"
	case errors.As(err, &place):
		return "the place of a directory in its file system is not known"
	}
	return err.Error()
}
