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
// plain numbers were measured, then rounded up.
const (
	pointerMemory = int64(unsafe.Sizeof(&Copy{}))
	programMemory = 14 << 20                        // this process: heap of the program, threads, kernel
	processMemory = 8 << 20                         // a worker process, buffers included
	workerLimit   = 12 << 20                        // what the garbage collector of a worker process keeps to
	bufferMemory  = (1 + mostTogether) * bufferSize // a worker in this process that reads large files
	copyMemory    = int64(unsafe.Sizeof(Copy{}))    // a name that was found
	listedMemory  = 800                             // a file of a list, during the walk
	folderMemory  = int(unsafe.Sizeof(folder{}))
	knownMemory   = int64(unsafe.Sizeof(known{})) + 2*pointerMemory // what is known of a copy, and the copy in two lists
	sortMemory    = int64(unsafe.Sizeof(ordered{})) + pointerMemory // a copy until it is sorted
	indexMemory   = 120                                             // a copy in an index
	confirmMemory = 100                                             // a name that is looked at again
	groupMemory   = int64(unsafe.Sizeof(Group{}))
)

// affordable returns how many workers fit in memory, at least one.
func (e *Engine) affordable() int {
	switch {
	case e.Memory == 0:
		return e.Workers
	case e.Mode == Processes:
		return int(max(e.Memory/3/processMemory, 1))
	}
	return int(max(e.Memory/4/bufferMemory, 1))
}

// roomForFiles returns how many bytes the files found may take; 0 means no limit. The soft
// limit set by package limits keeps the heap below the limit. If worker processes would
// leave too little, there will be fewer of them, but one at least.
func (e *Engine) roomForFiles() int64 {
	if e.Memory == 0 {
		return 0
	}
	room := e.Memory - programMemory - processMemory
	if e.Mode != Processes {
		room = e.Memory - programMemory - int64(e.Workers+e.cacheBlocks())*bufferSize
	}
	return max(room*15/16, e.Memory/32)
}

// roomForGroups makes the copies of an inventory, and returns how many bytes remain for
// groups. If the copies do not fit, fits is false. It lets fewer worker processes run if
// files take the memory of the others.
func (e *Engine) roomForGroups(ctx context.Context, v *Inventory) (bytes int64, fits bool) {
	room := e.roomForFiles()
	if !v.makeCopies(ctx, room) {
		return 0, false
	}
	if room == 0 {
		return math.MaxInt64, true
	}
	each := knownMemory + sortMemory
	if e.Recall != nil {
		each += indexMemory
	}
	if e.NFS {
		each += confirmMemory
	}
	large := 0
	for _, c := range v.copies {
		if c.size > smallMax {
			large++
		}
	}
	room -= v.table.bytes + each*int64(len(v.copies))
	if e.Mode == Processes {
		e.Workers = int(max(min(int64(e.Workers), 1+room/processMemory), 1))
		room -= int64(e.Workers-1) * processMemory
	} else {
		room -= int64(min(e.Workers, large)) * (bufferMemory - bufferSize)
	}
	return room + sortMemory*int64(len(v.copies)), room > 0
}

// Fit makes the copies of an inventory, for a caller that reads them in this process and
// keeps more bytes for each. It lowers Workers to what fits in Memory. If nothing fits, its
// error wraps ErrTooManyFiles.
func (e *Engine) Fit(ctx context.Context, v *Inventory, more int64) error {
	e.Workers = min(e.Workers, e.affordable())
	if room, fits := e.roomForGroups(ctx, v); !fits || room/max(more, 1) < int64(len(v.copies)) {
		return e.outOfMemory(v.Files)
	}
	return nil
}

// Local returns a hasher that reads in this process and keeps to Memory.
func (e *Engine) Local() *LocalHasher {
	h := &LocalHasher{Read: e.Read, Within: e.Within, HashAll: e.HashAll, cache: contentCache{most: e.cacheBlocks()}}
	if e.isRemote() {
		h.workers = int64(e.Workers)
	}
	return h
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
		cmd.Env = append(cmd.Environ(), "GOMEMLIMIT="+strconv.Itoa(workerLimit))
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
