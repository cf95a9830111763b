package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"

	"efsdedupe/cmd/internal/cli"
	"efsdedupe/dedupe/limits"
	"efsdedupe/dedupe/service"
)

// serve is the command's flags.
type serve struct {
	cli.Std
	config service.Config
	index  indexFlags
	jobs   jobsFlags
	listen string
	prices string
}

func serveCommand(s cli.Std) *cobra.Command {
	c := serve{Std: s}
	cmd := &cobra.Command{
		Use:   "serve [flags]",
		Short: "Answer scans over HTTP, as the Lambda function does",
		Long: `Answer scans of one directory over HTTP, with the API of the Lambda function.
GET /v1/openapi.json describes it. A request can read nothing outside the root.

The server does not authorize anyone: that is the gateway's task. So it listens
on the loopback address unless you choose another, and refuses what browsers
send for pages of other sites: a request must name localhost, the address, or a
name that you give with --allow-host. On SIGINT or SIGTERM the server finishes
the requests it has and ends.

With --jobs it also runs jobs, which scan trees of any size. Unfinished jobs
continue when a server starts with the same folder.`,
		Example: `  dedupe serve --root build/efs --listen 127.0.0.1:8080
  curl -s localhost:8080/v1/scans -d '{"path": ".", "workers": 100}'
  dedupe serve --root /mnt/efs --jobs build/jobs
  curl -s localhost:8080/v1/jobs -d '{"path": "."}'`,
		Args: cli.Args(),
		RunE: func(cmd *cobra.Command, _ []string) error { return c.run(cmd.Context()) },
	}
	f := cmd.Flags()
	f.StringVar(&c.config.Root, "root", "", "the `directory` to serve")
	f.StringVar(&c.listen, "listen", "127.0.0.1:8080", "the `address` to listen on")
	f.StringSliceVar(&c.config.AllowHosts, "allow-host", nil, "also accept this `name`, by which clients reach a proxy (may repeat)")
	f.IntVar(&c.config.MaxScans, "max-scans", 2, "run this `number` of scans at once; others wait")
	f.BoolVar(&c.config.LogPaths, "log-paths", false, "log the paths of requests")
	f.StringVar(&c.prices, "prices", "", "take prices from this price book, a `file`; its region becomes the default: see 'dedupe cost import-prices --help'")
	c.index.flags(f)
	c.jobs.flags(f)
	cmd.MarkFlagRequired("root")
	return cmd
}

func (c *serve) run(ctx context.Context) error {
	c.config.Listen = c.listen
	c.config.Log = slog.New(slog.NewJSONHandler(c.Err, nil))
	if c.index.name != "" {
		x, err := c.index.open(ctx)
		if err != nil {
			return err
		}
		defer x.Store.Close()
		c.config.Index = x
	}
	if c.prices != "" {
		book, err := cli.ReadPrices(ctx, c.prices)
		if err != nil {
			return err
		}
		c.config.Prices = book
	}
	stopJobs, err := cli.Await(ctx, func() (func(), error) { return c.startJobs(ctx) })
	if err != nil {
		return err
	}
	defer cli.Finish(ctx, func() (struct{}, error) { stopJobs(); return struct{}{}, nil })
	c.config.ScanMemory = limits.RespectMemory(os.Getenv) / int64(max(c.config.MaxScans, 1))
	handler, err := cli.Await(ctx, func() (http.Handler, error) { return service.New(c.config) })
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
