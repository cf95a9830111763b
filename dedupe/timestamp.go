package dedupe

import (
	"cmp"
	"time"
)

// Timestamp is a point in time as file systems keep it. Seconds and nanoseconds are
// separate, because 64 bits of nanoseconds end in 2262.
type Timestamp struct {
	Sec  int64 // since 1970
	Nsec int32 // 0 to 999,999,999
}

// Time returns the timestamp as a time, in UTC.
func (t Timestamp) Time() time.Time { return time.Unix(t.Sec, int64(t.Nsec)).UTC() }

// Compare returns -1 if t is before u, 1 if it is after, and 0 if they are equal.
func (t Timestamp) Compare(u Timestamp) int {
	return cmp.Or(cmp.Compare(t.Sec, u.Sec), cmp.Compare(t.Nsec, u.Nsec))
}

// IsWholeSecond reports whether the timestamp has no fraction of a second: the file
// system keeps none, or a program set it.
func (t Timestamp) IsWholeSecond() bool { return t.Nsec == 0 }
