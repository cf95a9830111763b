// Package cpuid tells github.com/zeebo/blake3 what the processor can do, and nothing
// else. It replaces the module github.com/klauspost/cpuid/v2, see go.mod, which asks the
// processor about everything before main runs. In a virtual machine every query traps.
// That took 0.3 ms, a tenth of each start, of worker processes and the Lambda function,
// too.
package cpuid

import "golang.org/x/sys/cpu"

// FeatureID names a feature that a processor may have.
type FeatureID int

// The features that blake3 asks for.
const (
	AVX2 FeatureID = iota
	SSE4           // SSE4.1
)

// CPUInfo describes the processor.
type CPUInfo struct{}

// CPU is the processor that this runs on.
var CPU CPUInfo

// Has reports whether the processor has a feature that the system lets programs use.
func (CPUInfo) Has(id FeatureID) bool {
	switch id {
	case AVX2:
		return cpu.X86.HasAVX2
	case SSE4:
		return cpu.X86.HasSSE41
	}
	return false
}
