package cost

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
)

// Month is the month of a [Usage] that does not set its hours: 30 days, 720 hours.
const Month = 30 * 24 * time.Hour

// Usage is everything in one month. Each part may be left zero: a Usage with only EFS set
// gives a bill for EFS alone.
type Usage struct {
	Calls        int64 // a month
	Hours        int64 // of the month, 672 to 744; 0 means 720. AWS's calculator uses 730
	Warm         int64 // calls in a million that find the files in their environment's page cache
	Lambda       Lambda
	Helpers      Helpers // need [Usage.Lambda]
	API          API
	RequestBytes int64 // per call, as API Gateway meters it; at most 10 MB
	EFS          EFS
	Index        Index
	DynamoDB     DynamoDB
	S3           S3
	Extras       Extras
	FreeTier     bool // apply the monthly free tier of Lambda, CloudWatch and data transfer
}

// month is the length of the month.
func (u Usage) month() time.Duration {
	if u.Hours == 0 {
		return Month
	}
	return time.Duration(u.Hours) * time.Hour
}

// S3 is a bucket that holds the files instead of [EFS], see [Job].
type S3 struct {
	Lists, Gets int64 // requests of a call; a GET costs the same whatever its size, and so does a HEAD
	StoredBytes int64
}

// Extras is what a service pays for besides calls and files: logs, answers, metrics and
// alarms. The zero value leaves them out.
type Extras struct {
	LogBytes       int64 // that the function logs, per call
	AccessLogBytes int64 // that API Gateway logs, per call; nothing without an API
	RetentionDays  int64 // of both logs, at most 3,653; 0 stores nothing
	ResponseBytes  int64 // per call, sent out to the internet
	Metrics        int64 // custom metrics
	Alarms         int64
}

// Lambda is the function that a call runs.
type Lambda struct {
	Arch        Arch
	MemoryMB    int64         // 128 to 10,240
	Duration    time.Duration // per call, without INIT; above 0, at most 15 minutes
	Init        time.Duration // of a new environment, which each cold call pays for; at most 15 minutes
	EphemeralMB int64         // size of /tmp, 512 to 10,240; 0 means 512, which costs nothing
	Provisioned ProvisionedConcurrency
	Streaming   Streaming
}

// ProvisionedConcurrency is environments kept ready. They cost money while they are kept,
// and calls on them cost less per second.
type ProvisionedConcurrency struct {
	Environments int64
	Kept         time.Duration // per month, each period rounded up to 5 minutes; 0 means all of it
	Calls        int64         // how many of [Usage.Calls] run on them
	Duration     time.Duration // per such call; 0 means [Lambda.Duration]
}

// Streaming is streamed responses.
type Streaming struct {
	Calls         int64 // how many of [Usage.Calls] stream their response
	ResponseBytes int64 // per such response; the first 6 MB are free
}

// EFS is the file system that calls read, and what it stores. The bytes of a call are
// metered bytes, see [MeteredRead], in every throughput mode; where reads count a third,
// the bill divides them. A warm call, see [Usage.Warm], reads and accesses nothing.
type EFS struct {
	Throughput       Throughput
	ProvisionedMiBps int64 // with [Provisioned], 1 to 3,414; 0 means the average rate the calls need
	PeakFactor       int64 // millionths: that rate is this many times the average; 0 means once

	ReadBytes          int64    // per call
	WriteBytes         int64    // per call
	MetadataOperations int64    // per call: NFS requests other than READ and WRITE
	MetadataBytes      int64    // per call, metered, see [Messages]; 0 means 4 KiB for each operation
	WarmMetadata       Messages // per warm call; zero means as many as a cold one
	AccessBytes        int64    // per call, see [MeteredAccess]; charged in an IA or Archive class

	StorageClass     StorageClass
	StoredBytes      int64   // content
	ReclaimableBytes int64   // of StoredBytes, those held by duplicates
	Stored           Objects // as metered; zero means StoredBytes, without rounding
	Reclaimable      Objects // as metered; zero means ReclaimableBytes
}

