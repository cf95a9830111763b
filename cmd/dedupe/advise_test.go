package main

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestAdvisedFlags gives the flags of each advised way to dedupe cost, if it has them all. The
// bill must have the advised total.
func TestAdvisedFlags(t *testing.T) {
	saved := filepath.Join(t.TempDir(), "report.json")
	output(t, "scan", "--format", "json", "-o", saved, "testdata")
	byHand := []string{"--duration", "300ms", "--bytes-read", "100MiB", "--opens", "100", "--cold-share", "10%"}
	for _, test := range []struct {
		name        string
		call, about []string // flags of both commands, and of dedupe cost advise
		want        []string // ways that must be among those compared
	}{
		{"by hand", byHand, []string{"--churn", "1%", "--staleness", "1m"}, []string{"every call reads all, elastic", "page cache, provisioned", "page cache, bursting with One Zone padding"}},
		{"stored files", append(byHand, "--stored", "10GiB", "--stored-files", "123456"), nil, []string{"every call reads all, bursting with One Zone padding"}},
		{"provisioned", append(byHand, "--throughput", "provisioned", "--provisioned-mibps", "100", "--peak-factor", "2"), nil, []string{"every call reads all, elastic"}},
		{"without messages", append(byHand, "--metadata-operations", "0"), nil, []string{"every call reads all, elastic"}},
		{"nothing opened", []string{"--bytes-read", "1MiB"}, nil, []string{"every call reads all, elastic"}},
		{"few calls", append(byHand, "--calls", "1000", "--arch", "x86_64"), nil, []string{"every call reads all, bursting"}},
		{"a report", []string{"--calls", "1000", "--report", saved}, nil, []string{"every call reads all, bursting, 128 MB"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var advice struct {
				Options []struct {
					Name  string
					Total json.Number
					Flags []string
				}
			}
			about := slices.Concat([]string{"cost", "advise", "--format", "json"}, test.call, test.about)
			if err := json.Unmarshal(output(t, about...), &advice); err != nil {
				t.Fatal(err)
			}
			for _, o := range advice.Options {
				flags := strings.Fields(strings.Join(o.Flags, " "))
				if len(flags) == 0 || slices.Contains(flags, "--index") || slices.Contains(flags, "--staleness") {
					continue
				}
				test.want = slices.DeleteFunc(test.want, func(name string) bool { return name == o.Name })
				var bill struct{ Total json.Number }
				if err := json.Unmarshal(output(t, slices.Concat([]string{"cost", "--format", "json"}, test.call, flags)...), &bill); err != nil {
					t.Fatal(err)
				}
				if bill.Total != o.Total {
					t.Errorf("%s: %s, but %s with %s", o.Name, o.Total, bill.Total, o.Flags)
				}
			}
			if len(test.want) > 0 {
				t.Errorf("not advised: %q", test.want)
			}
		})
	}
}
