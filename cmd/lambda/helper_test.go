package main

import (
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
)

func environment(jobs string) func(string) string {
	return func(name string) string { return map[string]string{"DEDUPE_JOBS": jobs}[name] }
}

// TestHelperRefuses sends events that are not steps of jobs. None may reach the bucket.
func TestHelperRefuses(t *testing.T) {
	t.Setenv("AWS_REGION", "us-east-1")
	t.Setenv("AWS_ACCESS_KEY_ID", "id")
	t.Setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
	h, err := newHelper(environment("s3://bucket"), slog.New(slog.NewJSONHandler(io.Discard, nil)))
	if err != nil {
		t.Fatal(err)
	}
	for event, want := range map[string]string{
		`{"path": "."}`:                   "only does steps of jobs",
		`not JSON`:                        "only does steps of jobs",
		`{"do": "plan", "job": "."}`:      "only does steps of jobs",
		`{"do": "plan", "job": "a/../b"}`: "only does steps of jobs",
		`{"do": "dance", "job": "a"}`:     `unknown step "dance"`,
		`{"do": "unit", "job": "a", "unit": "jobs/b/round-0/x"}`:    `the unit "jobs/b/round-0/x" is not of the job "a"`,
		`{"do": "unit", "job": "a", "unit": "jobs/a-b/round-0/x"}`:  `is not of the job "a"`,
		`{"do": "unit", "job": "a", "unit": "reports/a/round-0/x"}`: `is not of the job "a"`,
	} {
		_, err := h.Invoke(t.Context(), []byte(event))
		if refused := (*EventError)(nil); !errors.As(err, &refused) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", event, err)
		}
	}
	if _, err := newHelper(environment("bucket"), nil); err == nil || !strings.Contains(err.Error(), "DEDUPE_JOBS: ") {
		t.Errorf("no bucket: %v", err)
	}
}
