package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
	"golang.org/x/term"
)

// Output is where a report goes: standard output, or a file that stays as it is
// until the report is complete.
type Output struct {
	io.Writer
	Path    string      // empty for standard output
	Partial string      // where Commit put an incomplete report instead
	Info    os.FileInfo // of the file being written; nil for standard output
	pending *renameio.PendingFile
	device  *os.File
}

// OpenOutput opens path to write a report to, or stdout if path is empty. Call it
// before reading anything: its error says why a report could not be written.
func OpenOutput(path string, stdout io.Writer) (*Output, error) {
	if path == "" {
		return &Output{Writer: stdout}, nil
	}
	// A link stays a link: what it points to is replaced.
	target, err := filepath.EvalSymlinks(path)
	if errors.Is(err, os.ErrNotExist) {
		target, err = path, nil
	}
	if err != nil {
		return nil, unwritable(path, err)
	}
	o := &Output{Path: target}
	st, err := os.Stat(target)
	switch {
	case err == nil && st.IsDir():
		return nil, unwritable(path, errors.New("it is a directory"))
	case err == nil && !st.Mode().IsRegular():
		if o.device, err = os.OpenFile(target, os.O_WRONLY, 0); err != nil {
			return nil, unwritable(path, err)
		}
		o.Writer = o.device
		return o, nil
	}
	o.pending, err = renameio.NewPendingFile(target,
		renameio.WithTempDir(filepath.Dir(target)), renameio.WithPermissions(0o666), renameio.WithExistingPermissions())
	if err != nil {
		return nil, unwritable(path, err)
	}
	o.Writer = o.pending
	if o.Info, err = o.pending.Stat(); err != nil {
		o.Discard()
		return nil, unwritable(path, err)
	}
	return o, nil
}

func unwritable(path string, err error) error {
	return fmt.Errorf("can't write the report to %q: %w; choose another --output", path, err)
}

// Failed explains an error of Write or Commit.
func (o *Output) Failed(err error) error {
	if o.Path == "" {
		return fmt.Errorf("can't write the report: %w", err)
	}
	return fmt.Errorf("can't write the report to %q: %w; make room or choose another --output (what was there is as it was)", o.Path, err)
}

// Commit makes the report the content of the file. An incomplete report never
// replaces a file: it goes to [Output.Partial], beside it.
func (o *Output) Commit(complete bool) error {
	switch {
	case o.device != nil:
		return o.device.Close()
	case o.pending == nil:
		return nil
	case complete:
		return o.pending.CloseAtomicallyReplace()
	}
	if _, err := os.Lstat(o.Path); errors.Is(err, os.ErrNotExist) {
		return o.pending.CloseAtomicallyReplace()
	}
	o.Partial = o.Path + ".partial"
	if err := os.Rename(o.pending.Name(), o.Partial); err != nil {
		return err
	}
	return o.pending.File.Close()
}

// Discard leaves the file as it was, unless Commit was called.
func (o *Output) Discard() {
	if o.pending != nil {
		o.pending.Cleanup()
	}
}

// Colour reports whether to write the report in colour, see [InColour].
func (o *Output) Colour() bool { return o.Path == "" && InColour(o.Writer) }

// InColour reports whether to write to w in colour: w is a terminal, and its user
// has not set NO_COLOR, see https://no-color.org.
func InColour(w io.Writer) bool { return IsTerminal(w) && os.Getenv("NO_COLOR") == "" }

// IsTerminal reports whether w is a terminal.
func IsTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
