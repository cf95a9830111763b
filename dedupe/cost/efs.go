package cost

import "math/big"

const (
	// maxMiBps is the most that EFS provisions. Source: Amazon EFS User Guide, quotas.
	maxMiBps = 3414

	// leastMiBps is the metered rate that Bursting gives every file system, whatever it
	// stores, and the least that can be provisioned. Source: Amazon EFS User Guide,
	// throughput modes.
	leastMiBps = 1

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
		t.charge("efs.read", u.cold(gib, e.ReadBytes))
		t.charge("efs.write", ratio(gib, u.Calls, e.WriteBytes))
		t.charge("efs.metadata", u.metadata(gib))
	case Provisioned:
		t.provisioned(e, neededMiBps(u))
	case Bursting:
		t.bursting(e, neededMiBps(u))
	}
	t.checkClient(u)
	t.crossZone(u)

	switch e.StorageClass {
	case IA, OneZoneIA:
		t.charge("efs.access.ia", u.cold(gib, e.AccessBytes))
	case Archive:
		t.charge("efs.access.archive", u.cold(gib, e.AccessBytes))
		t.warn("a file deleted or moved after less than 90 days in Archive is charged for all 90; this is not on the bill")
	}
	t.items = append(t.items, t.storage(e, e.stored())...)
}

// stored is what the file system holds, as metered.
func (e EFS) stored() Objects { return e.Stored.or(e.StoredBytes) }

// kept is what it holds without the duplicates.
func (e EFS) kept() Objects {
	all, less := e.stored(), e.Reclaimable.or(e.ReclaimableBytes)
	return Objects{
		Files:       all.Files - less.Files,
		Directories: all.Directories - less.Directories,
		Bytes:       max(0, all.Bytes-less.Bytes),
		ColdBytes:   max(0, all.ColdBytes-less.ColdBytes),
	}
}

// or returns o, or if nothing was metered this many bytes in an unknown number of files.
func (o Objects) or(bytes int64) Objects {
	if o == (Objects{}) {
		return Objects{Bytes: bytes, ColdBytes: bytes}
	}
	return o
}

// standard is the bytes in Standard or One Zone, in GiB. In a cold class these are all
// metadata, and the directories.
func (o Objects) standard(class StorageClass) *big.Rat {
	gb := sum(ratio(gib, o.Files, objectBytes), ratio(gib, o.Directories, objectBytes+storageStep))
	if !class.cold() {
		gb.Add(gb, ratio(gib, o.Bytes))
	}
	return gb
}

