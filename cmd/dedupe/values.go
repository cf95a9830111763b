package main

import (
	"fmt"
	"math"
	"strings"

	"github.com/dustin/go-humanize"
)

// byteSize is a flag such as 64KiB.
type byteSize int64

func (b *byteSize) Set(s string) error {
	n, err := humanize.ParseBytes(s)
	if err != nil || n > math.MaxInt64 {
		return fmt.Errorf("not a size: write bytes such as 4096, 64KiB, 1.5GiB, or 10MB for millions")
	}
	*b = byteSize(n)
	return nil
}

func (b *byteSize) String() string {
	if *b == 0 {
		return "0"
	}
	return fmt.Sprintf("%dB", *b)
}

func (*byteSize) Type() string { return "size" }

// quantity is a flag such as 50M.
type quantity int64

func (q *quantity) Set(s string) error {
	n, unit, err := humanize.ParseSI(strings.ReplaceAll(s, ",", ""))
	if err != nil || unit != "" || n < 0 || n > 1e15 || n != math.Trunc(n) {
		return fmt.Errorf("not a number of calls: write a whole number such as 5000, 50M or 1G")
	}
	*q = quantity(n)
	return nil
}

func (q *quantity) String() string { return fmt.Sprint(int64(*q)) }

func (*quantity) Type() string { return "count" }

// choice is a flag that is one of some names.
type choice[S ~string] struct {
	value   *S
	allowed []S
}

func (c choice[S]) Set(s string) error {
	names := make([]string, len(c.allowed))
	for i, a := range c.allowed {
		if S(s) == a {
			*c.value = a
			return nil
		}
		names[i] = string(a)
	}
	return fmt.Errorf("choose %s", strings.Join(names, ", "))
}

func (c choice[S]) String() string {
	if c.value == nil {
		return ""
	}
	return string(*c.value)
}

func (c choice[S]) Type() string {
	names := make([]string, len(c.allowed))
	for i, a := range c.allowed {
		names[i] = string(a)
	}
	return strings.Join(names, "|")
}
