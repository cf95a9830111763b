package mount

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// sample returns the mount table and the statistics that a kernel wrote in a machine with
// four NFS mounts: /mnt/efs, a part of it bound to /tmp/bind, the same export once more
// (nosharecache) at "/tmp/a b", and a directory of it at /tmp/sub.
func sample(t testing.TB, kernel string) (all *Table, stats string) {
	t.Helper()
	info, err := os.ReadFile("testdata/" + kernel + ".mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile("testdata/" + kernel + ".mountstats")
	if err != nil {
		t.Fatal(err)
	}
	return Parse(string(info)), string(data)
}

var kernels = []string{"linux-5.10", "linux-6.1"}

func counted(t testing.TB, stats string) map[string]types {
	t.Helper()
	all, err := parseMountstats(stats)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestMountstats(t *testing.T) {
	for _, kernel := range kernels {
		_, stats := sample(t, kernel)
		all := counted(t, stats)
		for point, want := range map[string]map[string]int64{
			"/mnt/efs":  {"ACCESS": 2, "CREATE_SESSION": 1, "READDIR": 1},
			"/tmp/bind": {"ACCESS": 2, "CREATE_SESSION": 1, "READDIR": 1},
			"/tmp/a b":  {"ACCESS": 6, "CREATE_SESSION": 1, "READDIR": 1, "READ": 5, "OPEN": 5, "CLOSE": 5},
			"/tmp/sub":  {"ACCESS": 2, "CREATE_SESSION": 1, "READDIR": 1},
		} {
			got := all[point].traffic().Messages
			for _, name := range []string{"ACCESS", "CREATE_SESSION", "READDIR", "READ", "OPEN", "CLOSE"} {
				if got[name] != want[name] {
					t.Errorf("%s, %s: %d of %s, want %d", kernel, point, got[name], name, want[name])
				}
			}
			if n := len(all[point]); n < 60 {
				t.Errorf("%s, %s: %d types", kernel, point, n)
			}
			delete(all, point)
		}
		if len(all) > 0 {
			t.Errorf("%s: more mounts: %v", kernel, all)
		}
		reads := counted(t, stats)["/tmp/a b"]["READ"]
		reads.roundTripMS = 0
		if diff := cmp.Diff(counters{requests: 5, transmissions: 5, bytesSent: 900, bytesReceived: 500520}, reads, cmp.AllowUnexported(counters{})); diff != "" {
			t.Errorf("%s: %s", kernel, diff)
		}
	}
}

// twoConnections is a mount with nconnect=2 at a path with a blank, a backslash and a
// carriage return.
const twoConnections = "device server:/\\040x mounted on /mnt/a\\040b\\134\rc with fstype nfs4 statvers=1.1\n" +
	"\topts:\trw,vers=4.1,nconnect=2\n" +
	"\tRPC iostats version: 1.1  p/v: 100003/4 (nfs)\n" +
	"\txprt:\ttcp 0 0 2 0 0 65 65 0 65 0 2 0 0\n" +
	"\txprt:\ttcp 0 0 2 0 0 65 65 0 65 0 2 0 0\n" +
	"\tper-op statistics\n" +
	"\t        READ: 3 5 1 600 3072 7 12 20 1\n" +
	"\t          77: 0 0 0 0 0 0 0 0 0\n" +
	"\n"

// TestMountstatsVariants checks lines that the samples lack, and what is refused.
func TestMountstatsVariants(t *testing.T) {
	const good, point = twoConnections, "/mnt/a b\\\rc"
	want := counters{3, 5, 1, 600, 3072, 12}
	hidden := "device x mounted on /mnt/a\\040b\\134\rc with fstype nfs statvers=1.0\n\tper-op statistics\n\tREAD: 1 1 1 1 1 1 1 1\n"
	for name, stats := range map[string]string{
		"two connections": good,
		"before 5.3":      strings.Replace(good, "20 1\n", "20\n", 1),
		"more numbers":    strings.Replace(good, "20 1\n", "20 1 9 9\n", 1),
		"hides another":   hidden + good,
		"no end":          strings.TrimSuffix(good, "\n\n"),
		"no device":       "no device mounted on /x with fstype tmpfs\n" + good + "no device mounted on /y with fstype tmpfs\n",
	} {
		if got := counted(t, stats); got[point]["READ"] != want || len(got) != 1 || len(got[point]) != 2 {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if got := counted(t, good+"device x mounted on /mnt/a\\040b\\134\rc with fstype tmpfs\n"); len(got) > 0 {
		t.Errorf("a hidden mount: %v", got)
	}
	for _, bad := range [][2]string{
		{"statvers=1.1", "statvers=2.0"}, {" statvers=1.1", ""}, {"mounted on", "mounted at"}, {"fstype ", ""},
		{"3 5 1", "3 x 1"}, {"3 5 1", "3 -5 1"}, {"3 5 1", "3  5 1"}, {"3 5 1", "99999999999999999999 5 1"}, {"7 12 20 1", "7 12"},
		{"READ:", ":"}, {"READ:", "READ"}, {"77:", "READ:"}, {"per-op statistics", "statistics"},
	} {
		if got, err := parseMountstats(strings.Replace(good, bad[0], bad[1], 1)); err == nil {
			t.Errorf("%s instead of %s: %v", bad[1], bad[0], got)
		}
	}
}

// later returns statistics in which every mount's counters are higher.
func later(stats string) string {
	stats = strings.ReplaceAll(stats, "\n\t        READ: ", "\n\t        READ: 200 203 2 40000 104900000 5 400 500 0\n\t        OLD: ")
	stats = regexp.MustCompile(`(?m)^\t *OLD: .*\n`).ReplaceAllString(stats, "")
	return regexp.MustCompile(`(?m)^(\t *READDIR): .*`).ReplaceAllString(stats, "$1: 3 3 0 1000 60000 0 30 31 0")
}

func TestTraffic(t *testing.T) {
	for _, kernel := range kernels {
		all, stats := sample(t, kernel)
		before, after := byDevice(all.nfsPoints(), counted(t, stats)), byDevice(all.nfsPoints(), counted(t, later(stats)))
		measure := func(before, after sent, below bool, places ...string) *Traffic {
			return trafficOf(before.until(after, all.nfsDevices(places, below)))
		}
		for _, place := range [][]string{{"/mnt/efs/x"}, {"/mnt/efs", "/tmp/bind"}, {"/tmp/bind/y"}, {"/mnt"}} {
			got := measure(before, after, true, place...)
			was := before[all.at["/mnt/efs"].Device].types["READDIR"].bytesReceived
			want := &Traffic{Point: "/mnt/efs", Messages: map[string]int64{"READ": 200, "READDIR": 2},
				BytesSent: got.BytesSent, BytesReceived: 104900000 + 60000 - was, MeteredBytes: 60000 - was,
				Retransmissions: 3, Timeouts: 2, RoundTrip: got.RoundTrip}
			if diff := cmp.Diff(want, got); diff != "" || got.BesidesREAD() != 2 {
				t.Errorf("%s, %s: %s", kernel, place, diff)
			}
			if got.RoundTrip < 430*time.Millisecond/203 || got.RoundTrip > 430*time.Millisecond/202 {
				t.Errorf("%s: %v for 202 messages that took 430 ms, or a little less", kernel, got.RoundTrip)
			}
		}
		several := measure(before, after, true, "/mnt", "/tmp")
		var points []string
		var sum Traffic
		for _, m := range several.Mounts {
			points = append(points, m.Point)
			sum.BytesReceived += m.BytesReceived
			sum.MeteredBytes += m.MeteredBytes
			sum.Retransmissions += m.Retransmissions
		}
		if diff := cmp.Diff([]string{"/mnt/efs", "/tmp/a b", "/tmp/sub"}, points); diff != "" {
			t.Errorf("%s: %s", kernel, diff)
		}
		if several.Point != "" || several.Messages["READ"] != 595 || several.BytesReceived != sum.BytesReceived ||
			several.MeteredBytes != sum.MeteredBytes || several.Retransmissions != sum.Retransmissions {
			t.Errorf("%s: %+v is not the sum of %+v", kernel, several, sum)
		}
		if got := measure(before, after, false, "/tmp/a b"); got == nil || got.Messages["READ"] != 195 {
			t.Errorf("%s: within one file system: %+v", kernel, got)
		}
		if got := measure(sent{}, after, false, "/mnt/efs"); got == nil || got.Messages["READ"] != 200 {
			t.Errorf("%s: mounted meanwhile: %+v", kernel, got)
		}
		for name, unknown := range map[string]*Traffic{
			"not on NFS":         measure(before, after, true, "/srv/efs"),
			"only below":         measure(before, after, false, "/tmp"),
			"mounted anew":       measure(after, before, true, "/mnt/efs"),
			"one mounted anew":   measure(after, before, true, "/"),
			"not in mountstats":  measure(before, sent{}, true, "/mnt/efs"),
			"without statistics": (*Meter)(nil).Traffic([]string{"/mnt/efs"}, true),
		} {
			if unknown != nil {
				t.Errorf("%s, %s: %+v", kernel, name, unknown)
			}
		}
	}
}

func FuzzMountstats(f *testing.F) {
	f.Add(twoConnections)
	f.Add("no device mounted on / with fstype tmpfs\n")
	f.Fuzz(func(t *testing.T, stats string) {
		all, err := parseMountstats(stats)
		if err != nil {
			return
		}
		for point, types := range all {
			if len(types) == 0 {
				t.Errorf("%q has no types", point)
			}
			for name, c := range types {
				if name == "" || c.least() < 0 {
					t.Errorf("%q: %q %+v", point, name, c)
				}
			}
			if added, ok := types.since(types); !ok || len(added) > 0 {
				t.Errorf("%q: %v was added to itself", point, added)
			}
		}
	})
}
