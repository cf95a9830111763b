//go:build !linux

package memory

func cgroupLimit(string) int64 { return 0 }
