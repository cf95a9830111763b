package report

import (
	"bytes"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"efsdedupe/dedupe/cost"
	"efsdedupe/dedupe/report/reporttest"
)

// advice is on the standard set, where 1% of the files change between two calls.
func advice(t *testing.T) *cost.Advice {
	t.Helper()
	u := cost.DefaultUsage()
	u.Lambda.MemoryMB, u.Lambda.Duration = 1769, 300*time.Millisecond
	u, err := cost.ByHand(u, 100*mib, 100)
	if err != nil {
		t.Fatal(err)
	}
	job := cost.NewJob(u, cost.Scan{Files: 100, Directories: 1, Opens: 100}, nil)
	job.Churn, job.Staleness = 10_000, time.Minute
	a, err := prices(t, "us-east-1").Advise(job)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestAdviceJSON(t *testing.T) {
	var b bytes.Buffer
	if err := WriteAdvice(&b, JSON, advice(t), false); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile("advice.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	schema := reporttest.Compile(t, "advice.schema.json", schemaFile)
	if err := schema.Validate(reporttest.Parse(t, b.Bytes())); err != nil {
		t.Error(err)
	}

	// Everything that is written is in the schema.
	var doc struct{ Options []map[string]json.RawMessage }
	var fields struct {
		Defs map[string]struct{ Properties map[string]any } `json:"$defs"`
	}
	if err := json.Unmarshal(b.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &fields); err != nil {
		t.Fatal(err)
	}
	for _, option := range doc.Options {
		for name := range option {
			if fields.Defs["option"].Properties[name] == nil {
				t.Errorf("the schema lacks %s", name)
			}
		}
	}
}

func TestAdviceText(t *testing.T) {
	a := advice(t)
	var b bytes.Buffer
	if err := WriteAdvice(&b, Text, a, false); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	var at []int
	for _, way := range a.Ways {
		at = append(at, strings.Index(text, " "+money(way.Bill.Total)+"  "+way.Name))
	}
	if slices.Contains(at, -1) || !slices.IsSorted(at) {
		t.Errorf("the ways are at %v of:\n%s", at, text)
	}
	for _, part := range []string{
		"1% of the files change between two calls, 100% of the calls are cold, answers may be 1m old\n",
		"146,484.38 more for efs.read\n",
		"\n1. ",
		"   flags: --staleness 1m --throughput bursting\n",
		"\nWhat cannot do it\n",
		"    page cache: all calls are taken to be cold",
	} {
		if !strings.Contains(text, part) {
			t.Errorf("no %q in:\n%s", part, text)
		}
	}
}
