package lab

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"efsdedupe/cmd/experiment/internal/task"
	"efsdedupe/fixtures"
)

// workload is what the tasks of one are given, and what they must return.
type workload struct {
	name   string
	files  string // the directory to mount; empty where there is none
	server *http.Server
	url    string
	truth  truth
}

func (x *running) newWorkload(ctx context.Context, name string) (*workload, error) {
	w := &workload{name: name}
	switch name {
	case task.Scan:
		w.files = filepath.Join(x.Dir, "files")
		if _, err := fixtures.Make(ctx, w.files, fixtures.Spec{Layout: fixtures.TwoSets, Files: x.Tasks, Size: fileBytes, Seed: 1}); err != nil {
			return nil, err
		}
		truth, err := truthOfFiles(w.files, x.Tasks)
		w.truth = truth
		return w, err
	case task.Predict:
		w.files = x.Predict.Images
		truth, err := x.truthOfPredictions(ctx)
		w.truth = truth
		return w, err
	case task.Fib:
		w.truth = truthOfFib(x.Tasks, fibSteps)
		return w, nil
	default:
		w.truth = truthOfFetch(x.Tasks)
		return w, w.serve()
	}
}

// serve starts the server that tasks wait for. It is not measured.
func (w *workload) serve() error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("no server for the workload %s: %w", w.name, err)
	}
	w.url = "http://" + listener.Addr().String()
	w.server = &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(chart)}
	go w.server.Serve(listener)
	return nil
}

// chart answers after a while with what the path's number makes.
func chart(w http.ResponseWriter, r *http.Request) {
	number, err := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/"))
	if err != nil {
		http.NotFound(w, r)
		return
	}
	select {
	case <-time.After(fetchDelay):
		w.Write(chartOf(number))
	case <-r.Context().Done():
	}
}

func (w *workload) close() {
	if w.server != nil {
		w.server.Close()
	}
}
