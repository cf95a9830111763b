package results

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

// A name in a file of results must not command the terminal that it is printed on.
// The golden files hold that too, but -update would accept anything.
func TestTextIsHarmless(t *testing.T) {
	all := append(samples(), sample{"hostile", hostile()})
	own := regexp.MustCompile("\x1b\\[[0-9;]*m")
	for _, s := range all {
		plain := write(t, Text, s.Experiment, false)
		for _, r := range string(plain) + string(comparison(t, s.Experiment, s.Experiment, false)) + string(write(t, Markdown, s.Experiment, false)) {
			if r != '\n' && (r < ' ' || r == '\x7f' || 0x80 <= r && r <= 0x9f || r == '\u202e') {
				t.Errorf("%s: text holds %U", s.name, r)
			}
		}
		coloured := write(t, Text, s.Experiment, true)
		if !bytes.Contains(coloured, []byte("\x1b[")) {
			t.Errorf("%s: nothing stands out in colour", s.name)
		}
		if rest := own.ReplaceAll(coloured, nil); !bytes.Equal(rest, plain) {
			t.Errorf("%s: colour changes more than colour", s.name)
		}
	}
}

// hostile has names that would do something to a terminal, a page or a table.
func hostile() Experiment {
	const name = "\x1b[2J\u202e<script>alert(1)</script>|\n&"
	e := experiment(setup(), program{name, name, name, 90, 6, 235, 2, 14}.series(128, 512), program{name, "other", "sum", 90, 6, 235, 2, 14}.series(128))
	e.Version, e.Machine.CPU, e.Machine.Kernel, e.Machine.Cgroup, e.Setup.Arch = name, name, name, name, name
	for i := range e.Series[0].Calls {
		e.Series[0].Calls[i].Outcome, e.Series[0].Calls[i].Error = Failed, name
	}
	return e
}

// All that is usual fits a terminal of 120 columns.
func TestTextFits(t *testing.T) {
	for line := range strings.Lines(string(write(t, Text, usual(), false))) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 120 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
}
