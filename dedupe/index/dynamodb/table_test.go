package dynamodb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"efsdedupe/dedupe"
	"efsdedupe/dedupe/cost"
	"efsdedupe/dedupe/index"
	"efsdedupe/dedupe/internal/awshttp"
	"efsdedupe/fixtures/aws"
)

const tableName = "digests"

func open(t *testing.T, endpoint string) *Table {
	t.Helper()
	c, err := newClient(aws.EnvironmentOf(endpoint).Get)
	if err != nil {
		t.Fatal(err)
	}
	table := &Table{c, tableName, time.Now}
	t.Cleanup(func() { table.Close() })
	return table
}

// newTable returns an existing table, and its server's URL.
func newTable(t *testing.T) (*Table, string) {
	t.Helper()
	endpoint := aws.DynamoDBForTest(t, tableName)
	return open(t, endpoint), endpoint
}

func keys(n int) []index.Key {
	all := make([]index.Key, n)
	for i := range all {
		copy(all[i][:], fmt.Sprintf("%016d", i))
	}
	return all
}

// TestTable stores, finds, changes and removes more blocks than fit in one operation of
// each kind, some as large as blocks get.
func TestTable(t *testing.T) {
	table, _ := newTable(t)
	all := keys(250)
	want := make(map[index.Key][]byte)
	for i, key := range all {
		want[key] = []byte(strings.Repeat("x", 1+i*10))
	}
	want[all[7]] = make([]byte, 200<<10) // a hundred of these exceed 16 MB, the most of one answer
	store := func(blocks map[index.Key][]byte) index.Units {
		t.Helper()
		u, err := table.Update(t.Context(), all, func(key index.Key, _ []byte) []byte { return blocks[key] })
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	if u := store(want); u.Write < 250 {
		t.Errorf("%+v for 250 blocks", u)
	}
	check := func(want map[index.Key][]byte) {
		t.Helper()
		got, u, err := table.Get(t.Context(), all)
		if diff := cmp.Diff(want, got); err != nil || u.Read < 125 || diff != "" {
			t.Errorf("%v, %+v\n%s", err, u, diff)
		}
		got = make(map[index.Key][]byte)
		err = table.All(t.Context(), func(key index.Key, block []byte) bool {
			got[key] = block
			return true
		})
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%v\n%s", err, diff)
		}
	}
	check(want)
	for _, key := range all[:100] {
		delete(want, key)
	}
	want[all[249]] = []byte("changed")
	store(want)
	check(want)
	n := 0
	if err := table.All(t.Context(), func(index.Key, []byte) bool { n++; return n < 3 }); err != nil || n != 3 {
		t.Errorf("%d blocks, %v", n, err)
	}
}

