package service

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"efsdedupe/dedupe/choose"
	"efsdedupe/dedupe/cost"
	"efsdedupe/dedupe/report"
)

var update = flag.Bool("update", false, "write openapi.json")

// TestOpenAPIIsCurrent builds openapi.json from openapi.src.json, which is written by
// hand, and the report schemas, and compares.
func TestOpenAPIIsCurrent(t *testing.T) {
	var doc, reports map[string]any
	for file, into := range map[string]*map[string]any{"openapi.src.json": &doc, "../report/report.schema.json": &reports} {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		d := json.NewDecoder(bytes.NewReader(b))
		d.UseNumber() // bounds have 64 bits
		if err := d.Decode(into); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
	}
	schemas := doc["components"].(map[string]any)["schemas"].(map[string]any)
	definitions := reports["$defs"].(map[string]any)
	maps.Copy(schemas, definitions)
	for name, schema := range schemas {
		schemas[name] = withoutSiblings(schema, definitions)
	}
	for _, name := range []string{"scanProjection", "projectionRequest"} {
		schemas[name].(map[string]any)["properties"].(map[string]any)["region"].(map[string]any)["enum"] = cost.Regions()
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := e.Encode(doc); err != nil {
		t.Fatal(err)
	}
	want := bytes.ReplaceAll(b.Bytes(), []byte(`"#/$defs/`), []byte(`"#/components/schemas/`))
	if *update {
		if err := os.WriteFile("openapi.json", want, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile("openapi.json"); err != nil || !bytes.Equal(got, want) {
		t.Errorf("openapi.json is out of date: run go test ./dedupe/service -run OpenAPI -update (%v)", err)
	}
}

// withoutSiblings returns a schema in which $ref stands alone, since many generators of
// clients ignore what stands beside it. A scalar is put in place of its $ref.
func withoutSiblings(schema any, definitions map[string]any) any {
	switch s := schema.(type) {
	case []any:
		for i := range s {
			s[i] = withoutSiblings(s[i], definitions)
		}
	case map[string]any:
		for name := range s {
			s[name] = withoutSiblings(s[name], definitions)
		}
		ref, ok := s["$ref"].(string)
		if !ok || len(s) == 1 {
			break
		}
		delete(s, "$ref")
		target, _ := definitions[strings.TrimPrefix(ref, "#/$defs/")].(map[string]any)
		if target["properties"] != nil {
			s["allOf"] = []any{map[string]any{"$ref": ref}}
			break
		}
		whole := maps.Clone(target)
		maps.Copy(whole, s)
		return whole
	}
	return schema
}

// TestOpenAPIRequests checks that the document lists the fields that the service reads.
func TestOpenAPIRequests(t *testing.T) {
	schemas := newContract(t).doc["components"].(map[string]any)["schemas"].(map[string]any)
	properties := func(schema any) []string {
		return slices.Sorted(maps.Keys(schema.(map[string]any)["properties"].(map[string]any)))
	}
	fields := func(v any) []string {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		var doc map[string]any
		if err := json.Unmarshal(b, &doc); err != nil {
			t.Fatal(err)
		}
		return slices.Sorted(maps.Keys(doc))
	}
	for name, pair := range map[string][2][]string{
		"scanRequest":       {properties(schemas["scanRequest"]), fields(scanRequest{selectionRequest: everySelection(), rulesRequest: everyRule(), findRequest: everyFind()})},
		"scanProjection":    {properties(schemas["scanProjection"]), fields(settings{})},
		"jobRequest":        {properties(schemas["jobRequest"]), fields(everyJobField())},
		"usageRequest":      {properties(schemas["usageRequest"]), properties(schemas["usage"])},
		"projectionRequest": {properties(schemas["projectionRequest"]), fields(report.NewRequest())},
	} {
		if diff := cmp.Diff(pair[0], pair[1]); diff != "" {
			t.Errorf("%s (-document +decoded):\n%s", name, diff)
		}
	}
}

// contract checks answers against openapi.json.
type contract struct {
	doc      map[string]any
	compiler *jsonschema.Compiler
}

func newContract(t testing.TB) *contract {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(openapi))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	if err := c.AddResource("openapi.json", doc); err != nil {
		t.Fatal(err)
	}
	return &contract{doc.(map[string]any), c}
}

// templateOf returns the path of the document for that of a request.
func templateOf(path string) string {
	path, _, _ = strings.Cut(path, "?")
	return regexp.MustCompile("^/v1/jobs/[0-9a-f]{28}").ReplaceAllString(path, "/v1/jobs/{id}")
}

// check checks an answer against the document's entry for its route and status.
func (c *contract) check(t testing.TB, method, path string, status int, header http.Header, body []byte) {
	t.Helper()
	path = templateOf(path)
	schema := "httpProblem"
	if status < 300 {
		schema = map[string]string{
			"POST /v1/scans 200": "report", "POST /v1/projections 200": "projectionDocument", "GET /v1/healthz 200": "health",
			"POST /v1/jobs 200": "jobPlan", "POST /v1/jobs 202": "job", "GET /v1/jobs 200": "jobList", "GET /v1/jobs/{id} 200": "job",
			"DELETE /v1/jobs/{id} 202": "job", "GET /v1/jobs/{id}/report 200": "report",
		}[fmt.Sprint(method, " ", path, " ", status)]
	}
	if status == http.StatusNotModified || schema == "report" && !strings.HasPrefix(header.Get("Content-Type"), "application/json") {
		schema = ""
	}
	if paths := c.doc["paths"].(map[string]any); paths[path] != nil && status != http.StatusMethodNotAllowed {
		operation, _ := paths[path].(map[string]any)[strings.ToLower(method)].(map[string]any)
		responses, _ := operation["responses"].(map[string]any)
		if responses[strconv.Itoa(status)] == nil {
			t.Errorf("%s %s answers %d, which the document does not list", method, path, status)
		}
	}
	if schema == "" {
		return
	}
	if want := map[bool]string{true: "application/json", false: "application/problem+json"}[status < 300]; header.Get("Content-Type") != want {
		t.Errorf("%s %s: %d has content type %s, want %s", method, path, status, header.Get("Content-Type"), want)
	}
	s, err := c.compiler.Compile("openapi.json#/components/schemas/" + schema)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	if err := s.Validate(answer); err != nil {
		t.Errorf("%s %s: %d: %v", method, path, status, err)
	}
}

// everyJobField returns a request in which no field is left out.
func everyJobField() jobRequest {
	id, cost, most := "id", 1.0, 1
	return jobRequest{
		selectionRequest: everySelection(), rulesRequest: everyRule(), DryRun: true,
		MaxCost: &cost, MaxConcurrency: &most, Continue: &id,
	}
}

// everyRule returns rules in which no field is left out.
func everyRule() rulesRequest {
	keep := choose.Oldest
	return rulesRequest{&keep, []string{"a"}, [][]byte{[]byte("a")}, []string{"b"}, [][]byte{[]byte("b")}, 2}
}

// everyFind returns a request in which no field is left out.
func everyFind() findRequest {
	path := "a"
	return findRequest{&path, []byte("a"), true, true}
}

// everySelection returns a selection in which no field is left out.
func everySelection() selectionRequest {
	path, moment := ".", "2026-01-31T12:00:00Z"
	return selectionRequest{&path, []byte("."), 1, 2, []string{"*"}, []string{"x"}, &moment, &moment}
}
