package results

import (
	"efsdedupe/dedupe/report/reporttest"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
)

const schemaFile = "results.schema.json"

func TestSchema(t *testing.T) {
	docs := make(map[string]any)
	for _, sample := range samples() {
		docs[sample.name] = reporttest.Parse(t, write(t, JSON, sample.Experiment, false))
	}
	reporttest.CheckSchema(t, schemaFile, docs)
}

// optional are the fields that may be missing; all others are promised.
var optional = map[string]bool{
	"prices": true, "unpriced": true, ".machine.cgroup": true, ".machine.goos": true, ".machine.goarch": true,
	"digest": true, "basis": true, "warm": true, "cold_bill": true, "bill": true, "cost_ratio": true, "time_ratio": true, ".rows[].runs": true, "error": true,
	".rows[].cold": true, ".rows[].runs[].cost": true, "penalty": true, "cheapest_mb": true, "fastest_mb": true, "knee_mb": true,
	".rows[].helpers": true, ".rows[].calls[].helpers": true, ".rows[].bill.helpers": true, ".rows[].cold_bill.helpers": true, ".verdict[].helpers": true, "transitions": true, "at_once": true, "helper_memory_mb": true, "wait_ms": true, "wait_p50_ms": true, "helpers_billed_p50_ms": true,
	"helpers_idle": true, "pays_off_from": true,
	".verdict[].penalty.memory_mb": true, ".verdict[].penalty.time_ratio": true, "cpu_ratio": true, "memory_ratio": true, "bill_change": true,
}

// Every field of every kind of object is left out, renamed and given another
// type: a validator that lets one of those pass would let a broken document pass.
func TestSchemaRefuses(t *testing.T) {
	s := reporttest.Compile(t, schemaFile)
	tried, seen := 0, make(map[string]bool)
	for _, sample := range []sample{{"failures", failing()}, {"instances", instances()}, {"helpers", helping()}, {"unpriced", unpriced()}} {
		for i, s := range sample.Series { // few calls are as good as many, and quicker
			sample.Series[i].Calls = s.Calls[:min(len(s.Calls), 3)]
		}
		doc := reporttest.Parse(t, write(t, JSON, sample.Experiment, false))
		check := func(want bool, what ...string) {
			t.Helper()
			if err := s.Validate(doc); (err == nil) != want {
				t.Errorf("%s %s: %v", sample.name, strings.Join(what, " "), err)
			}
			tried++
		}
		reporttest.EachObject(doc, func(o map[string]any, path string) {
			for _, field := range slices.Sorted(maps.Keys(o)) {
				if seen[path+"."+field] {
					continue // one of a kind will do
				}
				seen[path+"."+field] = true
				was := o[field]
				for _, wrong := range []any{nil, "", json.Number("-1.5"), []any{nil}, map[string]any{"no": "such"}} {
					if field == "version" || field == "cpu" || field == "kernel" || field == "region" || field == "arch" {
						if wrong == "" {
							continue
						}
					}
					o[field] = wrong
					check(false, path, field, "of another type")
				}
				delete(o, field)
				check(optional[field] || optional[path+"."+field], path, "without", field)
				o[field] = was
			}
			if !seen[path] {
				seen[path] = true
				o["unknown"] = true
				check(false, path, "with an unknown field")
				delete(o, "unknown")
			}
		})
		check(true, "as it was")
	}
	if tried < 400 {
		t.Errorf("only %d documents were tried", tried)
	}
}
