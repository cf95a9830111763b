package main

import "testing"

func TestShare(t *testing.T) {
	for in, want := range map[string]struct {
		millionths int64
		text       string
	}{"0%": {0, "0%"}, "1%": {10_000, "1%"}, "0.0001%": {1, "0.0001%"}, "33.33333%": {333_333, "33.3333%"}, "100%": {1_000_000, "100%"}} {
		var p share
		if err := p.Set(in); err != nil || int64(p) != want.millionths || p.String() != want.text {
			t.Errorf("share %q is %d millionths, %s, %v; want %d, %s", in, int64(p), p.String(), err, want.millionths, want.text)
		}
	}
	for _, in := range []string{"", "1", "-1%", "101%", "NaN%", "0.00001%", "%"} {
		if p := share(0); p.Set(in) == nil {
			t.Errorf("share %q is %d millionths", in, int64(p))
		}
	}
}
