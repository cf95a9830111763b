package box

import (
	"cmp"
	"fmt"
	"os"

	"github.com/dustin/go-humanize"
	"golang.org/x/sys/unix"
)

// machine is what there is for boxes, in MiB.
type machine struct {
	cores            int
	total, available int64
}

// thisMachine is what this process may use of this machine.
func thisMachine() (machine, error) {
	allowed, err := allowedCPUs()
	if err != nil {
		return machine{}, err
	}
	content, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return machine{}, err
	}
	total, errTotal := value(content, "MemTotal:") // in KiB
	available, errAvailable := value(content, "MemAvailable:")
	return machine{len(allowed), total >> 10, available >> 10}, cmp.Or(errTotal, errAvailable)
}

// allowedCPUs are the numbers of the CPUs that this process may run on.
func allowedCPUs() ([]int, error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return nil, fmt.Errorf("can't tell the CPUs to run on: %w", err)
	}
	var cpus []int
	for cpu := range len(set) * 64 {
		if set.IsSet(cpu) {
			cpus = append(cpus, cpu)
		}
	}
	return cpus, nil
}

// CheckMemory refuses a size, in MiB, that Lambda does not have, or for which
// this machine has not enough cores or memory, and says what is the largest.
func CheckMemory(mb int64) error {
	if err := checkRange(mb); err != nil {
		return err
	}
	m, err := thisMachine()
	if err != nil {
		return err
	}
	return m.check(mb)
}

func (m machine) check(mb int64) error {
	largest := humanize.Comma(min(maxMemory, mbPerCore*int64(m.cores), m.total))
	if mb > mbPerCore*int64(m.cores) {
		return fmt.Errorf("a memory of %s MB has %.2f cores on Lambda, and this machine %d: choose at most %s",
			humanize.Comma(mb), float64(mb)/mbPerCore, m.cores, largest)
	}
	if mb > m.total {
		return fmt.Errorf("a memory of %s MB is more than the %s of this machine: choose at most %s",
			humanize.Comma(mb), humanize.Comma(m.total), largest)
	}
	return nil
}

// Fit returns how many boxes of a size, in MiB, have their CPU and memory on this
// machine at once, at least 1. Spare is the cores that are for other work, as far
// as there are more than one.
func Fit(mb int64, spare int) int {
	m, err := thisMachine()
	if err != nil {
		return 1
	}
	return m.fit(mb, spare)
}

func (m machine) fit(mb int64, spare int) int {
	cores := int64(max(1, m.cores-spare))
	return int(max(1, min(mbPerCore*cores/mb, m.available/mb)))
}
