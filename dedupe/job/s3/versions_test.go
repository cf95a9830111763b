package s3

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"slices"
	"sync"
	"testing"

	"efsdedupe/dedupe/jobs"
	"efsdedupe/fixtures/testkit"
)

var _ jobs.Store = Versions{}

// TestEmulatorVersions has some goroutines count in one object, and S3 refuse some writes
// because another one is in progress. No count may be lost.
func TestEmulatorVersions(t *testing.T) {
	var mu sync.Mutex
	refused := 0
	v := folder(t, func(w http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		if r.Header.Get("If-Match") == "" || refused > 2 {
			return false
		}
		refused++
		w.WriteHeader(http.StatusConflict)
		fmt.Fprint(w, "<Error><Code>ConditionalRequestConflict</Code></Error>")
		return true
	}).In("api").Versions()
	ctx := t.Context()
	if _, _, err := v.Get(ctx, "a/b"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no object: %v", err)
	}
	if err := v.Put(ctx, "a/b", nil, `"another"`); !errors.Is(err, jobs.ErrChanged) {
		t.Errorf("no object to replace: %v", err)
	}
	testkit.Must(t, v.Put(ctx, "a/b", nil, ""))
	if err := v.Put(ctx, "a/b", []byte("other"), ""); !errors.Is(err, jobs.ErrChanged) {
		t.Errorf("created twice: %v", err)
	}
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for done := 0; done < 5; {
				data, version, err := v.Get(ctx, "a/b")
				if err == nil {
					err = v.Put(ctx, "a/b", append(data, 'x'), version)
				}
				if err == nil {
					done++
				} else if !errors.Is(err, jobs.ErrChanged) {
					t.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	if data, _, err := v.Get(ctx, "a/b"); err != nil || len(data) != 20 || refused != 3 {
		t.Errorf("%s, %v; %d refused", data, err, refused)
	}
	testkit.Must(t, v.Put(ctx, "a/c", nil, ""))
	testkit.Must(t, v.Put(ctx, "a/d", nil, ""))
	testkit.Must(t, v.Put(ctx, "b/a", nil, ""))
	for after, want := range map[string][]string{"": {"a/b", "a/c"}, "a/b": {"a/c", "a/d"}, "a/c": {"a/d"}, "a/d": nil} {
		if got, err := v.List(ctx, "a/", after, 2); err != nil || !slices.Equal(got, want) {
			t.Errorf("after %q: %v, %v", after, got, err)
		}
	}
	testkit.Must(t, v.Remove(ctx, "a/b"))
	testkit.Must(t, v.Remove(ctx, "a/b"))
}
