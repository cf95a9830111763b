package job

import (
	"errors"
	"fmt"
	"math/big"
	"sort"

	"efsdedupe/dedupe/cost"
)

// MaxCost is the most that a job may cost on AWS.
type MaxCost struct {
	Prices *cost.Book
	Most   *big.Rat // in the currency of the prices
}

// CostError says that a job stopped before it may cost more than its MaxCost. With a higher
// one it goes on.
type CostError struct {
	Most, Spent *big.Rat
	Currency    string
}

// Error implements error.
func (e *CostError) Error() string {
	return fmt.Sprintf("the job stopped before it may cost more than %s %s: so far it cost %s", cost.Decimal(e.Most, 9), e.Currency, cost.Amount(e.Spent))
}

// Admit returns a *CostError if a job that used so much may cost too much with what it is
// about to use. It returns a *[cost.PriceError] if the prices are not enough to tell.
func (m *MaxCost) Admit(used, next cost.Fanout) error {
	all := used
	all.Add(next, 1)
	most, err := m.Prices.Fanout(all)
	if err != nil || most.Total.Cmp(m.Most) <= 0 {
		return err
	}
	spent, err := m.Prices.Fanout(used)
	if err != nil {
		return err
	}
	return &CostError{m.Most, spent.Total, m.Prices.Currency}
}

// affordable returns how many of the units that are missing in a round may run at once, the
// first ones, and what they use at most. The error is a *CostError if none may.
func (m *MaxCost) affordable(used cost.Fanout, r *round, missing []int) (int, cost.Fanout, error) {
	n := len(missing)
	if m == nil {
		return n, r.most(missing), nil
	}
	admit := func(n int) error { return m.Admit(used, r.most(missing[:n])) }
	if err := admit(1); err != nil {
		return 0, cost.Fanout{}, err
	}
	n = 1 + sort.Search(n-1, func(more int) bool { return errors.As(admit(more+2), new(*CostError)) })
	return n, r.most(missing[:n]), nil
}

// most is the most that units of a round are expected to use.
func (r *round) most(of []int) (all cost.Fanout) {
	for _, i := range of {
		all.Add(r.units[i].most(), 1)
	}
	return all
}
