package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"efsdedupe/fixtures/testkit"
)

// get requests a URL, with headers, and returns the status and the body.
func get(t *testing.T, url string, header map[string]string) (int, []byte) {
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range header {
		r.Header.Set(name, value)
	}
	return do(t, r)
}

func do(t *testing.T, r *http.Request) (int, []byte) {
	t.Helper()
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, body
}

// TestServeHosts sends what clients on this machine and behind proxies send as Host.
func TestServeHosts(t *testing.T) {
	_, url, _ := startServer(t, "127.0.0.1:0", "--allow-host", "scans.example.com", "--allow-host", "Proxy.example.com.:8443")
	port := url[strings.LastIndex(url, ":"):]
	for _, test := range []struct {
		host string // empty: the address
		want int
	}{
		{"", 200},
		{"localhost", 200},
		{"LOCALHOST.", 200},
		{"localhost:1", 200}, // forwarded from another port
		{"[::1]" + port, 200},
		{"127.8.9.1", 200},
		{"[::ffff:127.0.0.1]", 200},
		{"scans.example.com", 200},
		{"SCANS.EXAMPLE.COM.:9", 200},
		{"proxy.example.com:8443", 200},
		{"proxy.example.com", 403},
		{"evil.example", 403},
		{"localhost.evil.example" + port, 403},
		{"127.0.0.1.evil.example", 403},
		{"evil.example:80@localhost", 403},
		{"8.8.8.8", 403},
		{"0.0.0.0" + port, 403}, // it does not listen there
		{"2130706433", 403},
		{"localhost/x", 403},
	} {
		project(t, url, test.host, nil, test.want)
	}
}

// TestServePages sends what browsers send for pages, of this server and of other sites.
func TestServePages(t *testing.T) {
	_, url, _ := startServer(t, "127.0.0.1:0", "--allow-host", "scans.example.com")
	port := url[strings.LastIndex(url, ":"):]
	for _, test := range []struct {
		host   string // empty: the address
		header http.Header
		want   int
	}{
		{"", http.Header{"Origin": {url}, "Content-Type": {"application/json; charset=utf-8"}}, 200},
		{"", http.Header{"Sec-Fetch-Site": {"same-origin"}, "Content-Type": {"application/json"}}, 200},
		{"", http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, 200}, // curl -d
		{"", http.Header{"Content-Type": {"text/plain"}}, 200},
		{"scans.example.com", http.Header{"Origin": {"https://scans.example.com"}, "Content-Type": {"application/json"}}, 200},
		{"", http.Header{"Origin": {"https://scans.example.com"}, "Content-Type": {"application/json"}}, 200}, // the proxy changes Host
		{"localhost:80", http.Header{"Origin": {"http://localhost"}, "Content-Type": {"application/json"}}, 200},
		{"", http.Header{"Origin": {"http://127.0.0.1:1"}, "Content-Type": {"application/json"}}, 403},
		{"", http.Header{"Origin": {"http://localhost" + port}, "Content-Type": {"application/json"}}, 403},
		{"", http.Header{"Origin": {"null"}, "Content-Type": {"application/json"}}, 403},
		{"", http.Header{"Origin": {""}, "Content-Type": {"application/json"}}, 403},
		{"", http.Header{"Origin": {url, "https://evil.example"}, "Content-Type": {"application/json"}}, 403},
		{"", http.Header{"Origin": {"https://evil.example"}}, 403},
		{"", http.Header{"Origin": {"file://"}}, 403},
		{"", http.Header{"Origin": {"chrome-extension://abc"}}, 403},
		{"", http.Header{"Sec-Fetch-Site": {"cross-site"}}, 403},
		{"", http.Header{"Sec-Fetch-Site": {"same-site"}, "Content-Type": {"application/json"}}, 403},
		{"", http.Header{"Sec-Fetch-Site": {"same-origin", "cross-site"}, "Content-Type": {"application/json"}}, 403},
		{"", http.Header{"Origin": {url}, "Content-Type": {"text/plain"}}, 415},
		{"", http.Header{"Origin": {url}, "Content-Type": {"text/plain;application/json"}}, 415},
		{"", http.Header{"Origin": {url}}, 415},
		{"", http.Header{"Sec-Fetch-Site": {"same-origin"}, "Content-Type": {"application/x-www-form-urlencoded"}}, 415},
		{"", http.Header{"Sec-Fetch-Site": {"none"}, "Content-Type": {"multipart/form-data; boundary=x"}}, 415},
	} {
		project(t, url, test.host, test.header, test.want)
	}
	if status, _ := get(t, url+"/v1/healthz", map[string]string{"Origin": "https://evil.example"}); status != 403 {
		t.Errorf("GET for a page of another site: %d", status)
	}
}

