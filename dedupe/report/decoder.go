package report

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"efsdedupe/dedupe"
)

// decoder reads values.
type decoder struct{ *jsontext.Decoder }

// file reads a file.
func (d *decoder) file() (f file, err error) {
	var path paths
	err = d.members("a file", func(name []byte) (err error) {
		switch string(name) {
		case "inode":
			f.inode, err = d.unsigned()
		case "mtime":
			err = d.rfc3339(&f.mtime)
		case "mtime_unix":
			err = d.unix(&f.mtime)
		case "ctime":
			err = d.rfc3339(&f.ctime)
		case "ctime_unix":
			err = d.unix(&f.ctime)
		case "links":
			f.links, err = d.count()
		case "allocated":
			f.allocated, err = d.count()
		case "hard_link":
			f.hardLink, err = d.truth()
		case "kept":
			f.kept, err = d.truth()
		case "size":
			f.size, err = d.count()
		default:
			err = path.read(d, name)
		}
		return err
	})
	if err == nil && path == (paths{}) {
		err = errors.New("not a JSON report: a file has no path")
	}
	f.path = path.full()
	return f, err
}

// paths is a path as text, and in full if it is not UTF-8.
type paths struct{ text, bytes string }

// read reads a member of an object if it is part of a path, and skips any other.
func (p *paths) read(d *decoder, name []byte) (err error) {
	switch string(name) {
	case "path":
		p.text, err = d.text()
	case "path_base64":
		var encoded string
		if encoded, err = d.text(); err == nil {
			var b []byte
			b, err = base64.StdEncoding.DecodeString(encoded)
			p.bytes = string(b)
		}
		if err != nil {
			return d.wrong("a path in base64")
		}
	default:
		err = d.skip()
	}
	return err
}

func (p paths) full() string {
	if p.bytes != "" {
		return p.bytes
	}
	return p.text
}

// members reads an object. value reads the value of each member, and must not keep name.
func (d *decoder) members(what string, value func(name []byte) error) error {
	if err := d.enter('{', what); err != nil {
		return err
	}
	var unquoted []byte
	for d.PeekKind() != '}' {
		quoted, err := d.ReadValue()
		if err != nil {
			return malformed(err)
		}
		if unquoted, err = jsontext.AppendUnquote(unquoted[:0], quoted); err != nil {
			return malformed(err)
		}
		if err := value(unquoted); err != nil {
			return err
		}
	}
	_, err := d.ReadToken()
	return malformed(err)
}

// elements reads an array, element by element.
func (d *decoder) elements(element func() error) error {
	if err := d.enter('[', "a list"); err != nil {
		return err
	}
	for d.PeekKind() != ']' {
		if d.PeekKind() == 0 {
			_, err := d.ReadToken()
			return malformed(err)
		}
		if err := element(); err != nil {
			return err
		}
	}
	_, err := d.ReadToken()
	return malformed(err)
}

func (d *decoder) enter(kind jsontext.Kind, what string) error {
	switch got := d.PeekKind(); got {
	case kind, 0:
		_, err := d.ReadToken()
		return malformed(err)
	default:
		d.ReadToken()
		return d.wrong(what)
	}
}

func (d *decoder) skip() error { return malformed(d.SkipValue()) }

func (d *decoder) text() (string, error) {
	token, err := d.ReadToken()
	switch {
	case err != nil:
		return "", malformed(err)
	case token.Kind() != '"':
		return "", d.wrong("text")
	}
	return token.String(), nil
}

func (d *decoder) truth() (bool, error) {
	switch token, err := d.ReadToken(); {
	case err != nil:
		return false, malformed(err)
	case token.Kind() == 't':
		return true, nil
	case token.Kind() == 'f':
		return false, nil
	default:
		return false, d.wrong("true or false")
	}
}

// count reads a nonnegative integer.
func (d *decoder) count() (int64, error) {
	n, err := d.unsigned()
	if err == nil && n > 1<<63-1 {
		err = d.wrong("a count")
	}
	return int64(n), err
}

func (d *decoder) unsigned() (uint64, error) {
	value, err := d.ReadValue()
	if err != nil {
		return 0, malformed(err)
	}
	n, err := strconv.ParseUint(string(value), 10, 64)
	if err != nil {
		return 0, d.wrong("a whole number of 0 or more")
	}
	return n, nil
}

func (d *decoder) digest() (digest dedupe.Digest, err error) {
	text, err := d.text()
	if err != nil {
		return digest, err
	}
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != len(digest) {
		return digest, d.wrong("a digest")
	}
	return dedupe.Digest(b), nil
}

// rfc3339 reads a time, unless a more exact one was already read.
func (d *decoder) rfc3339(m *moment) error {
	text, err := d.text()
	if err != nil {
		return err
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return d.wrong("a time such as 2026-01-31T12:00:00Z")
	}
	if m.fits() {
		*m = moment{t.Unix(), int64(t.Nanosecond())}
	}
	return nil
}

// unix reads seconds since 1970.
func (d *decoder) unix(m *moment) error {
	value, err := d.ReadValue()
	if err != nil {
		return malformed(err)
	}
	whole, decimals, _ := strings.Cut(string(value), ".")
	seconds, err := strconv.ParseInt(whole, 10, 64)
	nanoseconds, err2 := strconv.ParseInt((decimals + "000000000")[:9], 10, 64)
	if err != nil || err2 != nil || len(decimals) > 9 {
		return d.wrong("seconds since 1970, to nine decimals")
	}
	if strings.HasPrefix(whole, "-") && nanoseconds > 0 && seconds > math.MinInt64 { // -0.6 s is -1 s and 400 ms
		seconds, nanoseconds = seconds-1, 1e9-nanoseconds
	}
	*m = moment{seconds, nanoseconds}
	return nil
}

// wrong returns an error for the value just read.
func (d *decoder) wrong(want string) error {
	at := string(d.StackPointer())
	if at == "" {
		return fmt.Errorf("not a JSON report: it is not %s", want)
	}
	return fmt.Errorf("not a JSON report: %s is not %s", at, want)
}

// malformed says in words what is wrong with JSON. It does not change errors of reading.
func malformed(err error) error {
	var syntax *jsontext.SyntacticError
	var read interface{ Unwrap() error } // without the words of the parser around it
	switch {
	case err == nil:
		return nil
	case errors.Is(err, io.ErrUnexpectedEOF), err == io.EOF:
		return fmt.Errorf("not a JSON report: it ends too early: %w", io.ErrUnexpectedEOF)
	case errors.As(err, &syntax):
		return fmt.Errorf("not a JSON report: %w after byte %d", syntax.Err, syntax.ByteOffset)
	case strings.HasPrefix(err.Error(), "jsontext: read error") && errors.As(err, &read):
		return read.Unwrap()
	}
	return err
}
