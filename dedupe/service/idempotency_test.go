package service

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"efsdedupe/dedupe/jobs"
)

// send sends a request with an Idempotency-Key.
func send(h http.Handler, key, body string) (int, jobJSON) {
	r := httptest.NewRequest("POST", "/v1/jobs", strings.NewReader(body))
	if key != "" {
		r.Header.Set("Idempotency-Key", key)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	var doc jobJSON
	json.Unmarshal(w.Body.Bytes(), &doc)
	return w.Code, doc
}

func TestIdempotency(t *testing.T) {
	runner := new(idle)
	r := registry(t)
	h := newService(t, Config{Jobs: &Jobs{Registry: r, Runner: runner, Root: "/mnt/efs"}})
	code, first := send(h, `"key"`, `{"path": "a", "min_size": 1}`)
	if code != 202 {
		t.Fatal(code)
	}
	for _, test := range []struct {
		key, body string
		want      int
	}{
		{"key", `{"path":"a"}`, 202}, {` "key" `, `{"min_size":1.0,"path":"a"}`, 202}, {"key", `{"path":"b"}`, 422}, {"key", `{}`, 422},
		{"Key", `{"path":"a"}`, 202}, {`""`, `{}`, 400}, {`"`, `{}`, 400}, {"a b", `{}`, 202}, {`"a b"`, `{}`, 202}, {`"a\"b"`, `{}`, 400},
		{strings.Repeat("x", 255), `{}`, 202}, {strings.Repeat("x", 256), `{}`, 400}, {"\u00e9", `{}`, 400},
	} {
		code, doc := send(h, test.key, test.body)
		if code != test.want || code == 202 && (doc.ID == first.ID) != (strings.Trim(test.key, ` "`) == "key") {
			t.Errorf("%s %s: %d, job %s; the first is %s", test.key, test.body, code, doc.ID, first.ID)
		}
	}
	request := httptest.NewRequest("POST", "/v1/jobs", strings.NewReader(`{}`))
	request.Header["Idempotency-Key"] = []string{"a", "a"}
	w := httptest.NewRecorder()
	if h.ServeHTTP(w, request); w.Code != 400 {
		t.Errorf("two keys: %d", w.Code)
	}

	// A request that did not get to the end keeps the key for a minute.
	if err := r.Store.Remove(t.Context(), "jobs/"+jobs.TenantHash("")+"/"+first.ID); err != nil {
		t.Fatal(err)
	}
	if code, _ := send(h, "key", `{"path":"a"}`); code != 409 {
		t.Errorf("in progress: %d", code)
	}
	r.Now = func() time.Time { return time.Now().Add(time.Hour) }
	if code, doc := send(h, "key", `{"path":"a"}`); code != 202 || doc.ID != first.ID {
		t.Errorf("after an hour: %d, %+v", code, doc)
	}
}

// However many requests with one key come at once, one job begins.
func TestIdempotencyAtOnce(t *testing.T) {
	runner := new(idle)
	h := newService(t, Config{Jobs: &Jobs{Registry: registry(t), Runner: runner, Root: "/mnt/efs"}})
	var group sync.WaitGroup
	codes := make([]int, 50)
	for i := range codes {
		group.Go(func() { codes[i], _ = send(h, "key", `{}`) })
	}
	group.Wait()
	if len(runner.started) != 1 || slices.ContainsFunc(codes, func(c int) bool { return c != 202 && c != 409 }) {
		t.Errorf("%d jobs, %v", len(runner.started), codes)
	}
}

// A runner that can't start a job gets it again with the next request that has its key.
func TestStartFails(t *testing.T) {
	runner := &idle{err: errors.New("no")}
	h := newService(t, Config{Jobs: &Jobs{Registry: registry(t), Runner: runner, Root: "/mnt/efs"}})
	if code, _ := send(h, "key", `{}`); code != 500 {
		t.Errorf("%d", code)
	}
	runner.err = nil
	if code, doc := send(h, "key", `{}`); code != 202 || runner.started[doc.ID] != 2 {
		t.Errorf("%d %v", code, runner.started)
	}
}
