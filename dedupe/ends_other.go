//go:build !linux

package dedupe

// Only network mounts that meter reads need the advice, and those are on Linux.

func onlyEnds(int) {}

func moreThanEnds(int) {}

func willNeed(int, int64, int64) {}
