// Package reporttest holds what tests of documents share: schema.go checks JSON against its
// schema, and golden.go compares any text with a file.
package reporttest

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Golden compares with testdata/NAME.golden, or writes that file. JSON is indented there for
// reviewers, but must be one line as written.
func Golden(t *testing.T, update bool, name string, got []byte) {
	t.Helper()
	if strings.HasSuffix(name, ".json") {
		if bytes.IndexByte(got, '\n') != len(got)-1 {
			t.Errorf("%s: more or less than a line", name)
		}
		var indented bytes.Buffer
		if err := json.Indent(&indented, got, "", "  "); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got = indented.Bytes()
	}
	path := filepath.Join("testdata", name+".golden")
	if update {
		if err := os.WriteFile(path, got, 0o666); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}
