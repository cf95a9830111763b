package service

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"time"

	"efsdedupe/dedupe"
	"efsdedupe/dedupe/cost"
	"efsdedupe/dedupe/index"
	"efsdedupe/dedupe/report"
)

// Values of the field "event" in log lines. Programs match them, such as the metric
// filters in deploy/template.yaml, so they must not change. Messages are for people
// and may.
const (
	eventScan          = "scan"
	eventIndexFailed   = "index_failed"
	eventRequestFailed = "request_failed"
)

// record logs a scan, what it did and what it cost, and writes its metrics.
func (s *service) record(r *http.Request, sel dedupe.Selection, tenant string, found dedupe.Report, charged index.Units, p cost.Projection) {
	t := found.Stats
	price := callCost(p)
	attributes := []slog.Attr{
		slog.String("event", eventScan),
		slog.String("request_id", callerOf(r.Context()).RequestID),
		slog.String("tenant", tenant),
		slog.String("mode", string(found.Mode)),
		slog.Int("workers", found.Workers),
		slog.Bool("complete", found.Complete),
		slog.Int64("files", t.Files),
		slog.Int64("bytes", t.Bytes),
		slog.Int64("files_known", t.FilesKnown),
		slog.Int64("opens", t.Opens),
		slog.Int64("bytes_read", t.BytesRead),
		slog.Int("problems", len(found.Problems)),
		slog.Int64("duplicate_groups", t.DuplicateGroups),
		slog.Int64("reclaimable_bytes", t.ReclaimableBytes),
		slog.Float64("elapsed_ms", report.Milliseconds(t.Elapsed)),
		slog.Any("cpu_ms", report.CPUMilliseconds(t)),
		slog.Int64("peak_memory_bytes", t.PeakMemory),
		slog.String("cost_usd", price),
	}
	if s.Index != nil {
		attributes = append(attributes, slog.Float64("index_read_units", charged.Read), slog.Float64("index_write_units", charged.Write))
	}
	if s.LogPaths {
		attributes = append(attributes, slog.String("path", sel.Roots[0]))
	}
	s.Log.LogAttrs(r.Context(), slog.LevelInfo, "scan", attributes...)
	if s.Metrics != nil {
		s.Metrics.Write(metrics(found, s.Stack))
	}
}

// callCost returns the cost of this call in dollars, without storage, as a decimal.
// It is empty if there is no bill.
func callCost(p cost.Projection) string {
	if p.Bill == nil || p.Usage.Calls == 0 {
		return ""
	}
	return cost.Decimal(p.Bill.PerCall(p.Usage.Calls), 9)
}

// metrics returns one line in CloudWatch's embedded metric format, or nil if it
// cannot be encoded. The stack, if there is one, is a dimension, so that stacks in one
// account have metrics of their own.
// Source: Amazon CloudWatch User Guide, embedded metric format specification.
func metrics(found dedupe.Report, stack string) []byte {
	dimensions := []string{"Mode"}
	if stack != "" {
		dimensions = []string{"Stack", "Mode"}
	}
	t := found.Stats
	values := map[string]any{
		"Stack":     stack,
		"Mode":      found.Mode,
		"Scans":     1,
		"Files":     t.Files,
		"Opens":     t.Opens,
		"BytesRead": t.BytesRead,
		"Elapsed":   report.Milliseconds(t.Elapsed),
		"Problems":  len(found.Problems),
		"_aws": map[string]any{
			"Timestamp": time.Now().UnixMilli(),
			"CloudWatchMetrics": []any{map[string]any{
				"Namespace":  "dedupe",
				"Dimensions": [][]string{dimensions},
				"Metrics": []map[string]string{
					{"Name": "Scans", "Unit": "Count"},
					{"Name": "Files", "Unit": "Count"},
					{"Name": "Opens", "Unit": "Count"},
					{"Name": "BytesRead", "Unit": "Bytes"},
					{"Name": "Elapsed", "Unit": "Milliseconds"},
					{"Name": "Problems", "Unit": "Count"},
				},
			}},
		},
	}
	line, err := json.Marshal(values)
	if err != nil {
		return nil
	}
	return append(line, '\n')
}
