package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Output is where a report goes: standard output, something that is not a regular file,
// or a file that stays as it is until the report is complete.
type Output struct {
	io.Writer
	Path    string        // of the file, links followed; empty for standard output
	Partial string        // where Commit put an incomplete report instead
	Dropped bool          // Commit could put it nowhere
	Own     []os.FileInfo // regular files that are written or replaced
	ctx     context.Context
	pending *pending
	hung    bool // a call on pending was left behind
	device  *os.File
}

// OpenOutput opens path to write a report to, or stdout if path is empty or "-". Call it
// before reading anything: its error says why a report could not be written. It gives up
// when ctx ends, and so do writes that nobody reads, and calls on a file system that does not
// answer. A report of an interrupted scan, whose ctx has ended before, is still written.
func OpenOutput(ctx context.Context, path string, stdout io.Writer) (*Output, error) {
	o := &Output{Writer: stdout}
	if path != "" && path != "-" {
		opened, err := Await(ctx, func() (*Output, error) {
			o := new(Output)
			return o, o.open(path)
		})
		if err != nil {
			return nil, fmt.Errorf("can't write the report to %q: %w; choose another --output", path, err)
		}
		o = opened
	}
	o.ctx = ctx
	if o.pending == nil {
		o.Own = RegularFiles(o.Writer)
	}
	if o.pending != nil || File(o.Writer) != nil {
		o.Writer = patient{o.Writer, o}
	}
	return o, nil
}

// open opens a path: a descriptor of this process as it is, a regular file to be
// replaced, anything else to be written to.
func (o *Output) open(path string) (err error) {
	if strings.HasSuffix(path, "/") {
		return errors.New("a path that ends in / is a directory")
	}
	if o.Path, err = Follow(path); err != nil {
		return err
	}
	if fd := descriptor(o.Path); fd >= 0 {
		return o.duplicate(fd)
	}
	st, err := os.Stat(o.Path)
	switch {
	case err == nil && isDescriptor(o.Path):
		return o.openDevice()
	case errors.Is(err, fs.ErrNotExist):
		err = nil
	case err != nil:
		return err
	case st.IsDir():
		return errors.New("it is a directory")
	case !st.Mode().IsRegular():
		return o.openDevice()
	}
	if o.pending, err = newPending(o.Path); err != nil {
		return err
	}
	o.Writer = o.pending
	o.Own = RegularFiles(o.pending.File, o.pending.existing)
	return nil
}

// Follow returns where a path leads through links, whether or not anything is there.
func Follow(path string) (string, error) {
	const most = 40 // links, as in the kernel
	for range most {
		dir, name := filepath.Split(path)
		dir, err := filepath.EvalSymlinks(cmp.Or(dir, "."))
		if err != nil {
			return "", err
		}
		path = filepath.Join(dir, name)
		link, err := os.Readlink(path)
		if err != nil || isDescriptor(path) {
			return path, nil
		}
		if path = link; !filepath.IsAbs(link) {
			path = dir + "/" + link // not cleaned: .. may follow a link
		}
	}
	return "", unix.ELOOP
}

// descriptor returns the number of the descriptor that a path names, such as /dev/fd/3 or
// what /dev/stdout leads to; -1 if it names none.
func descriptor(path string) int {
	dir, name := filepath.Split(path)
	if dir != "/dev/fd/" && dir != fmt.Sprintf("/proc/%d/fd/", os.Getpid()) {
		return -1
	}
	fd, err := strconv.Atoi(name)
	if err != nil {
		return -1
	}
	return fd
}

// isDescriptor reports whether a path names a descriptor of any process.
func isDescriptor(path string) bool {
	other, _ := filepath.Match("/proc/[0-9]*/fd/*", path)
	return other || descriptor(path) >= 0
}

// duplicate writes to a descriptor of this process, wherever it stands.
func (o *Output) duplicate(fd int) error {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	switch {
	case wasClosed(fd): // and now it is /dev/null
		err = errors.New("it is closed")
	case err == nil && flags&unix.O_ACCMODE == unix.O_RDONLY:
		err = errors.New("it is open for reading only")
	}
	if err == nil {
		fd, err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	}
	if err == nil {
		o.device = os.NewFile(uintptr(fd), o.Path)
		o.Writer = newStream(o.device)
	}
	return err
}

// openDevice opens what is not to be replaced. A FIFO waits for somebody to read it.
func (o *Output) openDevice() error {
	f, err := os.OpenFile(o.Path, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	o.device, o.Writer = f, newStream(f)
	return nil
}

// patient writes to what takes its time, such as a pipe, but no longer than until the context
// of the output ends meanwhile. A file gets a little longer then.
type patient struct {
	io.Writer
	output *Output
}

func (p patient) Write(b []byte) (n int, err error) {
	write := func() (int, error) { return p.Writer.Write(b) }
	switch ctx := p.output.ctx; {
	case p.output.pending != nil:
		return finish(p.output, write)
	case ctx.Err() != nil:
		return write()
	default:
		return Await(ctx, write)
	}
}

// finish makes calls on the pending file. It leaves them behind if the file system does not
// answer soon after the context of the output ended, and then makes no more.
func finish[T any](o *Output, call func() (T, error)) (T, error) {
	if o.hung {
		return *new(T), o.ctx.Err()
	}
	value, err := Finish(o.ctx, call)
	o.hung = errors.Is(err, context.Canceled)
	return value, err
}

// Failed explains an error of Write or Commit.
func (o *Output) Failed(err error) error {
	switch {
	case o.Path == "":
		return fmt.Errorf("can't write the report: %w", err)
	case o.pending == nil || o.pending.torn:
		return fmt.Errorf("can't write the report to %q: %w; make room or choose another --output", o.Path, err)
	}
	return fmt.Errorf("can't write the report to %q: %w; make room or choose another --output (the old file is unchanged)", o.Path, err)
}

// Commit makes the report the content of the file. An incomplete report never
// replaces a file: it goes to [Output.Partial], beside it.
func (o *Output) Commit(complete bool) error {
	switch {
	case o.device != nil:
		return o.device.Close()
	case o.pending == nil:
		return nil
	}
	_, err := finish(o, func() (struct{}, error) { return struct{}{}, o.commit(complete) })
	return err
}

func (o *Output) commit(complete bool) error {
	if complete {
		return o.pending.commit(o.Path)
	}
	if _, err := os.Lstat(o.Path); errors.Is(err, fs.ErrNotExist) {
		return o.pending.commit(o.Path)
	}
	if o.pending.copied {
		o.Dropped = true
		return o.pending.discard()
	}
	o.Partial = o.Path + ".partial"
	return o.pending.commit(o.Partial)
}

// Discard leaves the file as it was, unless Commit was called.
func (o *Output) Discard() {
	if o.pending != nil {
		finish(o, func() (struct{}, error) { return struct{}{}, o.pending.discard() })
	}
}

// UseColour reports whether to write the report in colour, see [UseColour].
func (o *Output) UseColour() bool {
	p, ok := o.Writer.(patient)
	return ok && o.Path == "" && UseColour(p.Writer)
}
