package reporttest

import (
	"bytes"
	"maps"
	"os"
	"slices"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Compile returns the schema in a file, which may refer to those in other files. It also
// holds values to their format and their encoding, and the schema itself to draft 2020-12.
func Compile(t testing.TB, file string, others ...string) *jsonschema.Schema {
	t.Helper()
	const base = "https://efsdedupe.invalid/"
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	c.AssertContent()
	for _, file := range append(others, file) {
		if err := c.AddResource(base+file, Read(t, file)); err != nil {
			t.Fatal(err)
		}
	}
	s, err := c.Compile(base + file)
	if err != nil {
		t.Fatal(err)
	}
	if s.DraftVersion != 2020 {
		t.Fatalf("%s is of draft %d", file, s.DraftVersion)
	}
	return s
}

// Read reads a file with a JSON document.
func Read(t testing.TB, file string) any {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return Parse(t, b)
}

// Parse parses a JSON document as a schema wants it.
func Parse(t testing.TB, data []byte) any {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// EachObject visits a document and all objects in it. Paths are such as ".groups[].files[]".
func EachObject(doc any, visit func(o map[string]any, path string)) { eachObject(doc, "", visit) }

func eachObject(v any, path string, visit func(o map[string]any, path string)) {
	switch v := v.(type) {
	case map[string]any:
		visit(v, path)
		for _, field := range slices.Sorted(maps.Keys(v)) {
			eachObject(v[field], path+"."+field, visit)
		}
	case []any:
		for _, element := range v {
			eachObject(element, path+"[]", visit)
		}
	}
}

// CheckSchema checks documents against the schema in a file, and that each field of the schema
// is in one of them: else it is in the schema by mistake, or there are too few documents.
func CheckSchema(t *testing.T, file string, docs map[string]any) {
	t.Helper()
	schema := Compile(t, file)
	written := make(map[string]bool)
	for name, doc := range docs {
		if err := schema.Validate(doc); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		EachObject(doc, func(o map[string]any, _ string) {
			for field := range o {
				written[field] = true
			}
		})
	}
	EachObject(Read(t, file), func(o map[string]any, _ string) {
		properties, _ := o["properties"].(map[string]any)
		for field := range properties {
			if !written[field] {
				t.Errorf("%s has %q, and nothing writes it", file, field)
			}
		}
	})
}
