package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"efsdedupe/cmd/internal/cli"
	"efsdedupe/dedupe/choose"
	"efsdedupe/dedupe/mount"
	"efsdedupe/dedupe/report"
)

// ruleFlags are the flags that choose what to report of the groups.
func ruleFlags(f *pflag.FlagSet, r *choose.Rules) {
	f.Var(cli.OneOf(&r.Keep, choose.Oldest, choose.Newest, choose.Shortest, choose.First), "keep", "keep the oldest or newest file of each group, the one with the shortest path, or the first by path")
	f.StringArrayVar(&r.Priority, "priority", nil, "keep a file below this `folder` rather than another (may repeat; the first one wins)")
	f.StringArrayVar(&r.Protect, "protect", nil, "never remove what is below this `folder` or matches this glob (may repeat)")
	f.BoolVar(&r.Isolate, "isolate", false, "report only groups with files below two or more ROOTs")
	f.IntVar(&r.MinCopies, "min-copies", 0, "report only groups with this `number` of copies or more")
	f.StringVar(&r.CopiesOf, "copies-of", "", "report only the copies of this `file`; a scan reads only files of its size")
	f.BoolVar(&r.Unique, "unique", false, "also report files without a duplicate; as CSV, fdupes and print0, report only these")
	f.BoolVar(&r.Folders, "folders", false, "also report folders with identical content, in text, HTML and JSON")
}

// speller spells paths in other ways, and remembers how for some.
type speller struct {
	ctx   context.Context
	known map[string]spelled
	err   error // a file system did not answer before ctx ended: no other path is spelled
}

func newSpeller(ctx context.Context) *speller {
	return &speller{ctx: ctx, known: make(map[string]spelled)}
}

// spellingsKept bounds a speller: the files of a list may be in any number of folders.
const spellingsKept = 10_000

type spelled struct {
	others []string
	exists bool
}

// spell implements choose.Spell.
func (s *speller) spell(path string) ([]string, bool) {
	at, known := s.known[path]
	if !known && s.err == nil {
		at, s.err = cli.Finish(s.ctx, func() (spelled, error) { return spell(path), nil })
		if len(s.known) >= spellingsKept {
			clear(s.known)
		}
		s.known[path] = at
	}
	return at.others, at.exists
}

func spell(path string) (at spelled) {
	if absolute, err := filepath.Abs(path); err == nil {
		at.others = append(at.others, absolute)
	}
	if real, err := mount.RealPath(path); err == nil {
		at.others, at.exists = append(at.others, real), true
	}
	return at
}

// checkRules returns an error if rules contradict each other or the format.
func checkRules(format report.Format, o *report.Options) error {
	r := &o.Rules
	if err := r.Validate(); err != nil {
		return err
	}
	switch {
	case o.By != "" && format != report.Script:
		return errors.New("--by says what a script does: use it with --format sh")
	case format == report.Script && (r.Unique || r.Folders):
		return errors.New("a script handles copies of files: leave out --unique and --folders")
	case r.Folders && format != report.Text && format != report.JSON && format != report.HTML:
		return fmt.Errorf("--format %s has no folders: use text, json or html with --folders", format)
	case r.CopiesOf != "" && (r.Folders || r.Unique):
		return errors.New("--copies-of is for the copies of one file: leave out --unique and --folders")
	}
	return nil
}

// checkPaths returns an error if a rule names a folder that does not exist.
func checkPaths(r *choose.Rules, spell choose.Spell) error {
	for _, path := range slices.Concat(r.Priority, r.Protect) {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrPermission) {
			return fmt.Errorf("%w: let this user enter the folders above it, or leave the rule out", err)
		}
	}
	err := r.CheckPaths(spell)
	if missing := (*choose.MissingError)(nil); errors.As(err, &missing) {
		orGlob := map[bool]string{true: ", or a glob"}[missing.Rule == "protect"]
		return fmt.Errorf("--%s %q does not exist: name a folder, from here or from /%s", missing.Rule, missing.Path, orGlob)
	}
	return err
}

