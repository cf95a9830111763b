//go:build !linux

package limits

// Processors returns 0: this system has no cgroups.
func Processors() (n float64, file string) { return 0, "" }

// CgroupVersions returns "": this system has no cgroups.
func CgroupVersions() string { return "" }
