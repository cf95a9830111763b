package cost

import "time"

// BilledDuration rounds d up to the millisecond, as Lambda does on its bill. Source: AWS
// Lambda pricing.
func BilledDuration(d time.Duration) time.Duration {
	billed := d.Truncate(time.Millisecond)
	if billed < d {
		billed += time.Millisecond
	}
	return billed
}

// MeteredRead returns how many bytes EFS meters for one sequential read of bytes of one
// file. Over NFS the read arrives as READ operations of 1 MiB (rsize) and one for the
// rest. Each counts at least 32 KiB, above that in steps of 1 KiB. EFS meters writes the
// same way. 0 or less is 0.
//
// For a file read in pieces, with a seek between them, add up the pieces. Source: Amazon
// EFS User Guide, Metering.
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

// MeteredMetadata returns how many bytes EFS meters for metadata operations (open, close,
// stat, readdir): 4 KiB each, the least that one counts. A long directory listing counts
// more. Source: Amazon EFS User Guide, Metering.
func MeteredMetadata(operations int64) int64 {
	return max(operations, 0) * metadataBytes
}

const metadataBytes = 4 * kib

// MeteredAccess returns how many bytes EFS meters, on top of throughput, for one
// sequential read of bytes of one file in an IA or Archive class: steps of 128 KiB. 0 or
// less is 0. Source: Amazon EFS pricing.
func MeteredAccess(bytes int64) int64 {
	return roundUp(max(bytes, 0), 128*kib)
}

func roundUp(n, step int64) int64 {
	return (n + step - 1) / step * step
}
