package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"efsdedupe/dedupe/service"
)

func TestConfig(t *testing.T) {
	read := func(env map[string]string) (service.Config, error) {
		return configFrom(func(name string) string { return env[name] })
	}
	got, err := read(nil)
	if want := (service.Config{Root: "/mnt/efs", MaxDuration: functionTime}); err != nil || !cmp.Equal(got, want) {
		t.Errorf("%+v, error %v", got, err)
	}
	got, err = read(map[string]string{
		"DEDUPE_ROOT": "/mnt/x", "DEDUPE_TENANT_CLAIM": "tenant", "DEDUPE_LOG_PATHS": "true",
		"DEDUPE_MAX_WORKERS": "50", "DEDUPE_MAX_FILES": "7", "DEDUPE_MAX_MIB": "3", "DEDUPE_STACK": "mine", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1769",
	})
	want := service.Config{Root: "/mnt/x", TenantClaim: "tenant", LogPaths: true, MaxWorkers: 50, MaxFiles: 7, MaxBytes: 3 << 20, Stack: "mine", MemoryMB: 1769, MaxDuration: functionTime}
	if err != nil || !cmp.Equal(got, want) {
		t.Errorf("%+v, error %v", got, err)
	}
	for name, value := range map[string]string{"DEDUPE_LOG_PATHS": "perhaps", "DEDUPE_MAX_WORKERS": "0", "DEDUPE_MAX_FILES": "many", "DEDUPE_MAX_MIB": "0"} {
		if _, err := read(map[string]string{name: value}); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s=%s: error %v", name, value, err)
		}
	}
}

// An index is a table or a file. Every error about it is one line that
// names the variable.
func TestConfigIndex(t *testing.T) {
	t.Setenv("AWS_REGION", "us-east-1")
	read := func(index, id string) (service.Config, error) {
		env := map[string]string{"DEDUPE_INDEX": index, "DEDUPE_INDEX_ID": id}
		return configFrom(func(name string) string { return env[name] })
	}
	dir := t.TempDir()
	for _, name := range []string{"dynamodb://digests", filepath.Join(dir, "below", "index.db")} {
		c, err := read(name, "fs-0123abcd")
		if err != nil || c.Index == nil || c.Index.FileSystem != "fs-0123abcd" {
			t.Errorf("%s: %+v, error %v", name, c, err)
		}
	}
	if c, err := read("", "fs-0123abcd"); err != nil || c.Index != nil {
		t.Errorf("none: %+v, error %v", c, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "text"), []byte("this is no index, but a text"), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, test := range [][3]string{
		{"dynamodb://", "", "DEDUPE_INDEX: "}, {"dynamodb://a/b", "", "DEDUPE_INDEX: "}, {"s3://digests", "", "dynamodb://TABLE or a file"},
		{dir, "", "DEDUPE_INDEX: "}, {filepath.Join(dir, "text"), "", "is not an index"}, {filepath.Join(dir, "text", "index.db"), "", "DEDUPE_INDEX: "},
		{"dynamodb://digests", "fs-0123abcd\n", "DEDUPE_INDEX_ID is"}, {"dynamodb://digests", "my files", "DEDUPE_INDEX_ID is"},
	} {
		if c, err := read(test[0], test[1]); err == nil || c.Index != nil || !strings.Contains(err.Error(), test[2]) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: error %v", test, err)
		}
	}
	t.Setenv("AWS_REGION", "")
	t.Setenv("AWS_DEFAULT_REGION", "")
	if _, err := read("dynamodb://digests", ""); err == nil || !strings.Contains(err.Error(), "AWS_REGION") {
		t.Errorf("no region: error %v", err)
	}
}
