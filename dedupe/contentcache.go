package dedupe

import (
	"bytes"
	"cmp"
	"slices"
	"sync"

	"github.com/zeebo/blake3"
)

const (
	// bufferSize is the most to read at once. At this size read(2) is fastest, and the
	// data is still in the processor's cache when it is compared or hashed.
	bufferSize = 128 << 10

	pageSize = 4 << 10

	// cachedBlocks is how many blocks a LocalHasher remembers: 8 MiB.
	cachedBlocks = 64

	// cachedMin and cachedMax bound the size of remembered content, in bytes. If files of
	// 1 KiB are all different, remembering costs a seventh of the time, and saves half as
	// much if they are all equal; from 2 KiB on it saves more. Longer content would evict
	// too much.
	cachedMin = 2 << 10
	cachedMax = mediumMax

	// cachedAlike is how many contents of one size are remembered. Each costs every file
	// of that size a comparison, which usually ends at the first byte.
	cachedAlike = 8
)

// newBuffer returns memory for reading a file of a size. For a small file it is not all of
// bufferSize: the garbage collector counts memory even if nothing was written to it.
func newBuffer(size int64) []byte {
	n := bufferSize
	for n > pageSize && int64(n/2) >= size {
		n /= 2
	}
	return make([]byte, n)
}

// roomFor returns the buffer, or a larger one if a file of a size needs that.
func roomFor(buffer []byte, size int64) []byte {
	if len(buffer) < bufferSize && int64(len(buffer)) < size {
		return newBuffer(size)
	}
	return buffer
}

// content is the bytes of a file and their digest. All blocks but the last are full.
type content struct {
	size   int64
	digest Digest
	blocks [][]byte

	users     int // readings that compare with it
	forgotten bool
}

// contentCache remembers recently hashed contents, so that files of the same size can be
// compared with them. Equal bytes have equal digests, and comparing takes a fraction of
// the time. It owns and reuses all memory that files are read into. Its zero value is
// ready to use.
type contentCache struct {
	// sparing is for one of many worker processes: it remembers content only after two
	// files of one size in a row. A worker that reads a single file remembers nothing.
	sparing bool

	most int // most blocks, not counting the one in each reading; 0 means cachedBlocks

	mu       sync.Mutex
	contents []*content // least recently used first
	blocks   int        // that exist, not counting the one in each reading
	free     [][]byte
	released []*content // to be used again
	idle     []*reading
	lastSize int64
}

// begin returns a reading for a file of a size. With onlyHash it neither compares nor
// remembers. The caller passes the reading to end.
func (r *contentCache) begin(size int64, onlyHash bool) *reading {
	r.mu.Lock()
	defer r.mu.Unlock()
	in := r.take(size)
	if onlyHash || size < cachedMin || size > cachedMax {
		return in
	}
	for _, c := range r.contents {
		if c.size == size {
			c.users++
			in.alike = append(in.alike, c)
		}
	}
	in.equal = len(in.alike)
	in.remember = !r.sparing || size == r.lastSize
	in.size, r.lastSize = size, size
	return in
}

func (r *contentCache) take(size int64) *reading {
	n := len(r.idle)
	if n == 0 {
		return &reading{buffer: newBuffer(size), blake3: blake3.New(), cache: r}
	}
	in := r.idle[n-1]
	r.idle = r.idle[:n-1]
	in.buffer = roomFor(in.buffer, size)
	return in
}

// end ends a reading. If done is set and the content was hashed, end remembers it under
// its digest.
func (r *contentCache) end(in *reading, d Digest, done bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range in.alike {
		if c.users--; c.users == 0 && c.forgotten {
			r.release(c)
		}
	}
	switch {
	case in.equal > 0:
		r.served(in.alike[0])
	case in.remember && done:
		in.blocks = r.remember(in.size, d, in.blocks)
	default:
		r.free = append(r.free, in.blocks...)
	}
	in.blake3.Reset()
	*in = reading{buffer: in.buffer, blake3: in.blake3, cache: r, alike: in.alike[:0], blocks: in.blocks[:0]}
	r.idle = append(r.idle, in)
}

// served marks a content as the most recently used.
func (r *contentCache) served(c *content) {
	if i := slices.Index(r.contents, c); i >= 0 {
		r.contents = append(slices.Delete(r.contents, i, i+1), c)
	}
}

// remember adds a content, unless another reading added it first. It returns a slice to use
// instead of the blocks.
func (r *contentCache) remember(size int64, digest Digest, blocks [][]byte) (unused [][]byte) {
	first, alike := 0, 0
	for i := len(r.contents) - 1; i >= 0; i-- {
		if o := r.contents[i]; o.size == size {
			if o.digest == digest {
				r.free = append(r.free, blocks...)
				return blocks
			}
			first = i
			alike++
		}
	}
	if alike == cachedAlike {
		r.forget(first)
	}
	var c *content
	if n := len(r.released); n > 0 {
		c, r.released = r.released[n-1], r.released[:n-1]
	} else {
		c = new(content)
	}
	unused = c.blocks
	*c = content{size: size, digest: digest, blocks: blocks}
	r.contents = append(r.contents, c)
	return unused
}

