package report

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"efsdedupe/dedupe"
)

func TestPrintable(t *testing.T) {
	for _, test := range []struct{ path, want string }{
		{"plain", "plain"},
		{"/a b/-c", "/a b/-c"},
		{"日本語/é/€/😀", "日本語/é/€/😀"},
		{"$(rm) `x` 'y' <&>|;*?", "$(rm) `x` 'y' <&>|;*?"},
		{"\uFFFD", "\uFFFD"}, // a name can hold it; not to be confused with the next
		{"\xff", `"\xff"`},
		{"a\nb", `"a\nb"`},
		{`a\nb`, `"a\\nb"`},
		{"tab\t", `"tab\t"`},
		{"cr\rover", `"cr\rover"`},
		{`"`, `"\""`},
		{"\x1b[31m", `"\x1b[31m"`},
		{"\x1b]0;title\a", `"\x1b]0;title\a"`},
		{"\u009b31m", `"\u009b31m"`}, // ESC [ in one rune
		{"\x7f", `"\x7f"`},
		{"a\u202eb", `"a\u202eb"`}, // what follows would be read from right to left
		{"a\u200bb", `"a\u200bb"`}, // of no width
		{"a\u00a0b", `"a\u00a0b"`},
		{"a\u2028b", `"a\u2028b"`},
	} {
		if got := Printable(test.path); got != test.want {
			t.Errorf("Printable(%q) is %s, want %s", test.path, got, test.want)
		}
	}
}

func TestCommas(t *testing.T) {
	for in, want := range map[string]string{
		"0": "0", "999": "999", "1000": "1,000", "999999": "999,999", "1000000": "1,000,000",
		"0.5": "0.5", "1234.5678": "1,234.5678", "146484.38": "146,484.38", "-1234.50": "-1,234.50",
		"9223372036854775808000.000001": "9,223,372,036,854,775,808,000.000001",
	} {
		if got := commas(in); got != want {
			t.Errorf("commas(%s) is %s, want %s", in, got, want)
		}
	}
}

func TestElapsed(t *testing.T) {
	for _, test := range []struct {
		d    time.Duration
		want string
	}{
		{0, "0s"},
		{49 * time.Microsecond, "0s"},
		{50 * time.Microsecond, "100µs"},
		{1260 * time.Microsecond, "1.3ms"},
		{99940 * time.Microsecond, "99.9ms"},
		{99960 * time.Microsecond, "100ms"},
		{123456 * time.Microsecond, "123ms"},
		{9999 * time.Millisecond, "9.999s"},
		{9999600 * time.Microsecond, "10s"},
		{12345 * time.Millisecond, "12.3s"},
		{59960 * time.Millisecond, "1m0s"},
		{time.Hour + 30*time.Millisecond, "1h0m0s"},
	} {
		if got := elapsed(test.d); got != test.want {
			t.Errorf("elapsed(%v) is %s, want %s", test.d, got, test.want)
		}
	}
}

func TestCountAndSize(t *testing.T) {
	for n, want := range map[int64]string{0: "0 copies", 1: "1 copy", 2: "2 copies", 1234567: "1,234,567 copies"} {
		if got := Count(n, "copy", "copies"); got != want {
			t.Errorf("Count(%d) is %s, want %s", n, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", mib: "1.0 MiB", 10 * mib: "10 MiB", math.MaxInt64: "8.0 EiB"} {
		if got := size(n); got != want {
			t.Errorf("size(%d) is %s, want %s", n, got, want)
		}
	}
}

// The text names up to eleven files: one that is left out takes a line too.
func TestFilesShown(t *testing.T) {
	for files, want := range map[int]struct{ named, more int }{2: {2, 0}, 10: {10, 0}, 11: {11, 0}, 12: {10, 2}, 2010: {10, 2000}} {
		g := newGroup(1, 1)
		for i := range files {
			g.Files = append(g.Files, newFile(fmt.Sprintf("/file%d", i), 1, uint64(i)))
		}
		text := string(write(t, Text, sample{report: dedupe.Report{Groups: []dedupe.Group{g}}}, false))
		more := ""
		if want.more > 0 {
			more = Count(int64(want.more), "", "more; --all names all")
		}
		if named := strings.Count(text, "  /file"); named != want.named || strings.Contains(text, " more;") != (more != "") || !strings.Contains(text, more) {
			t.Errorf("%d files: %d named, want %d and %q:\n%s", files, named, want.named, more, text)
		}
	}
}
