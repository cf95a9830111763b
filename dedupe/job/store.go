package job

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Store keeps the objects of one job. An object is there whole or not at all, whatever is
// killed meanwhile, and it never changes.
type Store interface {
	// Put stores an object unless one has the name already: then another attempt at the
	// same work was first, and its object stays.
	Put(name string, data []byte) error

	// Get returns n bytes of an object from an offset on, or fewer where it ends, and the
	// size of the object. The error for a missing object is fs.ErrNotExist.
	Get(name string, offset, n int64) (data []byte, size int64, err error)

	// Remove removes an object, if it is there.
	Remove(name string) error

	// RemoveAll removes all objects.
	RemoveAll() error
}

// objects is a store with all that units do with it.
type objects struct{ Store }

// has reports whether there is an object. If that is unknown, there is none.
func (o objects) has(name string) bool {
	_, _, err := o.Get(name, 0, 1)
	return err == nil
}

// folder is a Store in a directory.
type folder struct {
	dir string
}

// Put implements Store.
func (f folder) Put(name string, data []byte) error {
	temporary, err := os.CreateTemp(f.dir, ".put-")
	if err != nil {
		return fmt.Errorf("can't write to the store: %w; make room, or choose another --store", err)
	}
	defer os.Remove(temporary.Name())
	_, err = temporary.Write(data)
	if closed := temporary.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Link(temporary.Name(), f.path(name))
	}
	switch {
	case err == nil, errors.Is(err, fs.ErrExist):
		return nil
	case errors.Is(err, errors.ErrUnsupported), errors.Is(err, fs.ErrPermission):
		err = os.Rename(temporary.Name(), f.path(name)) // no hard links here
	}
	if err != nil {
		return fmt.Errorf("can't write to the store: %w; make room, or choose another --store", err)
	}
	return nil
}

// Get implements Store.
func (f folder) Get(name string, offset, n int64) (data []byte, size int64, err error) {
	in, err := os.Open(f.path(name))
	if err != nil {
		return nil, 0, err
	}
	defer in.Close()
	st, err := in.Stat()
	if err != nil {
		return nil, 0, err
	}
	data = make([]byte, max(min(n, st.Size()-offset), 0))
	k, err := in.ReadAt(data, offset)
	if err == io.EOF {
		err = nil
	}
	return data[:k], st.Size(), err
}

// Remove implements Store.
func (f folder) Remove(name string) error {
	if err := os.Remove(f.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// RemoveAll implements Store.
func (f folder) RemoveAll() error { return os.RemoveAll(f.dir) }

func (f folder) path(name string) string {
	return filepath.Join(f.dir, name)
}