func (r *contentCache) forget(i int) {
	c := r.contents[i]
	r.contents = slices.Delete(r.contents, i, i+1)
	if c.forgotten = true; c.users == 0 {
		r.release(c)
	}
}

// release frees a content once nothing is compared with it any more.
func (r *contentCache) release(c *content) {
	r.free = append(r.free, c.blocks...)
	c.blocks = c.blocks[:0]
	r.released = append(r.released, c)
}

// lend returns a free block for a file of a size, evicting the least recently used content;
// nil if all are in use.
func (r *contentCache) lend(size int64) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.free) == 0 && r.blocks < cmp.Or(r.most, cachedBlocks) {
		r.blocks++
		return newBuffer(size)
	}
	for len(r.free) == 0 && len(r.contents) > 0 {
		r.forget(0)
	}
	n := len(r.free)
	if n == 0 {
		return nil
	}
	b := r.free[n-1]
	r.free = r.free[:n-1]
	return roomFor(b, size)
}

// reading is a file being read. Its bytes are compared with remembered contents of its
// size; once none matches, they are hashed.
type reading struct {
	cache  *contentCache
	buffer []byte // the current block of the file
	blake3 *blake3.Hasher
	alike  []*content // contents of its size
	equal  int        // the first equal of alike match it so far

	size     int64
	remember bool
	blocks   [][]byte // to be remembered
}

// space returns where to read the bytes that follow the first pos.
func (in *reading) space(pos int64) []byte { return in.buffer[pos%bufferSize:] }

// add takes n bytes that were read into space(pos).
func (in *reading) add(pos int64, n int) {
	if !in.matches(pos, in.space(pos)[:n]) {
		in.hash(pos, n)
	}
}

// hash hashes the n bytes in space(pos), and remembers the block that they complete.
func (in *reading) hash(pos int64, n int) {
	in.blake3.Write(in.space(pos)[:n])
	if in.remember && (int(pos%bufferSize)+n == bufferSize || pos+int64(n) == in.size) {
		if next := in.lend(); next != nil {
			in.blocks = append(in.blocks, in.buffer)
			in.buffer = next
		}
	}
}

// put adds bytes the caller already has, at pos.
func (in *reading) put(pos int64, b []byte) {
	for len(b) > 0 {
		space := in.space(pos)
		n := min(len(b), len(space))
		if !in.matches(pos, b[:n]) {
			copy(space, b[:n])
			in.hash(pos, n)
		}
		pos, b = pos+int64(n), b[n:]
	}
}

// matches reports whether some remembered content still matches, now that read follows at
// pos. Once none does, it prepares to hash from pos on.
func (in *reading) matches(pos int64, read []byte) bool {
	if in.equal == 0 {
		return false
	}
	before := in.alike[0]
	in.compare(pos, read)
	if in.equal == 0 {
		in.resume(before, pos)
	}
	return in.equal > 0
}

// compare drops the contents that differ from read at pos.
func (in *reading) compare(pos int64, read []byte) {
	for i := 0; i < in.equal; {
		c := in.alike[i]
		if bytes.Equal(read, c.blocks[pos/bufferSize][pos%bufferSize:][:len(read)]) {
			i++
			continue
		}
		in.equal--
		in.alike[i], in.alike[in.equal] = in.alike[in.equal], c
	}
}

// resume hashes what precedes pos, where the file turned out to differ from a remembered
// content.
func (in *reading) resume(c *content, pos int64) {
	full := pos / bufferSize
	for _, b := range c.blocks[:full] {
		in.blake3.Write(b)
		if !in.remember {
			continue
		}
		if own := in.lend(); own != nil {
			copy(own, b)
			in.blocks = append(in.blocks, own)
		}
	}
	if offset := pos % bufferSize; offset > 0 {
		n := copy(in.buffer[:offset], c.blocks[full])
		in.blake3.Write(in.buffer[:n])
	}
}

// digest returns the digest of everything added, and whether it was computed by hashing.
func (in *reading) digest() (d Digest, hashed bool) {
	if in.equal > 0 {
		return in.alike[0].digest, false
	}
	in.blake3.Sum(d[:0])
	return d, true
}

// lend returns a block for content to remember. If none is free, the reading is not
// remembered.
func (in *reading) lend() []byte {
	b := in.cache.lend(in.size)
	in.remember = b != nil
	return b
}
