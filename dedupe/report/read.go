package report

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"efsdedupe/dedupe"
)

// readOptions say what a handler needs from the stream.
type readOptions struct {
	ordered     bool // call group with everything known but files_left_out
	projections bool // also read a projection on its own, as a document without groups
	spill       func() (io.ReadWriteSeeker, error)
}

// read streams a JSON report to a handler. It accepts the fields of every object in any
// order, and ignores unknown ones.
func read(in io.Reader, h handler, o readOptions) error {
	b := bufio.NewReaderSize(in, 64<<10)
	if start, _ := b.Peek(3); string(start) == "\xef\xbb\xbf" { // a byte order mark
		b.Discard(3)
	}
	r := &reader{
		decoder: decoder{jsontext.NewDecoder(b, jsontext.AllowInvalidUTF8(true))},
		h:       h, o: o, raw: make(map[string]json.RawMessage),
	}
	if err := r.report(); err != nil {
		return err
	}
	_, err := r.ReadToken()
	var syntax *jsontext.SyntacticError
	switch {
	case err == io.EOF:
		return nil
	case err == nil, errors.As(err, &syntax):
		return errors.New("not a JSON report: there is more after it")
	}
	return err
}

// reader reads one report.
type reader struct {
	decoder
	h     handler
	o     readOptions
	raw   map[string]json.RawMessage // the document's fields so far
	begun bool                       // the handler's begin was called
	sets  int64                      // of duplicate folders so far
}

func (r *reader) report() error {
	err := r.members("a report", func(name []byte) error {
		switch string(name) {
		case "groups":
			return r.run(func() error { return r.group() })
		case "duplicate_folders":
			return r.run(r.twins)
		case "unique":
			return r.run(r.unique)
		case "problems":
			return r.run(r.problem)
		case "skipped":
			return r.run(r.skipped)
		case "schema":
			if err := r.keep("schema"); err != nil {
				return err
			}
			return r.checkSchema()
		case "sizes", "folders", "folders_approximate": // computed again
			return r.skip()
		}
		if isField(string(name)) {
			return r.keep(string(name))
		}
		return r.skip()
	})
	if err != nil {
		return err
	}
	if err := r.checkSchema(); err != nil {
		return err
	}
	d, err := r.document()
	if err != nil {
		return err
	}
	if !r.begun {
		if err := r.h.begin(d); err != nil {
			return err
		}
	}
	return r.h.end(d)
}

// isField reports whether a document, or a projection on its own, has a field.
func isField(name string) bool {
	switch name {
	case "tool", "started", "finished", "roots", "roots_base64", "selection", "mode", "workers", "complete", "reason",
		"index", "stats", "problems_left_out", "projection", "projection_error", "next",
		"calls", "region", "currency", "prices", "usage", "items", "total", "reclaimable_cost", "warnings":
		return true
	}
	return false
}

// keep keeps a field for the end of the report.
func (r *reader) keep(name string) error {
	value, err := r.ReadValue()
	if err != nil {
		return malformed(err)
	}
	r.raw[name] = slices.Clone(json.RawMessage(value))
	return nil
}

// checkSchema returns an error if the input is not a report.
func (r *reader) checkSchema() error {
	switch schema := r.schema(); {
	case schema == reportSchema || schema == reportSchemaV1 || schema == projectionSchema && r.o.projections:
		return nil
	case schema == projectionSchema:
		return fmt.Errorf("it is a bill (%s), not a report: use 'dedupe cost --report'", schema)
	default:
		return fmt.Errorf("its schema is %q, not %s or %s: use a report that 'dedupe scan --format json' wrote", schema, reportSchema, reportSchemaV1)
	}
}

func (r *reader) schema() (schema string) {
	json.Unmarshal(r.raw["schema"], &schema) // if it is not a string, it is not a schema
	return schema
}

// document decodes the fields read so far.
func (r *reader) document() (*document, error) {
	var all bytes.Buffer
	all.WriteByte('{')
	for i, name := range slices.Sorted(maps.Keys(r.raw)) {
		if i > 0 {
			all.WriteByte(',')
		}
		fmt.Fprintf(&all, "%q:%s", name, r.raw[name])
	}
	all.WriteByte('}')
	d := new(document)
	if r.schema() == projectionSchema {
		d.Projection = new(projectionJSON)
		if err := unmarshal(all.Bytes(), d.Projection); err != nil {
			return nil, err
		}
		return d, nil
	}
	return d, unmarshal(all.Bytes(), d)
}

func unmarshal(data []byte, into any) error {
	err := json.Unmarshal(data, into)
	if wrong := (*json.UnmarshalTypeError)(nil); errors.As(err, &wrong) {
		field := strings.TrimPrefix(strings.TrimPrefix(wrong.Field, "head."), "tail.") // of a document
		return fmt.Errorf("not a JSON report: %s can't be the %s that it is", field, wrong.Value)
	}
	if err != nil {
		return fmt.Errorf("not a JSON report: %w", err)
	}
	return nil
}

