package limits

import (
	"runtime"
	"testing"
)

func TestMoreThreads(t *testing.T) {
	before := runtime.GOMAXPROCS(0)
	first := MoreThreads(3)
	second := MoreThreads(4)
	if got := runtime.GOMAXPROCS(0); got != before+7 {
		t.Errorf("%d threads, want %d", got, before+7)
	}
	first()
	second()
	if got := runtime.GOMAXPROCS(0); got != before {
		t.Errorf("%d threads after all were given back, want %d", got, before)
	}
}