// project asks for a projection, and checks the status of the answer.
func project(t *testing.T, url, host string, header http.Header, want int) {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, url+"/v1/projections", strings.NewReader(`{"opens": 1}`))
	testkit.Must(t, err)
	r.Host = host
	maps.Copy(r.Header, header)
	status, body := do(t, r)
	if status != want || status != 200 && !json.Valid(body) {
		t.Errorf("host %q, %v: %d, want %d: %s", host, header, status, want, body)
	}
}

// TestServeAllowHost checks that a name that cannot be meant ends the program.
func TestServeAllowHost(t *testing.T) {
	for _, name := range []string{"https://scans.example.com", "scans.example.com/v1", "a b", "user@host"} {
		b, err := exec.Command(binary, "serve", "--root", t.TempDir(), "--listen", "127.0.0.1:0", "--allow-host="+name).CombinedOutput()
		out := string(b)
		if err == nil || !strings.Contains(out, "cannot allow the host") {
			t.Errorf("%q: %v: %s", name, err, out)
		}
	}
}

// raw sends bytes to a server and returns the answer.
func raw(t *testing.T, url, request string) (*http.Response, string) {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	method, _, _ := strings.Cut(request, " ")
	response, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		t.Fatalf("%.60q: %v", request, err)
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatalf("%.60q: %v", request, err)
	}
	return response, string(body)
}

// TestServeHostile sends what no library sends.
func TestServeHostile(t *testing.T) {
	_, url, _ := startServer(t, "127.0.0.1:0")
	post := func(target, headers, body string) string {
		return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%s\r\n%s", target, headers, body)
	}
	for _, test := range []struct {
		request string
		want    int
	}{
		{post("//v1/scans", "Content-Length: 2\r\n", "{}"), 404},
		{post("/v1//scans", "Content-Length: 2\r\n", "{}"), 404},
		{post("/v1/./scans", "Content-Length: 2\r\n", "{}"), 404},
		{post("/v1/x/../scans", "Content-Length: 2\r\n", "{}"), 404},
		{post("/v1%2Fscans", "Content-Length: 2\r\n", "{}"), 404},
		{post("/v1/%2e%2e/v1/scans", "Content-Length: 2\r\n", "{}"), 404},
		{post("/v1/scans/", "Content-Length: 2\r\n", "{}"), 404},
		{post("/V1/scans", "Content-Length: 2\r\n", "{}"), 404},
		{post("/v1/scans;x", "Content-Length: 2\r\n", "{}"), 404},
		{post("/v1/scans?path=/etc", "Content-Length: 2\r\n", "{}"), 200},
		{post("/v1/sc%61ns", "Content-Length: 2\r\n", "{}"), 200},
		{post("http://evil.example/v1/scans", "Content-Length: 2\r\n", "{}"), 403},
		{post("/v1/scans", "Transfer-Encoding: chunked\r\n", "1\r\n{\r\n1\r\n}\r\n0\r\n\r\n"), 200},
		{post("/v1/scans", "Transfer-Encoding: chunked\r\n", "1\r\n{\r\nx\r\n"), 400},
		{post("/v1/scans", "Transfer-Encoding: chunked\r\n", "11000\r\n"+strings.Repeat(" ", 0x11000)+"\r\n0\r\n\r\n"), 413},
		{post("/v1/scans", "Content-Length: 99999999999\r\n", "{}"), 413},
		{post("/v1/scans", "Content-Length: 99999999999\r\nExpect: 100-continue\r\n", ""), 413},
		{"POST /v1/scans HTTP/1.0\r\nContent-Length: 2\r\n\r\n{}", 403}, // no host
		{"OPTIONS /v1/scans HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 405},
		{"CONNECT /v1/scans HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 405},
		{"TRACE /v1/healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 405},
		{"HEAD /v1/scans HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 405},
		{"HEAD //v1/healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 404},
		{"HEAD /v1/healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 200},
	} {
		response, body := raw(t, url, test.request)
		if response.StatusCode != test.want {
			t.Errorf("%.60q: %d, want %d: %.100s", test.request, response.StatusCode, test.want, body)
		}
		if kind := response.Header.Get("Content-Type"); test.want != 200 && kind != "application/problem+json" || strings.HasPrefix(test.request, "HEAD") != (body == "") {
			t.Errorf("%.60q: %s: %.100s", test.request, kind, body)
		}
		if strings.Contains(body, "127.0.0.1") {
			t.Errorf("%.60q shows addresses: %s", test.request, body)
		}
	}
}
