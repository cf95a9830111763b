package s3

import (
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"efsdedupe/dedupe/internal/awshttp"
)

// partSize is what an upload keeps in memory. Of 10,000 parts, the most that S3 takes, an
// object may have 160 GB. Source: Amazon S3 User Guide, multipart upload limits.
const partSize = 16 << 20

// Upload is an object that is being written. It is there once Commit returns, and whole.
type Upload struct {
	f           *Folder
	name, media string
	id          string // empty while everything fits in buffer
	buffer      []byte
	parts       []part
}

type part struct {
	PartNumber int
	ETag       string
}

// Create begins an object with a media type. End it with Commit, or with Discard.
func (f *Folder) Create(name, media string) *Upload {
	return &Upload{f: f, name: name, media: media}
}

// Write implements io.Writer.
func (u *Upload) Write(b []byte) (int, error) {
	u.buffer = append(u.buffer, b...)
	for len(u.buffer) > partSize {
		if err := u.send(partSize); err != nil {
			return 0, err
		}
	}
	return len(b), nil
}

// send sends the first n bytes as a part.
func (u *Upload) send(n int) error {
	if u.id == "" {
		a, err := u.f.do(http.MethodPost, u.name, url.Values{"uploads": {""}}, http.Header{"Content-Type": {u.media}}, nil)
		var begun struct{ UploadId string }
		if err == nil {
			err = xml.Unmarshal(a.Body, &begun)
		}
		if err == nil && begun.UploadId == "" {
			err = errors.New("the upload has no name")
		}
		if err != nil {
			return u.f.failed("upload", u.name, err)
		}
		u.id = begun.UploadId
	}
	number := len(u.parts) + 1
	a, err := u.f.do(http.MethodPut, u.name, url.Values{"partNumber": {strconv.Itoa(number)}, "uploadId": {u.id}}, nil, u.buffer[:n])
	if err != nil {
		return u.f.failed("upload", u.name, err)
	}
	u.parts = append(u.parts, part{number, a.Header.Get("Etag")})
	u.buffer = append(u.buffer[:0], u.buffer[n:]...)
	return nil
}

// Commit stores the object. It replaces another of the same name.
func (u *Upload) Commit() error {
	if u.id == "" {
		_, err := u.f.do(http.MethodPut, u.name, nil, http.Header{"Content-Type": {u.media}}, u.buffer)
		return u.f.failed("put", u.name, err)
	}
	if err := u.send(len(u.buffer)); err != nil {
		return err
	}
	body, err := xml.Marshal(struct {
		XMLName xml.Name `xml:"CompleteMultipartUpload"`
		Parts   []part   `xml:"Part"`
	}{Parts: u.parts})
	if err != nil {
		return err
	}
	a, err := u.f.do(http.MethodPost, u.name, url.Values{"uploadId": {u.id}}, nil, body)
	if err == nil {
		err = completed(a)
	}
	return u.f.failed("upload", u.name, err)
}

// completed returns the error in an answer with status 200: S3 answers before it knows.
func completed(a awshttp.Answer) error {
	var doc struct {
		XMLName       xml.Name
		Code, Message string
	}
	if err := xml.Unmarshal(a.Body, &doc); err != nil {
		return err
	}
	if doc.XMLName.Local == "Error" {
		return fmt.Errorf("%s: %s", doc.Code, doc.Message)
	}
	return nil
}

// Discard removes what was sent, unless the object was committed. What it can't remove, a
// lifecycle rule of the bucket does.
func (u *Upload) Discard() {
	if u.id != "" {
		u.f.do(http.MethodDelete, u.name, url.Values{"uploadId": {u.id}}, nil, nil)
	}
}
