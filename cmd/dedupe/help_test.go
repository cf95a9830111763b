package main

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"efsdedupe/cmd/internal/cli"
)

// TestHelpWidth holds the help of all commands to a terminal of 80 columns, and has
// each of them show an example.
func TestHelpWidth(t *testing.T) {
	for _, command := range []string{"", "scan", "report", "cost", "cost advise", "cost import-prices", "fixtures", "index", "index stats", "index prune", "index verify", "job", "job run", "job plan", "serve", "doctor", "version"} {
		var out bytes.Buffer
		if code := run(append(strings.Fields(command), "--help"), cli.Std{Out: &out, Err: &out}); code != 0 {
			t.Errorf("%s --help: exit code %d: %s", command, code, &out)
		}
		for line := range strings.Lines(out.String()) {
			if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > 80 {
				t.Errorf("%s --help has a line of %d columns: %s", command, n, line)
			}
		}
		if !strings.Contains(out.String(), "Examples:\n  dedupe "+command) {
			t.Errorf("%s --help shows no example", command)
		}
	}
}
