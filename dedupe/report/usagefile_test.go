package report

import (
	"encoding/json"
	"math"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"efsdedupe/dedupe/cost"
	"efsdedupe/dedupe/report/reporttest"
)

const usageSchema = "usage.schema.json" // refers to the schema of reports

// The schema has exactly the fields of the Go type.
func TestUsageSchemaFields(t *testing.T) {
	data, err := os.ReadFile(usageSchema)
	if err != nil {
		t.Fatal(err)
	}
	var schema struct{ Properties map[string]any }
	if err := json.Unmarshal(data, &schema); err != nil {
		t.Fatal(err)
	}
	var fields []string
	for f := range reflect.TypeFor[usageJSON]().Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		fields = append(fields, name)
	}
	for name := range schema.Properties {
		if !slices.Contains(fields, name) {
			t.Errorf("the schema has %s, which usages do not", name)
		}
	}
	for _, name := range fields {
		if schema.Properties[name] == nil {
			t.Errorf("the schema lacks %s", name)
		}
	}
}

// A usage that is written in a report is one that ReadUsage reads, and the schema allows.
func TestReadUsage(t *testing.T) {
	schema := reporttest.Compile(t, usageSchema, schemaFile)
	for name, u := range usages() {
		data, err := json.Marshal(usageOf(u))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(reporttest.Parse(t, data)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		got, err := ReadUsage(strings.NewReader(string(data)), u.Calls)
		if diff := cmp.Diff(u, got); err != nil || diff != "" {
			t.Errorf("%s: error %v; usage (-written +read):\n%s", name, err, diff)
		}
	}
}

// Without fields, a usage is the one that dedupe cost assumes for the function alone.
func TestReadNoUsage(t *testing.T) {
	want, err := NewRequest().Cost()
	if err != nil {
		t.Fatal(err)
	}
	want = cost.WithoutService(want)
	want.Hours = 0
	got, err := ReadUsage(strings.NewReader("{}"), want.Calls)
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("error %v; usage (-want +got):\n%s", err, diff)
	}
}

// What is stored is billed in full, whatever of it is missing.
func TestReadStored(t *testing.T) {
	const kib, mib = 1 << 10, 1 << 20
	for file, want := range map[string]cost.Objects{
		`{"stored_bytes": 1048576}`:                                                                    {},
		`{"stored_bytes": 1048576, "stored_files": 256}`:                                               {Files: 256, Bytes: mib, ColdBytes: 256 * 126 * kib},
		`{"stored_bytes": 1048577, "stored_files": 2}`:                                                 {Files: 2, Bytes: mib + 4*kib, ColdBytes: mib + 4*kib},
		`{"stored_bytes": 0, "stored_files": 3}`:                                                       {Files: 3, Bytes: 12 * kib, ColdBytes: 3 * 126 * kib},
		`{"stored_bytes": 1048576, "stored_directories": 1}`:                                           {Directories: 1, Bytes: mib, ColdBytes: mib},
		`{"stored_bytes": 9000, "stored_files": 3, "metered_stored_bytes": 8192}`:                      {Files: 3, Bytes: 8 * kib, ColdBytes: 3 * 126 * kib},
		`{"stored_files": 1, "metered_stored_bytes": 1048576, "metered_cold_stored_bytes": 2097152}`:   {Files: 1, Bytes: mib, ColdBytes: 2 * mib},
		`{"stored_bytes": 9223372036854775807, "stored_files": 9223372036854775807}`:                   {Files: math.MaxInt64, Bytes: math.MaxInt64, ColdBytes: math.MaxInt64},
		`{"stored_bytes": 1048576, "metered_cold_stored_bytes": 1048576, "storage_class": "one_zone"}`: {Bytes: mib, ColdBytes: mib},
	} {
		u, err := ReadUsage(strings.NewReader(file), 1)
		if diff := cmp.Diff(want, u.EFS.Stored); err != nil || diff != "" {
			t.Errorf("%s: error %v; stored (-want +got):\n%s", file, err, diff)
		}
		q := NewRequest()
		if err := Decode([]byte(`{"usage": `+file+`}`), &q); err != nil {
			t.Fatal(err)
		}
		if asked, err := q.Cost(); err != nil || asked.EFS.Stored != want {
			t.Errorf("%s: a request stores %+v, error %v", file, asked.EFS.Stored, err)
		}
	}
	if _, err := ReadUsage(strings.NewReader(`{"stored_bytes": -1, "stored_files": -1}`), 1); err == nil {
		t.Error("negative figures are no error")
	}
}

func TestReadUsageErrors(t *testing.T) {
	schema := reporttest.Compile(t, usageSchema, schemaFile)
	for _, test := range []struct {
		name, file, want string
		allowed          bool // by the schema, which does not see everything
	}{
		{"empty", "", "EOF", true},
		{"unknown", `{"memory": 1769}`, "unknown field /memory", false},
		{"spelled otherwise", `{"Memory_MB": 1769}`, "unknown field /Memory_MB", false},
		{"twice", `{"memory_mb": 1769, "memory_mb": 1024}`, "duplicate object member name", true},
		{"null", `{"memory_mb": null}`, "/memory_mb is null", false},
		{"text", `{"memory_mb": "1769"}`, "/memory_mb: cannot unmarshal a string", false},
		{"half a MB", `{"memory_mb": 1769.5}`, "/memory_mb: cannot unmarshal a number as a whole number", false},
		{"too little", `{"memory_mb": 127}`, "memory in MB is 127, allowed: 128 to 10240", false},
		{"no such class", `{"storage_class": "glacier"}`, `storage class is "glacier"`, false},
		{"negative", `{"metered_read_bytes": -1}`, "bytes read is -1", false},
		{"an array", `[]`, "it is an array", false},
		{"more", `{} {}`, "more data after the object", true},
		{"a report", `{"schema": "dedupe.report/v2", "projection": {}}`, "unknown field /schema", false},
		{"long", `{` + strings.Repeat(" ", maxUsage) + `}`, "more than", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			u, err := ReadUsage(strings.NewReader(test.file), 1)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%+v, error %v, want one with %q", u, err, test.want)
			}
			if !test.allowed && schema.Validate(reporttest.Parse(t, []byte(test.file))) == nil {
				t.Error("the schema allows it")
			}
		})
	}
	if u, err := ReadUsage(broken{}, 1); err == nil || u != (cost.Usage{}) {
		t.Errorf("of a broken file: %+v, error %v", u, err)
	}
}
