package cost

import "time"

// BilledDuration is d rounded up to the millisecond, as Lambda bills it.
// Source: AWS Lambda pricing.
func BilledDuration(d time.Duration) time.Duration {
	billed := d.Truncate(time.Millisecond)
	if billed < d {
		billed += time.Millisecond
	}
	return billed
}

// MeteredRead is how many bytes EFS counts for one sequential read of bytes of
// one file. Over NFS it arrives as READ operations of 1 MiB (rsize) and a last
// one with the rest; each counts at least 32 KiB, and beyond that in steps of
// 1 KiB. Writes are metered alike. 0 or less is 0.
//
// What is read in pieces, with a seek between them, is the sum of the pieces.
// Source: Amazon EFS User Guide, Metering.
func MeteredRead(bytes int64) int64 {
	if bytes <= 0 {
		return 0
	}
	rest := bytes % mib
	if rest == 0 {
		return bytes
	}
	return bytes - rest + max(32*kib, roundUp(rest, kib))
}

// MeteredMetadata is how many bytes EFS counts for metadata operations (open,
// close, stat, readdir): 4 KiB each, the least that one counts. A long directory
// listing counts more. Source: Amazon EFS User Guide, Metering.
func MeteredMetadata(operations int64) int64 {
	return max(operations, 0) * metadataBytes
}

const metadataBytes = 4 * kib

// MeteredAccess is how many bytes EFS counts, on top of throughput, for one
// sequential read of bytes of one file in an IA or Archive class: steps of
// 128 KiB. 0 or less is 0. Source: Amazon EFS pricing.
func MeteredAccess(bytes int64) int64 {
	return roundUp(max(bytes, 0), 128*kib)
}

func roundUp(n, step int64) int64 {
	return (n + step - 1) / step * step
}
