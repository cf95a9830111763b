package dedupe

import "efsdedupe/dedupe/mount"

// fileSystems returns the file systems of roots. What is not known of one stays empty.
func fileSystems(roots []string) []FileSystem {
	mounts := mount.Read()
	all := make([]FileSystem, len(roots))
	for i, root := range roots {
		real, err := mount.RealPath(root)
		if err != nil {
			continue
		}
		m, _, err := mounts.Of(real)
		if err != nil {
			continue
		}
		all[i].Type = m.Kind
		all[i].Identity, _ = m.Identity()
	}
	return all
}
