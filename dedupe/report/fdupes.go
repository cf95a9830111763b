package report

import (
	"bufio"
	"io"

	"efsdedupe/dedupe"
)

// writeFdupes writes the paths of each group, a line each and as they are, and
// an empty line after the group. Like fdupes, it gives one path an inode.
func writeFdupes(w io.Writer, r dedupe.Report) error {
	b := bufio.NewWriter(w)
	for _, g := range r.Groups {
		links := g.HardLinks()
		for i, f := range g.Files {
			if !links[i] {
				b.WriteString(f.Path)
				b.WriteByte('\n')
			}
		}
		b.WriteByte('\n')
	}
	return b.Flush()
}
