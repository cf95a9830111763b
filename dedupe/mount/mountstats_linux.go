package mount

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"efsdedupe/dedupe/limits"
)

// sent returns the counters of the table's NFS mounts. It asks the kernel only if there
// are any.
func (all *Table) sent() (sent, error) {
	devices := all.nfsPoints()
	if len(devices) == 0 {
		return nil, nil
	}
	data, err := limits.ReadFile("/proc/self/mountstats")
	if err != nil {
		return nil, err
	}
	counted, err := parseMountstats(string(data))
	if err != nil {
		return nil, err
	}
	return byDevice(devices, counted), nil
}

// byDevice joins the devices and the counters of mount points.
func byDevice(devices map[string]uint64, counted map[string]types) sent {
	found := make(sent)
	for point, device := range devices {
		c, ok := counted[point]
		if at, taken := found[device]; ok && (!taken || point < at.point) {
			found[device] = mounted{point, c}
		}
	}
	return found
}

// nfsPoints returns the devices of all NFS mounts by their points.
func (all *Table) nfsPoints() map[string]uint64 {
	devices := make(map[string]uint64)
	for point, m := range all.at {
		if m.IsNFS() {
			devices[point] = m.Device
		}
	}
	return devices
}

// nfsDevices returns the devices of the NFS mounts that hold places, and, if below, of
// those mounted below them.
func (all *Table) nfsDevices(places []string, below bool) map[uint64]bool {
	devices := make(map[uint64]bool)
	for _, place := range places {
		if m, _, err := all.Of(place); err == nil && m.IsNFS() {
			devices[m.Device] = true
		}
	}
	for point, device := range all.nfsPoints() {
		if below && slices.ContainsFunc(places, func(place string) bool { return (&Mount{Point: place}).holds(point) }) {
			devices[device] = true
		}
	}
	return devices
}

// parseMountstats returns the counters of all NFS mounts by their mount point, where the
// last mount hides earlier ones. Source: Linux, fs/proc_namespace.c (show_vfsstat),
// fs/nfs/super.c (nfs_show_stats), net/sunrpc/stats.c (rpc_clnt_show_stats).
//
// The lines of a mount are
//
//	device SOURCE mounted on POINT with fstype nfs4 statvers=1.1
//		…
//		per-op statistics
//		        READ: requests transmissions timeouts sent received queued round-trip total [errors]
//
// with bytes, milliseconds, and counts since the mount.
func parseMountstats(data string) (map[string]types, error) {
	all := make(map[string]types)
	var current types // of the NFS mount that the lines are about
	counting := false // the lines are those of types
	for line := range strings.Lines(data) {
		line = strings.TrimSuffix(line, "\n")
		switch text := strings.TrimLeft(line, " \t"); {
		case strings.HasPrefix(line, "device ") || strings.HasPrefix(line, "no device "):
			point, nfs, err := parseMounted(line)
			if err != nil {
				return nil, err
			}
			current, counting = nil, false
			if delete(all, point); nfs {
				current = make(types)
				all[point] = current
			}
		case current == nil, text == "":
			counting = false
		case text == "per-op statistics":
			counting = true
		case counting:
			name, c, err := parseCounters(text)
			if err != nil {
				return nil, err
			}
			if _, twice := current[name]; twice {
				return nil, fmt.Errorf("mountstats: %s appears twice", name)
			}
			current[name] = c
		}
	}
	for point, t := range all {
		if len(t) == 0 {
			return nil, fmt.Errorf("mountstats: no statistics for %s", point)
		}
	}
	return all, nil
}

// parseMounted reads the first line of a mount. The kernel escapes blanks in its names,
// but not other Unicode spaces.
func parseMounted(line string) (point string, nfs bool, err error) {
	f := strings.Split(line, " ")
	if len(f) < 8 || f[2] != "mounted" || f[3] != "on" || f[5] != "with" || f[6] != "fstype" {
		return "", false, fmt.Errorf("mountstats: %q is not a mount", line)
	}
	nfs = (&Mount{Kind: f[7]}).IsNFS()
	if version := strings.Join(f[8:], " "); nfs && version != "statvers=1.0" && version != "statvers=1.1" {
		return "", false, fmt.Errorf("mountstats: an unknown version in %q", line)
	}
	return unescape(f[4]), nfs, nil
}

// parseCounters reads the line of a type. Linux 5.3 added the number of errors
// at its end; more may follow.
func parseCounters(text string) (name string, c counters, err error) {
	name, numbers, ok := strings.Cut(text, ": ")
	var n [8]int64
	f := strings.Split(numbers, " ")
	if !ok || name == "" || len(f) < len(n) {
		return "", c, fmt.Errorf("mountstats: %q is not a line of counters", text)
	}
	for i := range n {
		v, err := strconv.ParseUint(f[i], 10, 63)
		if err != nil {
			return "", c, fmt.Errorf("mountstats: %q: %w", text, err)
		}
		n[i] = int64(v)
	}
	return name, counters{requests: n[0], transmissions: n[1], timeouts: n[2], bytesSent: n[3], bytesReceived: n[4], roundTripMS: n[6]}, nil
}
