package job

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// folder is a store of objects in a directory. An object is there whole or not at all,
// whatever is killed meanwhile, and it never changes.
type folder struct {
	dir string
}

// put stores an object unless one has the name already: then another attempt at the same
// work was first, and its object stays.
func (f folder) put(name string, data []byte) error {
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

// get returns n bytes of an object from an offset on, or fewer where it ends. The error for
// a missing object is fs.ErrNotExist.
func (f folder) get(name string, offset, n int64) ([]byte, error) {
	in, err := os.Open(f.path(name))
	if err != nil {
		return nil, err
	}
	defer in.Close()
	data := make([]byte, n)
	k, err := in.ReadAt(data, offset)
	if err == io.EOF {
		err = nil
	}
	return data[:k], err
}

// size returns the bytes of an object, or -1 if there is none.
func (f folder) size(name string) int64 {
	st, err := os.Lstat(f.path(name))
	if err != nil {
		return -1
	}
	return st.Size()
}

// remove removes an object, if it is there.
func (f folder) remove(name string) error {
	if err := os.Remove(f.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (f folder) path(name string) string {
	return filepath.Join(f.dir, name)
}
