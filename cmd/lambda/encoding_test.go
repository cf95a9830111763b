package main

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"efsdedupe/dedupe/service"
)

// TestEncodings checks which events are answered in gzip, and that HEAD has no body.
func TestEncodings(t *testing.T) {
	root := t.TempDir()
	for i := range 100 { // names that JSON escapes
		path := filepath.Join(root, fmt.Sprintf("%0200d", 0), fmt.Sprintf(`%s%03d`, bytes.Repeat([]byte(`"`), 200), i))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o777), os.WriteFile(path, []byte("x"), 0o666)); err != nil {
			t.Fatal(err)
		}
	}
	h, err := service.New(service.Config{Root: root})
	if err != nil {
		t.Fatal(err)
	}
	for name, zipped := range map[string]bool{"http-api-scan.json": true, "function-url-scan.json": true, "rest-api-scan.json": false} {
		event := readEvent(t, name)
		var headers map[string]any
		var e struct {
			Headers           map[string]any
			MultiValueHeaders map[string]any
		}
		if err := json.Unmarshal(event, &e); err != nil {
			t.Fatal(err)
		}
		if headers = e.Headers; headers == nil {
			headers = map[string]any{}
		}
		headers["accept-encoding"] = "gzip"
		event = edit(t, event, "headers", headers)
		if e.MultiValueHeaders != nil {
			e.MultiValueHeaders["accept-encoding"] = []string{"gzip"}
			event = edit(t, event, "multiValueHeaders", e.MultiValueHeaders)
		}
		event = edit(t, edit(t, event, "body", `{}`), "isBase64Encoded", false)
		b, err := call(t, h, event)
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
			packed, err := base64.StdEncoding.DecodeString(got.Body)
			if err != nil {
				t.Fatal(err)
			}
			z, err := gzip.NewReader(bytes.NewReader(packed))
			if err != nil {
				t.Fatal(err)
			}
			if body, err = io.ReadAll(z); err != nil {
				t.Fatal(err)
			}
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
