package service

import (
	"context"
	"encoding/json"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"efsdedupe/dedupe/index"
)

// meeting is a store that makes its first two callers wait for each other, so that
// their scans overlap.
type meeting struct {
	index.Store
	calls atomic.Int32
	both  chan struct{} // closed once both have called
}

func (m *meeting) Get(ctx context.Context, keys []index.Key) (map[index.Key][]byte, index.Units, error) {
	switch m.calls.Add(1) {
	case 1:
		select {
		case <-m.both:
		case <-ctx.Done():
		}
	case 2:
		close(m.both)
	}
	return m.Store.Get(ctx, keys)
}

// TestCPUOfOverlappingScans checks that cpu_ms never includes another scan: it is null
// for overlapping scans and set for a scan that has the process to itself.
func TestCPUOfOverlappingScans(t *testing.T) {
	x := newIndex(t, filepath.Join(t.TempDir(), "index"))
	x.Store = &meeting{Store: x.Store, both: make(chan struct{})}
	h := newService(t, Config{Root: tenants(t), Index: x})
	cpu := func() *float64 {
		var doc struct {
			Stats struct {
				CPU *float64 `json:"cpu_ms"`
			}
		}
		if err := json.Unmarshal(ask(t, h, Caller{}, "POST", "/v1/scans", `{}`).body, &doc); err != nil {
			t.Error(err)
		}
		return doc.Stats.CPU
	}
	var scans sync.WaitGroup
	for range 2 {
		scans.Go(func() {
			if ms := cpu(); ms != nil {
				t.Errorf("cpu_ms is %v for a scan that overlaps another, want null", *ms)
			}
		})
	}
	scans.Wait()
	if ms := cpu(); ms == nil || *ms <= 0 {
		t.Errorf("cpu_ms is %v for a scan that ran alone", ms)
	}
}

func TestAttendance(t *testing.T) {
	var a attendance
	alone1, leave1 := a.enter()
	if !alone1() {
		t.Error("the first scan is not alone")
	}
	alone2, leave2 := a.enter()
	leave2()
	if alone1() || alone2() {
		t.Error("one of two overlapping scans is alone")
	}
	alone3, leave3 := a.enter()
	leave1()
	if alone3() {
		t.Error("the third scan is alone, though the first was still running")
	}
	leave3()
	if alone, _ := a.enter(); !alone() {
		t.Error("the fourth scan is not alone")
	}
}
