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
//	png.go          a decoder for the images
//	inflate.go      its decompression
//	onnxruntime.go  the C interface of ONNX Runtime, without cgo
package main

import (
	"context"
	"log/slog"
	"os"
	"runtime"
	"strconv"

	"github.com/aws/aws-lambda-go/lambda"

	"efsdedupe/cmd/experiment/internal/task"
)

func main() {
	memoryMB, _ := strconv.Atoi(os.Getenv("AWS_LAMBDA_FUNCTION_MEMORY_SIZE"))
	runtime.GOMAXPROCS(vCPUs(memoryMB)) // 0, outside Lambda, changes nothing
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

// vCPUs returns how many vCPUs a function of this memory has, rounded up. Every function
// sees two cores or more, even if it has the CPU time of one. Two threads that share that
// take 1% to 2% more of it than one.
func vCPUs(memoryMB int) int {
	const mbPerCPU = 1769 // AWS Lambda Developer Guide, Configure Lambda function memory
	return min((memoryMB+mbPerCPU-1)/mbPerCPU, runtime.NumCPU())
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
