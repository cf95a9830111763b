package service

import (
	"path/filepath"
	"strings"
	"testing"
)

// A scan that may read more than MaxBytes is refused before it reads anything. What
// the index knows does not count.
func TestLimitedBytes(t *testing.T) {
	root := tenants(t) // alice has three files of 4 bytes, bob two, and one of 5
	file := filepath.Join(t.TempDir(), "index.db")
	h := newService(t, Config{Root: root, MaxBytes: 8, Index: newIndex(t, file)})
	if got := ask(t, h, Caller{}, "POST", "/v1/scans", `{"path": "bob"}`); got.status != 200 || !got.decode(t).Complete {
		t.Errorf("bob: %d %s", got.status, got.body)
	}
	got := ask(t, h, Caller{}, "POST", "/v1/scans", `{"path": "alice"}`)
	if detail := got.decode(t).Detail; got.status != 422 || !strings.Contains(detail, "up to 12 bytes") || !strings.Contains(detail, "limit is 8") {
		t.Errorf("alice: %d %s", got.status, got.body)
	}
	if got := ask(t, h, Caller{}, "POST", "/v1/scans", `{"path": "alice", "exclude": ["sub"]}`); got.status != 200 {
		t.Errorf("alice, filtered: %d %s", got.status, got.body)
	}
	if got := ask(t, h, Caller{}, "POST", "/v1/scans", `{}`); got.status != 200 || !got.decode(t).Complete {
		t.Errorf("all, of which one file is unknown: %d %s", got.status, got.body)
	}
}
