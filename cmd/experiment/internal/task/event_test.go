package task

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"efsdedupe/dedupe"
	"efsdedupe/fixtures/lambda/runtimeapi"
)

// good is an event of each workload, and of each mode.
var good = []string{
	`{"workload": "scan", "mode": "goroutines", "tasks": 1, "workers": 1, "root": "/mnt/efs"}`,
	`{"workload": "fib", "mode": "processes", "tasks": 100, "workers": 100, "steps": 1}`,
	`{"workload": "fetch", "mode": "processes-per-task", "tasks": 100, "workers": 10, "url": "http://127.0.0.1:8080"}`,
	`{"workload": "fetch", "mode": "goroutines", "tasks": 100, "workers": 10, "url": "https://example.com/base"}`,
	`{"workload": "fib", "mode": "goroutines", "tasks": 3, "workers": 1, "steps": 1, "helpers": 3, "share": 2}`,
	`{"workload": "fib", "mode": "join", "tasks": 1, "workers": 1, "steps": 1, "helpers": 1, "answers": [{"digest": "", "checksums": ["1"]}]}`,
	`{"workload": "fib", "mode": "serial", "tasks": 100000, "workers": 1000, "root": "", "steps": 9223372036854775807, "url": ""}`,
}

// bad is what is wrong with events that are refused.
var bad = map[string]string{
	``:                "not the JSON",
	`[]`:              "not the JSON",
	`null`:            `unknown workload ""`,
	`{}`:              `unknown workload ""`,
	`"scan"`:          "not the JSON",
	good[0][1:]:       "not the JSON",
	good[0] + good[0]: "there is more after the object",
	`{"path": "."}`:   `unknown field "path"`,
	`{"version": "2.0", "routeKey": "$default"}`: `unknown field "version"`,

	`{"workload": "sort", "mode": "serial", "tasks": 1, "workers": 1}`:                                         `unknown workload "sort": choose scan, fib, fetch, predict`,
	`{"workload": "fib", "mode": "threads", "tasks": 1, "workers": 1, "steps": 1}`:                             `unknown mode "threads": choose goroutines, goroutines-ungated, processes, processes-per-task, serial`,
	`{"workload": "fib", "tasks": 1, "workers": 1, "steps": 1}`:                                                `unknown mode ""`,
	`{"workload": "fib", "mode": 1, "tasks": 1, "workers": 1, "steps": 1}`:                                     "not the JSON",
	`{"workload": "fib", "mode": "serial", "workers": 1, "steps": 1}`:                                          "0 tasks: choose 1 to 100000",
	`{"workload": "fib", "mode": "serial", "tasks": -1, "workers": 1, "steps": 1}`:                             "-1 tasks: choose",
	`{"workload": "fib", "mode": "serial", "tasks": 1e2, "workers": 1, "steps": 1}`:                            "not the JSON",
	`{"workload": "fib", "mode": "serial", "tasks": 100001, "workers": 1, "steps": 1}`:                         "100001 tasks: choose",
	`{"workload": "fib", "mode": "serial", "tasks": 1, "steps": 1}`:                                            "0 workers: choose 1 to 1000",
	`{"workload": "fib", "mode": "serial", "tasks": 1, "workers": 1001, "steps": 1}`:                           "1001 workers: choose",
	`{"workload": "fib", "mode": "serial", "tasks": 1, "workers": 1}`:                                          "fib has 0 steps: choose 1 or more",
	`{"workload": "fib", "mode": "serial", "tasks": 1, "workers": 1, "steps": -1}`:                             "-1 steps",
	`{"workload": "fib", "mode": "serial", "tasks": 1, "workers": 1, "steps": 9223372036854775808}`:            "not the JSON",
	`{"workload": "fib", "mode": "serial", "tasks": 9, "workers": 1, "steps": 1, "helpers": 10}`:               "10 helpers for 9 tasks: choose 1 to 9",
	`{"workload": "fib", "mode": "serial", "tasks": 999, "workers": 1, "steps": 1, "helpers": 101}`:            "101 helpers for 999 tasks: choose 1 to 100",
	`{"workload": "fib", "mode": "serial", "tasks": 9, "workers": 1, "steps": 1, "helpers": -1}`:               "-1 helpers",
	`{"workload": "fib", "mode": "helpers", "tasks": 9, "workers": 1, "steps": 1}`:                             "0 helpers for 9 tasks: choose 1 to 9",
	`{"workload": "fib", "mode": "join", "tasks": 9, "workers": 1, "steps": 1}`:                                "0 helpers",
	`{"workload": "fib", "mode": "helpers", "tasks": 9, "workers": 1, "steps": 1, "helpers": 3}`:               `AWS_ENDPOINT_URL_LAMBDA is "": set it to a URL`,
	`{"workload": "fib", "mode": "serial", "tasks": 9, "workers": 1, "steps": 1, "helpers": 3, "share": 3}`:    "share 3 of 3 helpers: choose one from 0",
	`{"workload": "fib", "mode": "serial", "tasks": 9, "workers": 1, "steps": 1, "helpers": 3, "share": -1}`:   "share -1 of 3 helpers",
	`{"workload": "fib", "mode": "serial", "tasks": 9, "workers": 1, "steps": 1, "share": 1}`:                  "share 1 of 0 helpers",
	`{"workload": "fib", "mode": "processes", "tasks": 9, "workers": 1, "steps": 1, "helpers": 3, "share": 1}`: "a helper has no mode processes: choose goroutines",
	`{"workload": "scan", "mode": "serial", "tasks": 1, "workers": 1}`:                                         "scan has no root",
	`{"workload": "scan", "mode": "serial", "tasks": 1, "workers": 1, "root": 7}`:                              "not the JSON",
	`{"workload": "fetch", "mode": "serial", "tasks": 1, "workers": 1}`:                                        `fetch has the URL ""`,
	`{"workload": "fetch", "mode": "serial", "tasks": 1, "workers": 1, "url": "127.0.0.1:80"}`:                 "name a server, such as http://",
	`{"workload": "fetch", "mode": "serial", "tasks": 1, "workers": 1, "url": "file:///etc"}`:                  `the URL "file:///etc"`,
	`{"workload": "fetch", "mode": "serial", "tasks": 1, "workers": 1, "url": "http://"}`:                      `the URL "http://"`,
	`{"workload": "fetch", "mode": "serial", "tasks": 1, "workers": 1, "url": "http://[::1"}`:                  `the URL "http://[::1"`,
}

