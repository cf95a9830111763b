package cli

import (
	"strings"
	"testing"
)

func TestValues(t *testing.T) {
	for in, want := range map[string]int64{
		"0": 0, "1": 1, "4096": 4096, "64KiB": 64 << 10, "64 kib": 64 << 10, "1.5GiB": 3 << 29, "10MB": 10_000_000,
		"1k": 1000, "1,024": 1024, "1,000.5KB": 1_000_500, "9223372036854775807": 1<<63 - 1,
	} {
		var b ByteSize
		if err := b.Set(in); err != nil || int64(b) != want {
			t.Errorf("size %q is %d, %v; want %d", in, b, err, want)
		}
	}
	for in, want := range map[string]int64{"0": 0, "5000": 5000, "50M": 50_000_000, "1,000": 1000, "1.5k": 1500, "2G": 2_000_000_000} {
		var q Quantity
		if err := q.Set(in); err != nil || int64(q) != want {
			t.Errorf("count %q is %d, %v; want %d", in, q, err, want)
		}
	}
	for _, in := range []string{"", "-1", "x", "1XB", "NaN", "Inf", "-Inf", "1e400", "9223372036854775808", "1.2.3", "1,5KiB", "1,5", "1,,000", "1,0000", ",100", "10,00", "1.5,000", "0x10", "١"} {
		var b ByteSize
		if b.Set(in) == nil {
			t.Errorf("size %q is %d", in, b)
		}
	}
	for _, in := range []string{"", "-1", "x", "1.5", "NaN", "Inf", "1Y", "50MB", "1m", "1e400", "1,5M", "5,0000"} {
		var q Quantity
		if q.Set(in) == nil {
			t.Errorf("count %q is %d", in, q)
		}
	}
}

// FuzzValues checks that what a flag takes is in range, and that it reads what
// it prints.
func FuzzValues(f *testing.F) {
	for _, seed := range []string{"64KiB", "50M", "-1", "10XB", "1e9", "0x1p-2", "1,,", " 1 ", "16EiB"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		var b, again ByteSize
		if b.Set(in) == nil {
			if err := again.Set(b.String()); err != nil || again != b || b < 0 {
				t.Errorf("size %q: %v, then %v, %v", in, b, again, err)
			}
		}
		var q, more Quantity
		if q.Set(in) == nil {
			if err := more.Set(q.String()); err != nil || more != q || q < 0 {
				t.Errorf("count %q: %v, then %v, %v", in, q, more, err)
			}
		}
		if err := OneOf(new(string), "a", "b").Set(in); err == nil && !strings.Contains("ab", in) {
			t.Errorf("Choice %q", in)
		}
	})
}
