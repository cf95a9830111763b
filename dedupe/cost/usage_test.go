package cost

import (
	"math"
	"testing"
	"time"
)

// invalid changes a valid usage, and what the error says then.
var invalid = []struct {
	set  func(*Usage)
	want string
}{
	{func(u *Usage) { u.Calls = -1 }, "calls a month is -1, allowed: 0 or more"},
	{func(u *Usage) { u.API = "soap" }, `API is "soap", allowed: none, http, rest`},
	{func(u *Usage) { u.RequestBytes = 10*mib + 1 }, "request bytes is 10485761, allowed: 0 to 10485760"},
	{func(u *Usage) { u.Lambda.Arch = "" }, `architecture is "", allowed: x86_64, arm64`},
	{func(u *Usage) { u.Lambda.MemoryMB = 127 }, "memory in MB is 127, allowed: 128 to 10240"},
	{func(u *Usage) { u.Lambda.MemoryMB = 10241 }, "memory in MB is 10241, allowed: 128 to 10240"},
	{func(u *Usage) { u.Lambda.Duration = 0 }, "duration is 0s, allowed: above 0, at most 15m"},
	{func(u *Usage) { u.Lambda.Duration = 16 * time.Minute }, "duration is 16m0s, allowed: above 0, at most 15m"},
	{func(u *Usage) { u.Lambda.EphemeralMB = 511 }, "ephemeral storage in MB is 511, allowed: 512 to 10240"},
	{func(u *Usage) { u.Lambda.Provisioned.Environments = -1 }, "provisioned concurrency is -1, allowed: 0 or more"},
	{func(u *Usage) { u.Lambda.Provisioned.Kept = 31 * 24 * time.Hour }, "time that concurrency is provisioned is 744h0m0s, allowed: 0 to 720h0m0s"},
	{func(u *Usage) { u.Lambda.Provisioned.Duration = -1 }, "duration on provisioned concurrency is -1ns, allowed: 0 to 15m"},
	{func(u *Usage) { u.Lambda.Provisioned = ProvisionedConcurrency{Environments: 1, Calls: 1001} }, "calls on provisioned concurrency is 1001, allowed: 0 to 1000"},
	{func(u *Usage) { u.Lambda.Provisioned.Calls = 1 }, "calls on provisioned concurrency is 1, allowed: 0 without environments"},
	{func(u *Usage) { u.Lambda.Streaming.Calls = 1001 }, "streaming calls is 1001, allowed: 0 to 1000"},
	{func(u *Usage) { u.Lambda.Streaming.ResponseBytes = -1 }, "streamed bytes of a response is -1, allowed: 0 or more"},
	{func(u *Usage) { u.Helpers = Helpers{MemoryMB: 128, Duration: 1} }, "helpers of a call is 0, allowed: 1 to 10000\nduration of all helpers of a call is 1ns, allowed: above 0, at most 15m each"},
	{func(u *Usage) { u.Helpers = Helpers{Calls: 1, MemoryMB: 1, Duration: 1} }, "memory of a helper in MB is 1, allowed: 128 to 10240"},
	{func(u *Usage) { u.Helpers = Helpers{Calls: 2, MemoryMB: 128, Duration: 31 * time.Minute} }, "duration of all helpers of a call is 31m0s, allowed: above 0, at most 15m each"},
	{func(u *Usage) { u.Helpers = Helpers{Calls: 1, MemoryMB: 128, Duration: 1, Transitions: -1} }, "state transitions of a call is -1, allowed: 0 or more"},
	{func(u *Usage) { u.Lambda, u.Helpers = Lambda{}, Helpers{Calls: 1, MemoryMB: 128, Duration: 1} }, "a call has helpers, allowed: where it runs a function itself"},
	{func(u *Usage) { u.EFS.Throughput = "fast" }, `throughput mode is "fast", allowed: elastic, provisioned, bursting`},
	{func(u *Usage) { u.EFS.ProvisionedMiBps = 5 }, "provisioned MiBps is 5, allowed: 0 with elastic throughput"},
	{func(u *Usage) { u.EFS.ReadBytes = -1 }, "bytes read is -1, allowed: 0 or more"},
	{func(u *Usage) { u.EFS.WriteBytes = -1 }, "bytes written is -1, allowed: 0 or more"},
	{func(u *Usage) { u.EFS.MetadataOperations = -1 }, "metadata operations is -1, allowed: 0 or more"},
	{func(u *Usage) { u.EFS.StorageClass = "" }, `storage class is "", allowed: standard, one_zone, ia, one_zone_ia, archive, none`},
	{func(u *Usage) { u.EFS.StorageClass = IA }, "accessed bytes is 0, allowed: 1048576 or more"},
	{func(u *Usage) { u.EFS.AccessBytes = -1 }, "accessed bytes is -1, allowed: 0 or more"},
	{func(u *Usage) { u.EFS = EFS{Throughput: Bursting, StorageClass: Archive} }, "storage class is archive, allowed: with elastic throughput only"},
	{func(u *Usage) { u.EFS.StoredBytes = -1 }, "bytes stored is -1, allowed: 0 or more"},
	{func(u *Usage) { u.EFS.ReclaimableBytes = gib + 1 }, "reclaimable bytes is 1073741825, allowed: 0 to 1073741824"},
	{func(u *Usage) { u.Warm = million + 1 }, "share of warm calls is 1.000001, allowed: 0 to 1"},
	{func(u *Usage) { u.EFS.PeakFactor = million / 2 }, "peak factor is 0.5, allowed: 1 to 1000"},
	{func(u *Usage) { u.EFS.MetadataOperations, u.Index.OpenOperations = 5, 6 }, "metadata operations that open files is 6, allowed: 0 to 5"},
	{func(u *Usage) {
		u.EFS.MetadataOperations, u.EFS.WarmMetadata, u.Index.OpenOperations = 5, Messages{Count: 4}, 5
	}, "metadata operations that open files is 5, allowed: 0 to 4"},
	{func(u *Usage) { u.Calls, u.Lambda.MemoryMB = -1, 0 }, "calls a month is -1, allowed: 0 or more\nmemory in MB is 0, allowed: 128 to 10240"},
}

