package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/aws/aws-lambda-go/events"
)

// maxAnswer is the largest answer that Lambda accepts, in bytes. Source: AWS Lambda
// quotas.
const maxAnswer = 6 << 20

// recorder records the answer of a handler.
type recorder struct {
	header  http.Header // for the handler to change
	written http.Header // a copy from when the answer began
	status  int
	body    bytes.Buffer
}

func newRecorder() *recorder { return &recorder{header: make(http.Header)} }

func (w *recorder) Header() http.Header { return w.header }

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status, w.written = status, w.header.Clone()
	}
}

func (w *recorder) Write(b []byte) (int, error) {
	if w.header.Get("Content-Type") == "" && w.status == 0 {
		w.header.Set("Content-Type", http.DetectContentType(b))
	}
	w.WriteHeader(http.StatusOK)
	return w.body.Write(b)
}

// text returns the body as a string for JSON, in base64 unless it is UTF-8.
func (w *recorder) text() (text string, isBase64 bool) {
	if b := w.body.Bytes(); !utf8.Valid(b) {
		return base64.StdEncoding.EncodeToString(b), true
	}
	return w.body.String(), false
}

// encode returns the answer to an event. If it is too large for Lambda, as a text body
// may become once its quotes are escaped, encode returns an error response instead.
func encode(e event, w *recorder) ([]byte, error) {
	w.WriteHeader(http.StatusOK)
	answer, err := marshal(e, w)
	if err == nil && len(answer) > maxAnswer {
		return marshal(e, tooLarge(len(answer)))
	}
	return answer, err
}

func marshal(e event, w *recorder) ([]byte, error) {
	answer, err := e.response(w)
	if err != nil {
		return nil, err
	}
	if raw, ok := answer.(json.RawMessage); ok {
		return raw, nil
	}
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	err = encoder.Encode(answer)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// tooLarge replaces an answer of n bytes.
func tooLarge(n int) *recorder {
	w := newRecorder()
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(http.StatusUnprocessableEntity)
	json.NewEncoder(w).Encode(map[string]any{
		"type":   "about:blank",
		"title":  http.StatusText(w.status),
		"status": w.status,
		"detail": fmt.Sprintf("the answer has %d bytes, but Lambda accepts %d: set a lower limit", n, maxAnswer),
	})
	return w
}

func (httpEvent) response(w *recorder) (any, error) {
	text, isBase64 := w.text()
	cookies := w.written["Set-Cookie"]
	delete(w.written, "Set-Cookie")
	headers := make(map[string]string, len(w.written))
	for name, values := range w.written {
		headers[name] = strings.Join(values, ", ")
	}
	return events.APIGatewayV2HTTPResponse{StatusCode: w.status, Headers: headers, Cookies: cookies, Body: text, IsBase64Encoded: isBase64}, nil
}

func (restEvent) response(w *recorder) (any, error) {
	text, isBase64 := w.text()
	return events.APIGatewayProxyResponse{StatusCode: w.status, MultiValueHeaders: w.written, Body: text, IsBase64Encoded: isBase64}, nil
}

// Problem is an HTTP error response for an invoker that does not use HTTP. Lambda passes
// on the name of this type and the text.
type Problem struct {
	Title  string `json:"title"`
	Detail string `json:"detail"`
}

func (p *Problem) Error() string {
	if p.Detail == "" {
		return p.Title
	}
	return p.Title + ": " + p.Detail
}

func (directEvent) response(w *recorder) (any, error) {
	if w.status >= 300 {
		p := &Problem{Title: http.StatusText(w.status)}
		if json.Unmarshal(w.body.Bytes(), p) != nil {
			p.Detail = strings.TrimSpace(w.body.String())
		}
		return nil, p
	}
	return json.RawMessage(bytes.TrimSpace(w.body.Bytes())), nil
}
