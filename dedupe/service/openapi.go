package service

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"net/http"
	"slices"
)

//go:embed openapi.json
var openapi []byte

// openapi answers with the document, or with 304 to a client that has it.
func (s *service) openapi(w http.ResponseWriter, r *http.Request) error {
	return writeVersion(w, r, "application/json", "public, max-age=3600", s.document())
}

// describe returns the document with the bounds and prices of this service.
func (s *service) describe() []byte {
	var doc map[string]any
	d := json.NewDecoder(bytes.NewReader(openapi))
	d.UseNumber() // bounds have 64 bits
	if d.Decode(&doc) != nil || s.MaxWorkers == defaultMaxWorkers && s.Prices == nil {
		return openapi
	}
	at := func(names ...string) map[string]any {
		object := doc["components"]
		for _, name := range names {
			object = object.(map[string]any)[name]
		}
		return object.(map[string]any)
	}
	for _, schema := range []string{"scanRequest", "jobRequest"} {
		at("schemas", schema, "properties", "workers")["maximum"] = s.MaxWorkers
	}
	if s.Prices != nil {
		for _, schema := range []string{"scanProjection", "projectionRequest"} {
			region := at("schemas", schema, "properties", "region")
			region["description"] = "default " + s.Prices.Region
			if known := region["enum"].([]any); !slices.Contains(known, any(s.Prices.Region)) {
				region["enum"] = append(known, s.Prices.Region)
			}
		}
	}
	own, err := json.Marshal(doc)
	if err != nil {
		return openapi
	}
	return own
}
