package main

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"slices"
)

// padding is how many bytes of any value must follow the data that an inflater reads. It
// reads 8 bytes at a time, and so up to 7 more than it takes.
const padding = 16

// inflater decompresses DEFLATE data: see RFC 1951. It takes 0.6 times the time of
// compress/flate, because all of the data is in memory, with room for all of the result.
type inflater struct {
	in   []byte
	next int    // place in in
	bits uint64 // read from in and not yet taken, the next one lowest
	n    uint   // how many of those there are, at least

	literals, distances code
}

// inflate decompresses in, to as many bytes as out has, and returns what follows the
// compressed data in in.
func (f *inflater) inflate(out, in []byte) (rest []byte, err error) {
	f.in, f.next, f.bits, f.n = in, 0, 0, 0
	at := 0
	for last := false; !last; {
		if err := f.fill(); err != nil {
			return nil, err
		}
		last = f.take(1) == 1
		switch f.take(2) {
		case 0:
			at, err = f.copyStored(out, at)
		case 1:
			f.useFixedCodes()
			at, err = f.copyCoded(out, at)
		case 2:
			if err = f.readCodes(); err == nil {
				at, err = f.copyCoded(out, at)
			}
		default:
			err = errDamaged
		}
		if err != nil {
			return nil, err
		}
	}
	if at < len(out) {
		return nil, errDamaged
	}
	return in[f.place():], nil
}

// fill makes sure that there are at least 56 bits.
func (f *inflater) fill() error {
	if f.next+8 > len(f.in) {
		return errDamaged
	}
	f.bits |= binary.LittleEndian.Uint64(f.in[f.next:]) << (f.n & 63)
	f.next += int(63-f.n&63) / 8
	f.n |= 56
	return nil
}

// take returns the next n bits.
func (f *inflater) take(n uint) int {
	v := f.bits & (1<<(n&63) - 1)
	f.bits >>= n & 63
	f.n -= n
	return int(v)
}

// place is the position of the first byte in f.in with no bit taken.
func (f *inflater) place() int { return f.next - int(f.n/8) }

// copyStored copies a block that is not compressed to out[at:], and returns its end.
func (f *inflater) copyStored(out []byte, at int) (int, error) {
	f.take(f.n % 8)
	n, inverted := f.take(16), f.take(16)
	from := f.place()
	if n^inverted != 0xffff || n > len(out)-at || n > len(f.in)-from {
		return 0, errDamaged
	}
	copy(out[at:], f.in[from:from+n])
	f.next, f.bits, f.n = from+n, 0, 0
	return at + n, nil
}

// copyCoded decompresses a block to out[at:], and returns its end.
func (f *inflater) copyCoded(out []byte, at int) (int, error) {
	for {
		if err := f.fill(); err != nil { // a length and a distance have at most 48 bits
			return 0, err
		}
		symbol := f.symbol(&f.literals)
		if symbol < endOfBlock {
			if at >= len(out) {
				return 0, errDamaged
			}
			out[at] = byte(symbol)
			at++
			continue
		}
		if symbol == endOfBlock {
			return at, nil
		}
		if symbol > lastLength {
			return 0, errDamaged
		}
		length := f.length(symbol - endOfBlock - 1)
		if symbol = f.symbol(&f.distances); symbol > lastDistance {
			return 0, errDamaged
		}
		distance := f.distance(symbol)
		if distance > at || length > len(out)-at {
			return 0, errDamaged
		}
		for end := at + length; at < end; {
			at += copy(out[at:end], out[at-distance:at])
		}
	}
}

// length returns a length, which starts at 3. The symbols from 8 are followed by bits: one
// more after every four symbols. The last symbol is an exception.
func (f *inflater) length(symbol int) int {
	if symbol < 8 {
		return 3 + symbol
	}
	if symbol == 28 {
		return 258
	}
	extra := uint(symbol/4 - 1)
	return 3 + (4+symbol%4)<<extra + f.take(extra)
}

// distance returns a distance, which starts at 1. The symbols from 4 are followed by bits:
// one more after every two symbols.
func (f *inflater) distance(symbol int) int {
	if symbol < 4 {
		return 1 + symbol
	}
	extra := uint(symbol/2 - 1)
	return 1 + (2+symbol%2)<<extra + f.take(extra)
}

