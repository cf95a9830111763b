package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"efsdedupe/dedupe"
	"efsdedupe/dedupe/choose"
	"efsdedupe/dedupe/mount/mounttest"
)

// TestEndInTime checks, by a clock of its own, when a scan ends for its answer to be in
// time: the earlier, the more files it has and the less of a core.
func TestEndInTime(t *testing.T) {
	for _, test := range []struct {
		memoryMB    int64
		found, done int
		want        time.Duration
	}{
		{0, 0, 0, 27 * time.Second},
		{1769, 0, 0, 27 * time.Second},
		{128, 0, 0, 27 * time.Second},
		{1769, 1_000_000, 0, 26300 * time.Millisecond},
		{10240, 1_000_000, 0, 26300 * time.Millisecond}, // what is left to do takes one core
		{512, 1_000_000, 0, 24581445313 * time.Nanosecond},
		{512, 1_000_000, 100_000, 22366144303 * time.Nanosecond},
		{512, 1_000_000, 1_000_000, 14 * time.Second}, // half of the time
	} {
		synctest.Test(t, func(t *testing.T) {
			deadline, cancel := context.WithTimeout(t.Context(), 28*time.Second)
			defer cancel()
			s := &service{Config: Config{MemoryMB: test.memoryMB}}
			seen := 0
			eng := dedupe.Engine{Observe: func(dedupe.Event) { seen++ }}
			ctx, cancel := s.endInTime(deadline, &eng, choose.Rules{})
			defer cancel()
			start := time.Now()
			eng.Observe(dedupe.Event{Stage: dedupe.StageWalk, Files: int64(test.found)})
			eng.Observe(dedupe.Event{Stage: dedupe.StageWhole, Files: int64(test.found), Bytes: 1})
			for range test.done {
				eng.Observe(dedupe.Event{Stage: dedupe.StageWhole, Work: dedupe.Work{Opens: 1}})
			}
			<-ctx.Done()
			if took := time.Since(start); took != test.want || !errors.Is(context.Cause(ctx), context.DeadlineExceeded) || seen != 2+test.done {
				t.Errorf("%d MB, %d files, %d read: ended after %d, %v; saw %d events", test.memoryMB, test.found, test.done, took, context.Cause(ctx), seen)
			}
		})
	}
}

// TestAnswersInTime checks, by a clock of its own, that a function with a fraction of a
// core ends a scan while there is time to answer.
func TestAnswersInTime(t *testing.T) {
	const files, memoryMB, each = 2000, 4, 10 * time.Millisecond
	root, contents := mounttest.TrustedDir(t, 16<<20), make(map[string]string)
	for i := range files {
		contents[filepath.Join(root, fmt.Sprint(i))] = fmt.Sprintf("%04d", i/2)
	}
	write(t, contents)
	x := newIndex(t, filepath.Join(t.TempDir(), "index"))
	synctest.Test(t, func(t *testing.T) {
		now := x.Now
		x.Now = func() time.Time { // called once per file read
			time.Sleep(each)
			return now()
		}
		h := newService(t, Config{Root: root, MemoryMB: memoryMB, Index: x})
		w := httptest.NewRecorder()
		start := time.Now()
		h.ServeHTTP(w, httptest.NewRequest("POST", "/v1/scans", strings.NewReader(`{"workers": 1, "projection": {"memory_mb": 128}}`)))
		took := time.Since(start)
		var doc struct {
			Complete bool
			Reason   string
			Stats    struct{ Files, Opens int64 }
		}
		if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil || w.Code != 200 || doc.Complete || doc.Reason != dedupe.ReasonDeadline || doc.Stats.Files != files {
			t.Errorf("%v: %d %.500s", err, w.Code, w.Body)
		}
		p := progress{found: files, done: doc.Stats.Opens}
		if left := gatewayTime - took; left < p.reserve(memoryMB)-each || doc.Stats.Opens < 1000 {
			t.Errorf("%d files read, %v left, and it takes %v to answer", doc.Stats.Opens, left, p.reserve(memoryMB))
		}
	})
}
