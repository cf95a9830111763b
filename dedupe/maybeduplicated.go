package dedupe

import "math/bits"

// maybeDuplicated reports keys added more than once, with false positives, so that only
// keys that may have an equal need sorting. It has at least eight two-bit buckets per
// key.
type maybeDuplicated struct {
	once, again []uint64
	shift       int
}

func newMaybeDuplicated(keys int) *maybeDuplicated {
	s := &maybeDuplicated{shift: 64 - max(6, bits.Len(uint(keys))+3)}
	words := uint64(1) << (64 - s.shift) / 64
	s.once, s.again = make([]uint64, words), make([]uint64, words)
	return s
}

func (s *maybeDuplicated) add(key uint64) {
	word, bit := s.bucket(key)
	s.again[word] |= s.once[word] & bit
	s.once[word] |= bit
}

func (s *maybeDuplicated) twice(key uint64) bool {
	word, bit := s.bucket(key)
	return s.again[word]&bit != 0
}

func (s *maybeDuplicated) bucket(key uint64) (word, bit uint64) {
	const golden = 0x9e3779b97f4a7c15 // spreads neighboring keys
	b := key * golden >> s.shift
	return b / 64, 1 << (b % 64)
}
