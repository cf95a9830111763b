package cost

import (
	"math/big"
	"slices"
	"strings"
)

const (
	kib = 1 << 10
	mib = 1 << 20
	gib = 1 << 30
)

// Cents formats an amount of money with two decimals, rounded half away from zero:
// 146484.375 is "146484.38".
func Cents(amount *big.Rat) string {
	return fixed(amount, 2)
}

// Amount formats an amount of the bill. In a small bill it never shows zero for what costs
// something: the price of one request is "0.0000002".
func (b *Bill) Amount(amount *big.Rat) string {
	const small = 100
	if b.Total.Cmp(big.NewRat(small, 1)) >= 0 {
		return Cents(amount)
	}
	return Amount(amount)
}

// Amount formats an amount of money like [Cents], but never as zero unless it is: with
// three significant digits where Cents shows none.
func Amount(amount *big.Rat) string {
	s := Cents(amount)
	if amount.Sign() == 0 || strings.Trim(s, "-0.") != "" {
		return s
	}
	digits := 2
	for scaled := new(big.Rat).Abs(amount); scaled.Cmp(big.NewRat(1, 1)) < 0 && digits < maxDigits; digits++ {
		scaled.Mul(scaled, big.NewRat(10, 1))
	}
	return Decimal(amount, digits)
}

// maxDigits is how many decimals [Amount] prints at most.
const maxDigits = 40

// Decimal formats r as the shortest exact decimal. If that has more than digits decimals,
// it rounds half away from zero: 643 is "643", and 1/3 with 4 digits is "0.3333".
// Negative digits count as 0.
func Decimal(r *big.Rat, digits int) string {
	s := fixed(r, max(digits, 0))
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return s
}

// Percent formats a share in millionths, such as files per million: 5,000 is "0.5%".
func Percent(millionths int64) string { return Decimal(ratio(10_000, millionths), 4) + "%" }

// fixed formats r with n decimals. If the result is zero, it has no sign.
func fixed(r *big.Rat, n int) string {
	s := r.FloatString(n)
	if strings.Trim(s, "-0.") == "" {
		return strings.TrimPrefix(s, "-")
	}
	return s
}

// ratio is the exact product of the factors divided by den.
func ratio(den int64, factors ...int64) *big.Rat {
	if slices.Contains(factors, 0) {
		return new(big.Rat) // as most are: it saves a quarter of the time of a bill
	}
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

// excess is a − b, or 0 if that is negative.
func excess(a, b *big.Rat) *big.Rat {
	if a.Cmp(b) <= 0 {
		return new(big.Rat)
	}
	return new(big.Rat).Sub(a, b)
}
