package awshttp

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
)

// service answers requests on 127.0.0.1 as answer says, which gets the number of the
// connection and of the request on it, from 0 on. If it returns false, the connection is
// closed.
func service(t *testing.T, answer func(c net.Conn, connection, request int) bool) (client *Client, requests *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	requests = new(atomic.Int64)
	go func() {
		for connection := 0; ; connection++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				in := bufio.NewReader(c)
				for request := 0; ; request++ {
					r, err := http.ReadRequest(in)
					if err != nil {
						return
					}
					if _, err := io.Copy(io.Discard, r.Body); err != nil || r.Header.Values("Idempotency-Key") != nil {
						t.Errorf("%v, header %v", err, r.Header)
					}
					if requests.Add(1); !answer(c, connection, request) {
						return
					}
				}
			}()
		}
	}()
	environment := map[string]string{"AWS_REGION": "eu-west-1", "AWS_ENDPOINT_URL": "http://" + l.Addr().String(),
		"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "key"}
	client, err = New("dynamodb", func(key string) string { return environment[key] }, Options{AttemptTime: time.Minute, Connections: 2})
	if err != nil {
		t.Fatal(err)
	}
	client.ErrorOf = JSONError
	client.retries = retry.NewStandard(func(o *retry.StandardOptions) {
		o.Backoff = retry.BackoffDelayerFunc(func(int, error) (time.Duration, error) { return 0, nil })
	})
	t.Cleanup(client.CloseIdleConnections)
	return client, requests
}

// answer writes an answer of three bytes, or its beginning.
func answer(c net.Conn, body string) bool {
	_, err := fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", body)
	return err == nil
}

// TestLostConnections has connections end before the whole answer. The client sends the
// request again, even a POST, at most three times in all.
func TestLostConnections(t *testing.T) {
	for name, test := range map[string]struct {
		answer   func(c net.Conn, connection, request int) bool
		calls    int
		requests int64
		fails    bool
	}{
		"idle": {func(c net.Conn, _, request int) bool { return request == 0 && answer(c, "yes") }, 4, 7, false},
		"new":  {func(c net.Conn, connection, _ int) bool { return connection == 2 && answer(c, "yes") }, 1, 3, false},
		"in an answer": {func(c net.Conn, connection, _ int) bool {
			if connection == 1 {
				return answer(c, "yes")
			}
			answer(c, "y")
			return false
		}, 1, 2, false},
		"always": {func(net.Conn, int, int) bool { return false }, 1, 3, true},
	} {
		t.Run(name, func(t *testing.T) {
			client, requests := service(t, test.answer)
			for range test.calls {
				a, err := client.Do(t.Context(), Request{Method: http.MethodPost, URL: client.Endpoint, Header: http.Header{"X-Amz-Target": {"Get"}}, Body: []byte("{}")})
				if test.fails != (err != nil) || !test.fails && string(a.Body) != "yes" {
					t.Errorf("%q, %v", a.Body, err)
				}
			}
			if n := requests.Load(); n != test.requests {
				t.Errorf("%d requests, want %d", n, test.requests)
			}
		})
	}
}
