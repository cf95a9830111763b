package job

import (
	"cmp"
	"io"
	"iter"
)

// source yields records in order, then io.EOF.
type source[T any] func() (T, error)

// records is the source of the records in blocks.
func records[T any](in *blocks, take func(*taker) T) source[T] {
	var t taker
	return func() (v T, err error) {
		for len(t.rest) == 0 {
			b, err := in.next()
			if err != nil {
				return v, err
			}
			t = taker{rest: b, path: t.path[:0]}
		}
		if v = take(&t); t.bad {
			return v, &damage{object: in.name}
		}
		return v, nil
	}
}

// merge merges sources in the order of compare. Records that compare equal come in the
// order of the sources. If a source fails, it stops and sets failed.
func merge[T any](sources []source[T], compare func(a, b T) int, failed *error) iter.Seq[T] {
	return func(yield func(T) bool) {
		if *failed != nil {
			return
		}
		m := merger[T]{compare: compare}
		for i, next := range sources {
			switch v, err := next(); err {
			case nil:
				m.heap = append(m.heap, headOf[T]{v, i, next})
			case io.EOF:
			default:
				*failed = err
				return
			}
		}
		for i := len(m.heap)/2 - 1; i >= 0; i-- {
			m.sink(i)
		}
		for len(m.heap) > 0 {
			top := &m.heap[0]
			if !yield(top.value) {
				return
			}
			v, err := top.next()
			switch err {
			case nil:
				top.value = v
			case io.EOF:
				last := len(m.heap) - 1
				m.heap[0] = m.heap[last]
				m.heap = m.heap[:last]
			default:
				*failed = err
				return
			}
			m.sink(0)
		}
	}
}

// headOf is the next record of a source.
type headOf[T any] struct {
	value T
	index int
	next  source[T]
}

// merger is a binary heap of sources, the one with the first record on top.
type merger[T any] struct {
	heap    []headOf[T]
	compare func(a, b T) int
}

func (m *merger[T]) before(i, j int) bool {
	a, b := &m.heap[i], &m.heap[j]
	return cmp.Or(m.compare(a.value, b.value), cmp.Compare(a.index, b.index)) < 0
}

// sink moves the source at i down to where it belongs.
func (m *merger[T]) sink(i int) {
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(m.heap); child++ {
			if m.before(child, least) {
				least = child
			}
		}
		if least == i {
			return
		}
		m.heap[i], m.heap[least] = m.heap[least], m.heap[i]
		i = least
	}
}

// mergeMemory is how many bytes of their sources a merge gets at once.
const mergeMemory = 48 << 20

// chunkFor returns how many bytes to get at once of each of n sources.
func chunkFor(n int) int64 { return min(max(mergeMemory/int64(max(n, 1)), 4<<10), 1<<20) }

func takeCopy(t *taker) *entry { c, _ := t.takeCopy(); return c }
