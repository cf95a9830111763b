package cost

import (
	"math/big"
	"strings"
)

const (
	kib = 1 << 10
	mib = 1 << 20
	gib = 1 << 30
)

// Cents prints an amount of money with two decimals, rounded half away from
// zero: 146484.375 is "146484.38".
func Cents(amount *big.Rat) string {
	return fixed(amount, 2)
}

// Decimal prints r as the shortest decimal that is exact, or, where that has
// more than digits decimals, rounded half away from zero to that many: 643 is
// "643" and 1/3 to 4 digits "0.3333". A negative digits counts as 0.
func Decimal(r *big.Rat, digits int) string {
	s := fixed(r, max(digits, 0))
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return s
}

// fixed prints r with n decimals. What rounds to zero has no sign.
func fixed(r *big.Rat, n int) string {
	s := r.FloatString(n)
	if strings.Trim(s, "-0.") == "" {
		return strings.TrimPrefix(s, "-")
	}
	return s
}

// ratio is the product of the factors over den, exactly.
func ratio(den int64, factors ...int64) *big.Rat {
	product := big.NewInt(1)
	for _, f := range factors {
		product.Mul(product, big.NewInt(f))
	}
	return new(big.Rat).SetFrac(product, big.NewInt(den))
}

func sum(terms ...*big.Rat) *big.Rat {
	total := new(big.Rat)
	for _, t := range terms {
		total.Add(total, t)
	}
	return total
}

// excess is how far a exceeds b: a − b, or 0.
func excess(a, b *big.Rat) *big.Rat {
	if a.Cmp(b) <= 0 {
		return new(big.Rat)
	}
	return new(big.Rat).Sub(a, b)
}