// tree makes 100 files in one directory, 50 each of two contents.
func tree(t *testing.T) (root string) {
	root = t.TempDir()
	for i := range 100 {
		if err := os.WriteFile(filepath.Join(root, fmt.Sprint("f", i)), []byte(fmt.Sprint("content ", i%2)), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// use scans with an index in a table, on a machine whose clock trusts all files.
func use(t *testing.T, store index.Store, root string) (dedupe.Report, *index.Scan, error) {
	t.Helper()
	x := index.New(store)
	x.Now = func() time.Time { return time.Now().Add(time.Hour) }
	sel, eng := dedupe.Selection{Roots: []string{root}}, dedupe.Engine{Mode: dedupe.Goroutines, Workers: 8}
	use := x.Attach(sel, &eng)
	r, err := dedupe.Scan(t.Context(), sel, eng)
	if err != nil {
		t.Fatal(err)
	}
	return r, use, use.Flush(t.Context())
}

// scan scans a tree.
func scan(t *testing.T, store index.Store, root string) (dedupe.Report, index.Units, error) {
	t.Helper()
	r, use, err := use(t, store, root)
	if !r.Complete || len(r.Groups) != 2 || r.Stats.FilesKnown+r.Stats.FilesHashed != 100 {
		t.Errorf("%+v", r.Stats)
	}
	return r, use.Units(), err
}

// TestScan checks that a scan of 100 files costs one read unit from any machine, and that
// changing one file costs one write of its block.
func TestScan(t *testing.T) {
	table, endpoint := newTable(t)
	root := tree(t)
	r, units, err := scan(t, table, root)
	if err != nil || r.Stats.Opens != 100 || units.Write == 0 || units.Write > 8 {
		t.Errorf("the first: %+v, %+v, %v", r.Stats, units, err)
	}
	r, units, err = scan(t, open(t, endpoint), root)
	if err != nil || r.Stats.Opens != 0 || units != (index.Units{Read: 1}) {
		t.Errorf("the second: %+v, %+v, %v", r.Stats, units, err)
	}
	if err := os.WriteFile(filepath.Join(root, "f0"), []byte("content 1"), 0o666); err != nil {
		t.Fatal(err)
	}
	r, units, err = scan(t, table, root)
	if err != nil || r.Stats.Opens != 1 || units.Read != 1+2 || units.Write == 0 || units.Write > 8 {
		t.Errorf("after a change: %+v, %+v, %v", r.Stats, units, err)
	}
}

// TestItems compares the predicted cost of an index's items with what a table charges,
// for looking up everything and for rewriting everything.
func TestItems(t *testing.T) {
	table, _ := newTable(t)
	root := t.TempDir()
	for dir, files := range map[string]int{"one": 1, "hundred": 100, "most": 128, "split": 750} {
		if err := os.Mkdir(filepath.Join(root, dir), 0o777); err != nil {
			t.Fatal(err)
		}
		for i := range files {
			if err := os.WriteFile(filepath.Join(root, dir, fmt.Sprint("f", i)), []byte("same"), 0o666); err != nil {
				t.Fatal(err)
			}
		}
	}
	check := func(what string, rewritten int64) {
		t.Helper()
		_, use, err := use(t, table, root)
		if err != nil {
			t.Fatal(err)
		}
		items := cost.ItemsOf(Items(use.Blocks()))
		got := use.Units()
		want := index.Units{Read: float64(items.LookUp+rewritten*items.Reread) / 1e6, Write: float64(rewritten*items.Rewrite) / 1e6}
		// Each block may be a unit off: an entry is a byte shorter in some parts of a
		// second, and the number of entries of a part depends on inodes. The sizes of
		// parts are far from a multiple of 4 KiB, which a unit reads.
		blocks := 0.0
		for range use.Blocks() {
			blocks++
		}
		if math.Abs(got.Read-want.Read) > 2 || math.Abs(got.Write-want.Write) > float64(rewritten)*blocks || want.Read < 9 {
			t.Errorf("%s: charged %+v, want %+v", what, got, want)
		}
	}
	touch := func(at time.Time) {
		t.Helper()
		err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			return os.Chtimes(path, at, at)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	touch(time.Unix(1e9, 1))
	if _, _, err := use(t, table, root); err != nil {
		t.Fatal(err)
	}
	check("nothing changed", 0)
	touch(time.Unix(1e9, 2))
	check("all changed", 1)
	check("nothing changed since", 0)
}

// proxy runs in front of a server and calls do for each request. do reports whether it
// has answered the request itself.
func proxy(t *testing.T, endpoint string, do func(w http.ResponseWriter, r *http.Request) bool) string {
	t.Helper()
	to, err := url.Parse(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	forward := httputil.NewSingleHostReverseProxy(to)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !do(w, r) {
			forward.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func refuse(w http.ResponseWriter, status int, code string) bool {
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"__type": "com.amazonaws.dynamodb.v20120810#%s", "message": "as the test wants it"}`, code)
	return true
}

// TestFailures checks that whatever is wrong with a table only causes misses, and an
// error that names the table, soon.
func TestFailures(t *testing.T) {
	_, endpoint := newTable(t)
	root := tree(t)
	if _, _, err := scan(t, open(t, endpoint), root); err != nil {
		t.Fatal(err)
	}
	gone := httptest.NewServer(nil)
	gone.Close()
	for name, test := range map[string]struct {
		endpoint string
		want     string
	}{
		"throttled": {proxy(t, endpoint, func(w http.ResponseWriter, r *http.Request) bool {
			return refuse(w, 400, "ProvisionedThroughputExceededException")
		}), "ProvisionedThroughputExceededException"},
		"no such table": {proxy(t, endpoint, func(w http.ResponseWriter, r *http.Request) bool {
			return refuse(w, 400, "ResourceNotFoundException")
		}), "ResourceNotFoundException: as the test wants it"},
		"wrong credentials": {proxy(t, endpoint, func(w http.ResponseWriter, r *http.Request) bool {
			return refuse(w, 400, "UnrecognizedClientException")
		}), "UnrecognizedClientException"},
		"nonsense": {proxy(t, endpoint, func(w http.ResponseWriter, r *http.Request) bool {
			fmt.Fprint(w, "<html>")
			return true
		}), "invalid character"},
		"not DynamoDB": {proxy(t, endpoint, func(w http.ResponseWriter, r *http.Request) bool {
			http.Error(w, "<html>", http.StatusForbidden)
			return true
		}), "Forbidden"},
		"gone": {gone.URL, "connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, _, err := scan(t, open(t, test.endpoint), root)
			if r.Stats.FilesKnown != 0 || err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), `the table "digests"`) {
				t.Errorf("%+v, %v", r.Stats, err)
			}
		})
	}
}

// TestUnprocessed checks that work a table leaves undone is requested again.
func TestUnprocessed(t *testing.T) {
	_, endpoint := newTable(t)
	var refused atomic.Int64
	half := proxy(t, endpoint, func(w http.ResponseWriter, r *http.Request) bool {
		if refused.Add(1)%3 == 0 {
			return refuse(w, 500, "InternalServerError")
		}
		return cut(t, endpoint, w, r)
	})
	table := open(t, half)
	all := keys(30)
	u, err := table.Update(t.Context(), all, func(key index.Key, _ []byte) []byte { return key[:] })
	if err != nil || u.Write != 30 {
		t.Fatalf("%+v, %v", u, err)
	}
	got, u, err := table.Get(t.Context(), all)
	if err != nil || len(got) != 30 || u.Read != 15 {
		t.Errorf("%d blocks, %+v, %v", len(got), u, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := table.Get(ctx, all); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// cut does at most 20 items of a batch and returns the rest, as DynamoDB does when it is
// overloaded.
func cut(t *testing.T, endpoint string, w http.ResponseWriter, r *http.Request) bool {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return refuse(w, 500, "InternalServerError")
	}
	var in, rest map[string]json.RawMessage
	var left string
	switch {
	case strings.HasSuffix(r.Header.Get("X-Amz-Target"), "BatchGetItem"):
		var all map[string]wanted
		json.Unmarshal(body, &in)
		json.Unmarshal(in["RequestItems"], &all)
		if len(all[tableName].Keys) > 20 {
			rest = map[string]json.RawMessage{tableName: marshal(t, wanted{Keys: all[tableName].Keys[20:]})}
			all[tableName] = wanted{Keys: all[tableName].Keys[:20]}
		}
		left, in["RequestItems"] = "UnprocessedKeys", marshal(t, all)
	case strings.HasSuffix(r.Header.Get("X-Amz-Target"), "BatchWriteItem"):
		var all map[string][]write
		json.Unmarshal(body, &in)
		json.Unmarshal(in["RequestItems"], &all)
		if len(all[tableName]) > 20 {
			rest = map[string]json.RawMessage{tableName: marshal(t, all[tableName][20:])}
			all[tableName] = all[tableName][:20]
		}
		left, in["RequestItems"] = "UnprocessedItems", marshal(t, all)
	}
	forward, err := http.NewRequestWithContext(r.Context(), http.MethodPost, endpoint, strings.NewReader(string(marshal(t, in))))
	if err != nil {
		return refuse(w, 500, "InternalServerError")
	}
	forward.Header = r.Header.Clone()
	answer, err := http.DefaultClient.Do(forward)
	if err != nil {
		return refuse(w, 500, "InternalServerError")
	}
	defer answer.Body.Close()
	var out map[string]json.RawMessage
	if err := json.NewDecoder(answer.Body).Decode(&out); err != nil || answer.StatusCode != 200 {
		return refuse(w, answer.StatusCode, "InternalServerError")
	}
	if rest != nil {
		out[left] = marshal(t, rest)
	}
	w.Write(marshal(t, out))
	return true
}

func marshal(t *testing.T, v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		t.Error(err)
	}
	return b
}

// TestSlow checks that a table that does not answer delays nobody beyond the deadline.
func TestSlow(t *testing.T) {
	released := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-released }))
	defer server.Close()
	defer close(released)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, _, err := open(t, server.URL).Get(ctx, keys(1)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

// TestEnvironment checks where region, endpoint and credentials come from.
func TestEnvironment(t *testing.T) {
	role := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "token" {
			http.Error(w, "no token", http.StatusUnauthorized)
			return
		}
		fmt.Fprintf(w, `{"AccessKeyId": "of the role", "SecretAccessKey": "s", "Token": "t", "Expiration": %q}`, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	}))
	defer role.Close()
	for _, test := range []struct {
		env                     map[string]string
		endpoint, id, mustError string
	}{
		{map[string]string{"AWS_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "s"}, "https://dynamodb.eu-west-1.amazonaws.com", "a", ""},
		{map[string]string{"AWS_DEFAULT_REGION": "cn-north-1", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "s"}, "https://dynamodb.cn-north-1.amazonaws.com.cn", "a", ""},
		{map[string]string{"AWS_REGION": "eu-west-1", "AWS_ENDPOINT_URL_DYNAMODB": "http://x", "AWS_ENDPOINT_URL": "http://y", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "s"}, "http://x", "a", ""},
		{map[string]string{"AWS_REGION": "eu-west-1", "AWS_CONTAINER_CREDENTIALS_FULL_URI": role.URL, "AWS_CONTAINER_AUTHORIZATION_TOKEN": "token"}, "https://dynamodb.eu-west-1.amazonaws.com", "of the role", ""},
		{map[string]string{"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "s"}, "", "", "AWS_REGION"},
		{map[string]string{"AWS_REGION": "eu-west-1", "AWS_PROFILE": "p"}, "", "", "export-credentials"},
	} {
		c, err := newClient(func(name string) string { return test.env[name] })
		if test.mustError != "" {
			if err == nil || !strings.Contains(err.Error(), test.mustError) {
				t.Errorf("%v: %v", slices.Sorted(maps.Keys(test.env)), err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%v: %v", test.env, err)
			continue
		}
		got, err := c.Credentials.Retrieve(t.Context())
		if err != nil || got.AccessKeyID != test.id || c.Endpoint != test.endpoint {
			t.Errorf("%v: %s, %s, %v", test.env, got.AccessKeyID, c.Endpoint, err)
		}
	}
}

// TestErrorIsOneLine checks that the error of a bad signature does not show the request,
// which contains the session token.
func TestErrorIsOneLine(t *testing.T) {
	answer := `{"__type": "com.amazon.coral.service#InvalidSignatureException", "message": "The request signature we calculated does not match.\n\nThe Canonical String for this request should have been\n'POST\n/\n\nx-amz-security-token:SECRET\n'"}`
	if got, want := awshttp.JSONError(400, []byte(answer)).Error(), "InvalidSignatureException: The request signature we calculated does not match."; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestOpen(t *testing.T) {
	t.Setenv("AWS_REGION", "us-east-1")
	t.Setenv("AWS_PROFILE", "")
	for name, ok := range map[string]bool{
		"digests": true, "a-b_c.D9": true, strings.Repeat("x", 255): true,
		"": false, "ab": false, strings.Repeat("x", 256): false, "a/b": false, "digests ": false, "täble": false, "arn:aws:dynamodb:us-east-1:1:table/x": false,
	} {
		if _, err := Open(name); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
}
