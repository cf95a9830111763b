package main

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"efsdedupe/dedupe/service"
	"efsdedupe/fixtures/testkit"
)

// TestEncodings checks which events are answered in gzip, and that HEAD has no body.
func TestEncodings(t *testing.T) {
	root := t.TempDir()
	for i := range 100 { // names that JSON escapes
		testkit.Write(t, []byte("x"), filepath.Join(root, fmt.Sprintf("%0200d", 0), fmt.Sprintf(`%s%03d`, bytes.Repeat([]byte(`"`), 200), i)))
	}
	h, err := service.New(service.Config{Root: root})
	testkit.Must(t, err)
	for name, zipped := range map[string]bool{"http-api-scan.json": true, "function-url-scan.json": true, "rest-api-scan.json": false} {
		b, err := call(t, h, acceptingGzip(t, name))
		var got struct {
			StatusCode      int
			Body            string
			IsBase64Encoded bool
		}
		if err != nil || json.Unmarshal(b, &got) != nil || got.StatusCode != 200 || got.IsBase64Encoded != zipped {
			t.Fatalf("%s: %.200s, error %v", name, b, err)
		}
		body := []byte(got.Body)
		if zipped {
			body = unzipped(t, got.Body)
		}
		if !json.Valid(body) {
			t.Errorf("%s: %.100s", name, body)
		}
	}
	head := edit(t, readEvent(t, "http-api-health.json"), "requestContext.http.method", "HEAD")
	b, err := call(t, h, head)
	var got struct {
		StatusCode int
		Body       string
	}
	if err != nil || json.Unmarshal(b, &got) != nil || got.StatusCode != 200 || got.Body != "" {
		t.Errorf("HEAD: %s, error %v", b, err)
	}
}

// acceptingGzip returns a sample event that asks for a scan and accepts gzip.
func acceptingGzip(t *testing.T, name string) []byte {
	t.Helper()
	event := readEvent(t, name)
	var e struct {
		Headers           map[string]any
		MultiValueHeaders map[string]any
	}
	testkit.Must(t, json.Unmarshal(event, &e))
	if e.Headers == nil {
		e.Headers = map[string]any{}
	}
	e.Headers["accept-encoding"] = "gzip"
	event = edit(t, event, "headers", e.Headers)
	if e.MultiValueHeaders != nil {
		e.MultiValueHeaders["accept-encoding"] = []string{"gzip"}
		event = edit(t, event, "multiValueHeaders", e.MultiValueHeaders)
	}
	return edit(t, edit(t, event, "body", `{}`), "isBase64Encoded", false)
}

// unzipped decodes a body in base64 and gzip.
func unzipped(t *testing.T, body string) []byte {
	t.Helper()
	z, err := gzip.NewReader(base64.NewDecoder(base64.StdEncoding, strings.NewReader(body)))
	testkit.Must(t, err)
	plain, err := io.ReadAll(z)
	testkit.Must(t, err)
	return plain
}
