package index

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"efsdedupe/dedupe/limits"
)

// Log is a Store in one local file. It appends blocks; the last block of a key counts.
// Readers take no lock: bytes in the file never change, and a block at its end is either
// whole or missing. Writers lock the file for the few milliseconds that appending takes.
// When most of the file is out of date, a new file with the rest replaces it.
//
// It is not bbolt or another B-tree, because a cache must survive damage. In a B-tree a
// flipped byte can make an endless tree, a shortened file causes a bus error that no
// program survives, and readers in one process lock out writers in another. Nothing is
// synced: checksums find what a power failure spoils.
type Log struct {
	path string

	mu   sync.Mutex
	file *os.File
	end  int64          // of the valid bytes
	live int64          // valid bytes that are not out of date
	at   map[Key]stored // the last block of each key

	records []byte // buffer of write

	unwritten limits.Unwritten
}

// stored is a block in the file.
type stored struct {
	offset int64
	size   uint32
}

// A file begins with magic, which includes the number of the format. Then come records: a
// header, then a block. A header is the size of the block, its key, and a CRC-32C of
// both. A record of size 0 removes the block of its key.
const (
	magic      = "dedupe index 1\n\x00"
	headerSize = int64(4 + len(Key{}) + 4)

	// slack is how many bytes must be out of date before compacting pays off.
	slack = 1 << 20

	// maxBlock is more than any block can have, see maxEntries. A header with a larger
	// size is damaged.
	maxBlock = 1 << 20

	// blocksAtOnce is how many blocks to write at once, typically 8 KiB each.
	blocksAtOnce = 64
)

// OpenLog opens the store in a file, and creates the file if it is missing. A file on a
// network file system is a *RemoteError. A file that is not an index is an error, and
// OpenLog does not change it.
func OpenLog(path string) (*Log, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return nil, fmt.Errorf("can't create the directory of the index: %w; choose another file", err)
	}
	path, err := local(path)
	if err != nil {
		return nil, err
	}
	l := &Log{path: path}
	if err := l.open(); err != nil {
		return nil, err
	}
	if err := l.load(); err != nil {
		l.file.Close()
		return nil, err
	}
	return l, nil
}

// open opens the file that the path now names.
func (l *Log) open() error {
	file, err := os.OpenFile(l.path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("can't open the index: %w; choose another file", err)
	}
	if st, err := file.Stat(); err == nil && !st.Mode().IsRegular() {
		file.Close()
		return fmt.Errorf("the index %q is not a regular file; choose another", l.path)
	}
	if l.file != nil {
		l.file.Close()
	}
	l.file = file
	l.forget()
	return nil
}

// load reads the headers appended since the last load.
func (l *Log) load() error {
	st, err := l.file.Stat()
	if err != nil {
		return fmt.Errorf("can't read the index: %w", err)
	}
	if st.Size() < l.end {
		l.forget() // somebody shortened it
	}
	var window [4096]byte // often includes the next header
	var from, n int64
	for {
		if l.end < from || l.end+headerSize > from+n {
			k, err := l.file.ReadAt(window[:], l.end)
			if err != nil && err != io.EOF {
				return fmt.Errorf("can't read the index: %w", err)
			}
			from, n = l.end, int64(k)
		}
		b := window[l.end-from : n]
		if l.end == 0 {
			if !bytes.HasPrefix(b, []byte(magic)) {
				return l.checkDamaged(b, st.Size()) // if it is, Update starts over
			}
			l.end = int64(len(magic))
			continue
		}
		key, size, ok := parseHeader(b)
		if !ok || l.end+headerSize+int64(size) > st.Size() {
			return nil
		}
		l.add(key, size)
	}
}

// searched is how many bytes of a file with a lost head to search for records. A record
// begins within them, because blocks are smaller.
const searched = 1 << 20

