package report

import (
	"bufio"
	"bytes"
	"fmt"
	"io"

	"github.com/go-json-experiment/json/jsontext"
)

// aside holds the files of a group whose size comes after them, as in JSON with sorted
// keys: in memory while they are few, then in a temporary file.
type aside struct {
	memory bytes.Buffer
	file   io.ReadWriteSeeker // nil while everything is in memory
}

// asideRoom is how many bytes to keep in memory.
const asideRoom = 4 << 20

// setAside copies the next array.
func (r *reader) setAside() (*aside, error) {
	a := new(aside)
	a.memory.WriteByte('[')
	first := true
	err := r.elements(func() error {
		value, err := r.ReadValue()
		if err != nil {
			return malformed(err)
		}
		if !first {
			a.memory.WriteByte(',')
		}
		first = false
		a.memory.Write(value)
		if a.memory.Len() > asideRoom && r.o.spill != nil {
			return a.spill(r.o.spill)
		}
		return nil
	})
	a.memory.WriteByte(']')
	return a, err
}

// spill moves what is in memory to the file.
func (a *aside) spill(create func() (io.ReadWriteSeeker, error)) (err error) {
	if a.file == nil {
		if a.file, err = create(); err != nil {
			return fmt.Errorf("can't set files aside that come before the size of their group: %w", err)
		}
	}
	if _, err := a.memory.WriteTo(a.file); err != nil {
		return fmt.Errorf("can't set files aside that come before the size of their group: %w", err)
	}
	return nil
}

// decoder reads the array again.
func (a *aside) decoder() (decoder, error) {
	var in io.Reader = &a.memory
	if a.file != nil {
		if _, err := a.file.Seek(0, io.SeekStart); err != nil {
			return decoder{}, err
		}
		in = bufio.NewReaderSize(io.MultiReader(a.file, &a.memory), 64<<10)
	}
	return decoder{jsontext.NewDecoder(in, jsontext.AllowInvalidUTF8(true))}, nil
}
