package report

import (
	"bufio"

	"efsdedupe/dedupe"
)

// fdupesWriter writes the raw paths of each group, one per line, and an empty line after
// the group. Like fdupes, it writes one path per inode.
type fdupesWriter struct{ b *bufio.Writer }

func (w *fdupesWriter) file(f file) error {
	if f.hardLink {
		return nil
	}
	w.b.WriteString(f.path)
	return w.b.WriteByte('\n')
}

func (w *fdupesWriter) endGroup(group) error { return w.b.WriteByte('\n') }
func (w *fdupesWriter) end(*document) error  { return w.b.Flush() }

func (w *fdupesWriter) begin(*document) error         { return nil }
func (w *fdupesWriter) group(group) error             { return nil }
func (w *fdupesWriter) twin(twin) error               { return nil }
func (w *fdupesWriter) unique(file) error             { return nil }
func (w *fdupesWriter) problem(*dedupe.Problem) error { return nil }
func (w *fdupesWriter) skip(dedupe.Skipped) error     { return nil }
