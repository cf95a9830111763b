package box

import (
	"testing"
	"time"
)

func TestQuota(t *testing.T) {
	for mb, want := range map[int64]time.Duration{ // of 20 ms
		128:   1447 * time.Microsecond,
		1769:  20 * time.Millisecond,
		10240: 115771 * time.Microsecond,
	} {
		if got := quota(mb).Truncate(time.Microsecond); got != want {
			t.Errorf("%d MB: %v, want %v", mb, got, want)
		}
	}
}

func TestCores(t *testing.T) {
	for mb, want := range map[int64]int{
		128: 2, 3008: 2, 3009: 3, 5307: 3, 5308: 4, 7076: 4, 7077: 5, 8845: 5, 8846: 6, 10240: 6,
	} {
		if got := cores(mb); got != want {
			t.Errorf("%d MB: %d cores, want %d", mb, got, want)
		}
	}
}
