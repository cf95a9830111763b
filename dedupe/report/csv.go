package report

import (
	"encoding/base64"
	"encoding/csv"
	"io"
	"strconv"
	"strings"
	"time"

	"efsdedupe/dedupe"
)

// writeCSV writes a row for each file of a group. Groups are numbered from 1;
// the fields mean what they mean in JSON. A path with a carriage return is there
// in base64 too: many readers of CSV, encoding/csv among them, drop it before a
// newline.
func writeCSV(w io.Writer, r dedupe.Report) error {
	c := csv.NewWriter(w)
	c.Write([]string{"group", "size", "digest", "reclaimable_bytes", "path", "path_base64", "inode", "mtime", "hard_link"})
	for i, g := range r.Groups {
		links := g.HardLinks()
		for k, f := range g.Files {
			path := pathOf(f.Path)
			if strings.Contains(f.Path, "\r") {
				path.PathBase64 = []byte(f.Path)
			}
			c.Write([]string{
				strconv.Itoa(i + 1),
				strconv.FormatInt(g.Size, 10),
				g.Digest.String(),
				strconv.FormatInt(g.Reclaimable, 10),
				string([]rune(path.Path)), // a replacement character for each byte that is not text, as in JSON
				base64.StdEncoding.EncodeToString(path.PathBase64),
				strconv.FormatUint(f.Inode, 10),
				f.ModTime.Time().Format(time.RFC3339Nano),
				strconv.FormatBool(links[k]),
			})
		}
	}
	c.Flush()
	return c.Error()
}
