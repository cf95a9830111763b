// Command predictor is the Lambda function that the experiment measures with the workload
// predict: the one of cmd/experiment/bootstrap, and ONNX Runtime. It is a module of its
// own, because nothing else here needs what loads a C library without cgo.
//
// It takes the files of package predict from two variables, and loads them in INIT:
//
//	DEDUPE_MODEL        the model, an ONNX file
//	DEDUPE_ONNXRUNTIME  the library, libonnxruntime.so.1
//
//	main.go         the function
//	predict.go      from an image to what it shows
//	onnxruntime.go  the C interface of ONNX Runtime, without cgo
package main

import (
	"context"
	"log/slog"
	"os"
	"runtime"

	"github.com/aws/aws-lambda-go/lambda"

	"efsdedupe/cmd/experiment/internal/task"
)

func main() {
	// Nine tenths of a prediction are in C, where Go needs no P. With a second one that is
	// often idle, Go wakes up a thread every 20 µs to look after those that are in C.
	runtime.GOMAXPROCS(1)
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	slog.SetDefault(log) // for what aws-lambda-go logs
	s, err := load(os.Getenv("DEDUPE_ONNXRUNTIME"), os.Getenv("DEDUPE_MODEL"))
	if err != nil {
		log.Error("can't load the model", "error", err.Error())
		os.Exit(2)
	}
	if isWorker, err := task.RunWorker(os.Stdin, os.Stdout, s.predict); isWorker {
		if err != nil {
			log.Error("the worker ends", "error", err.Error())
			os.Exit(2)
		}
		return
	}
	lambda.Start(handler{task.New(s.predict)})
}

// handler runs tasks until they are done or Lambda kills it, as that of
// cmd/experiment/bootstrap.
type handler struct {
	*task.Function
}

// Invoke makes a handler a [lambda.Handler].
func (h handler) Invoke(ctx context.Context, payload []byte) ([]byte, error) {
	return h.Function.Invoke(context.WithoutCancel(ctx), payload)
}