func TestValidate(t *testing.T) {
	good := Usage{
		Calls:  1000,
		Lambda: Lambda{Arch: ARM, MemoryMB: 1769, Duration: time.Second},
		API:    HTTP,
		EFS:    EFS{Throughput: Elastic, ReadBytes: mib, StorageClass: Standard, StoredBytes: gib},
	}
	if err := good.Validate(); err != nil {
		t.Fatalf("the usage that the cases vary: %v", err)
	}
	if err := (Usage{}).Validate(); err != nil {
		t.Errorf("zero usage: %v", err)
	}
	// Warm metadata may give bytes alone: then its count is that of cold calls.
	counted := good
	counted.EFS.MetadataOperations, counted.EFS.WarmMetadata, counted.Index.OpenOperations = 5, Messages{Bytes: 5 * metadataBytes}, 5
	if err := counted.Validate(); err != nil {
		t.Error(err)
	}
	for _, test := range invalid {
		u := good
		test.set(&u)
		if err := u.Validate(); err == nil || err.Error() != test.want {
			t.Errorf("error %v, want %s", err, test.want)
		}
	}
}

// The largest allowed figures must neither overflow nor panic.
func TestExtremes(t *testing.T) {
	const most = math.MaxInt64
	bill := mustBill(t, prices(t, "us-east-1"), Usage{
		Calls: most,
		Lambda: Lambda{Arch: X86, MemoryMB: 10240, Duration: 15 * time.Minute, EphemeralMB: 10240,
			Provisioned: ProvisionedConcurrency{Environments: most, Calls: most},
			Streaming:   Streaming{Calls: most, ResponseBytes: most}},
		API: HTTP, RequestBytes: 10 * mib,
		EFS: EFS{Throughput: Provisioned, ReadBytes: most, WriteBytes: most, MetadataOperations: most,
			StorageClass: Standard, StoredBytes: most, ReclaimableBytes: most},
	})
	checkSums(t, bill)
}
