package dedupe

import (
	"context"
	"fmt"
	"math"
	"os/exec"
	"runtime/debug"
	"strconv"
	"unsafe"
)

// A scan with a limit of memory plans what it will take. Each share is what was measured,
// rounded up.
const (
	programMemory = 20 << 20                 // of this process: code, runtime, threads
	processMemory = 12 << 20                 // of a worker process, buffers included
	bufferMemory  = (1 + mostTogether) << 17 // of the buffers of a worker in this process
	fileMemory    = 88 + 24                  // of a file in a group, beside its path
	groupMemory   = 112                      // of a group, beside its files
	copyMemory    = 120 + 48 + 2*8           // of a copy, beside its paths: with what is known, and in two lists
	indexMemory   = 120                      // of a copy, in an index
)

// affordable returns how many workers the memory suffices for, at least one.
func (e *Engine) affordable() int {
	switch {
	case e.Memory == 0:
		return e.Workers
	case e.Mode == Processes:
		return int(max(e.Memory/2/processMemory, 1))
	}
	return int(max(e.Memory/4/bufferMemory, 1))
}

// roomForFiles returns how many bytes may hold what a scan finds, or 0 for any number.
//
// The soft limit of package memory keeps the heap of a process that is alone below the
// limit. Beside worker processes it would come too late, and the heap may be twice as
// large as what is live.
func (e *Engine) roomForFiles() int64 {
	if e.Memory == 0 {
		return 0
	}
	room := (e.Memory/2 - programMemory) / 2
	if e.Mode != Processes {
		room = e.Memory - programMemory - int64(e.Workers)*bufferMemory - int64(e.cacheBlocks())*bufferSize
	}
	return max(room*7/8, e.Memory/32)
}

// roomForGroups makes the copies of an inventory, and returns how many bytes remain for
// groups. It reports whether the copies fit.
func (e *Engine) roomForGroups(ctx context.Context, v *Inventory) (bytes int64, fits bool) {
	room := e.roomForFiles()
	if !v.makeCopies(ctx, room) {
		return 0, false
	}
	if room == 0 {
		return math.MaxInt64, true
	}
	each := int64(copyMemory)
	if e.Recall != nil {
		each += indexMemory
	}
	room -= int64(len(v.copies)) * each
	for i := range v.copies {
		c := &v.copies[i]
		room -= int64(len(c.Path))
		for _, path := range c.OtherPaths {
			room -= int64(unsafe.Sizeof(path)) + int64(len(path))
		}
	}
	return room, room > 0
}

// cacheBlocks returns how many buffers full the content cache of this process may take.
func (e *Engine) cacheBlocks() int { return blocksWithin(e.Memory) }

// blocksWithin returns how many buffers full the content cache of a process may take if
// the process has a limit of memory; 0 is none.
func blocksWithin(limit int64) int {
	if limit == 0 {
		return cachedBlocks
	}
	return int(min(max(limit/16/bufferSize, 4), cachedBlocks))
}

// limitMemory passes on to a worker process how much memory it may use.
func (e *Engine) limitMemory(cmd *exec.Cmd) {
	if e.Memory > 0 {
		cmd.Env = append(cmd.Environ(), "GOMEMLIMIT="+strconv.Itoa(processMemory))
	}
}

// memoryLimit returns how much memory limitMemory, or whoever set GOMEMLIMIT, allows this
// process.
func memoryLimit() int64 { return debug.SetMemoryLimit(-1) }

// outOfMemory is the error of a scan that would need more memory than there is.
func (e *Engine) outOfMemory(files int64) error {
	return fmt.Errorf("%w for the memory: %d files do not fit in the limit of %d MiB; raise the limit, or scan fewer files at a time, by directories or sizes",
		ErrTooManyFiles, files, e.Memory>>20)
}
