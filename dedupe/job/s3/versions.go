package s3

import (
	"context"
	"net/http"
	"strings"

	"efsdedupe/dedupe/jobs"
)

// Versions is the objects of a folder that may be replaced, but only by a writer who knows the last
// version, which is an ETag. It is a jobs.Store. If the answer to a Put got lost, it may
// return ErrChanged although it was the one who changed the object.
type Versions struct {
	f *Folder
}

// Versions returns the folder as a store of objects that change.
func (f *Folder) Versions() Versions { return Versions{f} }

// Get implements jobs.Store.
func (v Versions) Get(ctx context.Context, name string) (data []byte, version string, err error) {
	a, err := v.f.send(ctx, http.MethodGet, v.f.prefix+name, nil, nil, nil)
	if isMissing(err) {
		return nil, "", v.f.missing(name)
	}
	return a.Body, a.Header.Get("Etag"), v.f.failed("get", name, err)
}

// Put implements jobs.Store.
func (v Versions) Put(ctx context.Context, name string, data []byte, version string) error {
	condition := http.Header{"If-None-Match": {"*"}}
	if version != "" {
		condition = http.Header{"If-Match": {version}}
	}
	_, err := v.f.send(ctx, http.MethodPut, v.f.prefix+name, nil, condition, data)
	switch statusOf(err).Status {
	case http.StatusPreconditionFailed, http.StatusConflict:
		return jobs.ErrChanged
	}
	if version != "" && isMissing(err) {
		return jobs.ErrChanged
	}
	return v.f.failed("put", name, err)
}

// List implements jobs.Store.
func (v Versions) List(ctx context.Context, prefix, after string, n int) (names []string, err error) {
	if after != "" {
		after = v.f.prefix + after
	}
	for more := true; more && len(names) < n; {
		var keys []string
		if keys, more, err = v.f.listAfter(ctx, v.f.prefix+prefix, after, n-len(names)); err != nil {
			return nil, err
		}
		for _, key := range keys {
			names = append(names, strings.TrimPrefix(key, v.f.prefix))
			after = key
		}
	}
	return names, nil
}

// Remove implements jobs.Store.
func (v Versions) Remove(ctx context.Context, name string) error {
	_, err := v.f.send(ctx, http.MethodDelete, v.f.prefix+name, nil, nil, nil)
	return v.f.failed("delete", name, err)
}
