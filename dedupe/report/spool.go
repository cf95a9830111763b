package report

import (
	"bufio"
	"io"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// spool holds the files of a group, to range over them several times: in memory while they
// are few, and the rest in a temporary file.
type spool struct {
	files  []file
	rest   *aside // nil while everything is in memory
	create func() (io.ReadWriteSeeker, error)
	err    error // of reading the temporary file
}

// spoolRoom is how many bytes of the rest to write at once.
const spoolRoom = 256 << 10

// spoolFiles is how many files to keep in memory.
const spoolFiles = 10_000

func (s *spool) add(f file) error {
	if s.create == nil || len(s.files) < spoolFiles {
		s.files = append(s.files, f)
		return nil
	}
	start := byte(',')
	if s.rest == nil {
		s.rest, start = new(aside), '['
	}
	s.rest.memory.WriteByte(start)
	s.rest.memory.Write(appendFile(s.rest.memory.AvailableBuffer(), f))
	if s.rest.memory.Len() > spoolRoom {
		return s.rest.spill(s.create)
	}
	return nil
}

// all yields the files in the order in which they came. Add none afterwards.
func (s *spool) all(yield func(file) bool) {
	for _, f := range s.files {
		if !yield(f) {
			return
		}
	}
	if s.rest == nil || s.err != nil {
		return
	}
	if s.err = s.rest.spill(s.create); s.err != nil {
		return
	}
	if _, s.err = s.rest.file.Seek(0, io.SeekStart); s.err != nil {
		return
	}
	in := io.MultiReader(bufio.NewReaderSize(s.rest.file, 64<<10), strings.NewReader("]"))
	d := decoder{jsontext.NewDecoder(in, jsontext.AllowInvalidUTF8(true))}
	enough := false
	err := d.elements(func() error {
		f, err := d.file()
		if err != nil {
			return err
		}
		if enough = !yield(f); enough {
			return io.EOF
		}
		return nil
	})
	if !enough {
		s.err = err
	}
}
