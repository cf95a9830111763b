package main

import (
	"errors"
	"math"
	"strconv"

	"efsdedupe/dedupe/cost"
)

// coldShare is the share of cold calls; the value is what it leaves, in millionths.
type coldShare int64

func (c *coldShare) Set(s string) error {
	var cold share
	err := cold.Set(s)
	if err == nil {
		*c = 1e6 - coldShare(cold)
	}
	return err
}

func (c *coldShare) String() string { return cost.Percent(1e6 - int64(*c)) }

func (*coldShare) Type() string { return "percent" }

// factor is a number of times, in millionths. 0 is once.
type factor int64

func (f *factor) Set(s string) error {
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || !(v >= 1 && v <= 1000) {
		return errors.New("write a number from 1 to 1000, such as 3")
	}
	*f = factor(math.Round(v * 1e6))
	return nil
}

func (f *factor) String() string {
	return strconv.FormatFloat(float64(max(*f, 1e6))/1e6, 'f', -1, 64)
}

func (*factor) Type() string { return "factor" }

// extras is whether the bill has logs, answers, metrics and alarms.
type extras cost.Extras

func (x *extras) Set(s string) error {
	switch s {
	case "all":
		*x = extras(cost.DefaultExtras())
	case "none":
		*x = extras{}
	default:
		return errors.New("choose all or none")
	}
	return nil
}

func (x *extras) String() string {
	if *x == (extras{}) {
		return "none"
	}
	return "all"
}

func (*extras) Type() string { return "all|none" }
