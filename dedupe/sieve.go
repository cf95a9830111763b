package dedupe

import "math/bits"

// sieve tells which of many keys may have been added twice, and is right of those
// that were: so only what may have an equal need be sorted. It has eight buckets
// or more, of two bits, for each key.
type sieve struct {
	once, again []uint64
	shift       int
}

func newSieve(keys int) *sieve {
	s := &sieve{shift: 64 - max(6, bits.Len(uint(keys))+3)}
	words := uint64(1) << (64 - s.shift) / 64
	s.once, s.again = make([]uint64, words), make([]uint64, words)
	return s
}

func (s *sieve) add(key uint64) {
	word, bit := s.bucket(key)
	s.again[word] |= s.once[word] & bit
	s.once[word] |= bit
}

func (s *sieve) twice(key uint64) bool {
	word, bit := s.bucket(key)
	return s.again[word]&bit != 0
}

func (s *sieve) bucket(key uint64) (word, bit uint64) {
	const golden = 0x9e3779b97f4a7c15 // spreads what is near each other
	b := key * golden >> s.shift
	return b / 64, 1 << (b % 64)
}
