package main

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"efsdedupe/dedupe/cost"
	"efsdedupe/dedupe/service"
	"efsdedupe/fixtures"
)

// platformLines is what Lambda itself logs for a call in the format JSON, at the level
// INFO. Source: AWS Lambda Developer Guide, Lambda Telemetry API schema.
const platformLines = `{"time":"2026-11-28T10:00:00.000Z","type":"platform.start","record":{"requestId":"8f507cfc-xmpl-4697-b07a-ac58fc914c95","version":"$LATEST"}}
{"time":"2026-11-28T10:00:00.237Z","type":"platform.report","record":{"requestId":"8f507cfc-xmpl-4697-b07a-ac58fc914c95","metrics":{"durationMs":236.519,"billedDurationMs":335,"memorySizeMB":1769,"maxMemoryUsedMB":97,"initDurationMs":98.125},"status":"success"}}
`

// TestExtras measures what a call of the standard set logs and answers, and what the
// template logs and watches, and compares that with the default bill.
func TestExtras(t *testing.T) {
	root := filepath.Join(t.TempDir(), "set")
	if _, err := fixtures.Make(t.Context(), root, fixtures.Spec{Files: 100, Size: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	var log, metrics bytes.Buffer
	h, err := service.New(service.Config{Root: root, Stack: "dedupe", MemoryMB: 1769, Log: slog.New(slog.NewJSONHandler(&log, nil)), Metrics: &metrics})
	if err != nil {
		t.Fatal(err)
	}
	b, err := call(t, h, edit(t, readEvent(t, "http-api-scan.json"), "body", `{}`))
	var answer struct{ Body string }
	var doc struct {
		Projection struct {
			Usage struct {
				Response int64 `json:"response_bytes"`
			}
		}
	}
	if err != nil || json.Unmarshal(b, &answer) != nil || !strings.Contains(answer.Body, `"complete":true`) {
		t.Fatalf("%.200s, error %v", b, err)
	}
	if err := json.Unmarshal([]byte(answer.Body), &doc); err != nil {
		t.Fatal(err)
	}
	template, err := os.ReadFile("../../deploy/template.yaml")
	if err != nil {
		t.Fatal(err)
	}
	usual := cost.DefaultExtras()
	near := func(what string, measured int, billed int64) {
		if m := int64(measured); m > billed || m < billed*9/10 {
			t.Errorf("%s: measured %d, billed %d", what, m, billed)
		}
	}
	near("bytes logged", log.Len()+metrics.Len()+len(platformLines), usual.LogBytes)
	near("bytes of the access log", accessLogLine(t, template), usual.AccessLogBytes)
	near("bytes answered", len(answer.Body), usual.ResponseBytes)
	near("bytes answered, from the report", len(answer.Body), doc.Projection.Usage.Response)
	var named struct {
		AWS struct {
			CloudWatchMetrics []struct{ Metrics []any }
		} `json:"_aws"`
	}
	if err := json.Unmarshal(metrics.Bytes(), &named); err != nil || len(named.AWS.CloudWatchMetrics) != 1 {
		t.Fatalf("%s: %v", metrics.Bytes(), err)
	}
	ofFilters := bytes.Count(template, []byte("MetricTransformations:"))
	if got := int64(len(named.AWS.CloudWatchMetrics[0].Metrics) + ofFilters); got != usual.Metrics {
		t.Errorf("%d metrics, billed %d", got, usual.Metrics)
	}
	const alarm = "Type: AWS::CloudWatch::Alarm\n" // those of jobs have a condition
	if got := int64(bytes.Count(template, []byte(alarm)) - bytes.Count(template, []byte(alarm+"    Condition: WithJobs\n"))); got != usual.Alarms {
		t.Errorf("%d alarms, billed %d", got, usual.Alarms)
	}
}

// accessLogLine returns how long a line of the API's access log is, for a caller with an
// IAM signature.
func accessLogLine(t *testing.T, template []byte) int {
	t.Helper()
	values := map[string]string{
		"requestId": "JKJaXmPLvHcESHA=", "requestTime": "23/Nov/2026:01:25:21 +0000", "identity.sourceIp": "203.0.113.24",
		"identity.userArn": "arn:aws:sts::123456789012:assumed-role/customer/i-0123456789abcdef0", "identity.accountId": "123456789012",
		"routeKey": "POST /v1/scans", "status": "200", "responseLatency": "263", "responseLength": "9402",
	}
	_, format, found := strings.Cut(string(template), "Format: >-\n")
	format, _, end := strings.Cut(format, "}\n")
	if !found || !end {
		t.Fatal("the template has no format of the access log")
	}
	format = strings.Join(strings.Fields(format), " ") + "}\n"
	return len(regexp.MustCompile(`\$context\.[\w.]+`).ReplaceAllStringFunc(format, func(variable string) string {
		if value, ok := values[strings.TrimPrefix(variable, "$context.")]; ok {
			return value
		}
		return "-"
	}))
}