// checkDamaged returns an error if a file that does not begin with magic is not an index
// either. An index may be empty, of another version, or damaged. Update overwrites such a
// file, so it must be nothing else. Its head may be lost, or be partly written and partly
// zeros; then only zeros follow, or records up to the end of the file. Disk images also
// begin with zeros, and text may begin with any words.
func (l *Log) checkDamaged(b []byte, size int64) error {
	head := b[:min(len(b), len(magic))]
	if size <= int64(len(head)) && isTorn(head) || isOtherVersion(head) {
		return nil
	}
	other := fmt.Errorf("%q is not an index: choose another file, or remove it if it was one", l.path)
	if len(head) < len(magic) {
		return other
	}
	window := make([]byte, min(size, searched))
	if _, err := l.file.ReadAt(window, 0); err != nil && err != io.EOF {
		return fmt.Errorf("can't read the index: %w", err)
	}
	torn := isTorn(head)
	if torn && len(bytes.Trim(window[len(magic):], "\x00")) == 0 && size == int64(len(window)) {
		return nil
	}
	if _, _, ok := parseHeader(window[len(magic):]); ok {
		return nil // a record follows the head, whatever happened to the rest
	}
	if torn && l.recordsAfter(window, size) {
		return nil
	}
	return other
}

// recordsAfter reports whether records begin somewhere in the window, which is the start
// of the file, and continue to the end of the file.
func (l *Log) recordsAfter(window []byte, size int64) bool {
	leads := make(map[int64]bool) // offsets tried that did not lead to the end
	for at := int64(len(magic)); at+headerSize <= int64(len(window)); at++ {
		for next, more := l.after(at, window); more && !leads[next]; next, more = l.after(next, window) {
			if next == size {
				return true
			}
			leads[next] = true
		}
	}
	return false
}

// after returns the offset after the record at an offset, if there is one.
func (l *Log) after(at int64, window []byte) (int64, bool) {
	var header [headerSize]byte
	if at+headerSize <= int64(len(window)) {
		copy(header[:], window[at:])
	} else if _, err := l.file.ReadAt(header[:], at); err != nil {
		return 0, false
	}
	_, n, ok := parseHeader(header[:])
	return at + headerSize + int64(n), ok
}

// isTorn reports whether each byte of a head is either that of magic or zero.
func isTorn(head []byte) bool {
	for i, c := range head {
		if c != 0 && c != magic[i] {
			return false
		}
	}
	return true
}

// isOtherVersion reports whether a head is magic with another number. Text contains no
// zero byte.
func isOtherVersion(head []byte) bool {
	const number = len("dedupe index ")
	return len(head) == len(magic) && string(head[:number]) == magic[:number] && string(head[number+1:]) == magic[number+1:]
}

// add records the block at the end of the valid bytes.
func (l *Log) add(key Key, size uint32) {
	l.live -= l.at[key].record()
	delete(l.at, key)
	if size > 0 {
		l.at[key] = stored{l.end + headerSize, size}
		l.live += headerSize + int64(size)
	}
	l.end += headerSize + int64(size)
}

// record returns the size of a block with its header, in bytes.
func (s stored) record() int64 {
	if s.size == 0 {
		return 0
	}
	return headerSize + int64(s.size)
}

func appendRecord(b []byte, key Key, block []byte) []byte {
	start := len(b)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(block)))
	b = append(b, key[:]...)
	b = binary.LittleEndian.AppendUint32(b, castagnoli(b[start:]))
	return append(b, block...)
}

func parseHeader(b []byte) (key Key, size uint32, ok bool) {
	if int64(len(b)) < headerSize {
		return key, 0, false
	}
	b = b[:headerSize]
	sum := b[headerSize-4:]
	size = binary.LittleEndian.Uint32(b)
	return Key(b[4:]), size, size <= maxBlock && castagnoli(b[:headerSize-4]) == binary.LittleEndian.Uint32(sum)
}