// mostOpening is how many messages of any call can open and close files.
func (e EFS) mostOpening() int64 {
	if e.WarmMetadata.Count > 0 {
		return min(e.MetadataOperations, e.WarmMetadata.Count)
	}
	return e.MetadataOperations
}

// Objects are files and directories in a file system as EFS meters them, see
// [MeteredFile].
type Objects struct {
	Files, Directories int64
	Bytes              int64 // the content of the files
	ColdBytes          int64 // the same in IA or Archive, without metadata
}

// Add adds n files of one size, or with a negative n takes them away: see [MeteredFile].
// Sums end at the largest integer.
func (o *Objects) Add(size, allocated, n int64) {
	content, cold := MeteredFile(size, allocated)
	o.Files += n
	o.Bytes = addUp(o.Bytes, content, n)
	o.ColdBytes = addUp(o.ColdBytes, cold, n)
}

// Merge adds other files and directories.
func (o *Objects) Merge(p Objects) {
	o.Files += p.Files
	o.Directories += p.Directories
	o.Bytes = addUp(o.Bytes, p.Bytes, 1)
	o.ColdBytes = addUp(o.ColdBytes, p.ColdBytes, 1)
}

// addUp returns a + b×n, at least 0 and at most the largest integer. B is positive.
func addUp(a, b, n int64) int64 {
	if n > 0 && b > (math.MaxInt64-a)/n {
		return math.MaxInt64
	}
	return max(0, a+b*n)
}

// Metered returns e with the metered bytes that e.Stored lacks, if it has anything: the
// content is StoredBytes, spread evenly over the files if there are any. In IA or Archive
// it is as much, and at least 126 KiB a file.
func (e EFS) Metered() EFS {
	o, even := &e.Stored, Objects{}
	if *o == (Objects{}) {
		return e
	}
	if o.Bytes == 0 {
		even, _ = ByHandStored(e.StoredBytes, 0, o.Files)
		o.Bytes = max(even.Bytes, e.StoredBytes)
	}
	if o.ColdBytes == 0 {
		o.ColdBytes = max(o.Bytes, even.ColdBytes, addUp(0, leastCold-objectBytes, o.Files))
	}
	return e
}

// within returns o, or less where most has less.
func (o Objects) within(most Objects) Objects {
	return Objects{min(o.Files, most.Files), min(o.Directories, most.Directories), min(o.Bytes, most.Bytes), min(o.ColdBytes, most.ColdBytes)}
}

// ByHandStored returns what EFS meters for bytes spread evenly over files, and for the
// reclaimable part of them. Without files both are zero.
func ByHandStored(bytes, reclaimableBytes, files int64) (stored, reclaimable Objects) {
	if files <= 0 || bytes < 0 || reclaimableBytes < 0 {
		return Objects{}, Objects{}
	}
	each, more := bytes/files, bytes%files
	stored.Add(each, -1, files-more)
	if more > 0 {
		stored.Add(each+1, -1, more)
	}
	if bytes > 0 && reclaimableBytes > 0 {
		part := ceil(ratio(bytes, reclaimableBytes, files))
		reclaimable.Add(each, -1, part)
	}
	return stored, reclaimable.within(stored)
}

// Arch is the instruction set of a function.
type Arch string

// The instruction sets that Lambda runs.
const (
	X86 Arch = "x86_64"
	ARM Arch = "arm64"
)

// API is the kind of API Gateway in front of the function.
type API string

// The kinds of API; "" means [NoAPI].
const (
	NoAPI API = "none" // invoked directly or through a function URL
	HTTP  API = "http"
	REST  API = "rest"
)

// Throughput is the throughput mode of a file system.
type Throughput string

// The throughput modes of EFS.
const (
	Elastic     Throughput = "elastic"     // charges for bytes moved
	Provisioned Throughput = "provisioned" // charges for a rate, used or not
	Bursting    Throughput = "bursting"    // charges only for storage, which sets the rate
)

// StorageClass is where a file system keeps its bytes.
type StorageClass string

// The storage classes of EFS. IA is infrequent access.
const (
	Standard  StorageClass = "standard"
	OneZone   StorageClass = "one_zone"
	IA        StorageClass = "ia"
	OneZoneIA StorageClass = "one_zone_ia"
	Archive   StorageClass = "archive" // with [Elastic] only
	NoStorage StorageClass = "none"    // leaves storage out of the bill
)

