package report

import (
	"bufio"
)

// fdupesWriter writes the raw paths of each group, one per line, and an empty line after
// the group. Like fdupes, it writes one path per inode.
type fdupesWriter struct {
	nowhere
	b     *bufio.Writer
	after byte // every path and every group
	lone  bool // write the files without a duplicate instead
}

func (w *fdupesWriter) file(f file) error {
	if w.lone {
		return nil
	}
	return w.path(f)
}

func (w *fdupesWriter) unique(f file) error {
	if !w.lone {
		return nil
	}
	return w.path(f)
}

func (w *fdupesWriter) path(f file) error {
	if f.hardLink {
		return nil
	}
	w.b.WriteString(f.path)
	return w.b.WriteByte(w.after)
}

func (w *fdupesWriter) endGroup(group) error {
	if w.lone {
		return nil
	}
	return w.b.WriteByte(w.after)
}

func (w *fdupesWriter) end(*document) error { return w.b.Flush() }
