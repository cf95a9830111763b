package results

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// Read reads back an experiment that Write wrote as JSON. What is computed of it
// is not read. Its error, in one line, says why it is not such a document.
func Read(r io.Reader) (Experiment, error) {
	var doc document
	d := json.NewDecoder(r)
	if err := d.Decode(&doc); err != nil {
		return Experiment{}, fmt.Errorf("not the JSON of an experiment: %w", err)
	}
	if doc.Schema != schema {
		return Experiment{}, fmt.Errorf("its schema is %q, not %s: use what 'experiment run --format json' wrote", doc.Schema, schema)
	}
	if _, err := d.Token(); err != io.EOF {
		return Experiment{}, errors.New("not the JSON of an experiment: there is more after it")
	}
	if doc.Rows == nil {
		return Experiment{}, errors.New("not the JSON of an experiment: it has no rows")
	}
	e := Experiment{
		Started: doc.Started,
		Version: doc.Version,
		Machine: doc.Machine,
		Setup:   doc.Setup.setup(),
		Series:  make([]Series, len(doc.Rows)),
	}
	for i, row := range doc.Rows {
		e.Series[i] = row.series()
	}
	if err := e.validate(); err != nil {
		return Experiment{}, fmt.Errorf("not the JSON of an experiment: %w", err)
	}
	return e, nil
}

func (s setupJSON) setup() Setup {
	return Setup{
		Boxed:      s.Boxed,
		Tasks:      s.Tasks,
		Workers:    s.Workers,
		Runs:       s.Runs,
		Instances:  s.Instances,
		HelperMB:   s.HelperMB,
		Timeout:    time.Duration(s.TimeoutMS),
		FileBytes:  s.FileBytes,
		FibSteps:   s.FibSteps,
		FetchDelay: time.Duration(s.FetchDelayMS),
		Latency:    time.Duration(s.LatencyMS),
		Throughput: s.Throughput,
		FromS3:     s.FromS3,
		S3Latency:  time.Duration(s.S3LatencyMS),
		Calls:      s.Calls,
		Region:     s.Region,
		Arch:       s.Arch,
	}
}

func (r rowJSON) series() Series {
	s := Series{
		Workload:    r.Workload,
		Mode:        r.Mode,
		MemoryMB:    r.MemoryMB,
		Digest:      r.Digest,
		Helpers:     r.Helpers,
		Transitions: r.Transitions,
		AtOnce:      r.AtOnce,
		Calls:       make([]Call, len(r.Calls)),
	}
	for i, c := range r.Calls {
		s.Calls[i] = c.call()
	}
	return s
}

func (c callJSON) call() Call {
	call := Call{
		Run:        c.Run,
		Instance:   c.Instance,
		Cold:       c.Cold,
		Outcome:    c.Outcome,
		Error:      c.Error,
		Init:       time.Duration(c.Init),
		Duration:   time.Duration(c.Duration),
		CPU:        time.Duration(c.CPU),
		PeakMemory: c.PeakMemory,
		OOMKills:   c.OOMKills,
		Reads:      c.Reads,
		Wait:       time.Duration(c.Wait),
	}
	for _, h := range c.Helpers {
		call.Helpers = append(call.Helpers, Helper{h.Outcome, time.Duration(h.Init), time.Duration(h.Duration), time.Duration(h.CPU), h.PeakMemory, h.Reads})
	}
	return call
}

// The memory that a function can have. Source: AWS Lambda quotas.
const minMemoryMB, maxMemoryMB = 128, 10240

// validate returns the first thing that no experiment has.
func (e *Experiment) validate() error {
	m, s := e.Machine, e.Setup
	for _, n := range []int64{int64(m.Cores), m.MemoryMB, int64(s.Tasks), int64(s.Workers), int64(s.Runs), int64(s.Instances), s.HelperMB,
		s.FileBytes, s.FibSteps, s.Throughput, s.Calls} {
		if n < 0 {
			return fmt.Errorf("its machine or setup has a negative figure, %d", n)
		}
	}
	for _, s := range e.Series {
		if s.Workload == "" || s.Mode == "" {
			return errors.New("a row has no workload or no mode")
		}
		if s.MemoryMB < minMemoryMB || s.MemoryMB > maxMemoryMB {
			return fmt.Errorf("%s %s has a memory of %d MB, allowed: %d to %d", s.Workload, s.Mode, s.MemoryMB, minMemoryMB, maxMemoryMB)
		}
		for _, n := range []int{s.Helpers, s.Transitions, s.AtOnce} {
			if n < 0 {
				return fmt.Errorf("%s %s has a negative count, %d", s.Workload, s.Mode, n)
			}
		}
		for _, c := range s.Calls {
			if err := c.validate(); err != nil {
				return fmt.Errorf("%s %s at %d MB: %w", s.Workload, s.Mode, s.MemoryMB, err)
			}
		}
	}
	return nil
}

func (c Call) validate() error {
	if err := validate("a call", c.Outcome, c.Reads, int64(c.Run), int64(c.Instance), c.PeakMemory, c.OOMKills); err != nil {
		return err
	}
	for _, h := range c.Helpers {
		if err := validate("a helper", h.Outcome, h.Reads, h.PeakMemory); err != nil {
			return err
		}
	}
	return nil
}

func validate(what string, o Outcome, r Reads, counts ...int64) error {
	if !slices.Contains([]Outcome{OK, OutOfMemory, TimedOut, Failed}, o) {
		return fmt.Errorf("the outcome of %s is %q", what, o)
	}
	for _, n := range append(counts, r.Opens, r.BytesRead, r.MeteredReadBytes, r.MetadataOperations, r.Gets) {
		if n < 0 {
			return fmt.Errorf("%s has a negative count, %d", what, n)
		}
	}
	return nil
}