// storage prices stored objects. Metadata and directories of a cold class are in Standard
// or One Zone.
func (t *tally) storage(e EFS, o Objects) []Item {
	if e.StorageClass == NoStorage {
		return nil
	}
	base := "efs.storage." + string(e.StorageClass)
	if e.StorageClass.cold() {
		base = "efs.storage.standard"
	}
	if e.StorageClass == OneZoneIA {
		base = "efs.storage.one_zone"
	}
	var items []Item
	add := func(meter string, gb *big.Rat) {
		if gb.Sign() > 0 {
			items = append(items, t.price(meter).items(new(big.Rat), gb, false)...)
		}
	}
	if e.StorageClass.cold() {
		add(storageMeter(e), ratio(gib, o.ColdBytes))
	}
	add(base, o.standard(e.StorageClass))
	return items
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
// them.
func (t *tally) reclaimable(e EFS) *big.Rat {
	with, without := total(t.storage(e, e.stored())), total(t.storage(e, e.kept()))
	return with.Sub(with, without)
}

// neededMiBps is the average rate of metered throughput over the month: a third of what
// the calls read, and all else in full. Source: Amazon EFS User Guide, throughput modes
// and the metric MeteredIOBytes.
func neededMiBps(u Usage) *big.Rat {
	month := mib * int64(u.month().Seconds())
	return sum(
		u.cold(3*month, u.EFS.ReadBytes),
		ratio(month, u.Calls, u.EFS.WriteBytes),
		u.metadata(month))
}

// includedMiBps is the throughput that comes with storage: the baseline of Bursting, and
// what Provisioned does not bill. IA and Archive bring none. Source: Amazon EFS User
// Guide, throughput modes.
func includedMiBps(class StorageClass, stored Objects) *big.Rat {
	gb := stored.standard(class)
	return gb.Mul(gb, ratio(includedGiB, 1))
}

// provisioned charges the rate above what storage includes.
func (t *tally) provisioned(e EFS, needed *big.Rat) {
	least := ratio(1, leastMiBps)
	peak := new(big.Rat).Mul(needed, ratio(million, max(million, e.PeakFactor)))
	rate := sum(least, excess(peak, least))
	if e.ProvisionedMiBps > 0 {
		rate = ratio(1, e.ProvisionedMiBps)
	}
	included := includedMiBps(e.StorageClass, e.stored())
	billed := excess(rate, included)
	t.charge("efs.provisioned", billed)

	if e.ProvisionedMiBps == 0 && billed.Sign() > 0 && rate.Cmp(needed) == 0 {
		t.warn("%s MiBps is the average rate of the month: there is no headroom for peaks", Decimal(rate, 3))
	}
	if rate.Cmp(ratio(1, maxMiBps)) > 0 {
		t.warn("EFS provisions at most %d MiBps, and this bill has %s: choose elastic throughput", maxMiBps, Decimal(rate, 3))
	}
	switch {
	case needed.Cmp(rate) > 0 && needed.Cmp(included) > 0:
		t.warn("the calls need %s MiBps on average, more than the %s provisioned: they will wait", Decimal(needed, 3), Decimal(rate, 3))
	case peak.Cmp(rate) > 0 && peak.Cmp(included) > 0:
		t.warn("the calls need %s MiBps at their peak, more than the %s provisioned: they will wait", Decimal(peak, 3), Decimal(rate, 3))
	}
	cleaned := excess(rate, includedMiBps(e.StorageClass, e.kept()))
	if more := excess(cleaned, billed); more.Sign() > 0 {
		t.warn("deleting the duplicates also ends the throughput included with them: %s MiBps more would be billed", Decimal(more, 3))
	}
}

// bursting charges nothing, and warns if the baseline cannot carry the calls.
func (t *tally) bursting(e EFS, needed *big.Rat) {
	least := ratio(1, leastMiBps)
	baseline := sum(least, excess(includedMiBps(e.StorageClass, e.stored()), least))
	if needed.Cmp(baseline) > 0 {
		t.warn("the calls need %s MiBps on average, more than the baseline of %s: burst credits run out and they will wait", Decimal(needed, 3), Decimal(baseline, 3))
	}
}

// crossZone warns about calls in a zone without a mount target. With subnets in two
// zones, half of the calls run there and pay for every byte in both directions. Source:
// Amazon EFS pricing; Amazon EC2 on-demand pricing, data transfer.
func (t *tally) crossZone(u Usage) {
	if class := u.EFS.StorageClass; class != OneZone && class != OneZoneIA {
		return
	}
	moved := sum(u.cold(gib, u.EFS.ReadBytes), ratio(gib, u.Calls, u.EFS.WriteBytes), u.metadata(gib))
	if moved.Sign() == 0 {
		return
	}
	p, ok := t.book.prices["transfer.cross_zone"]
	if !ok {
		t.warn("a One Zone file system is in one zone: calls in another pay for data transfer in both directions, whose price here is unknown; choose one subnet")
		return
	}
	each := p.tiers[0].price
	cost := moved.Mul(moved, each) // half of the calls, two directions
	t.warn("a One Zone file system is in one zone: with subnets in two, half of the calls pay %s per GB each way, about %s %s a month that is not on the bill; choose one subnet", Decimal(each, 4), Amount(cost), t.book.Currency)
}

// checkClient warns if one environment cannot move a call's bytes within its duration:
// then Lambda costs more than the bill says.
func (t *tally) checkClient(u Usage) {
	ms := BilledDuration(u.Lambda.Duration).Milliseconds()
	if ms == 0 {
		return
	}
	rate := sum(
		ratio(ms*mib*million, 1000, u.EFS.ReadBytes, million-u.Index.Known), // of a cold call
		ratio(ms*mib, 1000, u.EFS.WriteBytes))
	if rate.Cmp(ratio(1, clientMiBps)) > 0 {
		t.warn("a call of %v moves %s MiBps, more than the %d that one environment can: calls will last longer", u.Lambda.Duration, Decimal(rate, 3), clientMiBps)
	}
}
