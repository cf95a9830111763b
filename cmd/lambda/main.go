// Command lambda is the service as a Lambda function: the bootstrap of the
// runtime provided.al2023. It makes an HTTP request of each event, and an answer
// for Lambda of the response; all else is the work of package service.
//
//	main.go      a function, or one of its worker processes
//	config.go    what the environment says
//	event.go     which kind of event it is
//	request.go   event → HTTP request, and who asks
//	response.go  HTTP response → answer to the event
package main

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"os"

	"github.com/aws/aws-lambda-go/lambda"

	"efsdedupe/dedupe"
	"efsdedupe/dedupe/service"
)

func main() {
	if isWorker, err := dedupe.RunWorker(os.Stdin, os.Stdout); isWorker {
		exit(err)
	}
	exit(run(os.Getenv, os.Stdout, os.Stderr))
}

// exit ends the process. What it logs, Lambda tells nobody but the log: it is the
// only place that says why a function does not start.
func exit(err error) {
	if err == nil {
		os.Exit(0)
	}
	slog.New(slog.NewJSONHandler(os.Stderr, nil)).Error("the function ends", "event", "function_ended", "error", err.Error())
	os.Exit(2)
}

// run answers events until Lambda ends the process. It returns only what is wrong
// with the configuration.
func run(getenv func(string) string, metrics, logs io.Writer) error {
	log := slog.New(slog.NewJSONHandler(logs, nil))
	slog.SetDefault(log) // for what aws-lambda-go logs
	config, err := configFrom(getenv)
	if err != nil {
		return err
	}
	config.Log, config.Metrics = log, metrics
	handler, err := service.New(config)
	if err != nil {
		return err
	}
	lambda.Start(function{handler})
	return nil
}

// function answers events with what a handler answers to requests.
type function struct {
	http.Handler
}

// Invoke makes a function a [lambda.Handler].
func (f function) Invoke(ctx context.Context, payload []byte) ([]byte, error) {
	e, err := parse(payload)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, e.patience())
	defer cancel()
	r, err := e.request(ctx)
	if err != nil {
		return nil, err
	}
	w := newRecorder()
	f.ServeHTTP(w, r)
	return encode(e, w)
}
