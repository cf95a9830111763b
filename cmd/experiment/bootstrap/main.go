// Command bootstrap is the Lambda function that the experiment measures: a
// bootstrap, for the runtime provided.al2023, that runs tasks; see package task.
// It is a program of its own so that nothing else counts: not the service of
// cmd/lambda, nor what cmd/experiment needs to measure it.
package main

import (
	"context"
	"log/slog"
	"os"

	"github.com/aws/aws-lambda-go/lambda"

	"efsdedupe/cmd/experiment/internal/task"
)

func main() {
	if isWorker, err := task.RunWorker(os.Stdin, os.Stdout, nil); isWorker {
		if err != nil {
			slog.New(slog.NewJSONHandler(os.Stderr, nil)).Error("the worker ends", "error", err.Error())
			os.Exit(2)
		}
		return
	}
	slog.SetDefault(slog.New(slog.NewJSONHandler(os.Stderr, nil))) // for what aws-lambda-go logs
	lambda.Start(handler{task.New(nil)})
}

// handler runs tasks until they are done or Lambda kills it. It says nothing at
// its deadline: whether that came in time would be left to chance.
type handler struct {
	*task.Function
}

// Invoke makes a handler a [lambda.Handler].
func (h handler) Invoke(ctx context.Context, payload []byte) ([]byte, error) {
	return h.Function.Invoke(context.WithoutCancel(ctx), payload)
}
