// Command lambda runs the service as a Lambda function. It is the bootstrap for the
// runtime provided.al2023. It turns each event into an HTTP request for package
// service, and the HTTP response into the answer to the event.
//
//	main.go      starts the function, or one of its worker processes
//	config.go    environment variables
//	event.go     kinds of events
//	request.go   event → HTTP request, and who sent it
//	response.go  HTTP response → answer to the event
//	helper.go    steps of jobs, in a function of its own
//	jobsapi.go   the API of jobs, in another one
package main

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"os"

	"github.com/aws/aws-lambda-go/lambda"

	"efsdedupe/dedupe"
	"efsdedupe/dedupe/limits"
	"efsdedupe/dedupe/service"
)

func main() {
	if isWorker, err := dedupe.RunWorker(os.Stdin, os.Stdout); isWorker {
		exit(err)
	}
	exit(run(os.Getenv, os.Stdout, os.Stderr))
}

// exit ends the process and logs an error. The log is the only place where Lambda
// shows why a function does not start.
func exit(err error) {
	if err == nil {
		os.Exit(0)
	}
	slog.New(slog.NewJSONHandler(os.Stderr, nil)).Error("the function ends", "event", "function_ended", "error", err.Error())
	os.Exit(2)
}

// run answers events until Lambda ends the process. It returns only if the
// configuration is invalid.
func run(getenv func(string) string, metrics, logs io.Writer) error {
	log := slog.New(slog.NewJSONHandler(logs, nil))
	slog.SetDefault(log) // aws-lambda-go logs here
	if getenv("DEDUPE_JOBS") != "" {
		limits.RespectMemory(getenv)
		h, err := newJobsHandler(getenv, log)
		if err != nil {
			return err
		}
		lambda.Start(h)
		return nil
	}
	config, err := configFrom(getenv)
	if err != nil {
		return err
	}
	config.ScanMemory = limits.RespectMemory(getenv) // the function answers one call at a time
	config.Log, config.Metrics = log, metrics
	handler, err := service.New(config)
	if err != nil {
		return err
	}
	lambda.Start(function{handler})
	return nil
}

// function answers events by sending them to an HTTP handler.
type function struct {
	http.Handler
}

// Invoke implements [lambda.Handler]. It returns an [EventError] if the event is
// unusable, and a [Problem] if a direct invocation fails.
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
