package cost

import (
	"math"
	"time"
)

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

// MeteredMetadata returns how many bytes EFS meters for this many short requests, such as
// OPEN, CLOSE and GETATTR: 4 KiB each, the least that one counts. Source: Amazon EFS User
// Guide, Metering.
func MeteredMetadata(operations int64) int64 {
	return max(operations, 0) * metadataBytes
}

// MeteredMessage returns how many bytes EFS meters for one request other than READ and
// WRITE, which moves this many: at least 4 KiB, above that in steps of 1 KiB. Only READDIR
// is longer. Source: Amazon EFS User Guide, Metering.
func MeteredMessage(bytes int64) int64 {
	return max(metadataBytes, roundUp(bytes, kib))
}

const metadataBytes = 4 * kib

// MeteredAccess returns how many bytes EFS meters, on top of throughput, for one
// sequential read of bytes of one file in an IA or Archive class: steps of 128 KiB. 0 or
// less is 0. Source: Amazon EFS pricing.
func MeteredAccess(bytes int64) int64 {
	return roundUp(max(bytes, 0), 128*kib)
}

const (
	objectBytes = 2 * kib   // of metadata, for each file and directory
	storageStep = 4 * kib   // of content; at least one
	leastCold   = 128 * kib // for each file in IA or Archive, with its metadata
)

// MeteredFile returns how many bytes EFS meters for the content of a stored file: its size
// or what is allocated, whichever is less, in steps of 4 KiB, at least one. An allocated
// below 0 is unknown. In IA and Archive a file counts at least 128 KiB, of which the 2 KiB
// of metadata are in Standard: cold is the rest. Source: Amazon EFS User Guide, How Amazon
// EFS reports file system and object sizes; Amazon EFS pricing.
func MeteredFile(size, allocated int64) (content, cold int64) {
	if allocated >= 0 {
		size = min(size, allocated)
	}
	if size > math.MaxInt64-storageStep {
		size = math.MaxInt64 - storageStep
	}
	content = max(storageStep, roundUp(size, storageStep))
	return content, max(content, leastCold-objectBytes)
}

func roundUp(n, step int64) int64 {
	return (n + step - 1) / step * step
}
