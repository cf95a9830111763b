// Package s3 keeps the objects of jobs in an Amazon S3 bucket.
//
// The requests are written here, and signed by package awshttp: the client of the AWS SDK
// would make every start of the function slower.
//
//	s3.go        objects below a prefix: a store of package job
//	upload.go    an object of any size, in parts
//	versions.go  objects that change, each in versions: a store of package jobs
package s3

import (
	"bytes"
	"cmp"
	"context"
	"crypto/md5"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"efsdedupe/dedupe/internal/awshttp"
)

// Scheme begins the name of a folder.
const Scheme = "s3://"

// Folder is the objects of a bucket whose keys begin with a prefix. It is a job.Store.
type Folder struct {
	client *awshttp.Client
	bucket string // the URL of the bucket, with a slash at the end
	prefix string // of all keys, empty or with a slash at the end
	name   string // for errors
}

const (
	// attemptTime limits one attempt: a result of a few MB takes less than a second.
	attemptTime = 30 * time.Second

	// attempts leaves time for a bucket that has to spread a new prefix: S3 answers
	// SlowDown meanwhile.
	attempts = 8

	// connections is how many requests a step of a job sends at once.
	connections = 64

	// maxRemovals is how many objects one request can delete. Source: Amazon S3 API
	// reference, DeleteObjects.
	maxRemovals = 1000
)

