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

// A scan with a memory limit plans ahead with these figures, in bytes. Those that are
// plain numbers were measured, then rounded up. None includes paths.
const (
	programMemory = 20 << 20                        // this process: code, heap of the program, threads
	processMemory = 12 << 20                        // a worker process, buffers included
	bufferMemory  = (1 + mostTogether) * bufferSize // a worker in this process that reads large files
	copyMemory    = int64(unsafe.Sizeof(Copy{}))
	knownMemory   = int64(unsafe.Sizeof(known{}) + 5*unsafe.Sizeof(&Copy{})) // what is known of a copy, and the copy in lists
	folderMemory  = int(unsafe.Sizeof(folder{}))
	indexMemory   = 120 // a copy in an index
	confirmMemory = 100 // a name that is looked at again
	groupMemory   = int64(unsafe.Sizeof(Group{}))
)

// memory returns how much a group takes besides its copies.
func (g *Group) memory() int64 {
	return groupMemory + int64(len(g.Copies))*int64(unsafe.Sizeof(&Copy{}))
}

// affordable returns how many workers fit in memory, at least one.
func (e *Engine) affordable() int {
	switch {
	case e.Memory == 0:
		return e.Workers
	case e.Mode == Processes:
		return int(max(e.Memory/2/processMemory, 1))
	}
	return int(max(e.Memory/4/bufferMemory, 1))
}

// roomForFiles returns how many bytes the files found may take; 0 means no limit.
//
// In a process without workers, the soft limit set by package limits keeps the heap below
// the limit. With worker processes it would act too late, so the heap may grow to twice
// the live data.
func (e *Engine) roomForFiles() int64 {
	if e.Memory == 0 {
		return 0
	}
	room := (e.Memory/2 - programMemory) / 2
	if e.Mode != Processes {
		room = e.Memory - programMemory - int64(e.Workers+e.cacheBlocks())*bufferSize
	}
	return max(room*15/16, e.Memory/32)
}

// roomForGroups makes the copies of an inventory, and returns how many bytes remain for
// groups. If the copies do not fit, fits is false.
func (e *Engine) roomForGroups(ctx context.Context, v *Inventory) (bytes int64, fits bool) {
	room := e.roomForFiles()
	if !v.makeCopies(ctx, room) {
		return 0, false
	}
	if room == 0 {
		return math.MaxInt64, true
	}
	room -= v.table.bytes
	each := knownMemory
	if e.Recall != nil {
		each += indexMemory
	}
	if e.NFS {
		each += confirmMemory
	}
	large := 0
	for _, c := range v.copies {
		room -= each
		if c.size > smallMax {
			large++
		}
	}
	if e.Mode != Processes {
		room -= int64(min(e.Workers, large)) * (bufferMemory - bufferSize)
	}
	return room, room > 0
}

// cacheBlocks returns how many blocks the content cache of this process may hold.
func (e *Engine) cacheBlocks() int { return blocksWithin(e.Memory) }

// blocksWithin returns how many blocks the content cache of a process with a memory limit
// may hold. A limit of 0 means no limit.
func blocksWithin(limit int64) int {
	if limit == 0 {
		return cachedBlocks
	}
	return int(min(max(limit/16/bufferSize, 4), cachedBlocks))
}

// limitMemory tells a worker process how much memory it may use.
func (e *Engine) limitMemory(cmd *exec.Cmd) {
	if e.Memory > 0 {
		cmd.Env = append(cmd.Environ(), "GOMEMLIMIT="+strconv.Itoa(processMemory))
	}
}

// memoryLimit returns how much memory this process may use, as set by limitMemory or
// GOMEMLIMIT.
func memoryLimit() int64 { return debug.SetMemoryLimit(-1) }

// outOfMemory is the error of a scan that needs more memory than the limit.
func (e *Engine) outOfMemory(files int64) error {
	return fmt.Errorf("%w for the memory: %d files do not fit in the limit of %d MiB; raise the limit, or scan fewer files at a time, by directories or sizes",
		ErrTooManyFiles, files, e.Memory>>20)
}
