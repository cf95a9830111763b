package job

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/cespare/xxhash/v2"
)

// An object is a header in JSON and sections of records. A reader that wants a few sections
// gets only their bytes. Sections are blocks, each with its length and checksum, and so is
// the header.
//
//	magic, header block, section, section, ...
//	block: length (4 bytes), checksum (8 bytes), content
//
// Change magic when anything in an object changes its meaning.
const (
	magic     = "dedupe job 2\n"
	blockHead = 4 + 8
	blockSize = 32 << 10 // a block ends at the first record beyond this
)

// damage is the error of an object that is missing, torn, damaged or of another version.
// All mean the same: the unit that made it has to make it again.
type damage struct {
	object  string
	missing bool // there is nothing to remove
}

func (d *damage) Error() string { return fmt.Sprintf("object %s of the store is damaged", d.object) }

// sections builds the sections of an object.
type sections struct {
	data   []byte
	starts []int64 // in data
	block  []byte  // records of the last block, not in data yet
}

// begin begins the next section.
func (s *sections) begin() {
	s.flush()
	s.starts = append(s.starts, int64(len(s.data)))
}

// ended reports, after a record was appended to block, whether the next record is the first
// of another block.
func (s *sections) ended() bool {
	if len(s.block) < blockSize {
		return false
	}
	s.flush()
	return true
}

func (s *sections) flush() {
	if len(s.block) > 0 {
		s.data = appendBlock(s.data, s.block)
		s.block = s.block[:0]
	}
}

// lengths ends the last section, and returns the lengths of all.
func (s *sections) lengths() (b []byte) {
	s.begin()
	for i := range s.starts[1:] {
		b = binary.AppendUvarint(b, uint64(s.starts[i+1]-s.starts[i]))
	}
	return b
}

func appendBlock(b, content []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(len(content)))
	b = binary.LittleEndian.AppendUint64(b, xxhash.Sum64(content))
	return append(b, content...)
}

// takeBlock returns the content of the first block of some bytes, and the rest. If the
// bytes do not hold the whole block, need is how many do.
func takeBlock(b []byte) (content, rest []byte, need int, ok bool) {
	if len(b) < blockHead {
		return nil, b, blockHead, true
	}
	n := int(binary.LittleEndian.Uint32(b))
	if len(b) < blockHead+n {
		return nil, b, blockHead + n, true
	}
	content = b[blockHead : blockHead+n]
	return content, b[blockHead+n:], 0, xxhash.Sum64(content) == binary.LittleEndian.Uint64(b[4:])
}

// head is what the header of each object has.
type head struct {
	Lengths []byte `json:"lengths,omitempty"` // of each section, as varints
	Length  int64  `json:"length,omitempty"`  // of all sections
	Sum     uint64 `json:"sum,omitempty"`     // checksum of all sections: a header stands for its object
}

// ends returns where each section ends, after the header. The first is where they begin.
func (h *head) ends() []int64 {
	ends := make([]int64, 1, sectionCount+1)
	for rest := h.Lengths; len(rest) > 0; {
		length, n := binary.Uvarint(rest)
		rest = rest[max(n, 1):]
		ends = append(ends, ends[len(ends)-1]+int64(length))
	}
	return ends
}

// object returns the bytes of an object. Its header must embed a head, which object fills.
func object(header any, h *head, s *sections) ([]byte, error) {
	if s != nil {
		*h = head{Lengths: s.lengths(), Length: int64(len(s.data)), Sum: xxhash.Sum64(s.data)}
	}
	b, err := json.Marshal(header)
	if err != nil {
		return nil, err
	}
	out := appendBlock([]byte(magic), b)
	if s != nil {
		out = append(out, s.data...)
	}
	return out, nil
}

// headerSize is how many bytes are read at first, in the hope that the header is shorter.
const headerSize = 16 << 10

// header reads the header of an object, and returns where the sections begin and a checksum
// that stands for the object.
func (o objects) header(name string, into any) (at int64, sum uint64, err error) {
	at, sum, _, err = o.sizedHeader(name, into)
	return at, sum, err
}

// sizedHeader reads the header of an object, and also returns the size of the object.
func (o objects) sizedHeader(name string, into any) (at int64, sum uint64, size int64, err error) {
	for n := headerSize; ; {
		b, size, err := o.Get(name, 0, int64(n))
		if errors.Is(err, fs.ErrNotExist) {
			return 0, 0, 0, &damage{name, true}
		}
		if err != nil {
			return 0, 0, 0, err
		}
		if len(b) < len(magic) || string(b[:len(magic)]) != magic {
			return 0, 0, 0, &damage{object: name}
		}
		content, _, need, ok := takeBlock(b[len(magic):])
		if need > 0 && len(b) == n && len(magic)+need > n {
			n = len(magic) + need
			continue
		}
		if need > 0 || !ok || json.Unmarshal(content, into) != nil {
			return 0, 0, 0, &damage{object: name}
		}
		return int64(len(magic) + blockHead + len(content)), xxhash.Sum64(content), size, nil
	}
}

// blocks reads the blocks of adjacent sections of an object, a chunk at a time.
type blocks struct {
	store   objects
	name    string
	at, end int64 // what was not got yet
	chunk   int64
	unread  []byte
}

// next returns the next block, valid until the next call, or io.EOF.
func (b *blocks) next() ([]byte, error) {
	for need := blockHead; ; {
		if len(b.unread) == 0 && b.at >= b.end {
			return nil, io.EOF
		}
		content, rest, more, ok := takeBlock(b.unread)
		if !ok {
			return nil, &damage{object: b.name}
		}
		if more == 0 {
			b.unread = rest
			return content, nil
		}
		need = more
		if err := b.fill(need); err != nil {
			return nil, err
		}
	}
}

// prefetch gets the first chunks of objects, many at once.
func prefetch(all []*blocks) error {
	return atOnce(context.Background(), len(all), func(i int) error { return all[i].begin() })
}

// begin gets the first chunk, if there is one.
func (b *blocks) begin() error {
	if b.at >= b.end {
		return nil
	}
	return b.fill(1)
}

// fill gets the next chunk, until need bytes are unread.
func (b *blocks) fill(need int) error {
	n := min(max(b.chunk, int64(need-len(b.unread))), b.end-b.at)
	if n <= 0 || int64(need-len(b.unread)) > n {
		return &damage{object: b.name}
	}
	more, _, err := b.store.Get(b.name, b.at, n)
	if errors.Is(err, fs.ErrNotExist) || err == nil && int64(len(more)) < n {
		return &damage{object: b.name}
	}
	b.at += n
	if len(b.unread) == 0 {
		b.unread = more
	} else {
		b.unread = append(append(make([]byte, 0, len(b.unread)+len(more)), b.unread...), more...)
	}
	return err
}
