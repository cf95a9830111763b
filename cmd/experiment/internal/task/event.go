package task

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"efsdedupe/dedupe"
	"efsdedupe/dedupe/pool"
)

// The workloads.
const (
	Scan  = "scan"  // a task reads and hashes a file
	Fib   = "fib"   // a task computes, and nothing else
	Fetch = "fetch" // a task waits for an HTTP server

	Predict = "predict" // a task tells what an image shows, with a neural network
)

// Workloads are the names of all.
func Workloads() []string { return []string{Scan, Fib, Fetch, Predict} }

// The modes: where tasks run.
const (
	Goroutines        = "goroutines"         // in this process
	GoroutinesUngated = "goroutines-ungated" // the same, but as many predictions at once as there are tasks in flight
	Processes         = "processes"          // in a pool of worker processes that is kept from call to call
	ProcessesPerTask  = "processes-per-task" // each in a new process
	Serial            = "serial"             // in this process, one after the other
	Helpers           = "helpers"            // shared out among other functions, which this one invokes
	Join              = "join"               // nowhere: put together what helpers returned that a state machine invoked
)

// Modes are the names of those in which a function does its tasks itself.
func Modes() []string {
	return []string{Goroutines, GoroutinesUngated, Processes, ProcessesPerTask, Serial}
}

const (
	// maxTasks is how many tasks an event may ask for.
	maxTasks = 100_000

	// maxDigests is how many may return a digest, which takes 67 bytes of the 6 MiB
	// that Lambda takes as an answer. Source: AWS Lambda quotas.
	maxDigests = (6<<20 - 100) / 67

	maxImages = 1000

	// Digest is the algorithm of the checksums of scan and fetch: BLAKE3-256, in
	// lower-case hexadecimal.
	Digest = "blake3"

	// prime is the modulus of fib, a Mersenne prime: the sum of two residues fits
	// into 64 bits, signed or not, in every language.
	prime = 1<<61 - 1
)

// Event asks for tasks 0 to Tasks-1 of a workload.
type Event struct {
	Workload string `json:"workload"`
	Mode     string `json:"mode"`
	Tasks    int    `json:"tasks"`   // 1 to maxTasks
	Workers  int    `json:"workers"` // tasks in flight, 1 to dedupe.MaxWorkers

	// Helpers is how many functions share the tasks, up to MaxHelpers; 0 unless they are
	// shared. In the mode Helpers or Join the event is for all of them. In another mode
	// it is for one: share number Share, from 0.
	Helpers int `json:"helpers,omitempty"`
	Share   int `json:"share,omitempty"`

	// Answers are, in the mode Join, those of the helpers, in the order of their shares.
	Answers []Answer `json:"answers,omitempty"`

	// Root is, of scan, a directory. Task i reads its i-th regular file, in the
	// order of the names' bytes. Of predict, it is a directory or the URL of one, and
	// task i reads the image that ImageName(i) names.
	Root string `json:"root,omitempty"`

	// Steps is, of fib, how often task i makes (b, a+b mod prime) of (a, b), which
	// begin as (i, 1). The checksum is a, in decimal.
	Steps int64 `json:"steps,omitempty"`

	// URL is, of fetch, that of a server. Task i gets URL/i, and its checksum is the
	// digest of the body.
	URL string `json:"url,omitempty"`
}

// Answer is what all tasks returned.
type Answer struct {
	Digest    string   `json:"digest"`    // the algorithm of the checksums; empty where there is none
	Checksums []string `json:"checksums"` // one a task, in their order

	// Files are, of a share of scan, those of the tasks. Groups are, where helpers have
	// done the tasks, those whose files are equal.
	Files  []File  `json:"files,omitempty"`
	Groups [][]int `json:"groups,omitempty"`
}

// EventError says why an event is refused. Lambda tells the invoker the name of
// this type.
type EventError struct{ Err error }

func (e *EventError) Error() string { return e.Err.Error() }

func (e *EventError) Unwrap() error { return e.Err }

// parse reads an event, and nothing that it does not know.
func parse(payload []byte) (Event, error) {
	var e Event
	d := json.NewDecoder(bytes.NewReader(payload))
	d.DisallowUnknownFields()
	err := d.Decode(&e)
	if err == nil {
		if _, more := d.Token(); more != io.EOF {
			err = errors.New("there is more after the object")
		}
	}
	if err != nil {
		return e, &EventError{fmt.Errorf("the event is not the JSON that this function takes: %w", err)}
	}
	if err := e.validate(); err != nil {
		return e, &EventError{err}
	}
	return e, nil
}

