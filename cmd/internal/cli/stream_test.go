package cli

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"efsdedupe/dedupe/report"
)

// FuzzEscaper holds that a terminal is shown nothing but characters that print, however
// the bytes are cut into writes, and a text that prints as it is.
func FuzzEscaper(f *testing.F) {
	for _, seed := range []string{"plain ä 漢\n", "\x1b]0;x\a", "\xc2\x9b31m", "\u202etxt\u2066", "\xff\x9b", "\xc2", "\U000e0001", "\x1b[1mx\x1b[22m"} {
		f.Add(seed, 1)
	}
	f.Fuzz(func(t *testing.T, in string, cut int) {
		if cut < 0 || cut > len(in) {
			return
		}
		var parts escaper
		got := string(parts.escape([]byte(in[:cut]))) + string(parts.escape([]byte(in[cut:])))
		want := string(new(escaper).escape([]byte(in)))
		if got != want {
			t.Errorf("%q, cut at %d, is %q, not %q", in, cut, got, want)
		}
		if strings.ReplaceAll(Visible(got), `\n`, "\n") != strings.ReplaceAll(got, `\n`, "\n") || !utf8.ValidString(got) {
			t.Errorf("%q is shown as %q", in, got)
		}
	})
}

// TestColours holds that all of a report's colours reach a terminal, and nothing else.
func TestColours(t *testing.T) {
	s := report.NewStyle(true)
	text := s.Strong("a") + s.Faint("b") + s.Bad("c")
	for cut := range len(text) {
		e := escaper{colours: true}
		if got := string(e.escape([]byte(text[:cut]))) + string(e.escape([]byte(text[cut:]))); got != text {
			t.Errorf("cut at %d: %q", cut, got)
		}
	}
	e := escaper{colours: true}
	if got := string(e.escape([]byte("\x1b[8mhidden\x1b]0;x\a\n"))); got != `\x1b[8mhidden\x1b]0;x\a`+"\n" {
		t.Errorf("%q", got)
	}
	if got := string(new(escaper).escape([]byte(text))); strings.Contains(got, "\x1b") {
		t.Errorf("%q, where there are to be no colours", got)
	}
}

// TestLostOutput holds that no command succeeds whose output is lost.
func TestLostOutput(t *testing.T) {
	code := func(out io.Writer, err error) (int, string) {
		var stderr bytes.Buffer
		print := func(s Std) *cobra.Command {
			return &cobra.Command{Use: "print", RunE: func(*cobra.Command, []string) error { io.WriteString(s.Out, "x"); return err }}
		}
		root := &cobra.Command{Use: "program"}
		return Std{Out: out, Err: &stderr}.Run(root, []Command{{"print", print}}, []string{"print"}), stderr.String()
	}
	broken := writerFunc(func([]byte) (int, error) { return 0, errors.New("it broke") })
	for _, err := range []error{nil, ExitIncomplete, ExitDuplicates} {
		if got, said := code(broken, err); got != 2 || said != "program: can't write to standard output: it broke\n" {
			t.Errorf("exit code %d after %v: %s", got, err, said)
		}
	}
	if got, _ := code(broken, ExitInterrupted); got != 130 {
		t.Errorf("exit code %d of one that was interrupted", got)
	}
	if got, said := code(io.Discard, nil); got != 0 {
		t.Errorf("exit code %d: %s", got, said)
	}
	closed, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	if got, said := code(closed, nil); got != 2 {
		t.Errorf("exit code %d: %s", got, said)
	}
}

type writerFunc func([]byte) (int, error)

func (w writerFunc) Write(b []byte) (int, error) { return w(b) }
