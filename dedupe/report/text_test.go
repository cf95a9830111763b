package report

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"efsdedupe/dedupe"
	"efsdedupe/dedupe/cost"
	"efsdedupe/fixtures/testkit"
)

func TestPrintable(t *testing.T) {
	for _, test := range []struct{ path, want string }{
		{"plain", "plain"},
		{"/a b/-c", "/a b/-c"},
		{"日本語/é/€/😀", "日本語/é/€/😀"},
		{"$(rm) `x` 'y' <&>|;*?", "$(rm) `x` 'y' <&>|;*?"},
		{"\uFFFD", "\uFFFD"}, // a name can contain it; must differ from the next
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
		{"a\u202eb", `"a\u202eb"`}, // a terminal would show the rest from right to left
		{"a\u200bb", `"a\u200bb"`}, // zero width
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
		if got := Commas(in); got != want {
			t.Errorf("Commas(%s) is %s, want %s", in, got, want)
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

// The text lists up to eleven files, because saying that one is left out takes a line,
// too.
func TestFilesShown(t *testing.T) {
	for files, want := range map[int]struct{ named, more int }{2: {2, 0}, 10: {10, 0}, 11: {11, 0}, 12: {10, 2}, 2010: {10, 2000}} {
		g := newGroup(1, 1)
		for i := range files {
			g.Copies = append(g.Copies, dedupe.CopyOf(newFile(fmt.Sprintf("/file%d", i), 1, uint64(i))))
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

// TestTop has groups in any order. The text must list those with the most to reclaim, and
// count the rest.
func TestTop(t *testing.T) {
	var r dedupe.Report
	for _, reclaimable := range []int64{3, 9, 5, 7, 1, 9, 4, 8, 2, 6, 12, 11, 10} {
		g := newGroup(1, reclaimable)
		for i := range 2 {
			g.Copies = append(g.Copies, dedupe.CopyOf(newFile(fmt.Sprintf("/in-%02d/file%d", reclaimable, i), 1, uint64(i))))
		}
		r.Groups = append(r.Groups, g)
	}
	for _, test := range []struct {
		o        Options
		groups   []int64
		contains string
	}{
		{Options{}, []int64{12, 11, 10, 9, 9, 8, 7, 6, 5, 4}, "and 3 more groups; --top N or --all names more\n"},
		{Options{Top: 2}, []int64{12, 11}, "and 11 more groups;"},
		{Options{Top: 50}, []int64{12, 11, 10, 9, 9, 8, 7, 6, 5, 4, 3, 2, 1}, "  /in-01\n"},
		{Options{All: true}, []int64{3, 9, 5, 7, 1, 9, 4, 8, 2, 6, 12, 11, 10}, "  /in-01\n"},
		{Options{Summary: true}, nil, "No duplicates among 0 files"}, // it has no statistics
	} {
		var b bytes.Buffer
		if err := Write(&b, Text, r, nil, test.o); err != nil {
			t.Fatal(err)
		}
		var got []int64
		for line := range strings.Lines(b.String()) {
			var n int64
			if _, err := fmt.Sscanf(line, "  /in-%d/file0", &n); err == nil {
				got = append(got, n)
			}
		}
		if diff := cmp.Diff(test.groups, got); diff != "" || !strings.Contains(b.String(), test.contains) {
			t.Errorf("%+v: groups (-want +got):\n%s\nno %q in:\n%s", test.o, diff, test.contains, &b)
		}
	}
}

// TestIncomplete checks that a partial report says why, even one that gives no reason.
func TestIncomplete(t *testing.T) {
	for reason, want := range map[string]string{
		dedupe.ReasonDeadline:    "Not complete: the scan ran out of time before it had read every file. There may be more",
		dedupe.ReasonInterrupted: "Not complete: the scan was interrupted before it had read every file. There may be more",
		reasonLimit:              "Not complete: there are more files than the scan may read. There may be more",
		dedupe.ReasonProblems:    "Not complete: some files or directories could not be read. There may be more",
		"":                       "Not complete: some files or directories could not be read. There may be more",
	} {
		text := string(write(t, Text, sample{report: dedupe.Report{Reason: reason}}, false))
		if !strings.Contains(text, want) {
			t.Errorf("no %q in %s", want, text)
		}
	}
	old := `{"schema":"dedupe.report/v1","complete":false}`
	if text := string(convert(t, Text, old, Options{})); !strings.Contains(text, "Not complete: the scan did not read every file.") {
		t.Errorf("%s", text)
	}
}

func TestBillLine(t *testing.T) {
	bill := func(calls int64, currency, total, meter string) *cost.Projection {
		return &cost.Projection{Usage: cost.Usage{Calls: calls},
			Bill: &cost.Bill{Currency: currency, Total: testkit.Rat(total), Items: []cost.Item{{Meter: meter, Cost: testkit.Rat(total)}}}}
	}
	for want, p := range map[string]*cost.Projection{
		"50M calls a month: $148,291, 100% of it EFS reads (--bill for details)":       bill(50_000_000, "USD", "148290.93", "efs.read"),
		"1.5M calls a month: $12.35, 100% of it API Gateway (--bill for details)":      bill(1_500_000, "USD", "12.345", "api.http"),
		"1 call a month: $0.00 (--bill for details)":                                   bill(1, "USD", "0", "api.http"),
		"1,234,567 calls a month: 100 EUR, 100% of it mars.rover (--bill for details)": bill(1_234_567, "EUR", "100", "mars.rover"),
		"No bill: duration is 1h0m0s, allowed: above 0, at most 15m.":                  unpayable(),
	} {
		var b bytes.Buffer
		writeBillLine(&b, p, true, NewStyle(false))
		if got := strings.TrimSpace(b.String()); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
