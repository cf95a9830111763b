package report

import (
	"encoding/base64"
	"encoding/csv"
	"io"
	"strconv"
	"strings"
)

// csvWriter writes a row for each file of a group. Groups are numbered from 1; the fields
// mean the same as in JSON. A path with a carriage return is also there in base64,
// because many CSV readers, encoding/csv among them, drop a carriage return before a
// newline.
type csvWriter struct {
	nowhere
	w     *csv.Writer
	g     group
	n     int // groups so far
	cells []string
	lone  bool // write the files without a duplicate instead

	noHeader bool // leave out the names of the columns
	parts    bool // a group may come in several parts, one after the other
}

func newCSVWriter(w io.Writer, lone bool) *csvWriter {
	return &csvWriter{w: csv.NewWriter(w), lone: lone}
}

func (c *csvWriter) begin(*document) error {
	if c.noHeader {
		return nil
	}
	return c.w.Write([]string{"group", "size", "digest", "reclaimable_bytes", "path", "path_base64", "inode", "mtime", "hard_link",
		"ctime", "links", "allocated", "mtime_unix", "ctime_unix", "reclaimable_allocated_bytes", "kept"})
}

func (c *csvWriter) group(g group) error {
	if !c.parts || c.g.digest != g.digest {
		c.n++
	}
	c.g = g
	return nil
}

func (c *csvWriter) file(f file) error {
	if c.lone {
		return nil
	}
	return c.row(f, strconv.Itoa(c.n), strconv.FormatInt(c.g.size, 10), c.g.digest.String(), strconv.FormatInt(c.g.reclaimable, 10))
}

// unique writes a row without a group.
func (c *csvWriter) unique(f file) error {
	if !c.lone {
		return nil
	}
	c.g.allocated = -1
	return c.row(f, "", strconv.FormatInt(f.size, 10), "", "")
}

func (c *csvWriter) row(f file, of ...string) error {
	path := pathOf(f.path)
	if strings.Contains(f.path, "\r") {
		path.PathBase64 = []byte(f.path)
	}
	c.cells = append(append(c.cells[:0], of...),
		string([]rune(path.Path)), // a replacement character for each byte that is not text, as in JSON
		base64.StdEncoding.EncodeToString(path.PathBase64),
		strconv.FormatUint(f.inode, 10),
		string(f.mtime.appendRFC3339(nil)),
		strconv.FormatBool(f.hardLink),
	)
	ctime, links, allocated := "", "", ""
	if f.ctime != (moment{}) {
		ctime = string(f.ctime.appendRFC3339(nil))
	}
	if f.links > 0 {
		links, allocated = strconv.FormatInt(f.links, 10), strconv.FormatInt(f.allocated, 10)
	}
	c.cells = append(c.cells, ctime, links, allocated, f.mtime.unixCell(), f.ctime.unixCell(), cellOf(c.g.allocated), strconv.FormatBool(f.kept))
	return c.w.Write(c.cells)
}

// unixCell returns the seconds since 1970 of a moment that RFC 3339 cannot express, else
// "".
func (m moment) unixCell() string {
	if m.fits() {
		return ""
	}
	return string(m.appendUnix(nil))
}

// cellOf formats a count that may be unknown.
func cellOf(n int64) string {
	if n < 0 {
		return ""
	}
	return strconv.FormatInt(n, 10)
}

func (c *csvWriter) end(*document) error {
	c.w.Flush()
	return c.w.Error()
}
