package results

import (
	"bytes"
	"efsdedupe/dedupe/report/reporttest"
	"strings"
	"testing"
	"time"
)

// TestComparison compares experiments in which it is known what has changed.
func TestComparison(t *testing.T) {
	before, after := usual(), usual()
	after.Series = after.Series[6:] // without goroutines that scan
	before.Series = before.Series[:len(before.Series)-1]
	after.Setup.Runs = 7
	slower := after.Series[0].Calls
	for i := range slower {
		slower[i].Duration *= 2
		slower[i].CPU *= 3
		slower[i].PeakMemory *= 4
		slower[i].Reads.MeteredReadBytes /= 2
	}
	for i := range after.Series[1].Calls {
		after.Series[1].Calls[i].Duration -= 300 * time.Millisecond
	}
	after.Series[2].Calls = after.Series[2].Calls[:1]
	after.Series[3].Calls = after.Series[3].Calls[:2]
	after.Series[4].Calls[1].Outcome = Failed
	reporttest.Golden(t, *update, "comparison.text", comparison(t, before, after, false))

	after.Setup.Boxed, after.Setup.Timeout, after.Machine.CPU = false, time.Second, "another\x1b[31m"
	text := string(comparison(t, before, after, false))
	for _, want := range []string{
		`not comparable: machine.cpu was Intel(R) Xeon(R) Processor @ 2.20GHz, is "another\x1b[31m"`,
		"not comparable: setup.boxed was true, is false",
		"not comparable: setup.timeout_ms was 1m0s, is 1s",
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if n := strings.Count(text, "not comparable"); n != 3 {
		t.Errorf("%d differences, want 3:\n%s", n, text)
	}
}

func comparison(t *testing.T, before, after Experiment, colour bool) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := WriteComparison(&b, before, after, colour); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