// isBucket reports whether a bucket can have this name. Source: Amazon S3, bucket naming
// rules.
func isBucket(name string) bool {
	odd := func(r rune) bool { return !('a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '.' || r == '-') }
	return len(name) >= 3 && len(name) <= 63 && !strings.ContainsFunc(name, odd) && strings.Trim(name, ".-") == name
}

// Open returns the folder with a name, such as s3://bucket/prefix. Region, endpoint and
// credentials come from the environment: AWS_REGION, AWS_ENDPOINT_URL_S3 or
// AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and so on, or the role of the container or machine.
// Open sends nothing.
func Open(name string) (*Folder, error) { return open(name, os.Getenv) }

func open(name string, getenv func(string) string) (*Folder, error) {
	rest, ok := strings.CutPrefix(name, Scheme)
	bucket, prefix, _ := strings.Cut(rest, "/")
	if !ok || !isBucket(bucket) {
		return nil, fmt.Errorf("%q is not a folder in S3: it must be %sBUCKET/PREFIX", name, Scheme)
	}
	client, err := awshttp.New("s3", getenv, awshttp.Options{AttemptTime: attemptTime, Attempts: attempts, Connections: connections})
	if err != nil {
		return nil, fmt.Errorf("can't use %s: %w", name, err)
	}
	client.ErrorOf = errorOf
	f := &Folder{client: client, name: strings.TrimSuffix(name, "/")}
	if f.prefix = strings.Trim(prefix, "/"); f.prefix != "" {
		f.prefix += "/"
	}
	if host := strings.TrimPrefix(client.Endpoint, "https://"); !client.Custom && !strings.Contains(bucket, ".") {
		f.bucket = "https://" + bucket + "." + host + "/"
	} else { // a certificate covers no bucket with a dot
		f.bucket = client.Endpoint + "/" + bucket + "/"
	}
	return f, nil
}

// In returns a folder in the folder.
func (f *Folder) In(name string) *Folder {
	in := *f
	in.prefix, in.name = f.prefix+name+"/", f.name+"/"+name
	return &in
}

// Name returns the name of the folder, such as s3://bucket/prefix.
func (f *Folder) Name() string { return f.name }

// Prefix begins the keys of the folder's objects.
func (f *Folder) Prefix() string { return f.prefix }

// Put stores an object unless one has the name already: then another attempt at the same
// work was first, and its object stays.
func (f *Folder) Put(name string, data []byte) error {
	_, err := f.do(http.MethodPut, name, nil, http.Header{"If-None-Match": {"*"}}, data)
	if statusOf(err).Status == http.StatusPreconditionFailed {
		return nil
	}
	return f.failed("put", name, err)
}

// Get returns n bytes of an object from an offset on, or fewer where it ends, and the size
// of the object. The error for a missing object is fs.ErrNotExist.
func (f *Folder) Get(name string, offset, n int64) (data []byte, size int64, err error) {
	a, err := f.do(http.MethodGet, name, nil, http.Header{"Range": {fmt.Sprintf("bytes=%d-%d", offset, offset+n-1)}}, nil)
	switch {
	case err == nil:
		return a.Body, sizeOf(a), nil
	case isMissing(err):
		return nil, 0, f.missing(name)
	case statusOf(err).Status == http.StatusRequestedRangeNotSatisfiable:
		return nil, 0, nil // it ends before; no object of a job does
	}
	return nil, 0, f.failed("get", name, err)
}

// isMissing reports whether S3 answered that an object is not there.
func isMissing(err error) bool {
	api := statusOf(err)
	return api.Status == http.StatusNotFound && api.Code != "NoSuchBucket"
}

func (f *Folder) missing(name string) error {
	return &fs.PathError{Op: "get", Path: f.name + "/" + name, Err: fs.ErrNotExist}
}

// statusOf returns the error that S3 answered, or the zero value.
func statusOf(err error) awshttp.Error {
	if api := (*awshttp.Error)(nil); errors.As(err, &api) {
		return *api
	}
	return awshttp.Error{}
}

// sizeOf returns the size of an object of which an answer has a part.
func sizeOf(a awshttp.Answer) int64 {
	_, size, _ := strings.Cut(a.Header.Get("Content-Range"), "/")
	if n, err := strconv.ParseInt(size, 10, 64); err == nil {
		return n
	}
	return int64(len(a.Body)) // the whole object
}

// Remove removes an object, if it is there.
func (f *Folder) Remove(name string) error {
	_, err := f.do(http.MethodDelete, name, nil, nil, nil)
	return f.failed("delete", name, err)
}

// RemoveAll removes all objects of the folder.
func (f *Folder) RemoveAll() error {
	for {
		keys, err := f.list(maxRemovals)
		if err != nil || len(keys) == 0 {
			return err
		}
		if err := f.removeKeys(keys); err != nil {
			return err
		}
	}
}

// list returns the first keys of the folder.
func (f *Folder) list(n int) ([]string, error) {
	keys, _, err := f.listAfter(context.Background(), f.prefix, "", n)
	return keys, err
}

// listAfter returns up to n keys that begin with a prefix and come after another key. There
// may be more even if these are fewer than n.
func (f *Folder) listAfter(ctx context.Context, prefix, after string, n int) (keys []string, more bool, err error) {
	query := url.Values{"list-type": {"2"}, "prefix": {prefix}, "max-keys": {strconv.Itoa(n)}, "encoding-type": {"url"}}
	if after != "" {
		query.Set("start-after", after)
	}
	a, err := f.send(ctx, http.MethodGet, "", query, nil, nil)
	var out struct {
		IsTruncated bool
		Contents    []struct{ Key string }
	}
	if err == nil {
		err = xml.Unmarshal(a.Body, &out)
	}
	if err != nil {
		return nil, false, f.failed("list", "", err)
	}
	keys = make([]string, len(out.Contents))
	for i, c := range out.Contents {
		if keys[i], err = url.QueryUnescape(c.Key); err != nil {
			return nil, false, f.failed("list", "", err)
		}
	}
	return keys, out.IsTruncated, nil
}

// object names an object in a request that deletes many.
type object struct{ Key string }

// removeKeys removes objects in one request. Its answer names those that stay.
func (f *Folder) removeKeys(keys []string) error {
	in := struct {
		XMLName xml.Name `xml:"Delete"`
		Quiet   bool
		Objects []object `xml:"Object"`
	}{Quiet: true}
	for _, key := range keys {
		in.Objects = append(in.Objects, object{key})
	}
	body, err := xml.Marshal(in)
	if err != nil {
		return err
	}
	sum := md5.Sum(body) // S3 requires a checksum of this request
	header := http.Header{"Content-Md5": {base64.StdEncoding.EncodeToString(sum[:])}}
	a, err := f.doKey(http.MethodPost, "", url.Values{"delete": {""}}, header, body)
	var out struct {
		Error []struct{ Key, Code, Message string }
	}
	if err == nil {
		err = xml.Unmarshal(a.Body, &out)
	}
	if err == nil && len(out.Error) > 0 {
		e := out.Error[0]
		err = fmt.Errorf("%s: %s: %s", e.Key, e.Code, e.Message)
	}
	return f.failed("delete", "", err)
}

func (f *Folder) do(method, name string, query url.Values, header http.Header, body []byte) (awshttp.Answer, error) {
	return f.doKey(method, f.prefix+name, query, header, body)
}

// doKey sends a request for an object, or for the bucket if the key is empty.
func (f *Folder) doKey(method, key string, query url.Values, header http.Header, body []byte) (awshttp.Answer, error) {
	return f.send(context.Background(), method, key, query, header, body)
}

func (f *Folder) send(ctx context.Context, method, key string, query url.Values, header http.Header, body []byte) (awshttp.Answer, error) {
	to := f.bucket + escaped(key)
	if query != nil {
		to += "?" + query.Encode()
	}
	return f.client.Do(ctx, awshttp.Request{Method: method, URL: to, Header: header, Body: body})
}

// escaped escapes all of a key that S3 wants escaped in a signed URL: all but letters, digits,
// slashes and -._~.
func escaped(key string) string {
	var b bytes.Buffer
	for _, c := range []byte(key) {
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("/-._~", c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

func (f *Folder) failed(op, name string, err error) error {
	if err == nil {
		return nil
	}
	remedy := "the same job goes on"
	if status := statusOf(err).Status; status == http.StatusForbidden || status == http.StatusNotFound {
		remedy = "check the bucket and the role's permissions"
	}
	return fmt.Errorf("can't %s %s: %w; %s", op, strings.TrimSuffix(f.name+"/"+name, "/"), err, remedy)
}

// errorOf returns the error of an answer. One to a conditional write that met another is
// worth another attempt.
func errorOf(status int, body []byte) error {
	var doc struct{ Code, Message string }
	xml.Unmarshal(body, &doc) // an answer that is not XML comes from a gateway
	err := &awshttp.Error{Status: status, Code: cmp.Or(doc.Code, http.StatusText(status)), Message: doc.Message}
	if err.Code == "ConditionalRequestConflict" {
		return conflict{err}
	}
	return err
}

// conflict is an error that the SDK's retryer does not know to be transient.
type conflict struct{ error }

// RetryableError tells the retryer.
func (conflict) RetryableError() bool { return true }

func (c conflict) Unwrap() error { return c.error }
