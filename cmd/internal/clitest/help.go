package clitest

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"efsdedupe/cmd/internal/cli"
)

// CheckHelp holds the help of a program and its commands to a terminal of 80 columns, and
// has each show an example.
func CheckHelp(t *testing.T, program string, run func(args []string, s cli.Std) int, commands ...string) {
	t.Helper()
	for _, command := range append(commands, "") {
		var out bytes.Buffer
		if code := run(append(strings.Fields(command), "--help"), cli.Std{Out: &out, Err: &out}); code != 0 {
			t.Errorf("%s --help: exit code %d: %s", command, code, &out)
		}
		for line := range strings.Lines(out.String()) {
			if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > 80 {
				t.Errorf("%s --help has a line of %d columns: %s", command, n, line)
			}
		}
		if !strings.Contains(out.String(), "Examples:\n  "+program+" "+command) {
			t.Errorf("%s --help shows no example", command)
		}
	}
}
