package mount

// FileSystem describes the file system of a scanned root.
type FileSystem struct {
	Type     string // such as ext4 or nfs4, as the mount table has it; empty if unknown
	Identity string // the same on every machine that mounts it; empty if it has none
}

// FileSystems returns the file system of each path. What is unknown stays empty.
func FileSystems(paths []string) []FileSystem {
	mounts := Read()
	all := make([]FileSystem, len(paths))
	for i, path := range paths {
		real, err := RealPath(path)
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
