package main

import (
	"runtime"
	"testing"
)

func TestVCPUs(t *testing.T) {
	for memoryMB, want := range map[int]int{0: 0, 128: 1, 1769: 1, 1770: 2, 3008: 2, 3538: 2, 3539: 3, 10240: 6} {
		if got, want := vCPUs(memoryMB), min(want, runtime.NumCPU()); got != want {
			t.Errorf("%d MB: %d, want %d", memoryMB, got, want)
		}
	}
}
