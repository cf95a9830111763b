package mount

import (
	"maps"
	"slices"
	"time"
)

// Traffic is what the NFS client of this machine exchanged with servers for some mounts,
// during some time. It counts every message sent for these mounts, so it includes what
// other processes, and other scans in this process, did there meanwhile.
type Traffic struct {
	Point string // where it is mounted; empty in the sum of several

	// Messages counts the requests that were answered, by the kernel's name of their type,
	// such as READ, OPEN or GETATTR. NFSv4 sends each as one COMPOUND. Types that were not
	// sent are missing.
	Messages map[string]int64

	BytesSent, BytesReceived int64 // with all headers

	// MeteredBytes is what EFS meters for all messages but READ: 4 KiB each, or its size
	// if that is larger. The kernel gives only sums, so each type counts as the larger of
	// 4 KiB times its messages and the bytes received for it.
	MeteredBytes int64

	Retransmissions int64         // transmissions beyond the first of each request
	Timeouts        int64         // of requests that were then sent again
	RoundTrip       time.Duration // mean per message, from its transmission to the reply

	// Mounts has each of several file systems, sorted by Point. It is empty for one. What
	// keeps the connection to a server, such as EXCHANGE_ID, counts for all its mounts.
	Mounts []Traffic
}

// BesidesREAD returns the number of all messages but READ.
func (t *Traffic) BesidesREAD() (n int64) {
	for name, messages := range t.Messages {
		if name != readType {
			n += messages
		}
	}
	return n
}

// Listed reports whether at least as many listings were sent as there are directories. If
// not, the client answered some from its memory. A nil Traffic reports false.
func (t *Traffic) Listed(directories int64) bool {
	return t != nil && t.Messages["READDIR"] >= directories
}

const (
	readType      = "READ"
	leastMetadata = 4 << 10 // source: Amazon EFS User Guide, Metering
)

// Meter measures NFS traffic from the time it was made.
type Meter struct {
	all    *Table
	before sent
}

// sent is what was sent since a file system was mounted, by its device. Mounts of one
// device share their counters.
type sent map[uint64]mounted

// mounted is a file system, one of the points where it is mounted, and its counters.
type mounted struct {
	point string
	types types
}

// NewMeter starts to measure. It returns nil if the table has no NFS mount, or if the
// kernel does not tell. It sends no messages.
func (all *Table) NewMeter() *Meter {
	before, err := all.sent()
	if err != nil || len(before) == 0 {
		return nil
	}
	return &Meter{all, before}
}

// Traffic returns what was sent since the meter was made for the file systems that hold
// places, and, if below, for those mounted below them. Places are absolute and without
// links. It returns nil if none of these is on NFS, if the kernel does not tell, or if
// counters started again in between. A nil meter returns nil. It sends no messages.
func (m *Meter) Traffic(places []string, below bool) *Traffic {
	if m == nil || len(m.all.nfsDevices(places, below)) == 0 {
		return nil
	}
	all := Read() // a walk into another file system of the server mounts it
	after, err := all.sent()
	if err != nil {
		return nil
	}
	return trafficOf(m.before.until(after, all.nfsDevices(places, below)))
}

// until returns what was sent for some devices between two moments, by their points. It
// returns nil if that is unknown for one of them.
func (before sent) until(after sent, devices map[uint64]bool) map[string]types {
	found := make(map[string]types)
	for device := range devices {
		now, ok := after[device]
		if !ok {
			return nil
		}
		if found[now.point], ok = now.types.since(before[device].types); !ok {
			return nil
		}
	}
	return found
}

// trafficOf sums what was sent for mounts, by their points. It returns nil if there are
// none.
func trafficOf(mounts map[string]types) *Traffic {
	all := make(types)
	var each []Traffic
	metered := int64(0)
	for _, point := range slices.Sorted(maps.Keys(mounts)) {
		for name, c := range mounts[point] {
			all[name] = all[name].plus(c)
		}
		t := mounts[point].traffic()
		t.Point = point
		each = append(each, t)
		metered += t.MeteredBytes
	}
	switch len(each) {
	case 0:
		return nil
	case 1:
		return &each[0]
	}
	sum := all.traffic()
	sum.Mounts, sum.MeteredBytes = each, metered // which sums of types cannot give
	return &sum
}

// types is the counters of an NFS mount, by type of message.
type types map[string]counters

// counters are those of one type of message.
type counters struct {
	requests, transmissions, timeouts, bytesSent, bytesReceived, roundTripMS int64
}

func (c counters) plus(d counters) counters {
	return counters{c.requests + d.requests, c.transmissions + d.transmissions, c.timeouts + d.timeouts,
		c.bytesSent + d.bytesSent, c.bytesReceived + d.bytesReceived, c.roundTripMS + d.roundTripMS}
}

func (c counters) minus(d counters) counters {
	return counters{c.requests - d.requests, c.transmissions - d.transmissions, c.timeouts - d.timeouts,
		c.bytesSent - d.bytesSent, c.bytesReceived - d.bytesReceived, c.roundTripMS - d.roundTripMS}
}

func (c counters) least() int64 {
	return min(c.requests, c.transmissions, c.timeouts, c.bytesSent, c.bytesReceived, c.roundTripMS)
}

// since returns what was added to earlier. It returns false if anything decreased.
func (t types) since(earlier types) (types, bool) {
	added := make(types)
	for name, c := range t {
		d := c.minus(earlier[name])
		if d.least() < 0 {
			return nil, false
		}
		if d != (counters{}) {
			added[name] = d
		}
	}
	for name := range earlier {
		if _, still := t[name]; !still {
			return nil, false
		}
	}
	return added, true
}

func (t types) traffic() Traffic {
	out := Traffic{Messages: make(map[string]int64)}
	var requests, ms int64
	for name, c := range t {
		if c.requests > 0 {
			out.Messages[name] = c.requests
		}
		if name != readType {
			out.MeteredBytes += max(c.requests*leastMetadata, c.bytesReceived)
		}
		out.BytesSent += c.bytesSent
		out.BytesReceived += c.bytesReceived
		out.Retransmissions += max(c.transmissions-c.requests, 0)
		out.Timeouts += c.timeouts
		requests += c.requests
		ms += c.roundTripMS
	}
	if requests > 0 {
		out.RoundTrip = time.Duration(ms) * time.Millisecond / time.Duration(requests)
	}
	return out
}