// A symbol below endOfBlock is a byte; one above is a length.
const (
	endOfBlock   = 256
	lastLength   = 285
	lastDistance = 29
	noSymbol     = 1<<12 - 1
)

// useFixedCodes sets the codes of blocks that do not bring their own.
func (f *inflater) useFixedCodes() {
	lengths := slices.Concat(bytes.Repeat([]byte{8}, 144), bytes.Repeat([]byte{9}, 112), bytes.Repeat([]byte{7}, 24), bytes.Repeat([]byte{8}, 8))
	f.literals.set(lengths)
	f.distances.set(bytes.Repeat([]byte{5}, 30))
}

// readCodes reads the codes of a block. The lengths of their symbols are in a code, too,
// in which 16 repeats a length, and 17 and 18 repeat 0.
func (f *inflater) readCodes() error {
	literals, distances, n := 257+f.take(5), 1+f.take(5), 4+f.take(4)
	if literals > lastLength+1 || distances > lastDistance+1 {
		return errDamaged
	}
	var lengths [lastLength + 1 + lastDistance + 1]byte
	for _, i := range []byte{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}[:n] {
		if err := f.fill(); err != nil {
			return err
		}
		lengths[i] = byte(f.take(3))
	}
	if err := f.literals.set(lengths[:19]); err != nil {
		return err
	}
	clear(lengths[:])
	for i := 0; i < literals+distances; {
		if err := f.fill(); err != nil {
			return err
		}
		symbol, repeats := f.symbol(&f.literals), 1
		length := byte(symbol)
		switch {
		case symbol < 16:
		case symbol == 16 && i > 0:
			length, repeats = lengths[i-1], 3+f.take(2)
		case symbol == 17:
			length, repeats = 0, 3+f.take(3)
		case symbol == 18:
			length, repeats = 0, 11+f.take(7)
		default:
			return errDamaged
		}
		if i+repeats > literals+distances {
			return errDamaged
		}
		for range repeats {
			lengths[i] = length
			i++
		}
	}
	if err := f.literals.set(lengths[:literals]); err != nil {
		return err
	}
	return f.distances.set(lengths[literals : literals+distances])
}

// symbol takes a symbol of a code: noSymbol if the next bits are none.
func (f *inflater) symbol(c *code) int {
	s := c.short[f.bits%uint64(len(c.short))]
	if s == 0 {
		s = c.long(f.bits)
	}
	f.take(uint(s % 16))
	return int(s / 16)
}

const (
	maxLength   = 15
	shortLength = 11
)

// code is a canonical Huffman code. Its symbols are numbers below 288.
type code struct {
	short  [1 << shortLength]uint16 // of each sequence of the next bits, symbol*16 + length; 0 if it is longer
	sorted [288]uint16              // symbols in the order of their codes
	count  [maxLength + 1]uint16    // of symbols, by length
}

// set makes the code of the lengths of all symbols.
func (c *code) set(lengths []byte) error {
	clear(c.short[:])
	clear(c.count[:])
	for _, n := range lengths {
		c.count[n]++
	}
	c.count[0] = 0
	var next, place [maxLength + 2]uint16 // of the next symbol, by length: its code, its place in sorted
	for n := 1; n <= maxLength; n++ {
		if next[n]+c.count[n] > 1<<n {
			return errDamaged
		}
		next[n+1] = (next[n] + c.count[n]) * 2
		place[n+1] = place[n] + c.count[n]
	}
	for symbol, n := range lengths {
		if n == 0 {
			continue
		}
		c.sorted[place[n]] = uint16(symbol)
		place[n]++
		first := int(bits.Reverse16(next[n]) >> (16 - n))
		next[n]++
		for n <= shortLength && first < len(c.short) {
			c.short[first] = uint16(symbol)*16 + uint16(n)
			first += 1 << n
		}
	}
	return nil
}

// long finds what the table short does not have, bit by bit.
func (c *code) long(next uint64) uint16 {
	code, first, place := 0, 0, 0
	for n := 1; n <= maxLength; n++ {
		code |= int(next & 1)
		next >>= 1
		count := int(c.count[n])
		if code < first+count {
			return c.sorted[place+code-first]*16 + uint16(n)
		}
		place += count
		first = (first + count) * 2
		code *= 2
	}
	return noSymbol * 16
}
