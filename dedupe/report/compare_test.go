package report

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"efsdedupe/dedupe"
)

// TestUnknownCPU reads back and compares a scan whose CPU time is unknown. No figure may
// be made up.
func TestUnknownCPU(t *testing.T) {
	saved := func(s dedupe.Stats) Comparison {
		t.Helper()
		r := nothing()
		s.Elapsed = time.Second
		r.Stats = s
		doc := write(t, JSON, sample{report: r, projection: priced()}, false)
		read, err := Read(bytes.NewReader(doc))
		if err != nil {
			t.Fatalf("%v: %s", err, doc)
		}
		if read.Stats != s {
			t.Errorf("%+v came back as %+v", s, read.Stats)
		}
		return Comparison{read, *priced()}
	}
	known, unknown := saved(dedupe.Stats{CPU: 2 * time.Second}), saved(dedupe.Stats{CPUUnknown: true})
	for _, scans := range [][]Comparison{{known, unknown}, {unknown, known}, {unknown, unknown}} {
		var b bytes.Buffer
		if err := WriteComparison(&b, scans, false); err != nil {
			t.Fatal(err)
		}
		if text := b.String(); !strings.Contains(text, "not known") || strings.Contains(text, "times the CPU time") || !strings.Contains(text, "times the memory") {
			t.Errorf("%s", text)
		}
	}
	var b bytes.Buffer
	if err := WriteComparison(&b, []Comparison{known, known}, false); err != nil || !strings.Contains(b.String(), "1.00 times the CPU time and 0.00 times the memory") {
		t.Errorf("%v\n%s", err, &b)
	}
}
