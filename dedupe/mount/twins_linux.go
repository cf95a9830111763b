package mount

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// Device returns the device that stands for a file system, which may have several: Linux
// gives each NFS mount a device of its own if its options differ from those of another, or
// say nosharecache. Their inodes are the same. A nil table knows of no mounts.
func (all *Table) Device(device uint64) uint64 {
	if all == nil {
		return device
	}
	if first, ok := all.twin[device]; ok {
		return first
	}
	return device
}

// findTwins finds the devices of NFS mounts that show the same file system: mounts of one
// path of one server, or of one file system ID of one server in the list of volumes, which
// it reads only if there are several devices.
func (all *Table) findTwins(volumes func() string) {
	names := make(map[uint64][]string)
	for _, m := range all.byID {
		if m.IsNFS() {
			names[m.Device] = append(names[m.Device], m.Source)
		}
	}
	if len(names) < 2 {
		return
	}
	for device, name := range parseVolumes(volumes()) {
		if _, mounted := names[device]; mounted {
			names[device] = append(names[device], name)
		}
	}
	all.twin = make(map[uint64]uint64)
	named := make(map[string]uint64) // the least device with a name
	for changed := true; changed; {
		changed = false
		for device, of := range names {
			least := all.Device(device)
			for _, name := range of {
				if other, ok := named[name]; ok {
					least = min(least, other)
				}
			}
			for _, name := range of {
				if named[name] != least {
					named[name], changed = least, true
				}
			}
			all.twin[device] = least
		}
	}
}

// parseVolumes returns a name for the file system of each NFS device. Source: Linux,
// fs/nfs/client.c (nfs_volume_list_show). The lines after the first are
//
//	v4 ADDRESS PORT MAJOR:MINOR FSID no
func parseVolumes(data string) map[uint64]string {
	found := make(map[uint64]string)
	for line := range strings.Lines(data) {
		var major, minor uint32
		fields := strings.Fields(line)
		if len(fields) < 5 {
			continue
		}
		if _, err := fmt.Sscanf(fields[3], "%d:%d", &major, &minor); err == nil {
			found[unix.Mkdev(major, minor)] = strings.Join([]string{fields[1], fields[2], fields[4]}, " ")
		}
	}
	return found
}
