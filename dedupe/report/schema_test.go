package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"efsdedupe/dedupe/choose"
	"efsdedupe/dedupe/cost"
	"efsdedupe/dedupe/report/reporttest"
)

const schemaFile = "report.schema.json"

// documents returns every kind of JSON that the package writes, parsed.
func documents(t testing.TB) map[string]any {
	docs := map[string]any{"projection": reporttest.Parse(t, writeProjection(t, JSON, priced()))}
	for _, s := range samples() {
		docs[s.name] = reporttest.Parse(t, write(t, JSON, s, false))
	}
	for name, u := range usages() {
		p := cost.Project(prices(t, "us-east-1"), u)
		if p.Err != nil {
			t.Fatalf("%s: %v", name, p.Err)
		}
		docs["priced, "+name] = reporttest.Parse(t, writeProjection(t, JSON, &p))
	}
	docs["page"] = reporttest.Parse(t, page(t, Page{Limit: 1, MaxBytes: 1 << 20}))
	docs["small page"] = reporttest.Parse(t, page(t, Page{Limit: 1, MaxBytes: 3000}))
	docs["end of a group"] = reporttest.Parse(t, page(t, Page{Limit: 1, After: after(new(Page).order(many().Groups[0]), 15)}))
	var problems bytes.Buffer
	if err := WritePage(&problems, withProblems(), nil, Page{Limit: 1, MaxBytes: 4000}); err != nil {
		t.Fatal(err)
	}
	docs["page of problems"] = reporttest.Parse(t, problems.Bytes())
	c, err := choose.New(choose.Rules{Folders: true}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	large := choose.Folders{Paths: []choose.Folder{{Path: strings.Repeat("x", 4000)}, {Path: "y"}}}
	docs["page without folders"] = reporttest.Parse(t, page(t, Page{Limit: 1, MaxBytes: 4000, Chooser: c, Folders: []choose.Folders{large}}))
	docs["late"] = reporttest.Parse(t, convert(t, JSON, lateTimes, Options{}))
	docs["chosen"] = reporttest.Parse(t, convert(t, JSON, chosenDoc, Options{}))
	var few bytes.Buffer
	w := newJSONWriter(&few)
	w.totals.room = 0 // for folders
	if err := stream(everything(), nil, Options{}, w); err != nil {
		t.Fatal(err)
	}
	docs["many folders"] = reporttest.Parse(t, few.Bytes())
	return docs
}

func TestSchema(t *testing.T) { reporttest.CheckSchema(t, schemaFile, documents(t)) }

// TestREADME checks that the page for readers of reports names every field, except those
// of bills below the first level, which the schema explains.
func TestREADME(t *testing.T) {
	page, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	defs := reporttest.Read(t, schemaFile).(map[string]any)["$defs"].(map[string]any)
	for name, def := range defs {
		properties, _ := def.(map[string]any)["properties"].(map[string]any)
		if name == "usage" || name == "table" || name == "index" || name == "atChurn" {
			continue
		}
		for field := range properties {
			if !bytes.Contains(page, []byte("`"+field+"`")) && !bytes.Contains(page, []byte(`"`+field+`"`)) {
				t.Errorf("README.md does not name %s of %s", field, name)
			}
		}
	}
}

// optional lists the fields that may be missing; all others are promised.
var optional = map[string]bool{
	"roots_base64": true, "path_base64": true, "hard_link": true,
	"projection": true, "projection_error": true, "projection.schema": true, "warnings": true,
	"ephemeral_storage_mb": true, "provisioned_concurrency": true, "provisioned_mibps": true, "next": true, "files_before": true, "copies": true, "files_left_out": true, "problems_left_out": true, "duplicate_folders_left_out": true,
	"duplicate_folders": true, "unique": true, "kept": true, "newer": true, "older": true, "keep": true, "isolate": true, "min_copies": true,
	"files_from": true, "files_from_base64": true, "files0_from": true, "files0_from_base64": true, "copies_of": true, "copies_of_base64": true,
	"priority": true, "priority_base64": true, "protect": true, "protect_base64": true, "selection.folders": true,
	"tool": true, "modified": true, "started": true, "finished": true, "selection": true, "reason": true, "skipped": true,
	"include_base64": true, "exclude_base64": true, "absolute": true, "absolute_base64": true, "file_system": true,
	"sizes": true, "folders": true, "folders_approximate": true, "reclaimable_allocated_bytes": true,
	"mtime_unix": true, "ctime": true, "ctime_unix": true, "links": true, "allocated": true,
	"mounts": true, "index": true, "why": true, "table": true, "at_churn": true,
	"known_share": true, "usage.open_operations": true, "dynamodb_read_units": true, "dynamodb_write_units": true, "dynamodb_stored_bytes": true,
}

// Remove, rename and retype every field of every object: a validator that accepts one of
// those would also accept a broken report.
func TestSchemaRefuses(t *testing.T) {
	schema := reporttest.Compile(t, schemaFile)
	tried := 0
	check := func(doc any, want bool, what ...string) {
		t.Helper()
		err := schema.Validate(doc)
		if want && err != nil {
			t.Errorf("%s: %v", strings.Join(what, " "), err)
		}
		if !want && err == nil {
			t.Errorf("%s: not refused", strings.Join(what, " "))
		}
		tried++
	}
	for name, doc := range documents(t) {
		if strings.HasPrefix(name, "priced") {
			continue // it has nothing that "projection" lacks
		}
		shapes := make(map[string]bool) // one object of each kind is enough
		reporttest.EachObject(doc, func(o map[string]any, path string) {
			shape := fmt.Sprint(path, slices.Sorted(maps.Keys(o)))
			if shapes[shape] {
				return
			}
			shapes[shape] = true
			for _, field := range slices.Sorted(maps.Keys(o)) {
				was := o[field]
				for _, wrong := range []any{nil, "", json.Number("-1.5"), false, []any{nil}, map[string]any{"no": "such"}} {
					if sameType(was, wrong) || field == "nfs" && wrong == nil || field == "cpu_ms" && (wrong == nil || sameType(wrong, json.Number("0"))) {
						continue // see TestSchemaRefusesValues
					}
					o[field] = wrong
					check(doc, false, name, path, field, "of another type")
				}
				delete(o, field)
				inSelection := path == ".selection" && optional["selection."+field]
				inProjection := path == ".projection" && field == "schema"
				inUsage := strings.HasSuffix(path, ".usage") && optional["usage."+field]
				inMount := strings.HasSuffix(path, ".mounts[]") && field == "path"
				check(doc, optional[field] || inSelection || inProjection || inUsage || inMount || inMessages(path), name, path, "without", field)
				o[field] = was
			}
			o["unknown"] = true
			check(doc, !inMessages(path), name, path, "with an unknown field")
			delete(o, "unknown")
		})
		check(doc, true, name, "as it was")
	}
	if tried < 1000 {
		t.Errorf("only %d documents were tried", tried)
	}
}

// inMessages reports whether the fields at a path are the types of NFS messages, which
// the schema does not name.
func inMessages(path string) bool { return strings.HasSuffix(path, ".messages") }

// badValues are parts of good reports, and what makes a report invalid in their place.
var badValues = []struct{ good, bad string }{
	{`"schema":"dedupe.report/v2"`, `"schema":"dedupe.report/v1"`},
	{`"schema":"dedupe.report/v2"`, `"schema":"dedupe.projection/v1"`},
	{`"mode":"processes"`, `"mode":"threads"`},
	{`"workers":100`, `"workers":0`},
	{`"workers":100`, `"workers":1001`},
	{`"files":12345`, `"files":-1`},
	{`"files":12345`, `"files":1.5`},
	{`"elapsed_ms":1234.567`, `"elapsed_ms":-1`},
	{`"cpu_ms":90000`, `"cpu_ms":-1`},
	{`"digest":"0102`, `"digest":"`},
	{`"digest":"0102`, `"digest":"0102ff`},
	{`"digest":"0102`, `"digest":"01G2`},
	{`,{"path":"/efs/void","inode":301,"mtime":"2026-11-23T12:34:56.789Z","ctime":"2026-11-23T12:34:56.789000001Z"}`, ``}, // a group of one
	{`"hard_link":true`, `"hard_link":false`},
	{`"path_base64":"//4="`, `"path_base64":"\\xff"`},
	{`"inode":300,"mtime":"2026-11-23T12:34:56.789Z"`, `"inode":300,"mtime":"yesterday"`},
	{`"inode":300,`, `"inode":"300",`},
	{`"op":"open"`, `"op":"remove"`},
	{`"links":2`, `"links":0`},
	{`"allocated":4096`, `"allocated":-1`},
	{`"started":"2026-`, `"started":"26-`},
	{`"reason":"problems"`, `"reason":"bad luck"`},
	{`"rule":"own_output"`, `"rule":""`},
	{`"modified":true`, `"modified":false`},
	{`"count":2,`, `"count":0,`},
	{`"nfs":null`, `"nfs":0`},
	{`"READDIR":1`, `"READDIR":0`},
	{`"READDIR":1`, `"READDIR":1.5`},
	{`"messages_besides_read":1`, `"messages_besides_read":-1`},
	{`"metered_metadata_bytes":4096`, `"metered_metadata_bytes":-4096`},
	{`"round_trip_ms":1`, `"round_trip_ms":-1`},
	{`"path":"/mnt/efs","messages"`, `"path":"","messages"`},
	{`"total_decimal":"146494.18"`, `"total_decimal":"146,494.18"`},
	{`"cost_decimal":"146484.38"`, `"cost_decimal":"-1"`},
	{`"error":"permission denied"`, `"error":""`},
	{`"currency":"USD"`, `"currency":"dollars"`},
	{`"prices":"2026-11"`, `"prices":"today"`},
	{`"meter":"efs.read"`, `"meter":""`},
	{`"total":146494.18`, `"total":"146494.18"`},
	{`"total":146494.18`, `"total":-0.01`},
	{`"quantity":0.333333`, `"quantity":-1`},
	{`"arch":"arm64"`, `"arch":"ppc"`},
	{`"memory_mb":1769`, `"memory_mb":127`},
	{`"ephemeral_storage_mb":512`, `"ephemeral_storage_mb":0`},
	{`"api":"http"`, `"api":""`},
	{`"throughput":"provisioned"`, `"throughput":""`},
	{`"storage_class":"ia"`, `"storage_class":"glacier"`},
	{`"stored_bytes":5368709120`, `"stored_bytes":-1`},
}

// A value of the right type can still be invalid.
func TestSchemaRefusesValues(t *testing.T) {
	schema := reporttest.Compile(t, schemaFile)
	var all []string
	for _, s := range samples() {
		all = append(all, string(write(t, JSON, s, false)))
	}
	for _, test := range badValues {
		i := slices.IndexFunc(all, func(whole string) bool { return strings.Contains(whole, test.good) })
		if i < 0 {
			t.Errorf("nothing to replace: no report has %s", test.good)
			continue
		}
		if schema.Validate(reporttest.Parse(t, []byte(strings.Replace(all[i], test.good, test.bad, 1)))) == nil {
			t.Errorf("not refused: %s instead of %s", test.bad, test.good)
		}
	}
}

// sameType reports whether two values are of the same JSON type.
func sameType(a, b any) bool {
	kind := func(v any) string {
		switch v.(type) {
		case nil:
			return "null"
		case string:
			return "string"
		case bool:
			return "boolean"
		case []any:
			return "array"
		case map[string]any:
			return "object"
		}
		return "number"
	}
	return kind(a) == kind(b)
}
