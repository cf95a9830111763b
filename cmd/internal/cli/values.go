package cli

import (
	"fmt"
	"math"
	"math/big"
	"regexp"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/spf13/pflag"
)

// ByteSize is a flag that takes a number of bytes, such as 64KiB.
type ByteSize int64

// Set implements pflag.Value.
func (b *ByteSize) Set(s string) error {
	n, err := humanize.ParseBytes(ungrouped(s))
	if err != nil || n > math.MaxInt64 {
		return fmt.Errorf("not a size: write bytes such as 4096, 64KiB, 1.5GiB, or 10MB for millions")
	}
	*b = ByteSize(n)
	return nil
}

// ungrouped removes the commas between groups of three digits, as in 1,000. It returns
// nothing for other commas: 1,5 may mean 1.5, so it is not a number here.
func ungrouped(s string) string {
	if !strings.Contains(s, ",") {
		return s
	}
	if !regexp.MustCompile(`^\d{1,3}(,\d{3})+($|[^\d,][^,]*$)`).MatchString(s) {
		return ""
	}
	return strings.ReplaceAll(s, ",", "")
}

// String implements pflag.Value.
func (b *ByteSize) String() string {
	if *b == 0 {
		return "0"
	}
	for _, unit := range []struct {
		name  string
		bytes ByteSize
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"kB", 1000}} {
		if *b%unit.bytes == 0 {
			return fmt.Sprintf("%d%s", *b/unit.bytes, unit.name)
		}
	}
	return fmt.Sprintf("%dB", *b)
}

// Type implements pflag.Value.
func (*ByteSize) Type() string { return "size" }

// Quantity is a flag that takes a whole number, such as 50M.
type Quantity int64

// Set implements pflag.Value.
func (q *Quantity) Set(s string) error {
	n, unit, err := humanize.ParseSI(ungrouped(s))
	if err != nil || unit != "" || n < 0 || n > 1e15 || n != math.Trunc(n) {
		return fmt.Errorf("not a number of calls: write a whole number such as 5000, 50M or 1G")
	}
	*q = Quantity(n)
	return nil
}

// String implements pflag.Value.
func (q *Quantity) String() string {
	if *q > 0 && *q%1e6 == 0 {
		return fmt.Sprintf("%dM", *q/1e6)
	}
	return fmt.Sprint(int64(*q))
}

// Type implements pflag.Value.
func (*Quantity) Type() string { return "count" }

// Amount is a flag that takes an amount of money, such as 1,500.50. It is nil until it is
// set.
type Amount struct{ *big.Rat }

// Set implements pflag.Value.
func (a *Amount) Set(s string) error {
	digits := ungrouped(s)
	amount, ok := new(big.Rat).SetString(digits)
	if !ok || len(digits) > 40 || strings.Trim(digits, "0123456789.") != "" {
		return fmt.Errorf("not an amount: write a number such as 100 or 1,500.50")
	}
	a.Rat = amount
	return nil
}

// String implements pflag.Value.
func (a *Amount) String() string {
	if a.Rat == nil {
		return ""
	}
	digits, _ := a.FloatPrec()
	return a.FloatString(digits)
}

// Type implements pflag.Value.
func (*Amount) Type() string { return "amount" }

// OneOf returns a flag that takes one of the allowed names and sets value to it.
func OneOf[S ~string](value *S, allowed ...S) pflag.Value { return choice[S]{value, allowed} }

type choice[S ~string] struct {
	value   *S
	allowed []S
}

func (c choice[S]) Set(s string) error {
	if !slices.Contains(c.allowed, S(s)) {
		return fmt.Errorf("choose %s", c.names(", "))
	}
	*c.value = S(s)
	return nil
}

func (c choice[S]) String() string {
	if c.value == nil {
		return ""
	}
	return string(*c.value)
}

func (c choice[S]) Type() string { return c.names("|") }

func (c choice[S]) names(separator string) string { return strings.Join(c.values(), separator) }

// values are the allowed names, for shells to complete.
func (c choice[S]) values() []string {
	names := make([]string, len(c.allowed))
	for i, a := range c.allowed {
		names[i] = string(a)
	}
	return names
}
