package cost

import (
	"errors"
	"fmt"
	"math/big"
	"time"
)

// burstMiBps is how fast any file system with bursting throughput can be for a while, and
// burstFactor how much faster than its baseline a large one. Source: Amazon EFS User
// Guide, throughput modes.
const (
	burstMiBps  = 100
	burstFactor = 2
)

// peak is the metered rate that the calls need at their peak.
func (u Usage) peak() *big.Rat {
	rate := neededMiBps(u)
	return rate.Mul(rate, ratio(million, max(million, u.EFS.PeakFactor)))
}

// throughputs are the ways to pay for what is read.
func (j Job) throughputs() []Option {
	mode := func(t Throughput) func(Usage) ([]string, []string) {
		flags := []string{"--throughput " + string(t)}
		if t != Provisioned && j.All.EFS.ProvisionedMiBps > 0 {
			flags = append(flags, "--provisioned-mibps 0")
		}
		return always(flags, []string{"ThroughputMode=" + string(t)})
	}
	pace := "calls at an even rate (faster ones wait)"
	if peak := j.All.EFS.PeakFactor; peak > million {
		pace = fmt.Sprintf("calls at no more than %s times the average rate (faster ones wait)", Decimal(ratio(million, peak), 3))
	}
	return []Option{
		{
			Name: string(Elastic),
			apply: func(u Usage) (Usage, error) {
				u.EFS.Throughput, u.EFS.ProvisionedMiBps = Elastic, 0
				return u, nil
			},
			selects: mode(Elastic),
		},
		{
			Name:     string(Provisioned),
			Requires: []string{pace},
			apply:    provision,
			selects: func(u Usage) (flags, parameters []string) {
				flags, parameters = mode(Provisioned)(u)
				rate := u.EFS.ProvisionedMiBps
				return append(flags, fmt.Sprintf("--provisioned-mibps %d", rate)), append(parameters, fmt.Sprintf("ProvisionedMibps=%d", rate))
			},
		},
		{
			Name:     string(Bursting),
			Requires: []string{"an average rate within the free baseline (else burst credits run out and calls wait)"},
			apply:    burst,
			selects:  mode(Bursting),
		},
		{
			Name:     "bursting with One Zone padding",
			Requires: []string{"a One Zone file system with enough padding for its baseline to carry the calls", oneSubnet},
			apply:    pad,
			selects: func(u Usage) (flags, parameters []string) {
				flags, parameters = mode(Bursting)(u)
				flags = append(flags, "--storage-class one_zone", fmt.Sprintf("--stored %dGiB", u.EFS.StoredBytes/gib))
				if j.All.EFS.Stored != (Objects{}) {
					flags = append(flags, "--stored-files 0")
				}
				return flags, append(parameters, oneZoneParameters()...)
			},
		},
	}
}

// oneSubnet is what a One Zone file system needs for its calls not to pay for transfer.
const oneSubnet = "one subnet, in the zone of the file system"

func oneZoneParameters() []string { return []string{"FileSystemId=fs-…", "SubnetIds=subnet-…"} }

// provision provisions the rate of the peak, in whole MiBps.
func provision(u Usage) (Usage, error) {
	if u.EFS.StorageClass == Archive {
		return u, errors.New("storage class archive needs elastic throughput")
	}
	rate := max(leastMiBps, ceil(u.peak()))
	if rate > maxMiBps {
		return u, fmt.Errorf("the calls need %d MiBps, and EFS provisions at most %d", rate, maxMiBps)
	}
	u.EFS.Throughput, u.EFS.ProvisionedMiBps = Provisioned, rate
	return u, nil
}

// burst takes bursting throughput if it carries the calls.
func burst(u Usage) (Usage, error) {
	if u.EFS.StorageClass == Archive {
		return u, errors.New("storage class archive needs elastic throughput")
	}
	u.EFS.Throughput, u.EFS.ProvisionedMiBps = Bursting, 0
	needed, baseline := neededMiBps(u), u.baseline()
	if needed.Cmp(baseline) > 0 {
		return u, fmt.Errorf("the calls need %s MiBps on average, more than the baseline of %s", Decimal(needed, 3), Decimal(baseline, 3))
	}
	if peak, most := u.peak(), max(burstMiBps, burstFactor*ceil(baseline)); peak.Cmp(ratio(1, most)) > 0 {
		return u, fmt.Errorf("the calls need %s MiBps at their peak, more than bursts of %d", Decimal(peak, 3), most)
	}
	return u, nil
}

// baseline is the rate that bursting throughput always has.
func (u Usage) baseline() *big.Rat {
	least := ratio(1, leastMiBps)
	return sum(least, excess(includedMiBps(u.EFS.StorageClass, u.EFS.stored()), least))
}

