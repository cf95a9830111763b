package dedupe

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/cpuid/v2"
)

// TestCPU checks that BLAKE3 knows what the processor can do. Otherwise it would be
// several times slower, and no other test would notice.
func TestCPU(t *testing.T) {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		t.Skip(err)
	}
	_, flags, _ := strings.Cut(string(info), "\nflags")
	flags, _, _ = strings.Cut(flags, "\n")
	for name, id := range map[string]cpuid.FeatureID{"avx2": cpuid.AVX2, "sse4_1": cpuid.SSE4} {
		if want := slices.Contains(strings.Fields(flags), name); cpuid.CPU.Has(id) != want {
			t.Errorf("%s: %v, the kernel says %v", name, !want, want)
		}
	}
}
