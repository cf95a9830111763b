package dynamodb

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
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// client sends operations to DynamoDB.
type client struct {
	region, endpoint string
	credentials      aws.CredentialsProvider
	signer           *v4.Signer
	retries          aws.Retryer
	http             *http.Client
}

const (
	// attemptTime limits one attempt, dialTime the part of it spent on connecting.
	// Without a route to DynamoDB nobody refuses a connection.
	attemptTime = 3 * time.Second
	dialTime    = time.Second

	// idleTime is how long to keep an idle connection. A frozen Lambda environment does
	// not notice when the other end closes one.
	idleTime = 30 * time.Second
)

func newClient(getenv func(string) string) (client, error) {
	region := cmp.Or(getenv("AWS_REGION"), getenv("AWS_DEFAULT_REGION"))
	if region == "" {
		return client{}, errors.New("set AWS_REGION to the region that it is in")
	}
	domain := "amazonaws.com"
	if strings.HasPrefix(region, "cn-") {
		domain = "amazonaws.com.cn"
	}
	credentials, err := credentialsFrom(getenv)
	if err != nil {
		return client{}, err
	}
	return client{
		region:      region,
		endpoint:    cmp.Or(getenv("AWS_ENDPOINT_URL_DYNAMODB"), getenv("AWS_ENDPOINT_URL"), fmt.Sprintf("https://dynamodb.%s.%s", region, domain)),
		credentials: aws.NewCredentialsCache(credentials),
		signer:      v4.NewSigner(),
		retries:     retry.NewStandard(),
		http: &http.Client{Transport: &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			DialContext:         (&net.Dialer{Timeout: dialTime}).DialContext,
			IdleConnTimeout:     idleTime,
			MaxIdleConnsPerHost: atOnce,
			ForceAttemptHTTP2:   true,
		}},
	}, nil
}

// apiError is an error in an answer from DynamoDB. The SDK's retryer recognizes
// throttling by its methods.
type apiError struct {
	status        int
	code, message string
}

func (e *apiError) Error() string       { return strings.TrimSuffix(e.code+": "+e.message, ": ") }
func (e *apiError) ErrorCode() string   { return e.code }
func (e *apiError) HTTPStatusCode() int { return e.status }

// call performs an operation, and retries it if that makes sense.
func (c *client) call(ctx context.Context, operation string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	for attempt := 1; ; attempt++ {
		err := c.attempt(ctx, operation, body, out)
		if err == nil || attempt == c.retries.MaxAttempts() || !c.retries.IsErrorRetryable(err) && !isTimeout(ctx, err) {
			return err
		}
		if waited := c.wait(ctx, attempt, err); waited != nil {
			return err
		}
	}
}

// isTimeout reports whether one attempt took too long, but there is still time for
// others.
func isTimeout(ctx context.Context, err error) bool {
	return errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil
}

// wait waits before another attempt.
func (c *client) wait(ctx context.Context, attempt int, err error) error {
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

// untilDone repeats a step until nothing is left to do.
func (c *client) untilDone(ctx context.Context, step func() (left int, err error)) error {
	for attempt := 1; ; attempt++ {
		left, err := step()
		if err != nil || left == 0 {
			return err
		}
		if attempt == c.retries.MaxAttempts() {
			return errBusy
		}
		if err := c.wait(ctx, attempt, errBusy); err != nil {
			return err
		}
	}
}

func (c *client) attempt(ctx context.Context, operation string, body []byte, out any) error {
	ctx, cancel := context.WithTimeout(ctx, attemptTime)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.endpoint, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/x-amz-json-1.0")
	r.Header.Set("X-Amz-Target", "DynamoDB_20120810."+operation)
	credentials, err := c.credentials.Retrieve(ctx)
	if err != nil {
		return fmt.Errorf("no credentials: %w", err)
	}
	hash := sha256.Sum256(body)
	if err := c.signer.SignHTTP(ctx, credentials, r, hex.EncodeToString(hash[:]), "dynamodb", c.region, time.Now()); err != nil {
		return err
	}
	response, err := c.http.Do(r)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return errorOf(response.StatusCode, answer)
	}
	return json.Unmarshal(answer, out)
}

func errorOf(status int, answer []byte) error {
	var doc struct {
		Type    string `json:"__type"` // com.amazonaws.dynamodb.v20120810#ResourceNotFoundException
		Message string `json:"message"`
	}
	json.Unmarshal(answer, &doc) // an answer that is not JSON comes from a gateway
	_, code, found := strings.Cut(doc.Type, "#")
	if !found {
		code = cmp.Or(doc.Type, http.StatusText(status))
	}
	// For a signature that does not match, the lines after the first contain the request
	// as it should have been signed, with the session token.
	message, _, _ := strings.Cut(doc.Message, "\n")
	return &apiError{status, code, message}
}
