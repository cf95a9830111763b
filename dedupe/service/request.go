package service

import (
	"errors"
	"io"
	"net"
	"net/http"

	"efsdedupe/dedupe/report"
)

// maxRequest limits the body of a request, in bytes.
const maxRequest = 64 << 10

// decode reads the JSON object in the body of a request. Keys must be spelled exactly
// and occur once, and no value may be null: a typing error must not select a default.
func decode(r *http.Request, into any) error {
	body, err := readBody(r)
	if err != nil {
		return err
	}
	if err := report.Decode(body, into); err != nil {
		return refuse(http.StatusBadRequest, "the body is not the JSON object that /v1/openapi.json describes: %v", err)
	}
	return nil
}

// readBody reads all of the body, so that one that is too large gets the same answer
// whatever it begins with. Its errors do not show the addresses that network errors name.
func readBody(r *http.Request) ([]byte, error) {
	if r.ContentLength > maxRequest {
		return nil, refuse(http.StatusRequestEntityTooLarge, "the request is larger than %d bytes", maxRequest)
	}
	body, err := io.ReadAll(r.Body)
	var tooLarge *http.MaxBytesError
	var network net.Error
	switch {
	case err == nil:
		return body, nil
	case errors.As(err, &tooLarge):
		return nil, refuse(http.StatusRequestEntityTooLarge, "the request is larger than %d bytes", tooLarge.Limit)
	case errors.As(err, &network) && network.Timeout():
		return nil, refuse(http.StatusRequestTimeout, "the body did not arrive in time: send the request again")
	}
	return nil, refuse(http.StatusBadRequest, "the body ends early or its transfer encoding is malformed: send the request again")
}
