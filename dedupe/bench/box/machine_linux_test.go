package box

import (
	"runtime"
	"slices"
	"testing"
)

func TestCheckMemory(t *testing.T) {
	two, large, little := machine{2, 8000, 7000}, machine{16, 64000, 60000}, machine{16, 1000, 900}
	for _, test := range []struct {
		machine machine
		mb      int64
		want    string
	}{
		{two, 128, ""},
		{two, 3538, ""},
		{two, 3539, "a memory of 3,539 MB has 2.00 cores on Lambda, and this machine 2: choose at most 3,538"},
		{large, 10240, ""},
		{little, 1000, ""},
		{little, 1001, "a memory of 1,001 MB is more than the 1,000 of this machine: choose at most 1,000"},
	} {
		got := ""
		if err := test.machine.check(test.mb); err != nil {
			got = err.Error()
		}
		if got != test.want {
			t.Errorf("%+v, %d MB: %q, want %q", test.machine, test.mb, got, test.want)
		}
	}
	for _, mb := range []int64{-1, 0, 127, 10241} {
		if CheckMemory(mb) == nil {
			t.Errorf("%d MB is no size of Lambda's, and was taken", mb)
		}
	}
	if err := CheckMemory(min(1769*int64(runtime.NumCPU()), 10240)); err != nil {
		t.Error(err)
	}
	if n := int64(runtime.NumCPU()); n < 6 && CheckMemory(1769*n+1) == nil {
		t.Errorf("%d MB need more than %d cores", 1769*n+1, n)
	}
}

func TestFit(t *testing.T) {
	for _, test := range []struct {
		machine   machine
		mb        int64
		spare, at int
	}{
		{machine{2, 24000, 23000}, 128, 0, 27},
		{machine{2, 24000, 23000}, 1769, 0, 2},
		{machine{2, 24000, 23000}, 1769, 1, 1},
		{machine{1, 24000, 23000}, 884, 1, 2}, // the only core is not spared
		{machine{2, 24000, 23000}, 3008, 0, 1},
		{machine{2, 2000, 1000}, 128, 0, 7},
		{machine{2, 2000, 100}, 128, 0, 1},
	} {
		if got := test.machine.fit(test.mb, test.spare); got != test.at {
			t.Errorf("%+v has room for %d of %d MB, spare %d, want %d", test.machine, got, test.mb, test.spare, test.at)
		}
	}
	if n := Fit(128, 0); n < 1 || n > 14*runtime.NumCPU() {
		t.Errorf("%d boxes of 128 MB", n)
	}
}

func TestSpread(t *testing.T) {
	cpus := []int{1, 3, 5, 7, 9}
	for slot, want := range [][]int{{1, 3}, {5, 7}, {9, 1}, {3, 5}} {
		if got := spread(cpus, slot, 2); !slices.Equal(got, want) {
			t.Errorf("box %d has the CPUs %v, want %v", slot, got, want)
		}
	}
	if got := spread(cpus[:1], 3, 2); !slices.Equal(got, []int{1}) {
		t.Errorf("of one CPU: %v", got)
	}
}
