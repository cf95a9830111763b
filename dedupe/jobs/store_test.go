package jobs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// open opens a folder for the test.
func open(t *testing.T, dir string) *Folder {
	t.Helper()
	f, err := OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// TestFolder has many goroutines count in one object. No count may be lost.
func TestFolder(t *testing.T) {
	dir := t.TempDir()
	f := open(t, dir)
	ctx := t.Context()
	if _, _, err := f.Get(ctx, "a/b"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
	var group sync.WaitGroup
	for range 10 {
		group.Go(func() {
			for done := 0; done < 20; {
				data, version, err := f.Get(ctx, "a/b")
				if err != nil && !errors.Is(err, fs.ErrNotExist) {
					t.Error(err)
					return
				}
				n, _ := strconv.Atoi(string(data))
				switch err := f.Put(ctx, "a/b", []byte(strconv.Itoa(n+1)), version); {
				case err == nil:
					done++
				case !errors.Is(err, ErrChanged):
					t.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	if data, _, err := f.Get(ctx, "a/b"); err != nil || string(data) != "200" {
		t.Errorf("%s, %v", data, err)
	}
	if _, err := OpenFolder(dir); err == nil || !strings.Contains(err.Error(), "another process keeps its jobs") {
		t.Errorf("open twice: %v", err)
	}
}

func TestList(t *testing.T) {
	f := open(t, t.TempDir())
	ctx := t.Context()
	var want []string
	for _, dir := range []string{"x/a", "x/b", "y/a"} {
		for i := range 5 {
			name := fmt.Sprintf("%s/%d", dir, i)
			if err := f.Put(ctx, name, []byte(name), ""); err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(name, "x/") {
				want = append(want, name)
			}
		}
	}
	for _, n := range []int{1, 3, 7, 100} {
		var got []string
		for after := ""; ; after = got[len(got)-1] {
			names, err := f.List(ctx, "x/", after, n)
			if err != nil || len(names) > n {
				t.Fatal(err)
			}
			if got = append(got, names...); len(names) < n {
				break
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%d at once: %v", n, got)
		}
	}
	for _, name := range append(want, want...) {
		if err := f.Remove(ctx, name); err != nil {
			t.Error(err)
		}
	}
	if names, err := f.List(ctx, "x/", "", 1); err != nil || len(names) > 0 {
		t.Errorf("%v %v", names, err)
	}
	if names, err := f.List(ctx, "none/", "", 1); err != nil || len(names) > 0 {
		t.Errorf("%v %v", names, err)
	}
}

// contested is a store in which another process changes each object first, a number of times.
type contested struct {
	Store
	times int
}

func (c *contested) Put(ctx context.Context, name string, data []byte, version string) error {
	if c.times > 0 {
		c.times--
		return ErrChanged
	}
	return c.Store.Put(ctx, name, data, version)
}

// TestContestedQuota changes a quota that others change, too.
func TestContestedQuota(t *testing.T) {
	for times, wanted := range map[int]bool{0: true, mostConflicts - 1: true, mostConflicts: false} {
		r := &Registry{Store: &contested{open(t, t.TempDir()), times}}
		quota := (*QuotaError)(nil)
		if err := r.admit(t.Context(), Ref{"t", "1"}, State{}); (err == nil) != wanted || err != nil && !errors.As(err, &quota) {
			t.Errorf("%d conflicts: %v", times, err)
		}
	}
}

func TestIDs(t *testing.T) {
	r := &Registry{}
	first, second := newID(r.now()), newID(r.now().AddDate(0, 0, 1))
	if !IsID(first) || first <= second {
		t.Errorf("%s comes after %s", first, second)
	}
	for _, bad := range []string{"", first[1:], first + "0", strings.ToUpper(first), strings.Repeat("g", IDLength), "../../" + first[6:]} {
		if bad != first && IsID(bad) {
			t.Errorf("%q is an ID", bad)
		}
	}
}

// TestHungFolder uses a folder on a mount that does not answer: calls end with their context,
// and the number of those left behind is bounded.
func TestHungFolder(t *testing.T) {
	dir := t.TempDir()
	f := open(t, dir)
	fifo := filepath.Join(dir, "hung")
	if err := syscall.Mkfifo(fifo, 0o666); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 3 * mostCalls {
		if _, _, err := f.Get(ctx, "hung"); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	if len(f.calls) == 0 || len(f.calls) > mostCalls {
		t.Errorf("%d calls hang", len(f.calls))
	}
	w, err := os.OpenFile(fifo, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	w.Close()
	os.Remove(fifo)
	if err := f.Put(t.Context(), "a", nil, ""); err != nil {
		t.Error(err)
	}
}
