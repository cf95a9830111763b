package cost

import (
	"math/big"
	"time"
)

const (
	monthSeconds = int64(Month / time.Second)

	// includedGiB is how much stored data brings 1 MiBps. AWS says 50 KiB/s per GiB, and
	// bills as if 20 of those were 1 MiB/s.
	includedGiB = 20

	// clientMiBps is what one client, here one Lambda environment, can move. Source:
	// Amazon EFS User Guide, quotas.
	clientMiBps = 500
)

// efs charges throughput, then access and storage.
func (t *tally) efs(u Usage) {
	e := u.EFS
	switch e.Throughput {
	case Elastic:
		t.charge("efs.read", u.unknown(gib, e.ReadBytes))
		t.charge("efs.write", ratio(gib, u.Calls, e.WriteBytes))
		t.charge("efs.metadata", u.metadata(gib))
	case Provisioned:
		t.provisioned(e, neededMiBps(u))
	case Bursting:
		t.bursting(e, neededMiBps(u))
	}
	t.checkClient(u)

	switch e.StorageClass {
	case IA, OneZoneIA:
		t.charge("efs.access.ia", u.unknown(gib, e.AccessBytes))
	case Archive:
		t.charge("efs.access.archive", u.unknown(gib, e.AccessBytes))
	}
	if e.StorageClass != NoStorage {
		t.charge(storageMeter(e), ratio(gib, e.StoredBytes))
	}
}

// storageMeter returns the meter of stored bytes. IA has two prices: the lower one
// applies with elastic throughput.
func storageMeter(e EFS) string {
	meter := "efs.storage." + string(e.StorageClass)
	if e.StorageClass == IA && e.Throughput != Elastic {
		meter += ".not_elastic"
	}
	return meter
}

// reclaimable is what storage costs with the duplicates, minus what it costs without
// them. Storage that costs nothing has no price, and needs none.
func (t *tally) reclaimable(e EFS) *big.Rat {
	p := t.book.prices[storageMeter(e)]
	with := total(p.items(ratio(gib, e.StoredBytes), false))
	without := total(p.items(ratio(gib, e.StoredBytes-e.ReclaimableBytes), false))
	return with.Sub(with, without)
}

// neededMiBps is the average rate of metered throughput over the month: a third of what
// the calls read, and all else in full. Source: Amazon EFS User Guide, throughput modes
// and the metric MeteredIOBytes.
func neededMiBps(u Usage) *big.Rat {
	const month = mib * monthSeconds
	return sum(
		u.unknown(3*month, u.EFS.ReadBytes),
		ratio(month, u.Calls, u.EFS.WriteBytes),
		u.metadata(month))
}

// includedMiBps is the throughput that comes with storage: the baseline of Bursting, and
// what Provisioned does not bill. IA and Archive bring none. Source: Amazon EFS User
// Guide, throughput modes.
func includedMiBps(class StorageClass, stored int64) *big.Rat {
	if class.cold() {
		return new(big.Rat)
	}
	return ratio(includedGiB*gib, stored)
}

// provisioned charges the rate above what storage includes.
func (t *tally) provisioned(e EFS, needed *big.Rat) {
	rate := needed
	if e.ProvisionedMiBps > 0 {
		rate = ratio(1, e.ProvisionedMiBps)
	}
	included := includedMiBps(e.StorageClass, e.StoredBytes)
	billed := excess(rate, included)
	t.charge("efs.provisioned", billed)

	if e.ProvisionedMiBps == 0 && billed.Sign() > 0 {
		t.warn("%s MiBps is the average rate of the month: there is no headroom for peaks", Decimal(rate, 3))
	}
	if needed.Cmp(rate) > 0 && needed.Cmp(included) > 0 {
		t.warn("the calls need %s MiBps on average, more than the %s provisioned: they will wait", Decimal(needed, 3), Decimal(rate, 3))
	}
	cleaned := excess(rate, includedMiBps(e.StorageClass, e.StoredBytes-e.ReclaimableBytes))
	if more := excess(cleaned, billed); more.Sign() > 0 {
		t.warn("deleting the duplicates also ends the throughput included with them: %s MiBps more would be billed", Decimal(more, 3))
	}
}

// bursting charges nothing, and warns if the baseline cannot carry the calls.
func (t *tally) bursting(e EFS, needed *big.Rat) {
	baseline := includedMiBps(e.StorageClass, e.StoredBytes)
	if needed.Cmp(baseline) > 0 {
		t.warn("the calls need %s MiBps on average, more than the baseline of %s: burst credits run out and they will wait", Decimal(needed, 3), Decimal(baseline, 3))
	}
}

// checkClient warns if one environment cannot move a call's bytes within its duration:
// then Lambda costs more than the bill says.
func (t *tally) checkClient(u Usage) {
	ms := BilledDuration(u.Lambda.Duration).Milliseconds()
	if ms == 0 {
		return
	}
	rate := sum(
		ratio(ms*mib*million, 1000, u.EFS.ReadBytes, million-u.Index.Known),
		ratio(ms*mib, 1000, u.EFS.WriteBytes))
	if rate.Cmp(ratio(1, clientMiBps)) > 0 {
		t.warn("a call of %v moves %s MiBps, more than the %d that one environment can: calls will last longer", u.Lambda.Duration, Decimal(rate, 3), clientMiBps)
	}
}
