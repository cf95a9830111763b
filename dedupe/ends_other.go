//go:build !linux

package dedupe

// onlyEnds is of use on network mounts that meter reads, which Linux has.
func onlyEnds(int) {}
