package service

import (
	"compress/gzip"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
)

// answerWriter writes the answer to one request: compressed if the client accepts that,
// and without a body if the request is HEAD.
type answerWriter struct {
	http.ResponseWriter
	request *http.Request
	begun   bool
	zip     *gzip.Writer // nil unless the body is compressed
}

// WriteHeader implements [http.ResponseWriter].
func (a *answerWriter) WriteHeader(status int) {
	if a.begun {
		return
	}
	a.begun = true
	a.Header().Add("Vary", "Accept-Encoding")
	if status == http.StatusOK && acceptsGzip(a.request.Header) {
		a.Header().Set("Content-Encoding", "gzip")
		if a.request.Method != http.MethodHead {
			a.zip, _ = gzip.NewWriterLevel(a.ResponseWriter, gzip.BestSpeed)
		}
	}
	a.ResponseWriter.WriteHeader(status)
}

// Write implements [http.ResponseWriter].
func (a *answerWriter) Write(b []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	switch {
	case a.request.Method == http.MethodHead:
		return len(b), nil
	case a.zip != nil:
		return a.zip.Write(b)
	}
	return a.ResponseWriter.Write(b)
}

// end writes what is left of a compressed body.
func (a *answerWriter) end() {
	if a.zip != nil {
		a.zip.Close()
	}
}

// acceptsGzip reports whether gzip is at least as welcome as no encoding. It reads all
// Accept-Encoding headers.
func acceptsGzip(h http.Header) bool {
	weights := map[string]float64{}
	for item := range strings.SplitSeq(strings.Join(h.Values("Accept-Encoding"), ","), ",") {
		name, parameters, _ := strings.Cut(item, ";")
		weights[strings.ToLower(strings.TrimSpace(name))] = weight(parameters)
	}
	q, named := weights["gzip"]
	if !named {
		q = weights["*"]
	}
	return q > 0 && q >= weights["identity"]
}

// weight returns the q of a list item's parameters: 1 if there is none, 0 if it is not a
// number from 0 to 1.
func weight(parameters string) float64 {
	for p := range strings.SplitSeq(parameters, ";") {
		name, value, _ := strings.Cut(p, "=")
		if !strings.EqualFold(strings.TrimSpace(name), "q") {
			continue
		}
		q, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
		if err != nil || !(0 <= q && q <= 1) {
			return 0
		}
		return q
	}
	return 1
}

// isCurrent reports whether the client has the version that the tag names.
func isCurrent(h http.Header, tag string) bool {
	for given := range strings.SplitSeq(strings.Join(h.Values("If-None-Match"), ","), ",") {
		given = strings.TrimSpace(given)
		if given == "*" || strings.TrimPrefix(given, "W/") == strings.TrimPrefix(tag, "W/") {
			return true
		}
	}
	return false
}

func answer(w http.ResponseWriter, doc any) error {
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(doc)
}
