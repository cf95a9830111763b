package box

import (
	"fmt"
	"time"

	"github.com/dustin/go-humanize"
)

const (
	// mbPerCore is the memory for which a function has the CPU of one core.
	// Source: AWS Lambda Developer Guide, Configure Lambda function memory.
	mbPerCore = 1769

	// period is how often the CPU quota is given anew.
	period = 20 * time.Millisecond

	// The memory that a function may be given, in MiB.
	// Source: AWS Lambda Developer Guide, Lambda quotas.
	minMemory = 128
	maxMemory = 10240

	// maxOpen is how many file descriptors a process may have, and maxProcesses
	// how many processes and threads there may be.
	// Source: AWS Lambda Developer Guide, Lambda quotas.
	maxOpen      = 1024
	maxProcesses = 1024
)

// quota is the CPU time of a period, over all cores.
func quota(memoryMB int64) time.Duration {
	return period * time.Duration(memoryMB) / mbPerCore
}

// cores is how many cores a function of a size sees. AWS publishes the ends, 2
// and 6; the sizes between are those at which functions were found to see more.
func cores(memoryMB int64) int {
	n := 2
	for _, last := range [...]int64{3008, 5307, 7076, 8845} {
		if memoryMB > last {
			n++
		}
	}
	return n
}

// checkRange refuses what Lambda does.
func checkRange(memoryMB int64) error {
	if memoryMB < minMemory || memoryMB > maxMemory {
		return fmt.Errorf("a memory of %s MB: Lambda has %d to %s", humanize.Comma(memoryMB), minMemory, humanize.Comma(maxMemory))
	}
	return nil
}