func (e *Event) validate() error {
	switch {
	case !slices.Contains(Workloads(), e.Workload):
		return fmt.Errorf("unknown workload %q: choose %s", e.Workload, strings.Join(Workloads(), ", "))
	case e.Mode != Helpers && e.Mode != Join && !slices.Contains(Modes(), e.Mode):
		return fmt.Errorf("unknown mode %q: choose %s", e.Mode, strings.Join(Modes(), ", "))
	case e.Tasks < 1 || e.Tasks > maxTasks:
		return fmt.Errorf("%d tasks: choose 1 to %d", e.Tasks, maxTasks)
	case e.Workload != Fib && e.Tasks > maxDigests:
		return fmt.Errorf("%d tasks: the digests of more than %d are above what Lambda takes as an answer", e.Tasks, maxDigests)
	case e.Workers < 1 || e.Workers > dedupe.MaxWorkers:
		return fmt.Errorf("%d workers: choose 1 to %d", e.Workers, dedupe.MaxWorkers)
	case e.shared() && (e.Helpers < 1 || e.Helpers > min(MaxHelpers, e.Tasks)):
		return fmt.Errorf("%d helpers for %d tasks: choose 1 to %d", e.Helpers, e.Tasks, min(MaxHelpers, e.Tasks))
	case e.shared() && (e.Mode == Processes || e.Mode == ProcessesPerTask):
		return fmt.Errorf("a helper has no mode %s: choose %s", e.Mode, Goroutines)
	case e.Mode == Helpers && !isHTTP(os.Getenv(EndpointVariable)):
		return fmt.Errorf("no API to invoke helpers with: %s is %q: set it to a URL", EndpointVariable, os.Getenv(EndpointVariable))
	case e.Share < 0 || e.Share > max(0, e.Helpers-1):
		return fmt.Errorf("share %d of %d helpers: choose one from 0", e.Share, e.Helpers)
	case e.Workload == Scan && e.Root == "":
		return errors.New("scan has no root: name the directory of its files")
	case e.Workload == Predict && e.Root == "":
		return errors.New("predict has no root: name the directory of its images, or its URL")
	case e.Workload == Predict && e.Tasks > maxImages:
		return fmt.Errorf("%d tasks: images have numbers of three digits, choose 1 to %d", e.Tasks, maxImages)
	case e.Workload == Fib && e.Steps < 1:
		return fmt.Errorf("fib has %d steps: choose 1 or more", e.Steps)
	case e.Workload == Fetch && !isHTTP(e.URL):
		return fmt.Errorf("fetch has the URL %q: name a server, such as http://127.0.0.1:8080", e.URL)
	}
	return e.checkDescriptors()
}

// shared reports whether others do the tasks, or one share of them is asked for.
func (e *Event) shared() bool { return e.Helpers != 0 || e.Mode == Helpers || e.Mode == Join }

// inFlight is how many tasks run at once, or helpers.
func (e *Event) inFlight() int {
	switch e.Mode {
	case Serial, Join:
		return 1
	case Helpers:
		return e.Helpers
	}
	_, tasks := e.shareOf()
	return min(e.Workers, tasks)
}

// checkDescriptors refuses what would fail half way, or run in fewer processes
// than it was asked to.
func (e *Event) checkDescriptors() error {
	each := 1 // a file or a connection
	switch e.Mode {
	case Processes:
		each = pool.Descriptors
	case ProcessesPerTask: // many start at once, which takes as many again
		each = 2 * pool.Descriptors
	}
	const others = 32 // standard streams, the Runtime API, the runtime's own, room to spare
	need := e.inFlight()*each + others
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err == nil && uint64(need) > limit.Cur {
		most := (max(limit.Cur, others) - others) / uint64(each)
		return fmt.Errorf("%d tasks in flight need %d file descriptors in the mode %s and the limit is %d: ask for at most %d workers",
			e.inFlight(), need, e.Mode, limit.Cur, most)
	}
	return nil
}

// ImageName is the file name of the image that task i of predict reads.
func ImageName(i int) string { return fmt.Sprintf("%03d.png", i) }

func isHTTP(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
}
