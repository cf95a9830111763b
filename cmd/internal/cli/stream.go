package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/term"

	"efsdedupe/dedupe/limits"
)

// stream is standard output or standard error. It remembers that output was lost, and
// shows a terminal nothing that it might obey: a name can hold any bytes.
type stream struct {
	w    io.Writer
	file *os.File // w, if it is one

	mu        sync.Mutex
	terminal  *escaper // nil if it is none
	used      bool     // something was written
	unwritten limits.Unwritten
	lost      error // of the first write that failed
}

func newStream(w io.Writer) *stream {
	s := &stream{w: w, file: File(w)}
	if IsTerminal(w) {
		s.terminal = new(escaper)
	}
	return s
}

// Write implements io.Writer.
func (s *stream) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used = true
	shown := b
	if s.terminal != nil {
		shown = s.terminal.escape(b)
	}
	n, err := s.w.Write(shown)
	if s.file != nil {
		s.unwritten.Add(s.file, n)
	}
	if err == nil {
		n = len(b)
	} else if s.lost == nil {
		s.lost = err
	}
	return min(n, len(b)), err
}

// failed returns what kept output from being written. Some file systems tell only when
// the file is closed.
func (s *stream) failed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lost == nil && s.file != nil {
		s.lost = s.file.Close()
	}
	return s.lost
}

// closedInput stands in for a standard input that was closed, where the Go runtime has
// /dev/null, which reads as if it were empty.
type closedInput struct{}

func (closedInput) Read([]byte) (int, error) { return 0, errors.New("standard input is closed") }

// File returns the file that a stream or another writer writes to, or nil.
func File(w io.Writer) *os.File {
	switch w := w.(type) {
	case *os.File:
		return w
	case *stream:
		return w.file
	}
	return nil
}

// RegularFiles returns those of some writers' files that are regular ones.
func RegularFiles(all ...io.Writer) (files []os.FileInfo) {
	for _, w := range all {
		if f := File(w); f != nil {
			if st, err := f.Stat(); err == nil && st.Mode().IsRegular() {
				files = append(files, st)
			}
		}
	}
	return files
}

// IsTerminal reports whether w is a terminal.
func IsTerminal(w io.Writer) bool {
	f := File(w)
	return f != nil && term.IsTerminal(int(f.Fd()))
}

// IsDumb reports whether terminals here can do no more than show lines.
func IsDumb() bool { return os.Getenv("TERM") == "dumb" }

// UseColour reports whether to write to w in colour, and if so lets colours through: w is
// a terminal that can show them, and its user has not set NO_COLOR, see
// https://no-color.org.
func UseColour(w io.Writer) bool {
	if !IsTerminal(w) || IsDumb() || os.Getenv("NO_COLOR") != "" {
		return false
	}
	if s, ok := w.(*stream); ok {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.terminal.colours = true
	}
	return true
}

// escaper escapes what a terminal might obey instead of showing it: control characters
// other than newlines, marks that change the direction of text, and bytes that are no
// text.
type escaper struct {
	colours bool   // let those of report.Style through
	held    []byte // the start of a character or a colour whose rest is yet to come
}

func (e *escaper) escape(b []byte) []byte {
	b = append(e.held, b...)
	e.held = nil
	shown := make([]byte, 0, len(b))
	for len(b) > 0 {
		colour, whole := 0, true
		if e.colours {
			colour, whole = colourAt(b)
		}
		if !whole || !utf8.FullRune(b) {
			e.held = b
			break
		}
		r, n := utf8.DecodeRune(b)
		switch {
		case colour > 0:
			n = colour
			shown = append(shown, b[:n]...)
		case r == '\n':
			shown = append(shown, '\n')
		default:
			shown = appendVisible(shown, r, b[:n])
		}
		b = b[n:]
	}
	return shown
}

// colourAt returns the length of the sequence of report.Style that b begins with, if it
// does, and false if b is too short to tell.
func colourAt(b []byte) (n int, whole bool) {
	whole = true
	for _, sequence := range [...]string{"\x1b[1m", "\x1b[2m", "\x1b[22m", "\x1b[31;1m", "\x1b[0;22m"} {
		switch {
		case bytes.HasPrefix(b, []byte(sequence)):
			return len(sequence), true
		case strings.HasPrefix(sequence, string(b)):
			whole = false
		}
	}
	return 0, whole
}

// Visible returns a text as a terminal may show it, newlines escaped too.
func Visible(s string) string {
	var b []byte
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		b = appendVisible(b, r, []byte(s[:n]))
		s = s[n:]
	}
	return string(b)
}

// appendVisible appends a character, or how JSON or Go escapes it if it does not print.
func appendVisible(b []byte, r rune, raw []byte) []byte {
	switch {
	case r == utf8.RuneError && len(raw) == 1:
		return fmt.Appendf(b, `\x%02x`, raw[0])
	case strconv.IsPrint(r):
		return append(b, raw...)
	case r < ' ':
		quoted := strconv.Quote(string(r))
		return append(b, quoted[1:len(quoted)-1]...)
	case r > 0xffff:
		high, low := utf16.EncodeRune(r)
		return fmt.Appendf(b, `\u%04x\u%04x`, high, low)
	}
	return fmt.Appendf(b, `\u%04x`, r)
}
