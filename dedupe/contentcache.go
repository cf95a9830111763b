package dedupe

import (
	"bytes"
	"cmp"
	"slices"
	"sync"

	"github.com/zeebo/blake3"
)

const (
	// bufferSize is what is read at once, at most: so read(2) is at its fastest,
	// and what it read is compared or hashed while it is in the processor's cache.
	bufferSize = 128 << 10

	// cachedBlocks is how many buffers full a LocalHasher remembers: 8 MiB.
	cachedBlocks = 64

	// cachedMin and cachedMax are the shortest and the longest content that is
	// remembered, in bytes. A shorter one is hashed as fast as it is looked up, a
	// longer one would push out too many others.
	cachedMin = 1 << 10
	cachedMax = mediumMax

	// cachedAlike is how many contents of one size are remembered. Each costs the
	// files of that size a comparison, which most often ends at the first byte.
	cachedAlike = 8
)

type block [bufferSize]byte

// content is the bytes of a file, in blocks that are full but for the last, and
// their digest.
type content struct {
	size   int64
	digest Digest
	blocks []*block

	users     int // readings that compare with it
	forgotten bool
}

// contentCache remembers contents that were hashed lately, for files of their size to
// be compared with: equal bytes have equal digests, and comparing takes a
// fraction of the time. It owns all memory that files are read into and uses it
// again and again. Its zero value is ready.
type contentCache struct {
	// sparing is for one of many processes: nothing is remembered of a size before
	// it is met twice in turn, and so nothing in those that read one file.
	sparing bool

	most int // blocks, but for the one in each reading; 0: cachedBlocks

	mu       sync.Mutex
	contents []*content // the one that served last comes last
	blocks   int        // that exist, but for the one in each reading
	free     []*block
	idle     []*reading
	lastSize int64
}

// begin returns a reading, to be ended, of a file, or one that is only to be hashed.
func (r *contentCache) begin(size int64, onlyHash bool) *reading {
	r.mu.Lock()
	defer r.mu.Unlock()
	in := r.take()
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

func (r *contentCache) take() *reading {
	n := len(r.idle)
	if n == 0 {
		return &reading{buffer: new(block), blake3: blake3.New(), cache: r}
	}
	in := r.idle[n-1]
	r.idle = r.idle[:n-1]
	return in
}

// end ends a reading. What it read is remembered under its digest, if it was
// hashed and done is set.
func (r *contentCache) end(in *reading, d Digest, done bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range in.alike {
		if c.users--; c.users == 0 && c.forgotten {
			r.free = append(r.free, c.blocks...)
		}
	}
	switch {
	case in.equal > 0:
		r.served(in.alike[0])
	case in.remember && done:
		r.remember(&content{size: in.size, digest: d, blocks: in.blocks})
	default:
		r.free = append(r.free, in.blocks...)
	}
	in.blake3.Reset()
	*in = reading{buffer: in.buffer, blake3: in.blake3, cache: r, alike: in.alike[:0]}
	r.idle = append(r.idle, in)
}

// served puts off the time at which a content is forgotten.
func (r *contentCache) served(c *content) {
	if i := slices.Index(r.contents, c); i >= 0 {
		r.contents = append(slices.Delete(r.contents, i, i+1), c)
	}
}

// remember adds a content, unless another reading was faster.
func (r *contentCache) remember(c *content) {
	first, alike := 0, 0
	for i := len(r.contents) - 1; i >= 0; i-- {
		if o := r.contents[i]; o.size == c.size {
			if o.digest == c.digest {
				r.free = append(r.free, c.blocks...)
				return
			}
			first = i
			alike++
		}
	}
	if alike == cachedAlike {
		r.forget(first)
	}
	r.contents = append(r.contents, c)
}

func (r *contentCache) forget(i int) {
	c := r.contents[i]
	r.contents = slices.Delete(r.contents, i, i+1)
	if c.forgotten = true; c.users == 0 {
		r.free = append(r.free, c.blocks...)
	}
}

// lend returns a free block, evicting the least recently used content; nil if all are
// in use.
func (r *contentCache) lend() *block {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.free) == 0 && r.blocks < cmp.Or(r.most, cachedBlocks) {
		r.blocks++
		return new(block)
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
	return b
}

// reading is a file on its way. Its bytes are compared with contents of its size;
// from where none of these equals it, it is hashed.
type reading struct {
	cache  *contentCache
	buffer *block // what was read of the present block of the file
	blake3 *blake3.Hasher
	alike  []*content // of its size
	equal  int        // how many of them, the first, equal it so far

	size     int64
	remember bool
	blocks   []*block // to be remembered
}

// space is where to read what follows the first pos bytes of the file.
func (in *reading) space(pos int64) []byte { return in.buffer[pos%bufferSize:] }

// add takes the n bytes that were read after the first pos into space.
func (in *reading) add(pos int64, n int) {
	offset := int(pos % bufferSize)
	read := in.buffer[offset : offset+n]
	if in.equal > 0 {
		before := in.alike[0]
		if in.compare(pos, read); in.equal > 0 {
			return
		}
		in.resume(before.blocks[:pos/bufferSize])
		read = in.buffer[:offset+n]
	}
	in.blake3.Write(read)
	if in.remember && (offset+n == bufferSize || pos+int64(n) == in.size) {
		if next := in.lend(); next != nil {
			in.blocks = append(in.blocks, in.buffer)
			in.buffer = next
		}
	}
}

// put adds bytes that were read before, after the first pos.
func (in *reading) put(pos int64, b []byte) {
	for len(b) > 0 {
		n := copy(in.space(pos), b)
		in.add(pos, n)
		pos, b = pos+int64(n), b[n:]
	}
}

// compare drops the contents that do not have read at pos.
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

// resume hashes the blocks that the file shares with a content from which it
// turned out to differ.
func (in *reading) resume(shared []*block) {
	for _, b := range shared {
		in.blake3.Write(b[:])
		if !in.remember {
			continue
		}
		if own := in.lend(); own != nil {
			*own = *b
			in.blocks = append(in.blocks, own)
		}
	}
}

// digest returns that of all that was added, and whether it took hashing.
func (in *reading) digest() (d Digest, hashed bool) {
	if in.equal > 0 {
		return in.alike[0].digest, false
	}
	in.blake3.Sum(d[:0])
	return d, true
}

// lend returns a block for what is to be remembered. If there is none, nothing
// is.
func (in *reading) lend() *block {
	b := in.cache.lend()
	in.remember = b != nil
	return b
}