// cold reports whether reads of the class are also charged as access.
func (c StorageClass) cold() bool {
	return c == IA || c == OneZoneIA || c == Archive
}

// maxUnits is a thousand million units, in millionths: more than any call takes.
const maxUnits = 1e9 * million

// Validate returns one joined error for every figure out of range. Each names the figure
// and the allowed range.
func (u Usage) Validate() error {
	var c checks
	c.within("calls a month", u.Calls, 0, math.MaxInt64)
	if u.API != "" {
		oneOf(&c, "API", u.API, NoAPI, HTTP, REST)
	}
	if u.Hours != 0 {
		c.within("hours a month", u.Hours, 672, 744)
	}
	c.millionths("share of warm calls", u.Warm, 0, million)
	c.within("request bytes", u.RequestBytes, 0, 10*mib)
	if u.Lambda != (Lambda{}) {
		c.lambda(u.Lambda, u.Calls, u.month())
	} else if u.Helpers != (Helpers{}) {
		c.fail("a call has helpers, allowed: where it runs a function itself")
	}
	c.helpers(u.Helpers)
	if u.EFS != (EFS{}) {
		c.efs(u.EFS)
	}
	c.within("known files of a million", u.Index.Known, 0, million)
	c.within("metadata operations that open files", u.Index.OpenOperations, 0, max(0, u.EFS.mostOpening()))
	c.within("millionths of a DynamoDB read unit", u.DynamoDB.ReadUnits, 0, maxUnits)
	c.within("millionths of a DynamoDB write unit", u.DynamoDB.WriteUnits, 0, maxUnits)
	c.within("bytes stored in DynamoDB", u.DynamoDB.StoredBytes, 0, math.MaxInt64)
	c.within("LIST requests of a call", u.S3.Lists, 0, math.MaxInt64)
	c.within("GET requests of a call", u.S3.Gets, 0, math.MaxInt64)
	c.within("bytes stored in S3", u.S3.StoredBytes, 0, math.MaxInt64)
	c.extras(u.Extras)
	return errors.Join(c...)
}

// checks collects what is wrong with a usage.
type checks []error

func (c *checks) fail(format string, args ...any) {
	*c = append(*c, fmt.Errorf(format, args...))
}

func (c *checks) lambda(l Lambda, calls int64, month time.Duration) {
	oneOf(c, "architecture", l.Arch, X86, ARM)
	c.within("memory in MB", l.MemoryMB, 128, 10240)
	if l.Duration <= 0 || l.Duration > 15*time.Minute {
		c.fail("duration is %v, allowed: above 0, at most 15m", l.Duration)
	}
	if l.Init < 0 || l.Init > 15*time.Minute {
		c.fail("init is %v, allowed: 0 to 15m", l.Init)
	}
	if l.EphemeralMB != 0 {
		c.within("ephemeral storage in MB", l.EphemeralMB, 512, 10240)
	}
	p := l.Provisioned
	c.within("provisioned concurrency", p.Environments, 0, math.MaxInt64)
	if p.Kept < 0 || p.Kept > month {
		c.fail("time that concurrency is provisioned is %v, allowed: 0 to %v", p.Kept, month)
	}
	if p.Duration < 0 || p.Duration > 15*time.Minute {
		c.fail("duration on provisioned concurrency is %v, allowed: 0 to 15m", p.Duration)
	}
	c.within("calls on provisioned concurrency", p.Calls, 0, max(calls, 0))
	if p.Calls > 0 && p.Environments == 0 {
		c.fail("calls on provisioned concurrency is %d, allowed: 0 without environments", p.Calls)
	}
	c.within("streaming calls", l.Streaming.Calls, 0, max(calls, 0))
	c.within("streamed bytes of a response", l.Streaming.ResponseBytes, 0, math.MaxInt64)
}

