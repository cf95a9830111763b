package service

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/json"
	"fmt"
	"net/http"
)

//go:embed openapi.json
var openapi []byte

// openapi answers with the document, or with 304 to a client that has it.
func (s *service) openapi(w http.ResponseWriter, r *http.Request) error {
	document := s.document()
	tag := fmt.Sprintf(`W/"%x"`, sha256.Sum256(document)) // weak: the same for a compressed body
	w.Header().Set("Cache-Control", "public, max-age=3600")
	w.Header().Set("ETag", tag)
	if isCurrent(r.Header, tag) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	w.Header().Set("Content-Type", "application/json")
	_, err := w.Write(document)
	return err
}

// describe returns the document with the bounds of this service.
func (s *service) describe() []byte {
	var doc map[string]any
	d := json.NewDecoder(bytes.NewReader(openapi))
	d.UseNumber() // bounds have 64 bits
	if d.Decode(&doc) != nil || s.MaxWorkers == defaultMaxWorkers {
		return openapi
	}
	at := doc
	for _, name := range []string{"components", "schemas", "scanRequest", "properties", "workers"} {
		at, _ = at[name].(map[string]any)
	}
	at["maximum"] = s.MaxWorkers
	own, err := json.Marshal(doc)
	if err != nil {
		return openapi
	}
	return own
}
