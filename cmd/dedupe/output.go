package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
	"golang.org/x/term"
)

// output is where a report goes: standard output, or a file that stays as it is
// until the report is whole.
type output struct {
	io.Writer
	path    string // empty for standard output
	partial string // where the report went instead, when it is not whole
	info    os.FileInfo
	pending *renameio.PendingFile
	device  *os.File
}

// openOutput makes sure that a report can be written to path before anything is
// read for it.
func openOutput(path string, stdout io.Writer) (*output, error) {
	if path == "" {
		return &output{Writer: stdout}, nil
	}
	// A link stays a link: what it points to is replaced.
	target, err := filepath.EvalSymlinks(path)
	if errors.Is(err, os.ErrNotExist) {
		target, err = path, nil
	}
	if err != nil {
		return nil, unwritable(path, err)
	}
	o := &output{path: target}
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
	if o.info, err = o.pending.Stat(); err != nil {
		o.discard()
		return nil, unwritable(path, err)
	}
	return o, nil
}

func unwritable(path string, err error) error {
	return fmt.Errorf("can't write the report to %q: %w; choose another --output", path, err)
}

// failed explains an error of writing or of commit.
func (o *output) failed(err error) error {
	if o.path == "" {
		return fmt.Errorf("can't write the report: %w", err)
	}
	return fmt.Errorf("can't write the report to %q: %w; make room or choose another --output (what was there is as it was)", o.path, err)
}

// commit makes the report the content of the file. One that is not whole
// replaces nothing: where there is a file, it is put beside it.
func (o *output) commit(whole bool) error {
	switch {
	case o.device != nil:
		return o.device.Close()
	case o.pending == nil:
		return nil
	case whole:
		return o.pending.CloseAtomicallyReplace()
	}
	if _, err := os.Lstat(o.path); errors.Is(err, os.ErrNotExist) {
		return o.pending.CloseAtomicallyReplace()
	}
	o.partial = o.path + ".partial"
	if err := os.Rename(o.pending.Name(), o.partial); err != nil {
		return err
	}
	return o.pending.File.Close()
}

// discard leaves the file as it was, unless commit was called.
func (o *output) discard() {
	if o.pending != nil {
		o.pending.Cleanup()
	}
}

// inColour reports whether what is written to w should be: on a terminal, unless
// its user wants none, see https://no-color.org.
func inColour(w io.Writer) bool { return isTerminal(w) && os.Getenv("NO_COLOR") == "" }

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
