package s3

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"efsdedupe/fixtures/aws"
	"efsdedupe/fixtures/testkit"
)

// folder returns a folder in a new bucket of an emulator, behind a proxy that answers the
// requests for which it returns true.
func folder(t *testing.T, answers func(http.ResponseWriter, *http.Request) bool) *Folder {
	t.Helper()
	if _, err := aws.EmulatorInstalled(); err != nil {
		t.Skip(err)
	}
	e, err := aws.StartEmulator(t.Context(), t.TempDir(), "s3")
	testkit.Must(t, err)
	t.Cleanup(e.Stop)
	to, err := url.Parse(e.URL)
	testkit.Must(t, err)
	forward := httputil.NewSingleHostReverseProxy(to)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if answers == nil || !answers(w, r) {
			forward.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(proxy.Close)
	f, err := open("s3://bucket/jobs/", aws.EnvironmentOf(proxy.URL).Get)
	testkit.Must(t, err)
	_, err = f.doKey(http.MethodPut, "", nil, nil, nil)
	testkit.Must(t, err)
	return f
}

// TestEmulatorFolder does all that a job does with objects.
func TestEmulatorFolder(t *testing.T) {
	root := folder(t, nil)
	f := root.In("one")
	if _, _, err := f.Get("a", 0, 1); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no object: %v", err)
	}
	testkit.Must(t, f.Put("a", []byte("first")))
	testkit.Must(t, f.Put("a", []byte("second, which loses")))
	for _, test := range []struct {
		offset, n int64
		want      string
	}{{0, 100, "first"}, {1, 3, "irs"}, {3, 100, "st"}, {9, 1, ""}} {
		data, size, err := f.Get("a", test.offset, test.n)
		if err != nil || string(data) != test.want || size != 5 && test.want != "" {
			t.Errorf("%d bytes from %d: %q of %d bytes, %v", test.n, test.offset, data, size, err)
		}
	}
	testkit.Must(t, f.Remove("a"))
	testkit.Must(t, f.Remove("a"))
	for i := range maxRemovals + 2 {
		testkit.Must(t, f.Put(fmt.Sprintf("round/%d & <ü>", i), []byte{1}))
	}
	other := root.In("two")
	testkit.Must(t, other.Put("kept", nil))
	testkit.Must(t, f.RemoveAll())
	if keys, err := f.list(10); err != nil || len(keys) > 0 {
		t.Errorf("after RemoveAll: %q, %v", keys, err)
	}
	if keys, err := other.list(10); err != nil || len(keys) != 1 {
		t.Errorf("of another folder: %q, %v", keys, err)
	}
}

// TestEmulatorUpload writes objects below, at and above the size of a part.
func TestEmulatorUpload(t *testing.T) {
	f := folder(t, nil)
	for _, size := range []int{0, 10, partSize, 2*partSize + 1} {
		content := bytes.Repeat([]byte("0123456789abcdef!"), size/17+1)[:size]
		u := f.Create("report", "text/plain")
		for rest := range slices.Chunk(content, 5<<20) {
			_, err := u.Write(rest)
			testkit.Must(t, err)
		}
		testkit.Must(t, u.Commit())
		got, total, err := f.Get("report", 0, int64(size)+1)
		if err != nil || !bytes.Equal(got, content) || total != int64(size) {
			t.Errorf("%d bytes: got %d of %d, %v", size, len(got), total, err)
		}
	}
	u := f.Create("discarded", "text/plain")
	_, err := u.Write(make([]byte, partSize+1))
	testkit.Must(t, err)
	u.Discard()
	if _, _, err := f.Get("discarded", 0, 1); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what was discarded: %v", err)
	}
}

// TestEmulatorRetries has every request fail twice, in ways that pass.
func TestEmulatorRetries(t *testing.T) {
	var n atomic.Int64
	f := folder(t, func(w http.ResponseWriter, r *http.Request) bool {
		switch n.Add(1) % 3 {
		case 1:
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprint(w, "<Error><Code>SlowDown</Code></Error>")
		case 2:
			w.WriteHeader(http.StatusConflict)
			fmt.Fprint(w, "<Error><Code>ConditionalRequestConflict</Code></Error>")
		default:
			return false
		}
		return true
	})
	testkit.Must(t, f.Put("a", []byte("first")))
	if data, _, err := f.Get("a", 0, 5); err != nil || string(data) != "first" {
		t.Errorf("%q, %v", data, err)
	}
}

func TestErrors(t *testing.T) {
	for code, want := range map[string]string{
		"NoSuchBucket":    "can't get s3://bucket/jobs/a: NoSuchBucket: because; check the bucket and the role's permissions",
		"AccessDenied":    "can't get s3://bucket/jobs/a: AccessDenied: because; check the bucket and the role's permissions",
		"InvalidArgument": "can't get s3://bucket/jobs/a: InvalidArgument: because; the same job goes on",
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(map[string]int{"NoSuchBucket": 404, "AccessDenied": 403, "InvalidArgument": 400}[code])
			fmt.Fprintf(w, "<Error><Code>%s</Code><Message>because</Message></Error>", code)
		}))
		f, err := open("s3://bucket/jobs", aws.EnvironmentOf(server.URL).Get)
		testkit.Must(t, err)
		if _, _, err := f.Get("a", 0, 1); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", code, err, want)
		}
		server.Close()
	}
}

func TestOpen(t *testing.T) {
	env := map[string]string{"AWS_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret"}
	getenv := func(name string) string { return env[name] }
	for name, want := range map[string]string{
		"s3://bucket":         "https://bucket.s3.eu-west-1.amazonaws.com/",
		"s3://bucket/a/b/":    "https://bucket.s3.eu-west-1.amazonaws.com/a/b/",
		"s3://with.dots/jobs": "https://s3.eu-west-1.amazonaws.com/with.dots/jobs/",
	} {
		if f, err := open(name, getenv); err != nil || f.bucket+f.Prefix() != want {
			t.Errorf("%s: %+v, %v", name, f, err)
		}
	}
	for _, name := range []string{"", "bucket", "s3://", "s3://B/x", "/dir"} {
		if _, err := open(name, getenv); err == nil || !strings.Contains(err.Error(), "must be s3://BUCKET/PREFIX") {
			t.Errorf("%q: %v", name, err)
		}
	}
	maps.DeleteFunc(env, func(name, _ string) bool { return name == "AWS_REGION" })
	if _, err := open("s3://bucket", getenv); err == nil || !strings.Contains(err.Error(), "AWS_REGION") {
		t.Errorf("without a region: %v", err)
	}
}