// pad stores so much more that bursting throughput carries the calls: a whole number of GiB
// in all, as metered.
func pad(u Usage) (Usage, error) {
	if u.EFS.StorageClass != Standard && u.EFS.StorageClass != OneZone {
		return u, fmt.Errorf("padding is stored in class standard or one_zone, not in %s", u.EFS.StorageClass)
	}
	u.EFS.StorageClass = OneZone
	if _, err := burst(u); err == nil {
		return u, errors.New("no padding is needed")
	}
	rate := neededMiBps(u)
	if half := new(big.Rat).Mul(u.peak(), ratio(burstFactor, 1)); half.Cmp(rate) > 0 {
		rate = half
	}
	stored := u.EFS.stored().standard(OneZone)
	gb := ceil(stored.Add(stored, rate.Mul(rate, ratio(1, includedGiB))))
	if gb > 1<<30 {
		return u, errors.New("no file system holds so much padding")
	}
	u.EFS.StoredBytes, u.EFS.Stored, u.EFS.Reclaimable = gb*gib, Objects{}, Objects{}
	return burst(u)
}

// objects are the ways without EFS. Calls take as long as those that read no file.
func (j Job) objects() []Option {
	in := func(s func(u Usage) S3) func(Usage) (Usage, error) {
		return func(u Usage) (Usage, error) {
			u.S3 = s(u)
			u.S3.StoredBytes = u.EFS.StoredBytes
			u.EFS, u.Warm = EFS{}, j.Warm
			if j.Known > 0 {
				u.Lambda.Duration = j.Known
			}
			return u, nil
		}
	}
	const pageKeys = 1000
	return []Option{
		{
			Name:     "S3, a LIST a call",
			Requires: []string{"files as S3 objects, each uploaded in one part, so that its ETag is a digest (dedupe does not read S3)"},
			apply:    in(func(Usage) S3 { return S3{Lists: max(1, roundUp(j.Tree.Files, pageKeys)/pageKeys)} }),
		},
		{
			Name:     "S3, a HEAD for each file",
			Requires: []string{"files as S3 objects with checksums (dedupe does not read S3)"},
			apply:    in(func(Usage) S3 { return S3{Lists: max(1, roundUp(j.Tree.Files, pageKeys)/pageKeys), Gets: j.Tree.Files} }),
		},
	}
}

// tunings are changes to the cheapest way.
func (j Job) tunings() []Option {
	arch := ARM
	if j.All.Lambda.Arch == ARM {
		arch = X86
	}
	memory, name := j.leastMemory(), "less memory"
	if j.CPU > 0 {
		name = fmt.Sprintf("%d MB", memory)
	}
	return []Option{
		{
			Name:     string(arch),
			Requires: []string{"calls that take as long on " + string(arch)},
			apply: func(u Usage) (Usage, error) {
				u.Lambda.Arch = arch
				return u, nil
			},
			selects: always([]string{"--arch " + string(arch)}, []string{"Architecture=" + string(arch)}),
		},
		{
			Name:     name,
			Requires: []string{"calls that take longer only by what a smaller share of a core does to their CPU time"},
			apply: func(u Usage) (Usage, error) {
				if j.CPU == 0 {
					return u, errors.New("how much CPU time and memory a call takes is unknown: give a report")
				}
				return j.withMemory(u, memory), nil
			},
			selects: func(u Usage) ([]string, []string) {
				flags := []string{fmt.Sprintf("--memory %d", memory)}
				if u.DynamoDB == (DynamoDB{}) { // else the durations are those of other calls
					flags = append(flags, "--duration "+u.Lambda.Duration.String(), "--init "+u.Lambda.Init.String())
				}
				return flags, []string{fmt.Sprintf("MemorySize=%d", memory)}
			},
		},
		{
			Name:     "One Zone",
			Requires: []string{"a One Zone file system (the loss of its zone is the loss of the files)", oneSubnet},
			apply: func(u Usage) (Usage, error) {
				if u.EFS.StorageClass != Standard {
					return u, fmt.Errorf("storage class is %q, not standard", u.EFS.StorageClass)
				}
				u.EFS.StorageClass = OneZone
				return u, nil
			},
			selects: always([]string{"--storage-class one_zone"}, oneZoneParameters()),
		},
	}
}

// leastMemory is the memory that a call needs, in steps of 64 MB.
func (j Job) leastMemory() int64 {
	return min(max(128, roundUp(megabytes(j.PeakMemory), 64)), maxMemoryMB)
}

// withMemory changes the memory, and the durations by what the share of a core changes.
// INIT is taken to be all CPU time, although Lambda gives it more than the share.
func (j Job) withMemory(u Usage, mb int64) Usage {
	longer := func(cpu time.Duration) time.Duration {
		onShare := func(mb int64) int64 { return ceil(ratio(min(mb, DefaultMemoryMB), int64(cpu), DefaultMemoryMB)) }
		return time.Duration(onShare(mb) - onShare(u.Lambda.MemoryMB))
	}
	l := &u.Lambda
	initCPU := l.Init * time.Duration(min(l.MemoryMB, DefaultMemoryMB)) / DefaultMemoryMB
	l.Init += longer(initCPU)
	l.Duration = max(time.Millisecond, l.Duration+longer(j.CPU))
	l.MemoryMB = mb
	return u
}
