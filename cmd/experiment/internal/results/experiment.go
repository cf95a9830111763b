package results

import (
	"time"

	"efsdedupe/dedupe/cost"
)

// Experiment is an experiment as it ran: what was asked, of which machine, and
// every call that was made. All figures that are shown are computed from it.
type Experiment struct {
	Started time.Time
	Version string // of the program
	Machine Machine
	Setup   Setup
	Series  []Series
}

// Machine is where an experiment ran.
type Machine struct {
	CPU      string `json:"cpu"` // model name
	Cores    int    `json:"cores"`
	MemoryMB int64  `json:"memory_mb"`
	Kernel   string `json:"kernel"`           // such as "Linux 6.1.0"
	Cgroup   string `json:"cgroup,omitempty"` // "v1" or "v2"; empty without a box
	GOOS     string `json:"goos,omitempty"`   // of the program
	GOARCH   string `json:"goarch,omitempty"` // of the program
}

// Setup is what all calls of an experiment have in common.
type Setup struct {
	Boxed     bool // in a Lambda-sized box; if not, the memory sizes are only priced
	Tasks     int  // of one call
	Workers   int  // tasks in flight
	Runs      int
	Instances int   // environments of a run
	HelperMB  int64 // memory of each helper
	Timeout   time.Duration

	FileBytes  int64         // of each file of the workload scan
	FibSteps   int64         // of each task of the workload fib
	FetchDelay time.Duration // of each task of the workload fetch

	Latency    time.Duration // of each operation of the EFS-like mount
	Throughput int64         // of the mount, bytes a second

	FromS3    bool          // files are read from a server like S3, not from the mount
	S3Latency time.Duration // of each of its requests

	Calls  int64 // a month, to which costs are projected
	Region string
	Prices *cost.Book // nil for those of Region, see cost.Prices
	Arch   string     // whose prices: "arm64" or "x86_64"
}

// Series is the calls of one workload, in one mode, with one memory size: a row
// of the table.
type Series struct {
	Workload    string // "scan", "fib", "fetch" or "predict"
	Mode        string // such as "goroutines"; a contender's begins with its language, such as "python-threads"
	MemoryMB    int64
	Digest      string // the algorithm of the tasks' checksums, such as "blake3"; empty where there is none
	Helpers     int    // other functions that share the tasks of a call; 0 where it does them itself
	Transitions int    // of the state machine that invokes them, for a call; 0 where the function does
	AtOnce      int    // environments that ran at once here, or helpers, if there are any
	Calls       []Call // by run, instance, cold before warm
}

// Call is one invocation of the function. A call that failed is one too: Lambda
// bills it.
type Call struct {
	Run      int  // from 0
	Instance int  // from 0
	Cold     bool // the first of its environment: INIT is part of it

	Outcome Outcome
	Error   string // why it is not OK, in one line

	Init       time.Duration // of a cold call
	Duration   time.Duration // from the event to the answer, or to the end of the function
	CPU        time.Duration // user and system of all its processes, INIT included; 0 without a box
	PeakMemory int64         // bytes held at once by all its processes, page cache left out; 0 without a box
	OOMKills   int64         // processes that the kernel killed for want of memory

	Reads Reads

	Wait    time.Duration // of Duration, that for helpers, as if all had run at once
	Helpers []Helper
}

// Helper is one invocation of another function by a call.
type Helper struct {
	Outcome    Outcome
	Init       time.Duration // of a cold one
	Duration   time.Duration
	CPU        time.Duration // as that of a call
	PeakMemory int64         // as that of a call
	Reads      Reads
}

// Reads is what the EFS-like mount counted during a call, or the S3-like server.
type Reads struct {
	Opens              int64 `json:"opens"`
	BytesRead          int64 `json:"bytes_read"`
	MeteredReadBytes   int64 `json:"metered_read_bytes"`
	MetadataOperations int64 `json:"metadata_operations"` // each metered as 4 KiB
	Gets               int64 `json:"gets,omitempty"`      // from S3; 0 from EFS
}

// Outcome is how a call ended.
type Outcome string

// The outcomes of a call.
const (
	OK          Outcome = "ok"
	OutOfMemory Outcome = "out of memory" // it failed, and the kernel killed a process of it
	TimedOut    Outcome = "timeout"
	Failed      Outcome = "failed" // the function answered with an error, or ended
)