// run reads an array and calls element for each element.
func (r *reader) run(element func() error) error {
	if !r.begun {
		r.begun = true
		d, err := r.document()
		if err != nil {
			return err
		}
		if err := r.h.begin(d); err != nil {
			return err
		}
	}
	return r.elements(element)
}

// group reads a group. It sets files aside that come before the group's size.
func (r *reader) group() error {
	g := group{allocated: -1}
	var given [4]bool // size, digest and both kinds of reclaimable bytes
	var early *aside
	told := false
	err := r.members("a group", func(name []byte) (err error) {
		switch string(name) {
		case "size":
			g.size, err = r.count()
			given[0] = true
		case "digest":
			g.digest, err = r.digest()
			given[1] = true
		case "reclaimable_bytes":
			g.reclaimable, err = r.count()
			given[2] = true
		case "reclaimable_allocated_bytes":
			g.allocated, err = r.count()
			given[3] = true
		case "files_before":
			g.before, err = r.count()
		case "copies":
			g.copies, err = r.count()
		case "files_left_out":
			g.leftOut, err = r.count()
		case "files":
			given[3] = given[3] || r.schema() == reportSchemaV1
			if r.o.ordered && given != [4]bool{true, true, true, true} {
				early, err = r.setAside()
				return err
			}
			told = true
			return r.files(r.decoder, g)
		default:
			err = r.skip()
		}
		return err
	})
	switch {
	case err != nil:
		return err
	case !given[0] || !given[1] || !given[2] || !told && early == nil:
		return errors.New("not a JSON report: a group lacks its size, digest, reclaimable_bytes or files")
	case early != nil:
		files, err := early.decoder()
		if err != nil {
			return err
		}
		if err := r.files(files, g); err != nil {
			return err
		}
	}
	return r.h.endGroup(g)
}

// files begins a group and reads its files.
func (r *reader) files(d decoder, g group) error {
	if g.size > 0 && g.copies == 0 {
		g.copies = g.reclaimable/g.size + 1
	}
	if err := r.h.group(g); err != nil {
		return err
	}
	return d.elements(func() error {
		f, err := d.file()
		if err != nil {
			return err
		}
		return r.h.file(f)
	})
}

// twins reads a set of identical folders. It sets their paths aside if they come first.
func (r *reader) twins() error {
	t := twin{set: r.sets}
	r.sets++
	known := 0
	var early *aside
	err := r.members("duplicate folders", func(name []byte) (err error) {
		switch string(name) {
		case "files":
			t.files, err = r.count()
			known++
		case "bytes":
			t.bytes, err = r.count()
			known++
		case "reclaimable_bytes":
			t.reclaimable, err = r.count()
			known++
		case "paths":
			if known < 3 {
				early, err = r.setAside()
				return err
			}
			return r.twinPaths(r.decoder, t)
		default:
			err = r.skip()
		}
		return err
	})
	switch {
	case err != nil:
		return err
	case known < 3:
		return errors.New("not a JSON report: duplicate folders lack their files, bytes or reclaimable_bytes")
	case early != nil:
		d, err := early.decoder()
		if err != nil {
			return err
		}
		return r.twinPaths(d, t)
	}
	return nil
}

// twinPaths reads the folders of a set.
func (r *reader) twinPaths(d decoder, t twin) error {
	return d.elements(func() error {
		var path paths
		t.kept = false
		err := d.members("a folder", func(name []byte) (err error) {
			if string(name) == "kept" {
				t.kept, err = d.truth()
				return err
			}
			return path.read(&d, name)
		})
		if err != nil {
			return err
		}
		if path == (paths{}) {
			return errors.New("not a JSON report: a duplicate folder has no path")
		}
		t.path = path.full()
		return r.h.twin(t)
	})
}

func (r *reader) unique() error {
	f, err := r.file()
	if err != nil {
		return err
	}
	return r.h.unique(f)
}

func (r *reader) problem() error {
	p := new(dedupe.Problem)
	var path paths
	var why string
	err := r.members("a problem", func(name []byte) (err error) {
		switch string(name) {
		case "op":
			p.Op, err = r.text()
		case "error":
			why, err = r.text()
		default:
			err = path.read(&r.decoder, name)
		}
		return err
	})
	if err != nil {
		return err
	}
	p.Path, p.Err = path.full(), errors.New(why)
	return r.h.problem(p)
}

func (r *reader) skipped() error {
	var s dedupe.Skipped
	var path paths
	err := r.members("what was skipped", func(name []byte) (err error) {
		if string(name) == "rule" {
			s.Rule, err = r.text()
			return err
		}
		return path.read(&r.decoder, name)
	})
	if err != nil {
		return err
	}
	s.Path = path.full()
	return r.h.skip(s)
}