func TestParse(t *testing.T) {
	for _, payload := range good {
		if _, err := parse([]byte(payload)); err != nil {
			t.Errorf("%s: %v", payload, err)
		}
	}
	for payload, want := range bad {
		_, err := parse([]byte(payload))
		if !errors.As(err, new(*EventError)) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", payload, err, want)
		}
	}
	want := Event{Workload: Fetch, Mode: ProcessesPerTask, Tasks: 100, Workers: 10, URL: "http://127.0.0.1:8080"}
	if e, err := parse([]byte(good[2])); !cmp.Equal(e, want) || err != nil {
		t.Errorf("%+v, error %v", e, err)
	}
}

// As many digests as may be are an answer that Lambda takes.
func TestMaxDigests(t *testing.T) {
	answer, err := json.Marshal(Answer{Digest: Digest, Checksums: slices.Repeat([]string{hexDigest(nil)}, maxDigests)})
	if err != nil || len(answer) > runtimeapi.MaxPayload || len(answer) < runtimeapi.MaxPayload-200 {
		t.Errorf("%d bytes, error %v", len(answer), err)
	}
	e := Event{Workload: Scan, Mode: Serial, Tasks: maxDigests, Workers: 1, Root: "."}
	if err := e.validate(); err != nil {
		t.Error(err)
	}
	e.Tasks++
	if err := e.validate(); err == nil || !strings.Contains(err.Error(), "above what Lambda takes") {
		t.Errorf("error %v", err)
	}
}

func FuzzParse(f *testing.F) {
	for _, payload := range good {
		f.Add([]byte(payload))
	}
	for payload := range bad {
		f.Add([]byte(payload))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		e, err := parse(payload)
		if err != nil {
			if !errors.As(err, new(*EventError)) || err.Error() == "" || strings.ContainsAny(err.Error(), "\r\n") {
				t.Errorf("error %q", err)
			}
			return
		}
		if e.Tasks < 1 || e.Tasks > maxTasks || e.Workers < 1 || e.Workers > dedupe.MaxWorkers || e.inFlight() < 1 || e.inFlight() > e.Workers {
			t.Errorf("%+v", e)
		}
		again, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		if same, err := parse(again); err != nil || !cmp.Equal(same, e) {
			t.Errorf("%+v came back as %+v, error %v", e, same, err)
		}
	})
}
