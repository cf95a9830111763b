package jobs

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/zeebo/blake3"
	"golang.org/x/sys/unix"

	"efsdedupe/dedupe/limits"
)

// Store keeps objects of up to a few MiB by name. A name is words of letters, digits and
// dots with slashes between them. An object is replaced as a whole, and whoever reads next
// sees it.
type Store interface {
	// Get returns an object and its version. The error for a missing object is
	// fs.ErrNotExist.
	Get(ctx context.Context, name string) (data []byte, version string, err error)

	// Put creates an object if version is empty, and otherwise replaces that version of
	// it. The error is ErrChanged if there is another version.
	Put(ctx context.Context, name string, data []byte, version string) error

	// List returns names that begin with a prefix and come after another name, sorted: at
	// most n. The prefix ends with a slash.
	List(ctx context.Context, prefix, after string, n int) ([]string, error)

	// Remove removes an object, if it is there.
	Remove(ctx context.Context, name string) error
}

// ErrChanged is the error of Put if another process was faster.
var ErrChanged = errors.New("the object has another version")

// Folder is a Store in a directory of one process.
type Folder struct {
	dir   string
	lock  *os.File
	calls chan struct{} // one for each call that may run
	mu    sync.Mutex    // while an object is replaced
}

// mostCalls is how many calls use a folder at once. If it is on a mount that does not answer,
// each keeps a thread.
const mostCalls = 64

// within makes a call on the folder, and leaves it behind when ctx ends.
func within[T any](ctx context.Context, f *Folder, call func() (T, error)) (T, error) {
	select {
	case f.calls <- struct{}{}:
	case <-ctx.Done():
		return *new(T), ctx.Err()
	}
	return limits.Await(ctx, 0, func() (T, error) {
		defer func() { <-f.calls }()
		return call()
	})
}

// OpenFolder makes a store of a directory, which it creates if necessary. It fails if
// another process has it open.
func OpenFolder(dir string) (*Folder, error) {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, fmt.Errorf("can't keep jobs in %q: %w; choose another directory", dir, err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, ".lock"), os.O_CREATE|os.O_RDWR|unix.O_CLOEXEC, 0o666)
	if err != nil {
		return nil, fmt.Errorf("can't keep jobs in %q: %w; choose another directory", dir, err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		lock.Close()
		return nil, fmt.Errorf("another process keeps its jobs in %q: stop it, or choose another directory", dir)
	}
	return &Folder{dir: dir, lock: lock, calls: make(chan struct{}, mostCalls)}, nil
}

// Close lets other processes open the directory.
func (f *Folder) Close() error { return f.lock.Close() }

// Get implements [Store].
func (f *Folder) Get(ctx context.Context, name string) (data []byte, version string, err error) {
	data, err = within(ctx, f, func() ([]byte, error) { return os.ReadFile(f.path(name)) })
	return data, versionOf(data, err), err
}

// versionOf returns the version of an object that was read, or none if it could not be.
func versionOf(data []byte, err error) string {
	if err != nil {
		return ""
	}
	sum := blake3.Sum256(data)
	return hex.EncodeToString(sum[:16])
}

// Put implements [Store].
func (f *Folder) Put(ctx context.Context, name string, data []byte, version string) error {
	_, err := within(ctx, f, func() (struct{}, error) { return struct{}{}, f.put(name, data, version) })
	return err
}

func (f *Folder) put(name string, data []byte, version string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	current, err := os.ReadFile(f.path(name))
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	case versionOf(current, err) != version:
		return ErrChanged
	}
	path := f.path(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	temporary, err := os.CreateTemp(f.dir, ".put-")
	if err != nil {
		return err
	}
	_, err = temporary.Write(data)
	if err = cmp.Or(err, temporary.Close()); err == nil {
		err = os.Rename(temporary.Name(), path)
	}
	if err != nil {
		os.Remove(temporary.Name())
	}
	return err
}

// List implements [Store].
func (f *Folder) List(ctx context.Context, prefix, after string, n int) ([]string, error) {
	return within(ctx, f, func() ([]string, error) { return f.list(ctx, prefix, after, n) })
}

func (f *Folder) list(ctx context.Context, prefix, after string, n int) (names []string, err error) {
	err = filepath.WalkDir(f.path(prefix), func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist): // somebody removes it
			return nil
		case err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case len(names) >= n:
			return fs.SkipAll
		}
		name, err := filepath.Rel(f.dir, path)
		if err == nil && !d.IsDir() && name > after {
			names = append(names, name)
		}
		return err
	})
	return names, err
}

// Remove implements [Store]. It also removes directories that are empty then.
func (f *Folder) Remove(ctx context.Context, name string) error {
	_, err := within(ctx, f, func() (struct{}, error) { return struct{}{}, f.remove(name) })
	return err
}

func (f *Folder) remove(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	err := os.Remove(f.path(name))
	for dir := filepath.Dir(name); err == nil && strings.Contains(dir, "/"); dir = filepath.Dir(dir) {
		if os.Remove(f.path(dir)) != nil {
			break // not empty
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (f *Folder) path(name string) string { return filepath.Join(f.dir, name) }
