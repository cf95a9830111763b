package cost

import (
	"testing"
	"time"

	"efsdedupe/fixtures/testkit"
)

func TestMetered(t *testing.T) {
	tests := []struct {
		name     string
		f        func(int64) int64
		in, want int64
	}{
		{"read", MeteredRead, -1, 0},
		{"read", MeteredRead, 0, 0},
		{"read", MeteredRead, 1, 32 * kib},
		{"read", MeteredRead, 32 * kib, 32 * kib},
		{"read", MeteredRead, 32*kib + 1, 33 * kib},
		{"read", MeteredRead, mib - 1, mib},
		{"read", MeteredRead, mib, mib},
		{"read", MeteredRead, mib + 1, mib + 32*kib},
		{"read", MeteredRead, 3*mib + 100*kib, 3*mib + 100*kib},
		{"metadata", MeteredMetadata, -1, 0},
		{"metadata", MeteredMetadata, 3, 12 * kib},
		{"access", MeteredAccess, -1, 0},
		{"access", MeteredAccess, 1, 128 * kib},
		{"access", MeteredAccess, 128 * kib, 128 * kib},
		{"access", MeteredAccess, mib + 1, mib + 128*kib},
	}
	for _, test := range tests {
		if got := test.f(test.in); got != test.want {
			t.Errorf("%s(%d) is %d, want %d", test.name, test.in, got, test.want)
		}
	}
}

func TestBilledDuration(t *testing.T) {
	tests := []struct{ in, want time.Duration }{
		{0, 0},
		{1, time.Millisecond},
		{time.Millisecond, time.Millisecond},
		{time.Millisecond + 1, 2 * time.Millisecond},
		{1500 * time.Millisecond, 1500 * time.Millisecond},
	}
	for _, test := range tests {
		if got := BilledDuration(test.in); got != test.want {
			t.Errorf("BilledDuration(%v) is %v, want %v", test.in, got, test.want)
		}
	}
}

func TestNumbers(t *testing.T) {
	for in, want := range map[string]string{
		"146484.375": "146484.38", "0.005": "0.01", "-0.005": "-0.01", "-0.004": "0.00", "0": "0.00", "2/3": "0.67",
	} {
		if got := Cents(testkit.Rat(in)); got != want {
			t.Errorf("Cents(%s) is %s, want %s", in, got, want)
		}
	}
	tests := []struct {
		in     string
		digits int
		want   string
	}{
		{"643", 4, "643"},
		{"100", 0, "100"},
		{"1/3", 4, "0.3333"},
		{"0.0000166667", 12, "0.0000166667"},
		{"0.99999", 2, "1"},
		{"-0.001", 2, "0"},
		{"88.5", 12, "88.5"},
		{"88.5", -1, "89"},
	}
	for _, test := range tests {
		if got := Decimal(testkit.Rat(test.in), test.digits); got != test.want {
			t.Errorf("Decimal(%s, %d) is %s, want %s", test.in, test.digits, got, test.want)
		}
	}
}
