package report

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"

	"github.com/go-json-experiment/json/jsontext"

	"efsdedupe/dedupe"
)

// jsonWriter writes the stream as JSON, on one line.
type jsonWriter struct {
	b       *bufio.Writer
	line    []byte          // to be written next
	written map[string]bool // fields of the report
	array   string          // the array being written
	set     int64           // of the last folder
	open    string          // what closes the last element
	totals  *totals
	files   int // of this group
}

func newJSONWriter(w io.Writer) *jsonWriter {
	return &jsonWriter{b: bufio.NewWriterSize(w, 64<<10), written: make(map[string]bool), totals: newTotals()}
}

// begin writes the head, if all of it is known.
func (w *jsonWriter) begin(d *document) error {
	w.b.WriteByte('{')
	if !d.known() {
		return nil
	}
	return w.fields(d)
}

// fields writes the fields of a document that were not written before.
func (w *jsonWriter) fields(d *document) error {
	if err := d.readBill(); err != nil {
		return err
	}
	d.Schema = reportSchema
	var all bytes.Buffer
	if err := encode(&all, d); err != nil {
		return err
	}
	in := jsontext.NewDecoder(&all)
	in.ReadToken()
	for in.PeekKind() == '"' {
		name, err := in.ReadToken()
		if err != nil {
			return err
		}
		field := name.String()
		value, err := in.ReadValue()
		if err != nil {
			return err
		}
		if !w.written[field] {
			w.field(field)
			w.b.Write(value)
		}
	}
	return nil
}

// field begins a field of the report.
func (w *jsonWriter) field(name string) {
	if len(w.written) > 0 {
		w.b.WriteByte(',')
	}
	w.written[name] = true
	w.b.WriteByte('"')
	w.b.WriteString(name)
	w.b.WriteString(`":`)
}

// element begins an element of an array, and the array if it is the first.
func (w *jsonWriter) element(array string) {
	if w.array == array {
		w.b.WriteString(w.open)
		w.open = ""
		w.b.WriteByte(',')
		return
	}
	w.endArray()
	w.field(array)
	w.b.WriteByte('[')
	w.array = array
}

func (w *jsonWriter) endArray() {
	if w.array != "" {
		w.b.WriteString(w.open)
		w.open = ""
		w.b.WriteByte(']')
	}
	w.array = ""
}

func (w *jsonWriter) group(g group) error {
	w.totals.group(g)
	w.files = 0
	w.element("groups")
	w.line = appendGroup(w.line[:0], g)
	_, err := w.b.Write(w.line)
	return err
}

func (w *jsonWriter) file(f file) error {
	w.totals.file(f)
	w.line = w.line[:0]
	if w.files++; w.files > 1 {
		w.line = append(w.line, ',')
	}
	w.line = appendFile(w.line, f)
	_, err := w.b.Write(w.line)
	return err
}

func (w *jsonWriter) endGroup(g group) error {
	w.totals.endGroup(g)
	w.line = appendEndGroup(w.line[:0], g)
	_, err := w.b.Write(w.line)
	return err
}

func (w *jsonWriter) twin(t twin) error {
	if w.open != "" && w.set == t.set {
		w.b.WriteByte(',')
	} else {
		w.element("duplicate_folders")
		w.line = appendTwins(w.line[:0], t)
		w.b.Write(w.line)
		w.set, w.open = t.set, "]}"
	}
	b, err := marshal(twinJSON{pathOf(t.path), t.kept})
	if err != nil {
		return err
	}
	_, err = w.b.Write(b)
	return err
}

func (w *jsonWriter) unique(f file) error {
	w.element("unique")
	w.line = appendUnique(w.line[:0], f)
	_, err := w.b.Write(w.line)
	return err
}

func (w *jsonWriter) problem(p *dedupe.Problem) error { return w.value("problems", problemOf(p)) }

func (w *jsonWriter) skip(s dedupe.Skipped) error { return w.value("skipped", skippedOf(s)) }

func (w *jsonWriter) value(array string, v any) error {
	w.element(array)
	b, err := marshal(v)
	if err != nil {
		return err
	}
	_, err = w.b.Write(b)
	return err
}

// end writes everything that is left.
func (w *jsonWriter) end(d *document) error {
	w.endArray()
	wanted := []string{"groups", "problems"}
	if s := d.Selection; s != nil && s.Folders {
		wanted = append(wanted, "duplicate_folders")
	}
	if s := d.Selection; s != nil && s.Unique {
		wanted = append(wanted, "unique")
	}
	for _, array := range wanted {
		if !w.written[array] {
			w.field(array)
			w.b.WriteString("[]")
		}
	}
	d.setTotals(w.totals, foldersKept)
	d.writeBill()
	if err := w.fields(d); err != nil {
		return err
	}
	w.b.WriteString("}\n")
	return w.b.Flush()
}

// setTotals sets the fields that summarize the groups.
func (d *tail) setTotals(t *totals, folders int) {
	d.Sizes, d.Folders, d.FoldersApproximate = t.histogram(), t.top(folders), t.least > 0
}

// marshal is json.Marshal without escaping <, > and &.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	if err := encode(&b, v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

func encode(w io.Writer, doc any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(doc)
}
