package job

import (
	"github.com/cespare/xxhash/v2"

	"efsdedupe/dedupe"
	"efsdedupe/dedupe/mount"
)

// devices translates between the device numbers of this machine and those in records, which
// are the same on every machine: a hash of the file system's name. Then names of one inode
// are one copy, even if two machines found them. A device that is no mount, such as a btrfs
// subvolume, keeps its number; such a job can only run on one machine.
type devices struct {
	common, local map[uint64]uint64
}

// isCommon marks the device numbers that all machines share.
const isCommon = 1 << 63

func newDevices() *devices {
	d := &devices{make(map[uint64]uint64), make(map[uint64]uint64)}
	for device, name := range mount.Read().Names() {
		common := xxhash.Sum64String(name) | isCommon
		d.common[device], d.local[common] = common, device
	}
	return d
}

// toCommon replaces the device of a file by that of all machines.
func (d *devices) toCommon(f *dedupe.File) {
	if common, ok := d.common[f.Device]; ok {
		f.Device = common
	}
}

// toLocal replaces the device of a file by that of this machine. If this machine does not
// mount the file system, the device stays, and reading the file will say that it changed.
func (d *devices) toLocal(f *dedupe.File) {
	if local, ok := d.local[f.Device]; ok {
		f.Device = local
	}
}
