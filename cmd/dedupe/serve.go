package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"efsdedupe/cmd/internal/cli"
	"efsdedupe/dedupe/service"
)

// serve is the command's flags.
type serve struct {
	cli.Std
	config service.Config
	index  indexFlags
	listen string
}

func serveCommand(s cli.Std) *cobra.Command {
	c := serve{Std: s}
	cmd := &cobra.Command{
		Use:   "serve [flags]",
		Short: "Serve scans over HTTP, as the Lambda function does behind API Gateway",
		Long: `Serve scans of one directory over HTTP: the API of the Lambda function, on this
machine. A request can read nothing outside the root. GET /v1/openapi.json
describes the API.

There is no authorization: that is the gateway's. So it listens on the loopback
address unless told otherwise. SIGINT and SIGTERM end it when the requests under
way are answered.`,
		Example: `  dedupe serve --root build/efs --listen 127.0.0.1:8080
  curl -s localhost:8080/v1/scans -d '{"path": ".", "mode": "goroutines", "workers": 100}'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.run(cmd.Context()) },
	}
	f := cmd.Flags()
	f.StringVar(&c.config.Root, "root", "", "the directory that is served")
	f.StringVar(&c.listen, "listen", "127.0.0.1:8080", "the `address` to listen on")
	f.IntVar(&c.config.MaxScans, "max-scans", 2, "scans at once; more wait for their turn")
	f.BoolVar(&c.config.LogPaths, "log-paths", false, "write the paths of requests to the log")
	c.index.flags(f)
	cmd.MarkFlagRequired("root")
	return cmd
}

func (c *serve) run(ctx context.Context) error {
	c.config.Log = slog.New(slog.NewJSONHandler(c.Err, nil))
	if c.index.name != "" {
		x, err := c.index.open()
		if err != nil {
			return err
		}
		defer x.Store.Close()
		c.config.Index = x
	}
	handler, err := service.New(c.config)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", c.listen)
	if err != nil {
		return fmt.Errorf("can't listen on %q: %w; choose another --listen", c.listen, err)
	}
	if address := listener.Addr().(*net.TCPAddr); !address.IP.IsLoopback() {
		c.config.Log.Warn("open to others than this machine, without authorization", "address", address.String())
	}
	c.config.Log.Info("serving", "address", listener.Addr().String())
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      time.Minute, // more than a scan may take, and its answer
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    64 << 10,
	}
	stopped := make(chan error, 1)
	context.AfterFunc(ctx, func() {
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		stopped <- server.Shutdown(grace)
	})
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-stopped
}
