package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"

	"efsdedupe/cmd/internal/cli"
	"efsdedupe/dedupe/job"
	"efsdedupe/dedupe/jobs"
	"efsdedupe/dedupe/report"
	"efsdedupe/dedupe/service"
)

// jobsFlags say where jobs are kept, and what they may use.
type jobsFlags struct {
	dir      string
	atOnce   int
	keep     time.Duration
	tenants  jobs.Limits
	maxBytes cli.ByteSize
}

func (j *jobsFlags) flags(f *pflag.FlagSet) {
	f.StringVar(&j.dir, "jobs", "", "also run jobs, and keep them and their reports in this `folder`, which must be outside the root")
	f.IntVar(&j.atOnce, "max-jobs", 1, "run this `number` of jobs at once, each on all processors; others are queued")
	f.DurationVar(&j.keep, "keep-jobs", 7*24*time.Hour, "remove a job and its report this `time` after the job ends")
	f.IntVar(&j.tenants.Jobs, "tenant-jobs", 10, "let a tenant have at most this `number` of jobs queued and running")
	f.Var(&j.maxBytes, "tenant-bytes", "let a tenant's jobs read at most this much in a month, as EFS meters it; 0 for no limit")
}

func (j *jobsFlags) check(root string) error {
	switch {
	case j.atOnce < 1:
		return fmt.Errorf("--max-jobs %d: choose 1 or more", j.atOnce)
	case j.tenants.Jobs < 1:
		return fmt.Errorf("--tenant-jobs %d: choose 1 or more", j.tenants.Jobs)
	case j.keep <= 0:
		return fmt.Errorf("--keep-jobs %v: choose more than 0", j.keep)
	}
	inside, err := job.Inside(j.dir, root)
	if err != nil {
		return err
	}
	if inside {
		return fmt.Errorf("the folder of jobs %q is inside the root, and scans would find it: choose another --jobs", j.dir)
	}
	return nil
}

// sweepEvery is how often jobs whose time is over are removed.
const sweepEvery = time.Hour

// startJobs continues all unfinished jobs, if there is a folder for them. stop
// interrupts them.
func (c *serve) startJobs(ctx context.Context) (stop func(), err error) {
	if c.jobs.dir == "" {
		return func() {}, nil
	}
	if err := c.jobs.check(c.config.Root); err != nil {
		return nil, err
	}
	root, err := os.Open(c.config.Root)
	if err != nil {
		return nil, fmt.Errorf("can't serve the root: %w", err)
	}
	folder, err := jobs.OpenFolder(c.jobs.dir)
	if err != nil {
		root.Close()
		return nil, err
	}
	absolute, err := filepath.Abs(c.config.Root)
	if err != nil {
		return nil, err
	}
	c.jobs.tenants.Bytes = int64(c.jobs.maxBytes)
	registry := &jobs.Registry{Store: folder, Limits: c.jobs.tenants, Keep: c.jobs.keep}
	local := &jobs.Local{
		Registry: registry, Dir: filepath.Join(c.jobs.dir, "work"), Root: root, AtOnce: c.jobs.atOnce, Tool: report.ThisTool(program), Log: c.config.Log,
		Prices: c.config.Prices,
	}
	c.config.Jobs = &service.Jobs{Registry: registry, Runner: local, Root: absolute}
	if c.index.name != "" {
		c.config.Jobs.Index = &job.Index{Name: c.index.name, FileSystem: c.config.Index.FileSystem, Table: c.index.shared()}
	}
	ctx, cancel := context.WithCancel(ctx)
	swept := make(chan struct{})
	go func() {
		defer close(swept)
		c.sweepJobs(ctx, local)
	}()
	if err := local.Resume(ctx); err != nil {
		cancel()
		return nil, fmt.Errorf("can't continue the jobs in %q: %w", c.jobs.dir, err)
	}
	context.AfterFunc(ctx, local.Stop)
	return func() {
		cancel()
		local.Stop()
		<-swept
		root.Close()
		folder.Close()
	}, nil
}

// sweepJobs removes jobs whose time is over, until ctx ends.
func (c *serve) sweepJobs(ctx context.Context, local *jobs.Local) {
	for {
		if err := local.Sweep(ctx); err != nil && ctx.Err() == nil {
			c.config.Log.Error("old jobs could not be removed", "event", "sweep_failed", "error", err.Error())
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(sweepEvery):
		}
	}
}