// lists are the flags that name lists of files.
type lists struct {
	lines, zeros string
}

func (l *lists) flags(f *pflag.FlagSet) {
	f.StringVar(&l.lines, "files-from", "", "also scan the files listed in this `file`, one on each line; - is standard input")
	f.StringVar(&l.zeros, "files0-from", "", "also scan the files listed in this `file`, with a zero byte after each, as from find -print0")
}

// read returns the files that the lists name.
func (l *lists) read(ctx context.Context, stdin io.Reader) (files []string, err error) {
	if l.lines == "-" && l.zeros == "-" {
		return nil, errors.New("--files-from and --files0-from both read standard input: choose one")
	}
	for _, list := range []struct {
		flag, path string
		end        byte
	}{{"--files-from", l.lines, '\n'}, {"--files0-from", l.zeros, 0}} {
		if list.path == "" {
			continue
		}
		in, err := openReport(ctx, list.path, stdin)
		if err != nil {
			return nil, fmt.Errorf("can't read %s: %w", list.flag, err)
		}
		files, err = parseList(in, list.end, files)
		in.Close()
		if err != nil {
			return nil, fmt.Errorf("can't read %s %q: %w", list.flag, list.path, err)
		}
	}
	if l.lines+l.zeros != "" && files == nil {
		files = []string{}
	}
	return files, nil
}

// longestPath is longer than any path that a system allows.
const longestPath = 64 << 10

// parseList appends the names in a list. Empty names are left out, so that what
// --format print0 wrote is a list.
func parseList(in io.Reader, end byte, files []string) ([]string, error) {
	b := bufio.NewReaderSize(in, longestPath)
	for {
		name, err := b.ReadSlice(end)
		name = bytes.TrimSuffix(name, []byte{end})
		switch {
		case err == bufio.ErrBufferFull:
			return nil, fmt.Errorf("name %d is longer than any path: is the list separated by lines or by zero bytes?", len(files)+1)
		case err != nil && err != io.EOF:
			return nil, err
		case bytes.IndexByte(name, 0) >= 0:
			return nil, fmt.Errorf("name %d has a zero byte: use --files0-from", len(files)+1)
		case len(name) > 0:
			files = append(files, string(name))
		}
		if err == io.EOF {
			return files, nil
		}
	}
}

// moment is a flag that takes a point in time.
type moment struct {
	time.Time
	age bool // it depends on when the command runs
}

// Set implements pflag.Value.
func (m *moment) Set(s string) error {
	m.age = false
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02 15:04", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil && !t.IsZero() {
			m.Time = t
			return nil
		}
	}
	if ago, ok := parseAge(s); ok {
		m.Time, m.age = time.Now().Add(-ago), true
		return nil
	}
	if st, err := os.Stat(s); err == nil {
		m.Time = st.ModTime()
		return nil
	}
	return errors.New("not a time: write a date such as 2026-01-31, a time such as 2026-01-31T12:00:00Z, an age such as 90d or 12h, or a file that was modified then")
}

// parseAge parses a duration, which may be in days or weeks.
func parseAge(s string) (time.Duration, bool) {
	for unit, hours := range map[string]time.Duration{"d": 24, "w": 7 * 24} {
		if digits, ok := strings.CutSuffix(s, unit); ok {
			n, err := time.ParseDuration(digits + "h")
			age := n * hours
			return age, err == nil && n >= 0 && age/hours == n
		}
	}
	age, err := time.ParseDuration(s)
	return age, err == nil && age >= 0
}

// String implements pflag.Value.
func (m *moment) String() string {
	if m.IsZero() {
		return ""
	}
	return m.Format(time.RFC3339Nano)
}

// Type implements pflag.Value.
func (*moment) Type() string { return "time" }
