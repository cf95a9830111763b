package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"efsdedupe/dedupe/limits"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// TestNobodyReads checks that an output without a reader ends when its context does.
func TestNobodyReads(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o666); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := OpenOutput(ctx, fifo, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("opening it: %v", err)
	}
	if f, err := os.OpenFile(fifo, os.O_RDONLY|syscall.O_NONBLOCK, 0); err == nil {
		f.Close() // whoever still opens it goes on
	}

	ctx, cancel = context.WithCancel(t.Context())
	r, w := io.Pipe()
	defer r.Close()
	stuck := patient{writerFunc(func(b []byte) (int, error) { cancel(); return w.Write(b) }), &Output{ctx: ctx}}
	if _, err := stuck.Write([]byte("x")); !errors.Is(err, context.Canceled) {
		t.Errorf("writing to it: %v", err)
	}
	ended := patient{io.Discard, &Output{ctx: ctx}}
	if n, err := ended.Write([]byte("x")); n != 1 || err != nil {
		t.Errorf("a report of what was interrupted is not written: %v", err)
	}
}

// TestHungOutput holds that a file whose file system does not answer is left behind once its
// context ends.
func TestHungOutput(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	o := &Output{ctx: ctx, pending: new(pending)}
	r, w := io.Pipe()
	defer r.Close()
	hung := patient{w, o}
	if _, err := hung.Write([]byte("x")); !errors.Is(err, context.Canceled) {
		t.Errorf("writing to it: %v", err)
	}
	if err := o.Commit(true); !errors.Is(err, context.Canceled) {
		t.Errorf("a report without its end took its place: %v", err)
	}
	o.Discard()

	path := filepath.Join(t.TempDir(), "report")
	o, err := OpenOutput(t.Context(), path, nil)
	if err != nil {
		t.Fatal(err)
	}
	o.ctx = ctx
	if _, err := o.Write([]byte("x")); err != nil {
		t.Errorf("the report of an interrupted scan is not written: %v", err)
	}
	if err := o.Commit(false); err != nil {
		t.Error(err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "x" {
		t.Errorf("%q, %v", b, err)
	}
}

// names returns the names in a directory.
func names(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// TestNamed covers file systems where every file needs a name. Files left behind are
// removed; files in use stay.
func TestNamed(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "report")
	claim := func() *pending {
		p := new(pending)
		_, err := p.claim(path, func(name string) (*os.File, error) {
			return os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
		})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	left1, used, left3 := claim(), claim(), claim()
	left1.File.Close() // as when its process is killed
	left3.File.Close()
	p := claim()
	if want := []string{".report.dedupe-1", ".report.dedupe-2"}; !cmp.Equal(names(t, dir), want) {
		t.Errorf("there are %q, not %q", names(t, dir), want)
	}
	io.WriteString(p, "new")
	if err := p.commit(path); err != nil {
		t.Fatal(err)
	}
	used.discard()
	if b, err := os.ReadFile(path); string(b) != "new" || !cmp.Equal(names(t, dir), []string{"report"}) {
		t.Errorf("it is %q, %v, in %q", b, err, names(t, dir))
	}
	for i := range 100 {
		if err := os.Symlink("elsewhere", filepath.Join(dir, ".report.dedupe-"+string(rune('0'+i%10)))); i < 10 && err != nil {
			t.Fatal(err)
		}
	}
	if p := claim(); !strings.HasSuffix(p.name, "-10") {
		t.Errorf("%s is used, of files that somebody else made", p.name)
	}
}

// TestUnnamed checks that there is no second file until the report is complete, and that its
// name may be as long as names can be.
func TestUnnamed(t *testing.T) {
	for _, name := range []string{"report", strings.Repeat("n", unix.NAME_MAX)} {
		path := filepath.Join(t.TempDir(), name)
		for _, content := range []string{"one", "two"} {
			p, err := newPending(path)
			if err != nil {
				t.Fatal(err)
			}
			if p.name != "" {
				t.Skip("this file system has no O_TMPFILE: set TMPDIR to one that has, such as ext4")
			}
			io.WriteString(p, content)
			if b, _ := os.ReadFile(path); len(names(t, filepath.Dir(path))) > 1 || string(b) == content {
				t.Errorf("there are %q, and the file is %q", names(t, filepath.Dir(path)), b)
			}
			if err := p.commit(path); err != nil {
				t.Fatal(err)
			}
			if b, err := os.ReadFile(path); string(b) != content || len(names(t, filepath.Dir(path))) > 1 {
				t.Errorf("the file is %q, %v, among %q", b, err, names(t, filepath.Dir(path)))
			}
		}
	}
}

// TestCopied is of files that may be written, in directories that may not: a whole report
// is copied over the old one, a partial one does not touch it.
func TestCopied(t *testing.T) {
	path := filepath.Join(t.TempDir(), "report")
	if err := os.WriteFile(path, []byte("the old report"), 0o666); err != nil {
		t.Fatal(err)
	}
	for complete, want := range map[bool]string{false: "the old report", true: "new"} {
		old, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		spare, err := limits.TemporaryFile()
		if err != nil {
			t.Fatal(err)
		}
		o := Output{ctx: t.Context(), Writer: spare, Path: path, pending: &pending{File: spare, existing: old, copied: true}}
		io.WriteString(o, "new")
		if err := o.Commit(complete); err != nil || o.Dropped == complete || o.Partial != "" {
			t.Errorf("complete %v: %v, %+v", complete, err, o)
		}
		if b, err := os.ReadFile(path); string(b) != want || len(names(t, filepath.Dir(path))) != 1 {
			t.Errorf("complete %v: the file is %q, %v", complete, b, err)
		}
		if err := os.WriteFile(path, []byte("the old report"), 0o666); err != nil {
			t.Fatal(err)
		}
	}
}