func castagnoli(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// Get implements Store.
func (l *Log) Get(ctx context.Context, keys []Key) (map[Key][]byte, Units, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	blocks := make(map[Key][]byte, len(keys))
	for _, key := range l.inOrder(slices.Values(keys)) {
		if ctx.Err() != nil {
			return blocks, Units{}, ctx.Err()
		}
		if b := l.read(key); b != nil {
			blocks[key] = b
		}
	}
	return blocks, Units{}, nil
}

// inOrder returns the keys that have a block, in file order.
func (l *Log) inOrder(keys iter.Seq[Key]) []Key {
	var there []Key
	for key := range keys {
		if l.at[key].size > 0 {
			there = append(there, key)
		}
	}
	slices.SortFunc(there, func(a, b Key) int { return cmp.Compare(l.at[a].offset, l.at[b].offset) })
	return there
}

// read returns the block of a key, or nil if there is none or it cannot be read.
func (l *Log) read(key Key) []byte {
	s := l.at[key]
	if s.size == 0 {
		return nil
	}
	b := make([]byte, s.size)
	if _, err := l.file.ReadAt(b, s.offset); err != nil {
		return nil
	}
	return b
}

// Update implements Store. It loses no update of another process. For some of the blocks
// that it writes, it checks another block and removes it if it has expired; in time it
// checks them all.
func (l *Log) Update(ctx context.Context, keys []Key, change func(key Key, old []byte) []byte) (Units, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	unlock, err := l.lock(ctx)
	if err != nil {
		return Units{}, fmt.Errorf("can't lock the index %q: %w", l.path, err)
	}
	err = l.append(keys, change)
	if err == nil {
		err = l.append(l.expired(1+len(keys)/16), func(Key, []byte) []byte { return nil })
	}
	if err == nil && l.end-l.live > max(slack, l.live/2) {
		err = l.compact()
	}
	unlock()
	if err != nil {
		return Units{}, fmt.Errorf("can't write to the index %q: %w; make room, or choose another file", l.path, err)
	}
	return Units{}, nil
}

// append changes blocks in the locked file. It uses all processors and holds only a few
// blocks in memory.
func (l *Log) append(keys []Key, change func(key Key, old []byte) []byte) error {
	processors := runtime.GOMAXPROCS(0)
	for some := range slices.Chunk(keys, blocksAtOnce) {
		blocks := make([][]byte, len(some))
		changed := make([]bool, len(some))
		var all sync.WaitGroup
		for p := range processors {
			all.Go(func() {
				for i := p; i < len(some); i += processors {
					old := l.read(some[i])
					blocks[i] = change(some[i], old)
					changed[i] = !bytes.Equal(blocks[i], old)
				}
			})
		}
		all.Wait()
		if err := l.write(some, blocks, changed); err != nil {
			return err
		}
	}
	return nil
}

// write appends the blocks that changed.
func (l *Log) write(keys []Key, blocks [][]byte, changed []bool) error {
	l.records = l.records[:0]
	for i, key := range keys {
		if changed[i] {
			l.records = appendRecord(l.records, key, blocks[i])
		}
	}
	if _, err := l.file.WriteAt(l.records, l.end); err != nil {
		l.file.Truncate(l.end)
		return err
	}
	l.unwritten.Add(l.file, len(l.records))
	for i, key := range keys {
		if changed[i] {
			l.add(key, uint32(len(blocks[i])))
		}
	}
	return nil
}

// expired checks n blocks and returns the keys of those that have expired. Go ranges over
// a map from a random start, so in time it checks them all.
func (l *Log) expired(n int) (keys []Key) {
	today := dayOf(time.Now())
	for key := range l.at {
		if n--; n < 0 {
			break
		}
		if b, ok := parseBlock(key, l.read(key)); !ok || today-b.written >= expireAfter {
			keys = append(keys, key)
		}
	}
	return keys
}

// compact replaces the locked file by one with only the current blocks.
func (l *Log) compact() error {
	file, err := createBeside(l.path)
	if err != nil {
		return nil // the file stays as large as it is
	}
	smaller := Log{path: l.path, file: file}
	smaller.forget()
	err = smaller.begin()
	keys := l.inOrder(maps.Keys(l.at))
	if err == nil {
		err = smaller.append(keys, func(key Key, _ []byte) []byte {
			return l.read(key)
		})
	}
	if err == nil {
		err = os.Rename(file.Name(), l.path)
	}
	if err != nil {
		file.Close()
		os.Remove(file.Name())
		return err
	}
	l.file.Close()
	l.file, l.end, l.live, l.at = file, smaller.end, smaller.live, smaller.at
	return nil
}

// newSuffix ends the name of the file that will replace an index.
const newSuffix = ".new"

// createBeside creates the file that will replace an index. It replaces a file left by a
// killed process; somebody else's file is an error.
func createBeside(path string) (*os.File, error) {
	path += newSuffix
	create := func() (*os.File, error) {
		return os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	}
	file, err := create()
	if !errors.Is(err, os.ErrExist) {
		return file, err
	}
	left, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer left.Close()
	head := make([]byte, len(magic))
	if n, err := left.ReadAt(head, 0); err != nil && err != io.EOF || n > 0 && string(head[:n]) != magic {
		return nil, os.ErrExist
	}
	if err := os.Remove(path); err != nil {
		return nil, err
	}
	return create()
}

// begin makes the file an empty index.
func (l *Log) begin() error {
	l.forget()
	if err := l.file.Truncate(0); err != nil {
		return err
	}
	if _, err := l.file.WriteAt([]byte(magic), 0); err != nil {
		return err
	}
	l.end = int64(len(magic))
	return nil
}

func (l *Log) forget() { l.end, l.live, l.at = 0, 0, make(map[Key]stored) }

// lockPoll is how long to wait between attempts to lock a file that another process has
// locked.
const lockPoll = 5 * time.Millisecond

// lock locks the file that the path names, and loads what others appended.
func (l *Log) lock(ctx context.Context) (unlock func(), err error) {
	for {
		for err = unix.EWOULDBLOCK; err == unix.EWOULDBLOCK; {
			if err = unix.Flock(int(l.file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err == unix.EWOULDBLOCK {
				select {
				case <-ctx.Done():
					return nil, ctx.Err()
				case <-time.After(lockPoll):
				}
			}
		}
		if err != nil {
			return nil, err
		}
		if l.isCurrent() {
			break
		}
		if err := l.open(); err != nil { // another process replaced it
			return nil, err
		}
	}
	locked := l.file
	unlock = func() { unix.Flock(int(locked.Fd()), unix.LOCK_UN) } // fails if compact closed it, which also unlocks it
	if err = l.load(); err == nil && l.end == 0 {
		err = l.begin()
	}
	if err == nil {
		err = l.file.Truncate(l.end) // remove what a killed writer left
	}
	if err != nil {
		unlock()
	}
	return unlock, err
}

// isCurrent reports whether the path still names the open file.
func (l *Log) isCurrent() bool {
	mine, err := l.file.Stat()
	if err != nil {
		return false
	}
	now, err := os.Stat(l.path)
	return err == nil && os.SameFile(mine, now)
}

// All implements Store.
func (l *Log) All(ctx context.Context, yield func(key Key, block []byte) bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, key := range l.inOrder(maps.Keys(l.at)) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if b := l.read(key); b != nil && !yield(key, b) {
			break
		}
	}
	return nil
}

// Size returns the size of the file in bytes.
func (l *Log) Size() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.end
}

// Files implements Store.
func (l *Log) Files() (files []os.FileInfo) {
	for _, path := range []string{l.path, l.path + newSuffix} {
		if st, err := os.Stat(path); err == nil {
			files = append(files, st)
		}
	}
	return files
}

// Close implements Store.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.file.Close()
}
