// Package awshttp sends signed requests to AWS services.
//
// From the AWS SDK it uses only what is the same for every service: credentials, signing
// and retries. The clients of the SDK, with their tables of shapes and endpoints, would make
// every start of a program 1 to 3 ms slower.
//
//	client.go       one request: signed, sent, retried
//	credentials.go  where credentials come from
package awshttp

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// Client sends requests to a service.
type Client struct {
	Endpoint string // such as https://dynamodb.eu-west-1.amazonaws.com
	Custom   bool   // the environment names the endpoint

	Credentials aws.CredentialsProvider

	// ErrorOf returns the error of an answer whose status is not 2xx: an *Error, for which
	// Do may try again.
	ErrorOf func(status int, body []byte) error

	service, region string
	attemptTime     time.Duration
	signer          *v4.Signer
	retries         aws.Retryer
	http            *http.Client
}

// Options say how a service wants its requests.
type Options struct {
	AttemptTime time.Duration // limit of one attempt
	Attempts    int           // at most; 0 means 3
	Connections int           // that stay open
}

// s3 signs paths as they are, and the body twice.
const s3 = "s3"

const (
	// dialTime limits the part of an attempt spent on connecting. Without a route to the
	// service nobody refuses a connection.
	dialTime = time.Second

	// idleTime is how long to keep an idle connection. A frozen Lambda environment does
	// not notice when the other end closes one.
	idleTime = 30 * time.Second
)

// New returns a client for a service. Region, endpoint and credentials come from the
// environment: AWS_REGION, AWS_ENDPOINT_URL_SERVICE or AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID
// and so on, or the role of the container or machine. New sends nothing.
func New(service string, getenv func(string) string, o Options) (*Client, error) {
	region := cmp.Or(getenv("AWS_REGION"), getenv("AWS_DEFAULT_REGION"))
	if region == "" {
		return nil, errors.New("set AWS_REGION to the region that it is in")
	}
	domain := "amazonaws.com"
	if strings.HasPrefix(region, "cn-") {
		domain = "amazonaws.com.cn"
	}
	credentials, err := credentialsFrom(getenv)
	if err != nil {
		return nil, err
	}
	custom := cmp.Or(getenv("AWS_ENDPOINT_URL_"+strings.ToUpper(service)), getenv("AWS_ENDPOINT_URL"))
	return &Client{
		Endpoint:    cmp.Or(custom, fmt.Sprintf("https://%s.%s.%s", service, region, domain)),
		Custom:      custom != "",
		Credentials: aws.NewCredentialsCache(credentials),
		service:     service,
		region:      region,
		attemptTime: o.AttemptTime,
		signer:      v4.NewSigner(func(s *v4.SignerOptions) { s.DisableURIPathEscaping = service == s3 }),
		retries:     retry.NewStandard(func(s *retry.StandardOptions) { s.MaxAttempts = cmp.Or(o.Attempts, s.MaxAttempts) }),
		http: &http.Client{Transport: &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			DialContext:         (&net.Dialer{Timeout: dialTime}).DialContext,
			IdleConnTimeout:     idleTime,
			MaxIdleConnsPerHost: o.Connections,
			ForceAttemptHTTP2:   true,
		}},
	}, nil
}

// Error is an error in an answer from a service. The SDK's retryer recognizes throttling by
// its methods.
type Error struct {
	Status        int
	Code, Message string
}

func (e *Error) Error() string { return strings.TrimSuffix(e.Code+": "+e.Message, ": ") }

// ErrorCode returns what the service calls the error.
func (e *Error) ErrorCode() string { return e.Code }

// HTTPStatusCode returns the status of the answer.
func (e *Error) HTTPStatusCode() int { return e.Status }

// Request is a request. Its URL is absolute.
type Request struct {
	Method, URL string
	Header      http.Header // may be nil
	Body        []byte
}

// Answer is an answer whose status is 2xx.
type Answer struct {
	Header http.Header
	Body   []byte
}

// Do sends a request, again if that makes sense. Its error is that of the last attempt.
func (c *Client) Do(ctx context.Context, r Request) (Answer, error) {
	for attempt := 1; ; attempt++ {
		a, err := c.attempt(ctx, r)
		if err == nil || attempt == c.Attempts() || !c.retries.IsErrorRetryable(err) && !isTimeout(ctx, err) && !isLost(err) {
			return a, err
		}
		if waited := c.Wait(ctx, attempt, err); waited != nil {
			return a, err
		}
	}
}

// Attempts returns how often the client sends a request at most.
func (c *Client) Attempts() int { return c.retries.MaxAttempts() }

// isTimeout reports whether one attempt took too long, but there is still time for
// others.
func isTimeout(ctx context.Context, err error) bool {
	return errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil
}

// isLost reports whether a connection ended before the whole answer. The SDK's retryer
// knows only a connection that was reset. Every request of this program may be sent twice.
func isLost(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.EPIPE)
}

// Wait waits after an attempt that failed, before another one.
func (c *Client) Wait(ctx context.Context, attempt int, err error) error {
	delay, err := c.retries.RetryDelay(attempt, err)
	if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(delay):
		return nil
	}
}

func (c *Client) attempt(ctx context.Context, q Request) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, c.attemptTime)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, q.Method, q.URL, bytes.NewReader(q.Body))
	if err != nil {
		return Answer{}, err
	}
	if q.Header != nil {
		r.Header = q.Header.Clone()
	}
	credentials, err := c.Credentials.Retrieve(ctx)
	if err != nil {
		return Answer{}, fmt.Errorf("no credentials: %w", err)
	}
	sum := sha256.Sum256(q.Body)
	hash := hex.EncodeToString(sum[:])
	if c.service == s3 { // it checks the body
		r.Header.Set("X-Amz-Content-Sha256", hash)
	}
	if err := c.signer.SignHTTP(ctx, credentials, r, hash, c.service, c.region, time.Now()); err != nil {
		return Answer{}, err
	}
	// This header, which is not sent, has the transport repeat a request on another
	// connection if the service closed an idle one at that moment.
	r.Header["Idempotency-Key"] = nil
	response, err := c.http.Do(r)
	if err != nil {
		return Answer{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return Answer{}, err
	}
	if response.StatusCode/100 != 2 {
		return Answer{}, c.ErrorOf(response.StatusCode, body)
	}
	return Answer{response.Header, body}, nil
}

// JSONError is the ErrorOf of services that speak JSON.
func JSONError(status int, body []byte) error {
	var doc struct {
		Type    string `json:"__type"` // com.amazonaws.dynamodb.v20120810#ResourceNotFoundException
		Message string `json:"message"`
	}
	json.Unmarshal(body, &doc) // an answer that is not JSON comes from a gateway
	_, code, found := strings.Cut(doc.Type, "#")
	if !found {
		code = cmp.Or(doc.Type, http.StatusText(status))
	}
	// For a signature that does not match, the lines after the first contain the request
	// as it should have been signed, with the session token.
	message, _, _ := strings.Cut(doc.Message, "\n")
	return &Error{Status: status, Code: code, Message: message}
}

// CloseIdleConnections closes the connections that no request uses.
func (c *Client) CloseIdleConnections() { c.http.CloseIdleConnections() }
