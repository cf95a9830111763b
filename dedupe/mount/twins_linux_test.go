package mount

import "testing"

// TestDevice checks which NFS mounts show the same file system: those of one path of one
// server, and those that the list of volumes gives one file system ID, however they are
// ordered. Other types and other servers have devices of their own.
func TestDevice(t *testing.T) {
	const mounts = `30 1 0:50 / /mnt/a rw - nfs4 fs-1:/ rw,addr=10.0.0.1
31 1 0:51 / /mnt/b rw - nfs4 fs-1:/ rw,nosharecache,addr=10.0.0.1
32 1 0:52 / /mnt/sub rw - nfs4 fs-1:/sub rw,addr=10.0.0.1
33 1 0:53 / /mnt/address rw - nfs4 10.0.0.1:/ ro,addr=10.0.0.1
34 1 0:54 / /mnt/other rw - nfs4 fs-2:/ rw,addr=10.0.0.2
35 1 0:55 / /mnt/t1 rw - tmpfs t rw
36 1 0:56 / /mnt/t2 rw - tmpfs t rw
37 1 0:57 / /mnt/old rw - nfs fs-1:/old rw,addr=10.0.0.1
38 1 0:49 / /mnt/chain rw - nfs4 10.0.0.1:/sub rw,addr=10.0.0.1
39 1 0:58 / /mnt/chain2 rw - nfs4 10.0.0.1:/sub rw,addr=10.0.0.3
`
	const volumes = `NV SERVER   PORT DEV          FSID                              FSC
v4 0a000001 801 0:50         1:2                               no
v4 0a000001 801 0:51         1:2                               no
v4 0a000001 801 0:52         1:2                               no
v4 0a000001 801 0:53         1:2                               no
v4 0a000002 801 0:54         1:2                               no
v3 0a000001 801 0:57         1:3                               no
v4 0a000001 802 0:55         1:2                               no
v4 0a000001 801 0:58         1:2                               no
broken
`
	for name, test := range map[string]struct {
		volumes string
		want    map[uint64]uint64 // by the minor number
	}{
		"with volumes":    {volumes, map[uint64]uint64{50: 49, 51: 49, 52: 49, 53: 49, 54: 54, 55: 55, 56: 56, 57: 57, 49: 49, 58: 49}},
		"without volumes": {"", map[uint64]uint64{50: 50, 51: 50, 52: 52, 53: 53, 54: 54, 55: 55, 56: 56, 57: 57, 49: 49, 58: 49}},
	} {
		all := Parse(mounts)
		all.findTwins(func() string { return test.volumes })
		for device, want := range test.want {
			if got := all.Device(device); got != want {
				t.Errorf("%s: device %d is %d, want %d", name, device, got, want)
			}
		}
	}
	m, device, err := func() (*Mount, uint64, error) {
		all := Parse(mounts)
		all.findTwins(func() string { return "" })
		return all.Of("/mnt/b/dir")
	}()
	if err != nil || m.Device != 51 || device != 50 {
		t.Errorf("%+v, files on device %d, error %v", m, device, err)
	}
	Parse("30 1 0:50 / /mnt/a rw - nfs4 fs-1:/ rw\n").findTwins(func() string {
		t.Error("one NFS mount needs no list of volumes")
		return ""
	})
}