func (c *checks) efs(e EFS) {
	oneOf(c, "throughput mode", e.Throughput, Elastic, Provisioned, Bursting)
	if e.ProvisionedMiBps != 0 {
		c.within("provisioned MiBps", e.ProvisionedMiBps, 1, maxMiBps)
	}
	if e.PeakFactor != 0 {
		c.millionths("peak factor", e.PeakFactor, million, 1000*million)
	}
	if e.ProvisionedMiBps > 0 && e.Throughput != Provisioned {
		c.fail("provisioned MiBps is %d, allowed: 0 with %s throughput", e.ProvisionedMiBps, e.Throughput)
	}
	c.within("bytes read", e.ReadBytes, 0, math.MaxInt64)
	c.within("bytes written", e.WriteBytes, 0, math.MaxInt64)
	c.messages("metadata", Messages{e.MetadataOperations, e.MetadataBytes})
	c.messages("warm metadata", e.WarmMetadata)
	if e.StorageClass != "" || e.StoredBytes > 0 {
		oneOf(c, "storage class", e.StorageClass, Standard, OneZone, IA, OneZoneIA, Archive, NoStorage)
	}
	if e.StorageClass == Archive && e.Throughput != Elastic {
		c.fail("storage class is archive, allowed: with elastic throughput only")
	}
	least := int64(0)
	if e.StorageClass.cold() {
		least = max(e.ReadBytes, 0) // access is metered in coarser steps than reads
	}
	c.within("accessed bytes", e.AccessBytes, least, math.MaxInt64)
	c.within("bytes stored", e.StoredBytes, 0, math.MaxInt64)
	c.within("reclaimable bytes", e.ReclaimableBytes, 0, max(e.StoredBytes, 0))
	c.objects("stored", e.Stored, Objects{math.MaxInt64, math.MaxInt64, math.MaxInt64, math.MaxInt64})
	c.objects("reclaimable", e.Reclaimable, e.Stored)
}

// messages checks metered bytes: too few are a mistake, because no request counts less
// than 4 KiB.
func (c *checks) messages(what string, m Messages) {
	c.within(what+" operations", m.Count, 0, math.MaxInt64)
	least := int64(math.MaxInt64)
	if m.Count <= math.MaxInt64/metadataBytes {
		least = MeteredMetadata(m.Count)
	}
	if m.Bytes != 0 {
		c.within("metered "+what+" bytes", m.Bytes, least, math.MaxInt64)
	}
}

func (c *checks) objects(what string, o, most Objects) {
	c.within(what+" files", o.Files, 0, max(most.Files, 0))
	c.within(what+" directories", o.Directories, 0, max(most.Directories, 0))
	c.within("metered "+what+" bytes", o.Bytes, 0, max(most.Bytes, 0))
	c.within("metered "+what+" bytes in IA or Archive", o.ColdBytes, 0, max(most.ColdBytes, 0))
}

func (c *checks) extras(x Extras) {
	c.within("logged bytes of a call", x.LogBytes, 0, math.MaxInt64)
	c.within("access log bytes of a call", x.AccessLogBytes, 0, math.MaxInt64)
	c.within("days that logs are kept", x.RetentionDays, 0, 3653)
	c.within("bytes of a response", x.ResponseBytes, 0, math.MaxInt64)
	c.within("custom metrics", x.Metrics, 0, math.MaxInt64)
	c.within("alarms", x.Alarms, 0, math.MaxInt64)
}

func (c *checks) within(what string, v, lo, hi int64) {
	switch {
	case lo <= v && v <= hi:
	case hi == math.MaxInt64:
		c.fail("%s is %d, allowed: %d or more", what, v, lo)
	default:
		c.fail("%s is %d, allowed: %d to %d", what, v, lo, hi)
	}
}

// millionths checks a figure that is counted in millionths.
func (c *checks) millionths(what string, v, lo, hi int64) {
	if v < lo || v > hi {
		part := func(n int64) string { return Decimal(ratio(million, n), 6) }
		c.fail("%s is %s, allowed: %s to %s", what, part(v), part(lo), part(hi))
	}
}

func oneOf[S ~string](c *checks, what string, got S, allowed ...S) {
	names := make([]string, len(allowed))
	for i, a := range allowed {
		if got == a {
			return
		}
		names[i] = string(a)
	}
	c.fail("%s is %q, allowed: %s", what, got, strings.Join(names, ", "))
}
