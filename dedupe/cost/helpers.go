package cost

import (
	"math"
	"math/big"
	"time"
)

// Helpers are invocations of another function, for which a call pays too: the call shares
// out its work among them and joins what they return. They run on the architecture of
// [Usage.Lambda]. What they read belongs to [Usage.EFS].
type Helpers struct {
	Calls       int64         // invocations per call
	MemoryMB    int64         // 128 to 10,240
	Duration    time.Duration // of all invocations of a call together, each in whole milliseconds
	Transitions int64         // per call, of the state machine that invokes them; 0 without one
}

// helpers charges the invocations that a call makes. Source: AWS Lambda pricing; AWS Step
// Functions pricing, Standard workflows.
func (t *tally) helpers(u Usage) {
	h, l := u.Helpers, u.Lambda
	if h == (Helpers{}) {
		return
	}
	meter := "lambda.duration." + string(l.Arch)
	t.chargeAfter(meter, u.callSeconds(), "lambda.helpers.duration."+string(l.Arch), u.helperSeconds())
	t.chargeAfter("lambda.requests", ratio(1, u.Calls), "lambda.helpers.requests", ratio(1, u.Calls, h.Calls))
	t.charge("states.transitions", ratio(1, u.Calls, h.Transitions))
}

// callSeconds is the GB-seconds of the calls themselves.
func (u Usage) callSeconds() *big.Rat {
	return gbSeconds(u.Calls-u.Lambda.Provisioned.Calls, u.Lambda.MemoryMB, u.Lambda.Duration)
}

// helperSeconds is the GB-seconds of their helpers.
func (u Usage) helperSeconds() *big.Rat {
	return gbSeconds(u.Calls, u.Helpers.MemoryMB, u.Helpers.Duration)
}

func (c *checks) helpers(h Helpers) {
	if h == (Helpers{}) {
		return
	}
	c.within("helpers of a call", h.Calls, 1, 10_000)
	c.within("memory of a helper in MB", h.MemoryMB, 128, 10240)
	if most := time.Duration(h.Calls) * 15 * time.Minute; h.Duration <= 0 || h.Duration > most {
		c.fail("duration of all helpers of a call is %v, allowed: above 0, at most 15m each", h.Duration)
	}
	c.within("state transitions of a call", h.Transitions, 0, math.MaxInt64)
}
