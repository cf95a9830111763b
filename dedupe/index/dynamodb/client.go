package dynamodb

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"efsdedupe/dedupe/internal/awshttp"
)

// client sends operations to DynamoDB.
type client struct {
	*awshttp.Client
}

// attemptTime limits one attempt.
const attemptTime = 3 * time.Second

func newClient(getenv func(string) string) (client, error) {
	c, err := awshttp.New("dynamodb", getenv, awshttp.Options{AttemptTime: attemptTime, Connections: atOnce})
	if err != nil {
		return client{}, err
	}
	c.ErrorOf = awshttp.JSONError
	return client{c}, nil
}

// call performs an operation, and retries it if that makes sense.
func (c *client) call(ctx context.Context, operation string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	answer, err := c.Do(ctx, awshttp.Request{Method: http.MethodPost, URL: c.Endpoint, Body: body, Header: http.Header{
		"Content-Type": {"application/x-amz-json-1.0"},
		"X-Amz-Target": {"DynamoDB_20120810." + operation},
	}})
	if err != nil {
		return err
	}
	return json.Unmarshal(answer.Body, out)
}

// untilDone repeats a step until nothing is left to do.
func (c *client) untilDone(ctx context.Context, step func() (left int, err error)) error {
	for attempt := 1; ; attempt++ {
		left, err := step()
		if err != nil || left == 0 {
			return err
		}
		if attempt == c.Attempts() {
			return errBusy
		}
		if err := c.Wait(ctx, attempt, errBusy); err != nil {
			return err
		}
	}
}
